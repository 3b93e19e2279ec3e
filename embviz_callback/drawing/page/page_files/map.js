// The map: documents as hollow diamonds, queries as discs, one frame for all epochs.
const canvas = element("map"), tip = element("tip");
const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
const eye = { x: 0, y: 0, zoom: 1 };
let placed = null, placedFor = "", flight = 0, hovered = -1, visible = [];

function prepare(target, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 3), width = target.clientWidth;
  if (target.width !== Math.round(width * ratio) || target.height !== Math.round(height * ratio)) {
    target.width = Math.round(width * ratio);
    target.height = Math.round(height * ratio);
  }
  const pen = target.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

function toScreen(places, point) {
  const frame = frames[state.map], [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const scale = eye.zoom * Math.min((width / 2 - 16) / frame.wide, (height / 2 - 16) / frame.tall);
  return [width / 2 + (places[2 * point] - frame.x) * scale + eye.x, height / 2 - (places[2 * point + 1] - frame.y) * scale + eye.y];
}

function drawMap() {
  const made = views[detailed(state.at)]?.maps[state.map], goal = coordinates(state.at, state.map);
  element("nomap").hidden = goal !== null;
  element("nomap").textContent = goal ? "" : made?.reason ?? "No such map was made.";
  visible = shown();
  canvas.setAttribute("aria-label", `${METHODS[state.map]} map of ${nQueries} queries and their documents, ${views[state.at].label}`);
  if (!goal) { placed = null; prepare(canvas, canvas.clientHeight); tip.hidden = true; return; }
  cancelAnimationFrame(flight);
  const key = `${state.map}`;
  if (!placed || placedFor !== key || isCalm.matches || document.hidden) { placed = goal; placedFor = key; paint(); return; }
  const start = Float32Array.from(placed), begun = performance.now();
  const move = (now) => {
    const share = Math.min(1, (now - begun) / 320), eased = 1 - (1 - share) ** 3;
    placed = share < 1 ? start.map((value, i) => Number.isNaN(value) ? goal[i] : value + eased * (goal[i] - value)) : goal;
    paint();
    if (share < 1) flight = requestAnimationFrame(move);
  };
  flight = requestAnimationFrame(move);
}

function paint() {
  const pen = prepare(canvas, canvas.clientHeight), nDocuments = placed.length / 2 - nQueries;
  const screen = Array.from({ length: placed.length / 2 }, (_, point) => toScreen(placed, point));
  const isBusy = visible.some((is) => !is);
  if (state.trails && state.from !== state.at) drawTrails(pen, screen);
  if (state.lines) drawLines(pen, screen);
  pen.lineWidth = 1.2;
  pen.strokeStyle = colours.document;
  pen.globalAlpha = isBusy ? 2.5 * colours.fade : .8;
  for (let d = 0; d < nDocuments; d++) {
    const [x, y] = screen[nQueries + d];
    pen.beginPath();
    for (const [across, down] of [[0, -3.6], [3.6, 0], [0, 3.6], [-3.6, 0]]) pen.lineTo(x + across, y + down);
    pen.closePath();
    pen.stroke();
  }
  // Wrong ones are drawn last: they are what one looks for.
  const order = [...data.queries.keys()].sort((a, b) => visible[a] - visible[b] || (views[state.at].ranks[a] ?? 1e9) - (views[state.at].ranks[b] ?? 1e9));
  const isSearch = state.search.trim() !== "";
  for (const row of order) {
    const [x, y] = screen[row];
    pen.globalAlpha = visible[row] ? .92 : colours.fade;
    pen.fillStyle = colourOf(row);
    pen.beginPath();
    pen.arc(x, y, visible[row] && isSearch ? 6 : 4.2, 0, 7);
    pen.fill();
    pen.lineWidth = 1;
    pen.strokeStyle = colours.card;
    pen.stroke();
  }
  pen.globalAlpha = 1;
  for (const point of new Set([state.query, hovered])) if (point >= 0) drawFocus(pen, screen, point);
  showTip(screen);
}

function line(pen, from, to) {
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
}
const pointOfDocument = new Map(data.shown_documents.map((row, place) => [row, nQueries + place]));

function drawLines(pen, screen) {
  pen.lineWidth = 1;
  const isBusy = visible.some((is) => !is);
  for (let row = 0; row < nQueries; row++) {
    if (!visible[row]) continue;
    pen.strokeStyle = colourOf(row);
    pen.globalAlpha = isBusy ? .6 : .28;
    for (const answer of data.positives[row]) line(pen, screen[row], screen[pointOfDocument.get(answer)]);
  }
}

function drawTrails(pen, screen) {
  const before = coordinates(state.from, state.map);
  if (!before) return;
  pen.strokeStyle = pen.fillStyle = colours.quiet;
  pen.lineWidth = 1;
  for (let row = 0; row < nQueries; row++) {
    if (!visible[row] || Number.isNaN(before[2 * row])) continue;
    const [x, y] = toScreen(before, row), [u, v] = screen[row], long = Math.hypot(u - x, v - y);
    if (long < 6) continue;
    pen.globalAlpha = .35;
    line(pen, [x, y], [u, v]);
    const [a, b] = [(u - x) / long, (v - y) / long];
    pen.beginPath();
    pen.moveTo(u - 4 * a, v - 4 * b);
    pen.lineTo(u - 11 * a - 3.5 * b, v - 11 * b + 3.5 * a);
    pen.lineTo(u - 11 * a + 3.5 * b, v - 11 * b - 3.5 * a);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function drawFocus(pen, screen, point) {
  const [x, y] = screen[point];
  pen.lineWidth = 2;
  if (point < nQueries) {
    pen.strokeStyle = colours.good;
    for (const answer of data.positives[point]) line(pen, [x, y], screen[pointOfDocument.get(answer)]);
    const first = pointOfDocument.get(views[state.at].firsts[point]);
    if (first !== undefined && views[state.at].ranks[point] !== 1) {
      pen.strokeStyle = colours.bad;
      pen.setLineDash([5, 4]);
      line(pen, [x, y], screen[first]);
      pen.setLineDash([]);
    }
  }
  pen.strokeStyle = colours.ink;
  pen.beginPath();
  pen.arc(x, y, 8.5, 0, 7);
  pen.stroke();
}

const paragraph = (text, name = "text") => make("p", { className: name, textContent: text });

function showTip(screen) {
  const point = hovered >= 0 ? hovered : state.query;
  tip.hidden = point < 0 || !screen[point] || Number.isNaN(screen[point][0]);
  if (tip.hidden) return;
  const [x, y] = screen[point];
  tip.replaceChildren(...(point < nQueries ? queryWords(point) : documentWords(point - nQueries)));
  tip.style.left = `${Math.max(4, Math.min(x + 14, canvas.clientWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${y + 14 + tip.offsetHeight > canvas.clientHeight ? Math.max(4, y - 14 - tip.offsetHeight) : y + 14}px`;
  tip.dataset.x = x.toFixed(1);
  tip.dataset.y = y.toFixed(1);
}
function queryWords(row) {
  const rank = views[state.at].ranks[row];
  const words = [paragraph(data.queries[row]), paragraph(`rank ${rankWords(rank)} at ${views[state.at].label}`, "quiet")];
  if (rank !== 1) words.push(paragraph(`came first: ${documentText(views[state.at].firsts[row])}`, "text bad"));
  words.push(paragraph(`expected: ${documentText(data.positives[row][0])}`, "text good"));
  return words;
}
function documentWords(place) {
  const row = data.shown_documents[place], asking = data.positives.filter((answers) => answers.includes(row)).length;
  return [paragraph(documentText(row)), paragraph(`document; answers ${asking} ${asking === 1 ? "query" : "queries"}`, "quiet")];
}

function nearest(event) {
  if (!placed) return -1;
  const box = canvas.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let best = -1, least = 13;
  for (let point = 0; point < placed.length / 2; point++) {
    if (point < nQueries && !visible[point]) continue;
    const [u, v] = toScreen(placed, point), distance = Math.hypot(u - x, v - y) + (point < nQueries ? 0 : 2);
    if (distance < least) { least = distance; best = point; }
  }
  return best;
}

function look(zoom, x = 0, y = 0) {
  const next = Math.max(1, Math.min(40, zoom)), ratio = next / eye.zoom;
  Object.assign(eye, next === 1 ? { x: 0, y: 0, zoom: 1 } : { x: x + (eye.x - x) * ratio, y: y + (eye.y - y) * ratio, zoom: next });
  if (placed) paint();
}

let grip = null;
canvas.addEventListener("pointerdown", (event) => { grip = { x: event.clientX, y: event.clientY, moved: false, eye: { ...eye } }; canvas.setPointerCapture(event.pointerId); });
canvas.addEventListener("pointermove", (event) => {
  if (grip && eye.zoom > 1 && Math.hypot(event.clientX - grip.x, event.clientY - grip.y) > 4) {
    grip.moved = true;
    eye.x = grip.eye.x + event.clientX - grip.x;
    eye.y = grip.eye.y + event.clientY - grip.y;
    paint();
    return;
  }
  const point = nearest(event);
  if (point !== hovered) { hovered = point; if (placed) paint(); }
});
canvas.addEventListener("pointerup", (event) => {
  if (grip && !grip.moved) {
    const point = nearest(event);
    const owner = point < nQueries ? point : data.positives.findIndex((answers) => answers.includes(data.shown_documents[point - nQueries]));
    choose({ query: owner });
  }
  grip = null;
});
canvas.addEventListener("pointerleave", () => { if (hovered >= 0) { hovered = -1; if (placed) paint(); } });
canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;  // plain scrolling belongs to the page
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  look(eye.zoom * Math.exp(-event.deltaY / 300), event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const candidates = [...data.queries.keys()].filter((row) => visible[row]);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (step && candidates.length) {
    event.preventDefault();
    const place = candidates.indexOf(state.query);
    choose({ query: candidates[(place + step + candidates.length) % candidates.length] });
  }
  if (event.key === "Escape") choose({ query: -1 });
});
element("closer").addEventListener("click", () => look(eye.zoom * 1.6));
element("wider").addEventListener("click", () => look(eye.zoom / 1.6));
element("whole").addEventListener("click", () => look(1));

function drawMapNote() {
  const at = detailed(state.at), made = views[at]?.maps[state.map], words = [];
  if (made?.points) {
    words.push(`trustworthiness ${fixed(made.trustworthiness)}`, `continuity ${fixed(made.continuity)}`);
    if (finite(made.displacement)) words.push(`mean displacement since the last map ${fixed(made.displacement)} of its radius`);
    words.push(made.parameter, `seed ${made.seed}`, made.note);
  }
  if (at !== state.at) words.unshift(`the map, lists, heatmap and distribution are of ${views[at]?.label ?? "no evaluation"}: those of ${views[state.at].label} were left out to keep this file small`);
  element("mapnote").textContent = words.filter(Boolean).join(" · ");
}
drawers.push(drawMap, drawMapNote);
