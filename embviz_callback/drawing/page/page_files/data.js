// The data as Python wrote them, and the questions the page asks of them. Texts are only ever shown through textContent.
const data = JSON.parse(document.getElementById("data").textContent);
const views = data.views;
const nQueries = data.queries.length;
const BANDS = [
  { name: "rank 1", most: 1 }, { name: "2 to 5", most: 5 }, { name: "6 to 10", most: 10 },
  { name: "11 to 50", most: 50 }, { name: "beyond 50 or none", most: Infinity },
];
const FATES = ["always", "learned", "wavering", "forgotten", "never"];

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const integers = (text) => new Int16Array(bytes(text).buffer);
const rows = (view) => view.is_wide ? new Int32Array(bytes(view.top).buffer) : integers(view.top);
const finite = (value) => typeof value === "number" && Number.isFinite(value);
const fixed = (value, digits = 3) => finite(value) ? value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace("-", "−") : value === null || value === undefined ? "–" : String(value).replace("Infinity", "∞");
const percent = (value) => finite(value) ? `${(100 * value).toFixed(1)} %` : "–";
const plain = (text) => text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").replace(/[đĐ]/g, "d").toLowerCase();
const rankWords = (rank) => rank === null ? "none" : Number.isInteger(rank) ? String(rank) : rank.toFixed(1);
const bandOf = (rank) => rank === null ? 4 : BANDS.findIndex((band) => rank <= band.most);
const documentText = (row) => row < 0 ? "nothing could be ranked" : data.documents[row] ?? (row < data.subset.n_documents ? `document ${row}` : "a text of the corpus");

// The short name of an evaluation: its epoch, "start" for the untrained model, or the beginning of its label.
const nEpochless = views.filter((view) => view.epoch === null).length;
const shortName = (view) => view.epoch !== null ? String(view.epoch) : nEpochless === 1 ? "start" : [...view.label].slice(0, 9).join("");

// A view without maps and lists (left out to keep the file small) is shown with those of the nearest earlier one that has them.
function detailed(at) {
  for (let place = at; place >= 0; place--) if (views[place].top) return place;
  return views.findIndex((view) => view.top);
}

const decoded = new Map();
function coordinates(at, method) {
  const made = views[detailed(at)]?.maps[method];
  if (!made || !made.points) return null;
  if (!decoded.has(made)) {
    const packed = integers(made.points);
    const places = new Float32Array(packed.length);
    for (let i = 0; i < packed.length; i++) places[i] = packed[i] === -32768 ? NaN : made.centre[i % 2] + made.half * packed[i] / 32767;
    decoded.set(made, places);
  }
  return decoded.get(made);
}

// One frame around every epoch's map, so that a place means the same on all of them.
const frames = {};
for (const method of Object.keys(METHODS)) {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  views.forEach((view, at) => {
    if (!view.top) return;
    const places = coordinates(at, method) ?? [];
    for (let i = 0; i < places.length; i += 2) {
      if (Number.isNaN(places[i])) continue;
      left = Math.min(left, places[i]); right = Math.max(right, places[i]);
      low = Math.min(low, places[i + 1]); high = Math.max(high, places[i + 1]);
    }
  });
  if (left <= right) frames[method] = { x: (left + right) / 2, y: (low + high) / 2, half: Math.max(right - left, high - low) / 2 || 1, wide: (right - left) / 2 || 1, tall: (high - low) / 2 || 1 };
}

const haystacks = data.queries.map((text, row) =>
  plain([text, data.ids[row] ?? "", ...data.positives[row].map(documentText)].join("\n")));
const isFound = (row, words) => words.every((word) => haystacks[row].includes(word));

// By how many unbroken runs of hits there are.
function fateOf(row) {
  let starts = 0, before = false;
  for (const view of views) {
    const hit = view.ranks[row] === 1;
    starts += hit && !before;
    before = hit;
  }
  if (starts !== 1) return starts ? "wavering" : "never";
  if (!before) return "forgotten";
  return views[0].ranks[row] === 1 ? "always" : "learned";
}
const fates = data.queries.map((_, row) => fateOf(row));

const bestAt = data.best.place;

function changes(from, to) {
  const improved = [], fell = [];
  for (let row = 0; row < nQueries; row++) {
    const before = views[from].ranks[row] === 1, after = views[to].ranks[row] === 1;
    if (after && !before) improved.push(row);
    if (before && !after) fell.push(row);
  }
  const depth = (at) => (a, b) => (views[at].ranks[b] ?? Infinity) - (views[at].ranks[a] ?? Infinity) || a - b;
  return { improved: improved.sort(depth(from)), fell: fell.sort(depth(to)) };
}

// Signs of the groups' changes flipped at random, always in the same way: how often the sum comes out as large.
function chanceOf(from, to) {
  const sums = new Map();
  for (let row = 0; row < nQueries; row++) {
    const change = (views[to].ranks[row] === 1) - (views[from].ranks[row] === 1);
    sums.set(data.groups[row], (sums.get(data.groups[row]) ?? 0) + change);
  }
  if (sums.size < 6) return null;
  const moved = [...sums.values()].filter((sum) => sum), seen = Math.abs(moved.reduce((all, one) => all + one, 0)), flips = 1999;
  let above = 1, bits = 1;
  for (let flip = 0; flip < flips; flip++) {
    let sum = 0;
    for (const one of moved) {
      bits ^= bits << 13; bits ^= bits >>> 17; bits ^= bits << 5;
      sum += bits & 1 ? one : -one;
    }
    above += Math.abs(sum) >= seen;
  }
  return above / (flips + 1);
}
