// What is chosen on the page; all of it stands in the address, so that a view can be shared or bookmarked.
const state = {
  at: views.length - 1, map: Object.keys(METHODS).find((method) => frames[method]) ?? Object.keys(METHODS)[0], search: "", hidden: new Set(),
  colour: "rank", column: "", value: "", fate: "", lines: true, trails: false, query: -1, from: bestAt === views.length - 1 ? 0 : bestAt, to: views.length - 1,
};
const defaults = { ...state };
const drawers = [];
const element = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "quiet", "line", "soft", "card", "accent", "good", "bad", "positive", "negative", "third", "document", "band0", "band1", "band2", "band3", "band4"])
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  colours.fade = Number(style.getPropertyValue("--fade"));
  colours.groups = [colours.band1, colours.band2, colours.band0, colours.band4, colours.band3, colours.quiet, "#56b4e9", "#b8a900"];
}

// Places in the run: "epoch=3" is the training epoch 3; evaluations without one are counted, "at=0".
function placeWords(at) {
  const epoch = views[at].epoch;
  const same = views.filter((view) => view.epoch === epoch).length;
  return epoch === null || same > 1 ? ["at", at] : ["epoch", epoch];
}
function placeOf(text) {
  const [kind, number] = text.includes("@") ? ["at", text.slice(1)] : ["epoch", text];
  const at = kind === "at" ? Number(number) : views.findIndex((view) => view.epoch === Number(number));
  return views[at] ? at : -1;
}
const placeText = (at) => placeWords(at)[0] === "at" ? `@${at}` : String(views[at].epoch);

function readAddress() {
  Object.assign(state, defaults, { hidden: new Set() });
  const asked = new URLSearchParams(location.hash.slice(1));
  const place = (name, fallback) => { const at = asked.has(name) ? placeOf(asked.get(name)) : -1; return at >= 0 ? at : fallback; };
  state.at = asked.has("at") && views[Number(asked.get("at"))] ? Number(asked.get("at")) : place("epoch", state.at);
  state.from = place("from", state.from);
  state.to = place("to", state.to);
  if (asked.get("map") in METHODS) state.map = asked.get("map");
  for (const name of ["search", "value"]) if (asked.has(name)) state[name] = asked.get(name);
  for (const name of ["lines", "trails"]) if (asked.has(name)) state[name] = asked.get(name) === "1";
  if (asked.has("column") && asked.get("column") in data.columns) state.column = asked.get("column");
  if (asked.has("colour") && asked.get("colour") in data.columns) state.colour = asked.get("colour");
  if (asked.has("fate") && FATES.includes(asked.get("fate"))) state.fate = asked.get("fate");
  if (asked.has("bands")) state.hidden = new Set([0, 1, 2, 3, 4].filter((band) => !asked.get("bands").includes(band)));
  if (asked.has("query") && data.queries[Number(asked.get("query"))] !== undefined) state.query = Number(asked.get("query"));
}

function writeAddress() {
  const said = new URLSearchParams();
  said.set(...placeWords(state.at));
  said.set("map", state.map);
  if (state.search) said.set("search", state.search);
  if (state.hidden.size) said.set("bands", [0, 1, 2, 3, 4].filter((band) => !state.hidden.has(band)).join(""));
  if (state.colour !== "rank") said.set("colour", state.colour);
  if (state.column) { said.set("column", state.column); said.set("value", state.value); }
  if (state.fate) said.set("fate", state.fate);
  if (state.query >= 0) said.set("query", state.query);
  if (!state.lines) said.set("lines", "0");
  if (state.trails) said.set("trails", "1");
  if (state.from !== defaults.from) said.set("from", placeText(state.from));
  if (state.to !== views.length - 1) said.set("to", placeText(state.to));
  // A browser may forbid this for a file on disk; the page works without.
  try { history.replaceState(null, "", `#${said}`); } catch { /* the address stays as it was */ }
}

function choose(change) {
  Object.assign(state, change);
  writeAddress();
  draw();
}
function draw() { for (const drawer of drawers) drawer(); }

// Numbers are grouped into thirds of their own range, words as they are.
const columnGroups = {};
for (const [name, values] of Object.entries(data.columns)) {
  const numbers = values.filter((value) => typeof value === "number");
  const distinct = [...new Set(values.filter((value) => value !== null))];
  if (numbers.length === values.filter((value) => value !== null).length && distinct.length > 8) {
    const sorted = [...numbers].sort((a, b) => a - b);
    const edges = [1 / 3, 2 / 3].map((share) => sorted[Math.floor(share * sorted.length)]);
    const names = [`below ${edges[0]}`, `${edges[0]} to ${edges[1]}`, `above ${edges[1]}`];
    columnGroups[name] = { names, of: values.map((value) => value === null ? "" : names[value < edges[0] ? 0 : value <= edges[1] ? 1 : 2]) };
  } else {
    const count = new Map();
    for (const value of values) if (value !== null) count.set(String(value), (count.get(String(value)) ?? 0) + 1);
    columnGroups[name] = { names: [...count.keys()].sort((a, b) => count.get(b) - count.get(a) || (a < b ? -1 : 1)), of: values.map((value) => value === null ? "" : String(value)) };
  }
}

function shown() {
  const words = plain(state.search).split(/\s+/).filter(Boolean);
  const ranks = views[state.at].ranks, groups = columnGroups[state.column];
  return data.queries.map((_, row) => !state.hidden.has(bandOf(ranks[row])) && isFound(row, words)
    && (!groups || !state.value || groups.of[row] === state.value) && (!state.fate || fates[row] === state.fate));
}
function colourOf(row) {
  const groups = columnGroups[state.colour];
  if (!groups) return colours[`band${bandOf(views[state.at].ranks[row])}`];
  const place = groups.names.indexOf(groups.of[row]);
  return place < 0 || place > 7 ? colours.document : colours.groups[place];
}
