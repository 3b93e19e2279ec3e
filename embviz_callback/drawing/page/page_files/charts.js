// Lines over the run, the distribution, the heatmap and the carpet of ranks.
const SVG = "http://www.w3.org/2000/svg";
function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function colourKey(colour, text) {
  const mark = make("i");
  mark.style.background = colours[colour];
  return make("span", { className: "key" }, mark, text);
}
// A threshold of the checklist brings a mark, and the interval of its metric.
const CHART_COLOURS = [["positive"], ["positive", "negative"], ["positive", "third", "negative"]];
const chartColour = (place, n) => CHART_COLOURS[Math.min(n, 3) - 1][place % 3];
function metricChart(chart) {
  const rows = chart.metrics.map((name) => ({ name, ...CATALOGUE.metrics[name] })), asked = rows.filter(({ name }) => name in data.thresholds);
  return { ...chart, bands: data.bands[rows[0].name],
    series: rows.map(({ name, title }, place) => [title, (view) => view.metrics[name], chartColour(place, rows.length), name in data.thresholds ? name : "", (value) => written(name, value)]),
    marks: [...asked.map(({ name, title, better }) => [data.thresholds[name], `${rows.length > 1 ? `${title} ` : ""}${better === "lower" ? "below" : "above"}`]), [chart.line, ""]] };
}
const TRUST = { title: "Truth of the maps", marks: [], low: null, high: 1,
  series: Object.entries(METHODS).map(([key, name], place, all) => [name, (view) => view.maps[key]?.trustworthiness, chartColour(place, all.length), "", fixed]) };
const CHARTS = [...CATALOGUE.charts.map(metricChart), TRUST]
  .filter((chart) => chart.series.some(([, read]) => views.some((view) => finite(read(view)))));

// About four round numbers between two ends.
function ticks(least, most) {
  const rough = (most - least) / 4 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const wide = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(wide) + 1e-9)), found = [];
  for (let i = Math.ceil(least / wide - 1e-9); i * wide <= most + 1e-9; i++) found.push([i * wide, fixed(i * wide, digits)]);
  return found;
}

function lineChart(chart) {
  const [width, height, left, right, top, low] = [360, 170, 38, 10, 8, 24];
  const values = chart.series.flatMap(([, read, , name]) => views.flatMap((view) => [read(view), ...(view.intervals[name] ?? [])])).concat(chart.marks.map(([value]) => value)).filter(finite);
  let [least, most] = [Math.min(chart.low ?? Infinity, ...values), Math.max(...values)];
  const room = (most - least || 1) * .06;
  [least, most] = [least === chart.low ? least : least - room, Math.min(most + room, chart.high ?? Infinity)];
  const x = (at) => left + (width - left - right) * (views.length > 1 ? at / (views.length - 1) : .5);
  const y = (value) => top + (height - top - low) * (1 - (Math.max(least, Math.min(most, value)) - least) / (most - least));
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${chart.title} over the run` });
  (chart.bands ?? []).forEach((edge, place) => {
    const upper = place ? chart.bands[place - 1] : most;
    if (edge < most && place % 2 === 0) svg.append(shape("rect", { x: left, width: width - left - right, y: y(upper), height: Math.max(0, y(Math.max(edge, least)) - y(upper)), fill: colours.soft }));
    if (edge < most && edge >= least) svg.append(shape("text", { x: width - right - 2, y: y(edge) - 3, "text-anchor": "end", opacity: .8 }, data.band_names[place]));
  });
  for (const [value, text] of ticks(least, most)) svg.append(shape("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), stroke: colours.line }), shape("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, text));
  for (const [value, name] of chart.marks) if (finite(value)) {
    const mark = shape("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), stroke: colours.quiet, "stroke-dasharray": "4 3" });
    mark.append(shape("title", {}, `${name} ${value}`));
    svg.append(mark);
  }
  const every = Math.ceil(views.length / 10);
  views.forEach((view, at) => { if (at % every === 0) svg.append(shape("text", { x: x(at), y: height - 7, "text-anchor": "middle" }, shortName(view))); });
  svg.append(shape("line", { class: "now", x1: x(state.at), x2: x(state.at), y1: top, y2: height - low, stroke: colours.ink, "stroke-opacity": .45 }));
  for (const [, read, colour, name] of chart.series) {
    const ends = views.map((view, at) => [at, ...(view.intervals[name] ?? [])]).filter(([, down, up]) => finite(down) && finite(up));
    if (ends.length > 1) svg.append(shape("path", { d: `M${ends.map(([at, , up]) => `${x(at)},${y(up)}`).join("L")}L${ends.reverse().map(([at, down]) => `${x(at)},${y(down)}`).join("L")}Z`, fill: colours[colour], opacity: .16 }));
    let path = "", isDown = false;
    views.forEach((view, at) => {
      const value = read(view);
      if (finite(value)) path += `${isDown ? "L" : "M"}${x(at).toFixed(1)},${y(value).toFixed(1)}`;
      isDown = finite(value);
    });
    svg.append(shape("path", { d: path, fill: "none", stroke: colours[colour], "stroke-width": 2, "stroke-linejoin": "round" }));
    const now = read(views[state.at]);
    if (finite(now)) svg.append(shape("circle", { cx: x(state.at), cy: y(now), r: 4, fill: colours[colour], stroke: colours.card, "stroke-width": 1.5 }));
  }
  const wide = (width - left - right) / Math.max(views.length - 1, 1);
  views.forEach((view, at) => {
    const area = shape("rect", { class: "hit", x: x(at) - wide / 2, y: top, width: wide, height: height - top - low });
    area.append(shape("title", {}, `${view.label}: ${chart.series.map(([name, read, , , say]) => `${name} ${say(read(view))}`).join(", ")}`));
    area.addEventListener("click", () => choose({ at }));
    svg.append(area);
  });
  const caption = make("figcaption", {}, chart.title);
  for (const [name, read, colour, , say] of chart.series) {
    caption.append(colourKey(colour, `${chart.series.length > 1 ? `${name} ` : ""}${say(read(views[state.at]))}`));
  }
  return make("figure", {}, caption, svg);
}
drawers.push(() => element("charts").replaceChildren(...CHARTS.map(lineChart)));

const densities = views.map((view) => view.histogram && ["negative", "positive"].map((name) => {
  const counts = view.histogram[name], total = counts.reduce((a, b) => a + b, 0), wide = (view.histogram.high - view.histogram.low) / counts.length;
  return counts.map((count) => total ? count / total / wide : 0);
}));
// A collapsed epoch is one spike: the axis fits the other epochs, and its top is cut.
const peaks = densities.filter(Boolean).map((both) => Math.max(...both.flat())).sort((a, b) => a - b);
const highest = Math.min(peaks.at(-1) ?? 1, 3 * (peaks[Math.floor(peaks.length / 2)] ?? 1)) || 1;

function drawDistribution() {
  const at = detailed(state.at), view = views[at];
  if (!view?.histogram) { element("distribution").textContent = "No distribution was made."; return; }
  const [width, height, low] = [480, 400, 34], { low: from, high: to } = view.histogram;
  const used = views.flatMap((one) => one.histogram ? [one.histogram.low, one.histogram.high] : []);
  const [least, most] = [Math.min(...used), Math.max(...used)];
  const x = (value) => 10 + (width - 20) * (value - least) / (most - least || 1), y = (value) => (height - low) * (1 - Math.min(value, highest) / highest) + 4;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Cosine similarity of positive and negative pairs, ${view.label}` });
  for (let tick = Math.ceil(least * 5) / 5; tick <= most + 1e-9; tick += .2) svg.append(shape("line", { x1: x(tick), x2: x(tick), y1: 4, y2: height - low + 4, stroke: colours.line }), shape("text", { x: x(tick), y: height - 16, "text-anchor": "middle" }, fixed(tick, 1)));
  svg.append(shape("text", { x: width / 2, y: height - 1, "text-anchor": "middle" }, "cosine similarity"));
  ["negative", "positive"].forEach((name, place) => {
    const heights = densities[at][place], wide = (to - from) / heights.length;
    let path = `M${x(Math.max(from, least))},${y(0)}`;
    heights.forEach((value, bin) => {
      const [a, b] = [from + bin * wide, from + (bin + 1) * wide];
      if (b > least - 1e-9 && a < most + 1e-9) path += `L${x(Math.max(a, least)).toFixed(1)},${y(value).toFixed(1)}L${x(Math.min(b, most)).toFixed(1)},${y(value).toFixed(1)}`;
    });
    svg.append(shape("path", { d: `${path}L${x(Math.min(to, most))},${y(0)}Z`, fill: colours[name], "fill-opacity": .38, stroke: colours[name], "stroke-width": 1.4 }));
    const mean = view.metrics[`${name}_mean`];
    if (finite(mean)) svg.append(shape("line", { x1: x(mean), x2: x(mean), y1: 4, y2: height - low + 4, stroke: colours[name], "stroke-width": 1.6, "stroke-dasharray": "5 3" }));
  });
  const caption = make("figcaption");
  for (const name of ["positive", "negative"]) {
    const count = view.histogram[name].reduce((a, b) => a + b, 0);
    caption.append(colourKey(name, `${name} ${fixed(view.metrics[`${name}_mean`])} ± ${fixed(view.metrics[`${name}_std`])} (n = ${count.toLocaleString("en")})`));
  }
  if (Math.max(...densities[at].flat()) > highest) caption.append(make("span", { className: "quiet", textContent: "the peak is cut off" }));
  element("distribution").replaceChildren(make("figure", {}, caption, svg));
}
drawers.push(drawDistribution);

const CIVIDIS = [[0, 32, 77], [0, 48, 111], [56, 67, 108], [87, 93, 109], [112, 113, 115], [137, 134, 120], [167, 156, 117], [199, 181, 107], [228, 207, 91], [254, 232, 56]];
function cividis(share) {
  const place = Math.max(0, Math.min(1, share)) * (CIVIDIS.length - 1), low = Math.min(Math.floor(place), CIVIDIS.length - 2);
  return CIVIDIS[low].map((value, i) => Math.round(value + (place - low) * (CIVIDIS[low + 1][i] - value)));
}
const cosine = (byte) => byte / 127.5 - 1;
// The darkest colour stands for the lowest twentieth of any epoch: a few stray cells must not grey out the rest.
const heatFloor = Math.floor(10 * Math.min(.9, ...views.filter((view) => view.heatmap).map((view) => {
  const sorted = bytes(view.heatmap.cells).sort();
  return cosine(sorted[Math.floor(sorted.length / 20)]);
}))) / 10;
let heatCells = null;

function drawHeat() {
  const view = views[detailed(state.at)], heat = element("heat");
  if (!view?.heatmap) { element("heatnote").textContent = "No heatmap was made."; return; }
  heatCells = bytes(view.heatmap.cells);
  const n = view.heatmap.pairs.length, image = new ImageData(n, n);
  heatCells.forEach((byte, cell) => image.data.set([...cividis((cosine(byte) - heatFloor) / (1 - heatFloor)), 255], 4 * cell));
  heat.width = heat.height = n;
  heat.getContext("2d").putImageData(image, 0, 0);
  heat.setAttribute("aria-label", `Cosines of ${n} queries (rows) and their documents (columns); the right ones are on the diagonal`);
  element("heatnote").textContent = `${n} queries (rows) against their documents (columns), ${view.label}; the right pairs are on the diagonal, and the scale is the same in every epoch. Point at a cell, or go there with the arrow keys, to read it.`;
}
const within = (value, n) => Math.max(0, Math.min(n - 1, value));
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
// A picture of cells that can be read with the arrow keys as with the pointer.
function readable(target, size, tell, act = () => {}) {
  let cell = [0, 0];
  target.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { act(...cell); return; }
    const step = ARROWS[event.key];
    if (!step) return;
    event.preventDefault();
    cell = cell.map((place, i) => within(place + step[i], size()[i]));
    tell(...cell);
  });
}
function tellHeat(column, row) {
  const view = views[detailed(state.at)], pairs = view?.heatmap?.pairs ?? [];
  if (!pairs[row] || !pairs[column]) return;
  const [query, answer] = [pairs[row][0], pairs[column][1]];
  const text = view.heatmap.queries[row] ?? data.queries[query];
  element("heatnote").textContent = `${fixed(cosine(heatCells[row * pairs.length + column]), 2)}${data.positives[query]?.includes(answer) ? " (right)" : ""}: ${text} → ${documentText(answer)}`;
}
element("heat").addEventListener("pointermove", (event) => {
  const box = element("heat").getBoundingClientRect(), n = views[detailed(state.at)]?.heatmap?.pairs.length ?? 0;
  tellHeat(Math.floor((event.clientX - box.left) / box.width * n), Math.floor((event.clientY - box.top) / box.height * n));
});
readable(element("heat"), () => Array(2).fill(views[detailed(state.at)]?.heatmap?.pairs.length ?? 0), tellHeat);
function drawHeatScale() {
  const bar = make("canvas", { width: 140, height: 1 }), image = new ImageData(140, 1);
  for (let i = 0; i < 140; i++) image.data.set([...cividis(i / 139), 255], 4 * i);
  bar.getContext("2d").putImageData(image, 0, 0);
  element("heatscale").replaceChildren(`${fixed(heatFloor, 1)} or less`, bar, "1.0 cosine similarity");
}
drawers.push(drawHeat, drawHeatScale);

// The carpet: a column per query, a line per evaluation, sorted by what became of the query.
const carpetOrder = [...data.queries.keys()].sort((a, b) => FATES.indexOf(fates[a]) - FATES.indexOf(fates[b])
  || views.findIndex((view) => view.ranks[a] === 1) - views.findIndex((view) => view.ranks[b] === 1)
  || (views.at(-1).ranks[a] ?? 1e9) - (views.at(-1).ranks[b] ?? 1e9) || a - b);
const carpetLine = () => Math.max(8, Math.min(22, 280 / views.length));

function drawCarpet() {
  const carpet = element("carpet"), tall = carpetLine(), height = tall * views.length + 20;
  carpet.style.height = `${height}px`;
  const pen = prepare(carpet, height), left = 66, wide = (carpet.clientWidth - left) / nQueries;
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  views.forEach((view, at) => {
    carpetOrder.forEach((row, place) => {
      pen.fillStyle = colours[`band${bandOf(view.ranks[row])}`];
      pen.globalAlpha = visible[row] ? 1 : .25;
      pen.fillRect(left + place * wide, at * tall, wide + .4, tall - 1);
    });
    pen.globalAlpha = 1;
    pen.fillStyle = at === state.at ? colours.ink : colours.quiet;
    if (at === state.at || at % Math.ceil(14 / tall) === 0) pen.fillText(`${at === state.at ? "▸ " : ""}${view.epoch === null ? shortName(view) : `epoch ${view.epoch}`}`, 0, at * tall + tall / 2);
  });
  const chosen = carpetOrder.indexOf(state.query);
  if (chosen >= 0) { pen.strokeStyle = colours.ink; pen.lineWidth = 2; pen.strokeRect(left + chosen * wide - 1, 0, wide + 2, tall * views.length); }
  let start = 0;
  pen.textBaseline = "alphabetic";
  for (const fate of FATES) {
    const count = fates.filter((one) => one === fate).length;
    if (start) { pen.fillStyle = colours.card; pen.fillRect(left + start * wide - 1, 0, 2, height - 18); }
    pen.fillStyle = colours.quiet;
    if (count * wide > pen.measureText(fate).width + 6) pen.fillText(fate, left + start * wide + 3, height - 5);
    start += count;
  }
  carpet.setAttribute("aria-label", `Rank of the right document of ${nQueries} queries at ${views.length} evaluations`);
  element("fates").textContent = FATES.map((fate) => `${fate} ${fates.filter((one) => one === fate).length}`).join(" · ");
}
function carpetPlace(event) {
  const carpet = element("carpet"), box = carpet.getBoundingClientRect();
  return [carpetOrder[Math.floor((event.clientX - box.left - 66) / (box.width - 66) * nQueries)], Math.floor((event.clientY - box.top) / carpetLine())];
}
function tellCarpet(row, at) {
  element("carpetnote").textContent = row === undefined || !views[at] ? CARPET_HELP : `${views[at].label}, rank ${rankWords(views[at].ranks[row])} (${fates[row]}): ${data.queries[row]}`;
}
function pickCarpet(row, at) { if (row !== undefined && views[at]) choose({ query: row, at }); }
element("carpet").addEventListener("pointermove", (event) => tellCarpet(...carpetPlace(event)));
element("carpet").addEventListener("click", (event) => pickCarpet(...carpetPlace(event)));
readable(element("carpet"), () => [nQueries, views.length], (place, at) => tellCarpet(carpetOrder[place], at), (place, at) => pickCarpet(carpetOrder[place], at));
const CARPET_HELP = "A column is a query, a line an evaluation, the colour the rank of the right document as above the map. Always, never: right first at all or none; learned, forgotten: right from some evaluation to the end, or no longer; wavering: lost and found again. The arrow keys read it, Enter chooses.";
element("carpetnote").textContent = CARPET_HELP;
drawers.push(drawCarpet);
