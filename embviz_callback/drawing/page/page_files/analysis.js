// Why it fails: the data check and the analysis of one evaluation. Numbers stand as text, bars beside them.
const analysis = data.analysis, checkup = data.data_check;
const nothing = (value) => value === null || value === undefined;
const between = (low, high, digits = 3, scale = 1) => finite(low) && finite(high) ? ` (${fixed(scale * low, digits)} to ${fixed(scale * high, digits)})` : "";
const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const sentenceOf = (text) => text ? `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.` : "";

// A value on a line from one end of a scale to the other: a bar from zero, or a point with its interval and a mark to compare with.
function track([from, to], { bar, point, ends = [], mark, colour = "positive" }) {
  const place = (value) => `${100 * Math.max(0, Math.min(1, (value - from) / (to - from || 1)))}%`;
  const part = (name, left, right) => {
    const made = make("i", { className: name });
    made.style.left = place(left);
    if (right !== undefined) made.style.right = `calc(100% - ${place(right)})`;
    if (name !== "upright") made.style.background = `var(--${colour})`;
    return made;
  };
  const made = make("div", { className: "track", "aria-hidden": "true" });
  if (finite(mark)) made.append(part("upright", mark));
  if (finite(bar)) made.append(part("fill", Math.min(0, bar), Math.max(0, bar)));
  if (finite(ends[0]) && finite(ends[1])) made.append(part(finite(bar) ? "whisker over" : "whisker", ends[0], ends[1]));
  if (finite(point)) made.append(part("point", point));
  return made;
}
const measured = (words, line) => make("div", { className: "measured" }, make("span", { textContent: words }), line);
const scrolled = (...children) => make("div", { className: "scroll", tabIndex: 0 }, ...children);
// The query of an entry in the analysis, to be chosen where the page shows it.
const rowOf = new Map(data.queries.map((text, row) => [text, row]));
const queryCell = (text) => rowOf.has(text) ? queryButton(rowOf.get(text)) : text;

function card(title, ...children) {
  return make("section", { className: "card", "aria-label": title }, make("h3", { textContent: title }), ...children);
}

function drawData() {
  const place = element("datacheck"), line = element("dataline");
  const heavy = (checkup?.findings ?? []).filter((one) => one.level !== "note");
  line.hidden = !heavy.length;
  if (heavy.length) {
    const jump = make("button", { type: "button", className: "link", textContent: heavy.map((one) => `${one.count.toLocaleString("en")} ${one.title}`).join("; ") });
    jump.addEventListener("click", () => { element("h-data").scrollIntoView(); element("h-data").focus({ preventScroll: true }); });
    line.replaceChildren(make("span", { className: heavy.some((one) => one.level === "wrong") ? "bad" : "warn", textContent: "The data: " }), jump);
  }
  if (!checkup) { place.replaceChildren(none("The data were not checked; embviz check does.")); return; }
  if (checkup.error) { place.replaceChildren(none(`The data could not be checked: ${checkup.error}`)); return; }
  const real = checkup.findings.filter((one) => one.level !== "note"), notes = checkup.findings.filter((one) => one.level === "note");
  const where = `${checkup.file} (${counted(checkup.records, "record")})`;
  const lines = real.map((one) => [make("span", { className: one.level === "wrong" ? "bad" : "warn", textContent: one.level }),
    one.count.toLocaleString("en"), one.title, `record ${one.record.toLocaleString("en")}: ${one.example.trim() || "(no visible text)"}`]);
  place.replaceChildren(
    make("p", { className: "text", textContent: real.length ? `In ${where}; embviz check tells every place and how to mend it.` : `Nothing is wrong in ${where}.` }),
    ...(lines.length ? [scrolled(table([["level", "short"], ["count", "number"], ["finding"], ["for example"]], lines))] : []),
    ...(notes.length ? [none(`Taken care of: ${notes.map((one) => `${one.count.toLocaleString("en")} ${one.title}`).join("; ")}.`)] : []));
}

function confusions() {
  const { errors } = analysis, lone = new Map(errors.lone_confusions.map((one) => [one.column, one.misses]));
  const share = percent(errors.n_misses / Math.max(errors.n_queries, 1));
  const said = make("p", { textContent: `${errors.n_misses.toLocaleString("en")} of ${counted(errors.n_queries, "query", "queries")} (${share}) find a wrong document first, ${errors.n_near_misses.toLocaleString("en")} of them by at most 0.02.` });
  const lines = errors.confusions.map((one) => [one.column,
    measured(`${one.differ} of ${one.of}`, track([0, Math.max(1, errors.n_misses)], { bar: one.differ, colour: "negative" })), String(lone.get(one.column) ?? 0)]);
  return card("What the misses confuse", said, lines.length
    ? scrolled(table([["differs in"], ["misses", "wide"], ["in nothing else", "number"]], lines))
    : none(errors.n_misses ? "The documents have no columns in which they could differ: give metadata, or a function that reads them (features)." : "There is no miss."));
}

function crowders() {
  const lines = analysis.errors.crowders.map((one) => [one.wrong_firsts.toLocaleString("en"), one.answers.toLocaleString("en"), one.document]);
  return card("Hubs: documents that crowd in", lines.length
    ? scrolled(table([["wrongly first for", "number"], ["answers", "number"], ["document"]], lines)) : none("No document comes first wrongly for two queries or more."));
}

function misses() {
  const lines = analysis.errors.misses.map((one) => [fixed(one.gap), queryCell(one.query), one.expected ?? "none usable", one.first ?? "nothing could be ranked",
    Object.entries(one.differs).map(([name, [right, wrong]]) => `${name}: ${differenceWords(right, wrong)}`).join("; ") || "–"]);
  const left = analysis.errors.n_misses - lines.length;
  return card("Misses, the widest first", ...(lines.length ? [
    scrolled(table([["by", "number"], ["query"], ["expected"], ["came first"], ["differs in"]], lines)),
    ...(left > 0 ? [none(`The other ${left.toLocaleString("en")} stand in analysis.json.`)] : [])] : [none("There is none.")]));
}
// What came first instead of what was expected: of several names only those that differ.
function differenceWords(right, wrong) {
  if (!Array.isArray(right) || !Array.isArray(wrong)) return `${wrong} for ${right}`;
  const lacks = right.filter((name) => !wrong.includes(name)), adds = wrong.filter((name) => !right.includes(name));
  return [lacks.length && `without ${lacks.join(", ")}`, adds.length && `with ${adds.join(", ")}`].filter(Boolean).join(", ");
}

let grouped = 0;
function groups() {
  if (!analysis.groups.length) return card("Groups", none("There are no groups: give metadata, or a function that reads columns from a text (features)."));
  const chosen = analysis.groups[Math.min(grouped, analysis.groups.length - 1)], now = views.find((view) => view.label === analysis.label)?.metrics ?? {};
  const select = make("select", { id: "group" }, ...analysis.groups.map((one, place) => make("option", { value: String(place), textContent: one.column, selected: one === chosen })));
  select.addEventListener("change", () => { grouped = Number(select.value); drawAnalysis(); element("group").focus(); });
  const lines = chosen.groups.map((one) => [`${one.label}${one.small ? " *" : ""}`, String(one.n_queries),
    ...[["rank1", [0, 1], 100, 1], ["margin", [0, 1], 1, 3]].map(([name, scale, times, digits]) => {
      const [value, [low, high]] = [one.metrics[name], one.intervals[name] ?? [null, null]];
      return measured(`${finite(value) ? fixed(times * value, digits) : "–"}${between(low, high, digits, times)}`,
        track(scale, { point: value, ends: [low, high], mark: now[name], colour: one.small ? "quiet" : "positive" }));
    }), fixed(one.metrics.separation, 2)]);
  const facts = [chosen.sentence && sentenceOf(chosen.sentence), finite(chosen.silhouette) && `Silhouette of the documents by group: ${fixed(chosen.silhouette)} (1: clusters, 0: mixed).`,
    "Lines are 95 % intervals over queries, the upright mark is all queries.", chosen.groups.some((one) => one.small) && "* fewer than ten queries: says next to nothing.",
    chosen.n_without && `${counted(chosen.n_without, "query", "queries")} without a value.`, chosen.n_left_out && `${counted(chosen.n_left_out, "smaller group")} left out.`];
  return card("Groups, the worst first", make("div", { className: "tools" }, make("label", {}, "By ", select)),
    scrolled(table([["group"], ["queries", "number"], ["rank-1, %", "wide"], ["margin", "wide"], ["separation", "number"]], lines)),
    none(facts.filter(Boolean).join(" ")), ...affinity(chosen));
}

// How close the groups lie to each other by content alone.
function affinity(chosen) {
  const values = chosen.affinity.flat().filter(finite);
  if (chosen.labels.length < 2 || !values.length) return [];
  const [least, most] = [Math.min(...values), Math.max(...values)], isRoomy = chosen.labels.length <= 10;
  const cell = (value, row, column) => {
    const made = make("td", { title: `${chosen.labels[row]} asks, documents of ${chosen.labels[column]}: ${fixed(value)}`, textContent: isRoomy ? fixed(value, 2) : "" });
    if (!finite(value)) return made;
    const share = (value - least) / (most - least || 1), [red, green, blue] = cividis(share);
    made.style.background = `rgb(${red} ${green} ${blue})`;
    made.style.color = share > .55 ? "#16202c" : "#ffffff";
    return made;
  };
  const head = make("tr", {}, make("td"), ...chosen.labels.map((label) => make("th", { scope: "col", className: "text" }, make("span", { textContent: label }))));
  const lines = chosen.affinity.map((row, place) => make("tr", {}, make("th", { scope: "row", className: "text", textContent: chosen.labels[place] }), ...row.map((value, column) => cell(value, place, column))));
  return [make("h4", { textContent: "Similarity between groups" }),
    none(`Mean cosine of a group's queries (rows) with a group's documents (columns), relevant pairs left out: ${fixed(least, 2)} dark, ${fixed(most, 2)} bright.`),
    scrolled(make("table", { className: "affinity" }, make("thead", {}, head), make("tbody", {}, ...lines)))];
}

function importance(found, title) {
  if (!found?.effects.length) return null;
  const reach = Math.max(...found.effects.flatMap((one) => [one.drop.value, one.drop.interval[1]]).filter(finite), 1e-9), heaviest = Math.max(...found.effects.map((one) => one.weight ?? 0), 1e-9);
  const lines = found.effects.map((one) => [`${one.feature}${one.small ? " *" : ""}${one.method === "least squares" ? " †" : ""}`,
    measured(`${fixed(one.drop.value)}${between(...one.drop.interval)}`, track([0, reach], { bar: one.drop.value, ends: one.drop.interval, colour: one.small ? "quiet" : "positive" })),
    nothing(one.weight) ? "–" : measured(`${fixed(one.weight, 1)}${one.has_own_weight ? "" : " (as other)"}`, track([0, heaviest], { bar: one.weight, colour: "negative" })), one.count.toLocaleString("en")]);
  const facts = [finite(found.spearman_with_weights) && `Spearman of drop and weight: ${fixed(found.spearman_with_weights, 2)}.`,
    found.effects.some((one) => one.small) && "* fewer than ten comparisons.", found.effects.some((one) => one.method === "least squares") && "† hardly ever changes alone: its share in a least-squares fit."];
  const disorder = found.out_of_order.map((one) => make("li", { className: "text", textContent: `${one.heavier} weighs more than ${one.lighter}, but moves the similarity less by ${fixed(one.excess.value)}${between(...one.excess.interval)}, ${one.clear ? "beyond" : "within"} chance` }));
  return card(title, scrolled(table([["feature"], ["drop of the cosine", "wide"], ["weight of the rule", "wide"], ["comparisons", "number"]], lines)), none(facts.filter(Boolean).join(" ")),
    ...(disorder.length ? [make("ul", { className: "plain" }, ...disorder)] : []));
}

// A small chart of lines over one axis; `series` is [name, colour, points, dashes].
function curveChart(title, series, { from, to, least = 0, most = 1, shade, rings = [], mark, unit = "" }) {
  const [width, height, left, right, top, low] = [360, 190, 38, 10, 8, 36];
  const x = (value) => left + (width - left - right) * (value - from) / (to - from || 1), y = (value) => top + (height - top - low) * (1 - (Math.max(least, Math.min(most, value)) - least) / (most - least || 1));
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const [value, text] of ticks(least, most)) svg.append(shape("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), stroke: colours.line }), shape("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, text));
  for (const [value, text] of ticks(from, to)) svg.append(shape("text", { x: x(value), y: height - 20, "text-anchor": "middle" }, text));
  svg.append(shape("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, unit));
  if (shade?.length > 1) svg.append(shape("path", { d: `M${shade.map(([at, , high]) => `${x(at)},${y(high)}`).join("L")}L${[...shade].reverse().map(([at, under]) => `${x(at)},${y(under)}`).join("L")}Z`, fill: colours.positive, opacity: .16 }));
  for (const [, colour, points, dashes] of series) {
    const seen = points.filter(([at, value]) => finite(value) && at >= from - 1e-9 && at <= to + 1e-9);
    svg.append(shape("path", { d: seen.length ? `M${seen.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join("L")}` : "", fill: "none", stroke: colours[colour], "stroke-width": 2, "stroke-linejoin": "round", ...(dashes ? { "stroke-dasharray": "5 3" } : {}) }));
    if (points.length < 20) for (const [at, value] of seen) {
      const dot = shape("circle", { cx: x(at), cy: y(value), r: 3.5, fill: colours[colour] });
      dot.append(shape("title", {}, `${fixed(at, 2)}: ${fixed(value)}`));
      svg.append(dot);
    }
  }
  for (const [at, value] of rings) svg.append(shape("circle", { cx: x(at), cy: y(value), r: 7, fill: "none", stroke: colours.bad, "stroke-width": 2 }));
  if (finite(mark)) svg.append(shape("line", { x1: x(mark), x2: x(mark), y1: top, y2: height - low, stroke: colours.bad, "stroke-width": 1.4 }));
  const caption = make("figcaption", { className: "text" }, title);
  if (series.length > 1) for (const [name, colour] of series) caption.append(colourKey(colour, name));
  return make("figure", {}, caption, svg);
}

function continuity(curve) {
  const points = curve.bands.map((band) => [band.middle, band.cosine.value]), values = curve.bands.flatMap((band) => [band.cosine.value, ...band.cosine.interval]).filter(finite);
  const room = .1 * (Math.max(...values) - Math.min(...values) || .1);
  const chart = curveChart(`Cosine against the difference in ${curve.column}`, [["cosine", "positive", points]], {
    from: 0, to: Math.max(...points.map(([at]) => at)), least: Math.min(...values) - room, most: Math.max(...values) + room, unit: `difference in ${[...curve.column].slice(0, 40).join("")}`,
    shade: curve.bands.map((band) => [band.middle, ...band.cosine.interval]).filter(([, low, high]) => finite(low) && finite(high)), rings: curve.rises.map((at) => points[at]).filter(Boolean) });
  const said = none(`${curve.verdict.slice(0, 1).toUpperCase()}${curve.verdict.slice(1)}: by ${fixed(curve.fall.value)}${between(...curve.fall.interval)} from the smallest to the largest difference; Spearman ${fixed(curve.spearman, 2)} over all pairs of ${counted(curve.n_documents, "document")}.${curve.rises.length ? " Ringed: it rises beyond chance." : ""}`);
  const wrong = curve.violations.map((one) => make("li", { className: "text" }, one.document,
    make("p", { className: "quiet text", textContent: `lies closer by ${fixed(one.excess)} to: ${one.far} (${fixed(one.far_difference, 2)} away)` }), make("p", { className: "quiet text", textContent: `than to: ${one.near} (${fixed(one.near_difference, 2)} away)` })));
  const more = wrong.length ? [make("details", {}, make("summary", { textContent: `where it is violated most (${wrong.length})` }), make("ul", { className: "plain" }, ...wrong))] : [];
  return make("div", {}, chart, said, ...more);
}

function neighbours(found) {
  const estimate = (one) => `${fixed(one.value)}${between(...one.interval)}`;
  const lines = [["of the same", found.same], ["of neighbours", found.neighbouring], ["of distant ones", found.distant], ["neighbours minus distant", found.gain]].map(([name, one]) => [name, estimate(one)]);
  const close = found.closer_than_neighbours.map((one) => make("li", { className: "text", textContent: `${one.places.join(" and ")} are not among the neighbours given, but as close (${fixed(one.cosine)})` }));
  return card(`Neighbours by ${found.column}`, make("div", { className: "narrow" }, table([["documents"], ["mean cosine", "number"]], lines)), ...(close.length ? [make("ul", { className: "plain" }, ...close)] : []));
}

function thresholds() {
  const [plainly, hard] = analysis.thresholds, points = (one, name) => one.curve.cuts.map((cut, at) => [cut, one.curve[name][at]]);
  const series = [["recall", "third", points(plainly, "recall")], ["precision", "positive", points(plainly, "precision")], ...(hard ? [["precision among hard negatives", "negative", points(hard, "precision"), true]] : [])];
  const best = analysis.thresholds.at(-1).advice.find((one) => nothing(one.wanted));
  const chart = curveChart("Precision and recall by threshold", series, { from: plainly.telling[0], to: plainly.telling[1], unit: `shown from this ${plainly.unit}`, mark: best?.threshold.value });
  const lines = analysis.thresholds.flatMap((one) => one.advice.map((advice) => {
    const goal = nothing(advice.wanted) ? "largest F1" : `${advice.kind} ${percent(advice.wanted)}`, pool = one.with_hard_negatives ? ", hard negatives included" : "";
    return advice.reason ? [`${goal}${pool}`, advice.reason, "–", "–", "–", "–"]
      : [`${goal}${pool}`, `${fixed(advice.threshold.value)}${between(...advice.threshold.interval)}`, percent(advice.precision), percent(advice.recall), fixed(advice.shown_per_query, 1), advice.n_pairs ? advice.n_pairs.toLocaleString("en") : "–"];
  }));
  return card("Where to cut", make("div", { className: "two" }, chart, scrolled(table([["for"], ["show from"], ["precision", "number"], ["recall", "number"], ["documents per query", "number"], ["pairs behind it", "number"]], lines))),
    none(`Among ${counted(plainly.n_documents, "document")}. A threshold for a precision or a recall keeps it on new queries of the same kind in 95 % of files like this one, in a pool of this size; a larger pool wants a higher one. The largest F1 promises nothing.${finite(best?.threshold.value) ? " The upright line is the largest F1." : ""}`));
}

function suspects() {
  const lines = analysis.false_negative_suspects.map((one) => [queryCell(one.query), one.negative, one.hard ? "hard negative" : "document", percent(one.outranked), one.evidence.join("; ")]);
  const over = analysis.n_evaluations > 1 ? `, over ${counted(analysis.n_evaluations, "evaluation")}` : "";
  return card(`Candidates for false negatives (${analysis.n_suspects.toLocaleString("en")})`, ...(lines.length ? [
    none(`Negatives in which all that is read of a text, or every word, equals the positive; what is not read may differ: read them before training again. "Above" is how often it stood above the positive${over}.`),
    scrolled(table([["query"], ["negative"], ["kind", "short"], ["above", "number"], ["why"]], lines)),
    ...(analysis.n_suspects > lines.length ? [none(`The other ${(analysis.n_suspects - lines.length).toLocaleString("en")} stand in analysis.json.`)] : [])] : [none("None was found.")]));
}

function drawAnalysis() {
  const place = element("analysis"), note = element("whynote");
  if (!analysis) { note.textContent = "This page holds no analysis; embviz analyse makes one."; place.replaceChildren(); return; }
  const other = views[state.at].label === analysis.label ? "" : `, not of ${views[state.at].label}, which the slider shows`;
  note.textContent = [`Of ${analysis.label}${other}.`, ...analysis.notes.map(sentenceOf)].join(" ");
  const curves = analysis.continuity.map(continuity);
  place.replaceChildren(...[
    make("div", { className: "two" }, confusions(), crowders()), groups(),
    ...[importance(analysis.importance, "What moves the similarity: hard negatives"), importance(analysis.controlled_edits, "What moves the similarity: controlled edits")],
    curves.length ? card("Does similarity follow the numbers?", make("div", { className: "charts" }, ...curves)) : null,
    analysis.neighbourhood ? neighbours(analysis.neighbourhood) : null, thresholds(), suspects(), misses(),
  ].filter(Boolean));
}
// What stands beside the evaluations, as in the report: a sentence, a table, notes.
function drawAsides() {
  element("asides").replaceChildren(...data.asides.map((aside) => make("section", { className: "card", "aria-label": aside.title },
    make("h2", { textContent: aside.title }), make("p", { className: "text", textContent: `${aside.sentence}.` }),
    scrolled(table(aside.head.map((name) => [name]), aside.rows)), ...aside.notes.map((note) => none(`${note}.`)))));
}
drawers.push(drawAnalysis);
drawAsides();
drawData();
