// Two evaluations against each other: the leaderboard of runs, every query's rank in both, and what both found for the chosen one.
function drawBoard() {
  element("board").hidden = !data.board;
  if (!data.board) return;
  const kind = (place) => place > 0 && place < 4 ? "number" : place ? "short" : "text";
  const lines = data.board.lines.map((cells) => cells.map((cell, place) => place ? cell : make("b", { textContent: cell })));
  const members = Object.entries(data.board.members).map(([label, runs]) => paragraph(`${label}: ${runs.join(", ")}`, "quiet text"));
  element("boardtable").replaceChildren(...data.board.said.map((said) => paragraph(`${said.slice(0, 1).toUpperCase()}${said.slice(1)}.`, "text")),
    scrolled(table(data.board.heads.map((head, place) => [head, kind(place)]), lines)), ...members);
}

const TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000, 100000];
function drawScatter() {
  const [before, after] = [views[state.from], views[state.to]], size = 420, [left, low] = [44, 38];
  const ranks = [...before.ranks, ...after.ranks].filter(finite), deepest = Math.max(10, ...ranks);
  const along = (rank) => Math.log(Math.min(rank ?? deepest, deepest)) / Math.log(deepest);
  const x = (rank) => left + 8 + (size - left - 20) * along(rank), y = (rank) => size - low - 8 - (size - low - 20) * along(rank);
  const svg = shape("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": `Rank of every query at ${before.label} and at ${after.label}` });
  for (const tick of TICKS.filter((one) => one <= deepest)) svg.append(
    shape("line", { x1: x(tick), x2: x(tick), y1: 12, y2: size - low, stroke: colours.line }), shape("text", { x: x(tick), y: size - low + 14, "text-anchor": "middle" }, tick),
    shape("line", { x1: left, x2: size - 12, y1: y(tick), y2: y(tick), stroke: colours.line }), shape("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, tick));
  svg.append(shape("line", { x1: x(1), y1: y(1), x2: x(deepest), y2: y(deepest), stroke: colours.quiet, "stroke-dasharray": "4 3" }),
    shape("text", { x: (size + left) / 2, y: size - 4, "text-anchor": "middle" }, `rank at ${before.label}`.slice(0, 60)),
    shape("text", { x: 12, y: size / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${size / 2})` }, `rank at ${after.label}`.slice(0, 60)));
  // Queries of the same two ranks are one disc, the larger the more there are.
  const places = new Map();
  for (let row = 0; row < nQueries; row++) if (visible[row]) {
    const key = `${before.ranks[row]} ${after.ranks[row]}`;
    places.set(key, [...(places.get(key) ?? []), row]);
  }
  for (const rows of [...places.values()].sort((a, b) => b.length - a.length)) {
    const [one, other] = [before.ranks[rows[0]], after.ranks[rows[0]]], gain = (one ?? Infinity) - (other ?? Infinity);
    const dot = shape("circle", { class: "pick", cx: x(one), cy: y(other), r: 3 + Math.min(11, Math.sqrt(rows.length)), fill: gain > 0 ? colours.good : gain < 0 ? colours.bad : colours.quiet, "fill-opacity": .55, stroke: rows.includes(state.query) ? colours.ink : "none", "stroke-width": 2 });
    dot.append(shape("title", {}, `${rankWords(one)} → ${rankWords(other)}: ${rows.length} ${rows.length === 1 ? "query" : "queries"}\n${rows.slice(0, 5).map((row) => data.queries[row]).join("\n")}`));
    // The next of them each time it is clicked.
    dot.addEventListener("click", () => choose({ query: rows[(rows.indexOf(state.query) + 1) % rows.length] }));
    svg.append(dot);
  }
  element("scatter").replaceChildren(make("h3", { textContent: "Every query's rank" }), svg, none("Below the dashed line a query is better at the second; a disc holds all queries of the same two ranks, and a click chooses one after the other."));
}

function drawBeside() {
  const row = state.query, title = make("h3", { textContent: row < 0 ? "No query chosen" : "What both found" });
  if (row < 0) { element("beside").replaceChildren(title, none("Choose a disc, or a query in a list, to read both lists of ten.")); return; }
  const lists = [state.from, state.to].map((at) => make("div", {}, make("h3", { textContent: `${views[at].label}: rank ${rankWords(views[at].ranks[row])}` }), foundList(at, row)));
  element("beside").replaceChildren(title, paragraph(data.queries[row]), make("div", { className: "two lists" }, ...lists));
}
drawers.push(drawBoard, drawScatter, drawBeside);
