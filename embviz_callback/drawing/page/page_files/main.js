// The controls, and the first drawing.
function options(select, names, chosen) {
  select.replaceChildren(...names.map(([value, text]) => make("option", { value, textContent: text, selected: value === chosen })));
}
function drawControls() {
  for (const button of element("methods").children) button.setAttribute("aria-pressed", String(button.value === state.map));
  const slider = element("epoch");
  slider.max = views.length - 1;
  slider.value = state.at;
  slider.setAttribute("aria-valuetext", views[state.at].label);
  if (element("search").value !== state.search) element("search").value = state.search;
  element("lines").checked = state.lines;
  element("trails").checked = state.trails;
  element("since").textContent = views[state.from].label;
  const columns = Object.keys(data.columns);
  options(element("colour"), [["rank", "rank"], ...columns.map((name) => [name, name])], state.colour);
  options(element("column"), [["", "any"], ...columns.map((name) => [name, name])], state.column);
  element("column").parentElement.hidden = !columns.length;
  element("values").hidden = !state.column;
  options(element("value"), [["", "any"], ...(columnGroups[state.column]?.names ?? []).map((name) => [name, name])], state.value);
  options(element("fate"), [["", "any"], ...FATES.map((name) => [name, name])], state.fate);
  for (const name of ["from", "to"]) options(element(name), views.map((view, at) => [String(at), at === bestAt ? `${view.label} (best)` : view.label]), String(state[name]));
  const count = visible.filter(Boolean).length;
  element("found").textContent = count === nQueries ? `${nQueries} queries` : `${count} of ${nQueries} queries shown`;
  drawChips();
}
function drawChips() {
  const ranks = views[state.at].ranks;
  const focus = document.activeElement?.dataset?.band;
  const chips = BANDS.map((band, place) => {
    const mark = make("span", { className: "dot" }), count = ranks.filter((rank) => bandOf(rank) === place).length;
    mark.style.background = colours[`band${place}`];
    const chip = make("button", { type: "button", className: "chip", "aria-pressed": String(!state.hidden.has(place)), title: "show or hide" }, mark, `${band.name}: ${count}`);
    chip.dataset.band = place;
    chip.addEventListener("click", () => {
      const hidden = new Set(state.hidden);
      if (!hidden.delete(place)) hidden.add(place);
      choose({ hidden });
    });
    return chip;
  });
  const groups = columnGroups[state.colour];
  const keys = groups ? [make("span", { className: "quiet", textContent: `coloured by ${state.colour}:` }), ...groups.names.slice(0, 8).map((name, place) => {
    const mark = make("span", { className: "dot" });
    mark.style.background = colours.groups[place];
    return make("span", { className: "chip" }, mark, make("span", { className: "text", textContent: name }));
  }), ...(groups.names.length > 8 ? [make("span", { className: "quiet", textContent: `and ${groups.names.length - 8} more in grey` })] : [])] : [];
  element("bands").replaceChildren(...chips, ...keys);
  if (focus !== undefined) element("bands").querySelector(`[data-band="${focus}"]`)?.focus();
}
drawers.push(drawControls);

for (const [method, name] of Object.entries(METHODS)) {
  const button = make("button", { type: "button", value: method, textContent: name });
  button.addEventListener("click", () => choose({ map: method }));
  element("methods").append(button);
}
const go = (at) => choose({ at: Math.max(0, Math.min(views.length - 1, at)) });
element("epoch").addEventListener("input", (event) => go(Number(event.target.value)));
element("back").addEventListener("click", () => go(state.at - 1));
element("next").addEventListener("click", () => go(state.at + 1));
element("search").addEventListener("input", (event) => choose({ search: event.target.value }));
for (const name of ["colour", "value", "fate"]) element(name).addEventListener("change", (event) => choose({ [name]: event.target.value }));
element("column").addEventListener("change", (event) => choose({ column: event.target.value, value: "" }));
for (const name of ["lines", "trails"]) element(name).addEventListener("change", (event) => choose({ [name]: event.target.checked }));
for (const name of ["from", "to"]) element(name).addEventListener("change", (event) => choose({ [name]: Number(event.target.value) }));

let player = 0;
function pause() {
  clearInterval(player);
  player = 0;
  element("play").textContent = "▶";
  element("play").setAttribute("aria-label", "Play through the epochs");
}
element("play").addEventListener("click", () => {
  if (player) { pause(); return; }
  if (state.at === views.length - 1) go(0);
  element("play").textContent = "❚❚";
  element("play").setAttribute("aria-label", "Pause");
  player = setInterval(() => { if (state.at < views.length - 1) go(state.at + 1); else pause(); }, 900);
});

element("title").textContent = data.title;
element("facts").textContent = `${data.subset.n_queries.toLocaleString("en")} queries of ${data.subset.n_available.toLocaleString("en")}, ${data.subset.n_documents.toLocaleString("en")} documents${data.subset.n_corpus ? ` + ${data.subset.n_corpus.toLocaleString("en")} of the corpus` : ""} · subset ${data.subset.fingerprint}, seed ${data.subset.seed} · ${views.length} ${views.length === 1 ? "evaluation" : "evaluations"}`;
element("foot").textContent = [...data.notes, ...Object.entries(views.at(-1).provenance).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`)].join(" · ");
// What tells evaluations apart says nothing of a single one.
for (const part of document.querySelectorAll(".several")) part.hidden = views.length < 2;
readColours();
readAddress();
draw();
let resized = 0;
new ResizeObserver(() => { cancelAnimationFrame(resized); resized = requestAnimationFrame(() => { if (placed) paint(); drawCarpet(); }); }).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
window.addEventListener("hashchange", () => { readAddress(); draw(); });
