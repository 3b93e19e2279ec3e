// Tiles, tables and lists of the chosen evaluation.
const bandWord = (name, value) => {
  if (!finite(value)) return "";
  const place = data.bands[name].findIndex((edge, i) => i ? value >= edge : value > edge);
  return data.band_names[place < 0 ? data.band_names.length - 1 : place];
};
const GRADE = { excellent: "good", good: "good", fair: "warn", poor: "bad", bad: "bad" };
const interval = (ends, scale = 1, digits = 3) => ends && finite(ends[0]) && finite(ends[1]) ? `${fixed(scale * ends[0], digits)} to ${fixed(scale * ends[1], digits)}` : "";

function tile(name, value, below, mark = "") {
  const made = make("div", { className: "tile" }, make("span", { textContent: name.slice(0, 1).toUpperCase() + name.slice(1) }), make("b", { textContent: value }));
  const line = make("span");
  if (mark) line.append(make("span", { className: `mark ${GRADE[mark]}`, textContent: mark }), below ? " · " : "");
  line.append(below);
  made.append(line);
  return made;
}
const UNITS = { share: [100, " %"], sigma: [1, " σ"] };
function written(name, value, signed = false) {
  const { unit, decimals } = CATALOGUE.metrics[name], [scale, mark] = UNITS[unit] ?? [1, ""];
  const digits = fixed(finite(value) ? scale * value : value, decimals);
  return `${signed && finite(value) && !digits.startsWith("−") ? "+" : ""}${digits}${finite(value) ? mark : ""}`;
}
function step(name) {
  const now = views[state.at].metrics[name], before = views[state.at - 1]?.metrics[name];
  return finite(now) && finite(before) ? `${written(name, now - before, true)} since ${views[state.at - 1].label}` : "";
}
function below(name, view) {
  const { unit, decimals } = CATALOGUE.metrics[name], spread = view.metrics[name.replace("_mean", "_std")];
  if (name.endsWith("_mean")) return `± ${fixed(spread, decimals)}`;
  const ends = unit === "share" && interval(view.intervals[name], 100, decimals);
  return ends ? `95 %: ${ends}` : step(name);
}

function drawTiles() {
  const view = views[state.at], m = view.metrics;
  element("tiles").replaceChildren(...CATALOGUE.compared.filter((name) => name in m).map((name) =>
    tile(CATALOGUE.metrics[name].title, written(name, m[name]), below(name, view), data.bands[name] ? bandWord(name, m[name]) : "")));
  const verdict = element("verdict"), word = view.diagnosis.verdict;
  verdict.textContent = `${view.label}: ${word}`;
  verdict.className = `verdict ${{ healthy: "good", "compressed scale": "warn", undertrained: "warn", "suspicious data": "warn", "cannot judge": "warn" }[word] ?? "bad"}`;
  const reason = view.diagnosis.reason;
  element("reason").textContent = `${reason.slice(0, 1).toUpperCase()}${reason.slice(1)}. ${word === "healthy" ? "" : `Advice: ${view.diagnosis.advice}.`}`;
  element("where").textContent = `${view.label}${view.step === null ? "" : ` · step ${view.step}`}`;
}

const queryButton = (row) => {
  const made = make("button", { type: "button", className: "link text", textContent: data.queries[row] });
  made.addEventListener("click", () => choose({ query: row }));
  return made;
};
function table(heads, lines) {
  const head = make("tr", {}, ...heads.map(([name, kind]) => make("th", { scope: "col", className: kind ?? "text", textContent: name })));
  const body = lines.map((cells) => make("tr", {}, ...cells.map((cell, place) => make("td", { className: heads[place][1] ?? "text" }, cell))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}
const none = (text) => make("p", { className: "quiet", textContent: text });

let listed = 20;
function drawWorst() {
  const view = views[detailed(state.at)], list = element("worst"), unit = view.unit ?? 1, score = view.similarity ?? "cosine";
  const wrong = [...data.queries.keys()].filter((row) => visible[row] && view.ranks[row] !== 1)
    .sort((a, b) => (view.ranks[b] ?? Infinity) - (view.ranks[a] ?? Infinity) || view.gaps?.[b] - view.gaps?.[a] || a - b);
  if (!wrong.length) { list.replaceChildren(none("Every query shown finds a right document first.")); return; }
  const lines = wrong.slice(0, listed).map((row) => [
    rankWords(view.ranks[row]), queryButton(row), documentText(view.answers ? view.answers[row] : data.positives[row][0]), fixed(view.scores?.[row] / 1e4 * unit, 3),
    documentText(view.firsts[row]), fixed((view.scores?.[row] + view.gaps?.[row]) / 1e4 * unit, 3)]);
  const more = make("button", { type: "button", className: "more", textContent: `show all ${wrong.length}` });
  more.addEventListener("click", () => { listed = Infinity; drawWorst(); });
  const made = table([["rank", "number"], ["query"], ["expected"], [score, "number"], ["came first"], [score, "number"]], lines);
  list.replaceChildren(make("div", { className: "scroll", tabIndex: 0 }, made), ...(wrong.length > listed ? [more] : []));
}

// The ten best documents of a query at an evaluation, the right ones marked.
function foundList(at, row) {
  const view = views[detailed(at)], top = rows(view).subarray(view.depth * row, view.depth * (row + 1)), scores = integers(view.top_scores).subarray(view.depth * row, view.depth * (row + 1));
  const list = make("ol");
  top.forEach((found, place) => {
    if (found < 0) return;
    list.append(make("li", { className: data.positives[row].includes(found) ? "text right" : "text" }, `${documentText(found)} `, make("span", { className: "score", textContent: (scores[place] / 32767 * (view.unit ?? 1)).toFixed(3) })));
  });
  return list;
}

function drawDetail() {
  const row = state.query, panel = element("detail");
  if (row < 0) { panel.replaceChildren(make("h3", { textContent: "No query chosen" }), none("Choose a point or a query in a list to read what it found. On the map a disc is a query, a hollow diamond a document, a line joins a query with its right document."), legend()); return; }
  const view = views[detailed(state.at)], list = foundList(state.at, row);
  const facts = Object.entries(data.columns).filter(([, values]) => values[row] !== null).map(([name, values]) => `${name}: ${values[row]}`);
  if (data.ids[row] !== null) facts.unshift(`id ${data.ids[row]}`);
  const close = make("button", { type: "button", className: "link quiet", textContent: "choose none" });
  close.addEventListener("click", () => choose({ query: -1 }));
  panel.replaceChildren(paragraph(data.queries[row]), ...(facts.length ? [paragraph(facts.join(" · "), "quiet text")] : []),
    make("h3", { textContent: `rank ${rankWords(views[state.at].ranks[row])} · ${fates[row]} over the run` }), rankLine(row),
    make("h3", { textContent: data.positives[row].length > 1 ? "Expected, any of" : "Expected" }), ...data.positives[row].map((answer) => paragraph(documentText(answer), "text good")),
    make("h3", { textContent: `What it found at ${view.label}` }), list, close);
}
function legend() {
  const lines = ["query", "document"].map((name, place) => {
    const mark = make("span", { className: place ? "dot diamond" : "dot" });
    if (!place) mark.style.background = colours.band0;
    return make("span", { className: "chip" }, mark, name);
  });
  return make("p", {}, ...lines);
}
function rankLine(row) {
  const [width, height] = [320, 84], deepest = Math.max(10, ...views.map((view) => view.ranks[row] ?? 0));
  const x = (at) => 26 + (width - 36) * (views.length > 1 ? at / (views.length - 1) : .5), y = (rank) => 10 + (height - 26) * Math.log(Math.min(rank ?? deepest, deepest)) / Math.log(deepest);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Rank over the run" });
  for (const rank of [1, 10, 100, 1000].filter((one) => one <= deepest)) svg.append(shape("line", { x1: 26, x2: width - 8, y1: y(rank), y2: y(rank), stroke: colours.line }), shape("text", { x: 20, y: y(rank) + 4, "text-anchor": "end" }, rank));
  svg.append(shape("path", { d: `M${views.map((view, at) => `${x(at)},${y(view.ranks[row])}`).join("L")}`, fill: "none", stroke: colours.quiet, "stroke-width": 1.3 }));
  views.forEach((view, at) => {
    const dot = shape("circle", { cx: x(at), cy: y(view.ranks[row]), r: at === state.at ? 5 : 3, fill: colours[`band${bandOf(view.ranks[row])}`], stroke: at === state.at ? colours.ink : "none" });
    dot.append(shape("title", {}, `${view.label}: rank ${rankWords(view.ranks[row])}`));
    svg.append(dot);
  });
  return svg;
}

function changeList(place, title, found) {
  const items = found.map((row) => make("li", {}, queryButton(row),
    make("p", { className: "quiet text", textContent: `${views[state.from].label}: rank ${rankWords(views[state.from].ranks[row])}, first ${documentText(views[state.from].firsts[row])}` }),
    make("p", { className: "quiet text", textContent: `${views[state.to].label}: rank ${rankWords(views[state.to].ranks[row])}, first ${documentText(views[state.to].firsts[row])}` })));
  element(place).replaceChildren(make("h3", { textContent: `${title} (${found.length})` }), make("div", { className: "scroll", tabIndex: 0 }, make("ul", { className: "plain" }, ...items)));
}
function drawDifference() {
  const { improved, fell } = changes(state.from, state.to), [before, after] = [views[state.from], views[state.to]];
  const p = chanceOf(state.from, state.to), said = p === null ? "too few groups of queries to tell" : `p = ${p < .001 ? p.toExponential(1) : p.toFixed(3)}${data.is_chained ? ", approximate, as nearly all queries hang together by shared documents" : ""}`;
  element("diffline").textContent = `From ${before.label}${state.from === bestAt ? " (the best)" : ""} to ${after.label}: ${improved.length} improved, ${fell.length} fell; ${said}, of this one pair alone.${state.from === bestAt && data.best.sentence ? ` ${data.best.sentence}.` : ""}`;
  const names = CATALOGUE.compared.filter((name) => name in after.metrics);
  element("difftable").replaceChildren(table([["metric"], [before.label, "number"], [after.label, "number"], ["change", "number"]],
    names.map((name) => [CATALOGUE.metrics[name].title, ...[before, after].map((view) => written(name, view.metrics[name])), written(name, after.metrics[name] - before.metrics[name], true)])));
  changeList("improved", "Improved", improved);
  changeList("fell", "Fell", fell);
}

function drawVerdicts() {
  const view = views[state.at];
  const lines = view.checks.map((check) => {
    const kind = { passed: "good", failed: "bad" }[check.outcome] ?? "warn";
    return [make("span", { className: kind, textContent: `${{ good: "✓", bad: "✗", warn: "–" }[kind]} ${check.outcome}` }), check.name.replaceAll("_", " "), check.reason];
  });
  element("checks").replaceChildren(lines.length ? table([["result", "short"], ["check"], ["found"]], lines) : none("No checklist was made for this evaluation."));
  const said = data.alerts.map((text) => make("li", { className: "text", textContent: text }));
  element("alerts").replaceChildren(said.length ? make("ul", { className: "plain" }, ...said) : none("No alert in this run."));
  const cells = Object.entries(view.metrics).map(([name, value]) => {
    const ends = interval(view.intervals[name]);
    return make("div", {}, make("span", { textContent: name }), make("span", { textContent: `${fixed(value, 4)}${ends ? ` (${ends})` : ""}` }));
  });
  element("metrics").replaceChildren(make("div", { className: "cols" }, ...cells));
}
drawers.push(drawTiles, drawWorst, drawDetail, drawDifference, drawVerdicts);
