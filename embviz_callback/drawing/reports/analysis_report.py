"""The analysis as a page: the data, the groups, the errors, the features, the thresholds."""

import math
from collections.abc import Collection, Iterator

from embviz_callback.analysis.metrics.resampling import Estimate
from embviz_callback.analysis.why.answers import Answers
from embviz_callback.analysis.why.continuity import Continuity
from embviz_callback.analysis.why.errors import Miss
from embviz_callback.analysis.why.sensitivity import Effect, Importance
from embviz_callback.analysis.why.slices import Group, Slices
from embviz_callback.drawing.figures.analysis_figures import curve_figure_name, group_figure_name
from embviz_callback.drawing.figures.feature_figures import advice_sentence
from embviz_callback.drawing.figures.group_figures import group_sentence
from embviz_callback.drawing.reports.markdown import literal, table
from embviz_callback.drawing.wording import counted, number, percent, pool, rank_word
from embviz_callback.pairs.check.findings import NOTE, Checkup
from embviz_callback.snapshot import Snapshot

_MOST_GROUPS = 12
_MOST_ROWS = 20
_EXAMPLES = 3


def analysis_report(
    snapshot: Snapshot, answers: Answers, *, checkup: Checkup | None = None, figures: Collection[str] = ()
) -> str:
    """Everything that the analysis found, as a page of markdown.

    Args:
        snapshot: The evaluation.
        answers: Its analysis.
        checkup: What is wrong with the data, for the first page.
        figures: Names of the figures that were made; they stand beside the page as ``<name>.png``.

    Returns:
        Markdown; text from the data is inert in it.
    """
    metrics = snapshot.metrics
    opening = [
        f"# Why does it fail: {literal(snapshot.label)}",
        "",
        f"{counted(metrics.n_queries, 'query')}, {pool(metrics.n_documents, metrics.n_corpus)}, subset "
        f"{snapshot.subset.fingerprint}. Margin {number(metrics.margin)}, separation {number(metrics.separation, 2)}, "
        f"rank-1 {percent(metrics.rank1)}.",
        "",
        *(f"- {literal(note)}" for note in answers.notes),
        *([""] if answers.notes else []),
    ]
    sections = (
        iter(opening),
        data_page(checkup) if checkup is not None else iter(()),
        _errors(answers, figures),
        _suspects(answers),
        *(_groups(slices, figures) for slices in answers.slices),
        _importance(answers.importance, "What moves the similarity: hard negatives", "importance", figures),
        _importance(answers.edits, "What moves the similarity: controlled edits", "importance_edits", figures)
        if answers.edits is not None
        else iter(()),
        *(_continuity(curve, answers, figures) for curve in answers.continuity),
        _neighbourhood(answers),
        _thresholds(answers, figures),
    )
    return "\n".join(line for section in sections for line in section).rstrip() + "\n"


def data_page(checkup: Checkup) -> Iterator[str]:
    """The data check as the first section of a report.

    Args:
        checkup: What was found.

    Yields:
        Lines of markdown.
    """
    yield "## The data"
    yield ""
    for one in checkup.files:
        yield f"- {literal(one.name)}: {counted(one.records, 'record')}, {counted(one.queries, 'query')}, " + (
            f"{counted(one.documents, 'document')}, {counted(one.hard_negatives, 'hard negative')}"
        )
    found = checkup.collisions
    yield (
        f"- A batch of {found.batch_size} pairs drawn at random from {literal(checkup.files[0].name)} holds "
        f"{number(found.expected, 2)} false negatives on average."
    )
    yield ""
    if not checkup.findings:
        yield "Nothing wrong was found."
        yield ""
        return
    rows = (
        (
            "note" if finding.level == NOTE else f"**{finding.level}**",
            f"{len(finding.places):,} {literal(finding.title)}",
            "; ".join(
                f"record {place.record:,}: {literal(place.text or place.other, 80)}"
                for place in finding.places[:_EXAMPLES]
            ),
            literal(finding.fix),
        )
        for finding in checkup.findings
    )
    yield from table(("level", "finding", "for example", "how to mend it"), rows)


def _picture(name: str, figures: Collection[str]) -> Iterator[str]:
    if name in figures:
        yield f"![{name.replace('_', ' ')}]({name}.png)"
        yield ""


def _errors(answers: Answers, figures: Collection[str]) -> Iterator[str]:
    errors = answers.errors
    yield "## Errors"
    yield ""
    share = percent(len(errors.misses) / max(errors.n_queries, 1))
    yield (
        f"{len(errors.misses)} of {errors.n_queries} queries ({share}) find a wrong document first, "
        f"{len(errors.near_misses)} of them by at most 0.02."
    )
    yield ""
    if errors.confusions:
        yield "What differs between the document that came first and the one expected: " + (
            "; ".join(literal(sentence) for sentence in errors.sentences()) + "."
        )
        yield ""
    yield from _picture("confusions", figures)
    if errors.crowders:
        yield "Documents that come first for queries they do not answer:"
        yield ""
        rows = (
            (str(one.wrong_firsts), str(one.own), literal(errors.text(answers.subset, one.document)))
            for one in errors.crowders[:_EXAMPLES]
        )
        yield from table(("wrongly first", "answers", "document"), rows)
    if errors.misses:
        yield from table(
            ("query", "expected", "rank", "came first", "by", "differs in"),
            (_miss(miss, answers) for miss in errors.misses[:_MOST_ROWS]),
        )
        if len(errors.misses) > _MOST_ROWS:
            yield f"The other {len(errors.misses) - _MOST_ROWS} stand in analysis.json."
            yield ""


def _miss(miss: Miss, answers: Answers) -> tuple[str, ...]:
    documents = answers.subset.documents
    return (
        literal(answers.subset.queries[miss.query]),
        literal(documents[miss.expected]) if miss.expected >= 0 else "none usable",
        rank_word(miss.rank),
        literal(answers.errors.text(answers.subset, miss.first)) if miss.first >= 0 else "none",
        number(miss.gap),
        ", ".join(map(literal, miss.differs)),
    )


def _suspects(answers: Answers) -> Iterator[str]:
    if not answers.suspects:
        return
    yield "## Probable false negatives"
    yield ""
    n_suspects = counted(len(answers.suspects), "negative")
    yield f"{n_suspects} that may well be right answers; look at them before training again."
    yield ""
    rows = []
    for one in answers.suspects[:_MOST_ROWS]:
        texts = answers.subset.hard_negatives if one.is_hard else answers.subset.documents
        rows.append((
            literal(answers.subset.queries[one.query]),
            literal(texts[one.negative]),
            "hard negative" if one.is_hard else "document",
            literal("; ".join(one.evidence)),
        ))
    yield from table(("query", "negative", "kind", "why"), rows)


def _groups(slices: Slices, figures: Collection[str]) -> Iterator[str]:
    yield f"## By {literal(slices.column)}"
    yield ""
    sentence = group_sentence(slices)
    if sentence:
        yield f"{literal(sentence)}."
        yield ""
    yield from table(
        ("group", "queries", "rank-1", "margin", "separation"),
        (_group(group) for group in slices.groups[:_MOST_GROUPS]),
    )
    if len(slices.groups) > _MOST_GROUPS:
        yield f"The other {len(slices.groups) - _MOST_GROUPS} stand in analysis.json."
        yield ""
    if not math.isnan(slices.silhouette):
        yield f"Silhouette of the documents by group: {number(slices.silhouette)} (1 clusters, 0 mixed)."
        yield ""
    stem = group_figure_name(slices.column).removeprefix("groups_")
    for prefix in ("groups", "affinity", "tsne_by", "umap_by"):
        yield from _picture(f"{prefix}_{stem}", figures)


def _group(group: Group) -> tuple[str, ...]:
    return (
        literal(group.label) + (" (small)" if group.is_small else ""),
        str(group.n_queries),
        _share_with_interval(group),
        f"{number(group.figures['margin'])} ({_interval(group, 'margin')})",
        number(group.figures["separation"], 2),
    )


def _share_with_interval(group: Group) -> str:
    low, high = group.intervals.get("rank1", (math.nan, math.nan))
    return f"{percent(group.figures['rank1'])} ({percent(low)} to {percent(high)})"


def _interval(group: Group, name: str) -> str:
    low, high = group.intervals.get(name, (math.nan, math.nan))
    return f"{number(low)} to {number(high)}"


def _estimate(one: Estimate) -> str:
    return f"{number(one.value)} ({number(one.low)} to {number(one.high)})"


def _importance(importance: Importance, title: str, name: str, figures: Collection[str]) -> Iterator[str]:
    if not importance.effects:
        return
    yield f"## {title}"
    yield ""
    yield from table(
        ("feature", "drop of the cosine", "comparisons", "how", "least squares", "weight"),
        (_effect(effect) for effect in importance.effects),
    )
    if not math.isnan(importance.spearman):
        yield f"Spearman correlation of drop and weight: {number(importance.spearman, 2)}."
        yield ""
    for pair in importance.out_of_order:
        certainty = "beyond chance" if pair.is_clear else "within chance"
        yield (
            f"- {literal(pair.heavier)} weighs more than {literal(pair.lighter)}, but moves the similarity less by "
            f"{_estimate(pair.excess)}, {certainty}"
        )
    yield from [""] if importance.out_of_order else []
    yield from _picture(name, figures)


def _effect(effect: Effect) -> tuple[str, ...]:
    weight = "" if effect.weight is None else f"{effect.weight:g}" + ("" if effect.has_own_weight else " (as other)")
    small = " (few)" if effect.is_small else ""
    return (
        literal(effect.feature),
        _estimate(effect.drop),
        f"{effect.count:,}{small}",
        effect.method,
        number(effect.joint.value),
        weight,
    )


def _continuity(curve: Continuity, answers: Answers, figures: Collection[str]) -> Iterator[str]:
    yield f"## Cosine against the difference in {literal(curve.column)}"
    yield ""
    yield (
        f"It {curve.verdict}: {_estimate(curve.fall)} between the smallest and the largest difference; Spearman "
        f"{number(curve.spearman, 2)} over all pairs, {number(-curve.smoothness, 2)} per document."
    )
    yield ""
    yield from _picture(curve_figure_name(curve.column), figures)
    if curve.violations:
        texts = answers.subset.documents
        rows = (
            (
                literal(texts[one.anchor]),
                f"{literal(texts[one.near])} ({number(one.near_difference, 2)})",
                f"{literal(texts[one.far])} ({number(one.far_difference, 2)})",
                number(one.excess),
            )
            for one in curve.violations
        )
        yield from table(("document", "farther though near in value", "closer though distant in value", "by"), rows)


def _neighbourhood(answers: Answers) -> Iterator[str]:
    found = answers.neighbourhood
    if found is None:
        return
    yield f"## Neighbours by {literal(found.column)}"
    yield ""
    rows = (
        ("of the same", _estimate(found.same)),
        ("of neighbours", _estimate(found.neighbouring)),
        ("of distant ones", _estimate(found.distant)),
        ("neighbours minus distant", _estimate(found.gain)),
    )
    yield from table(("documents", "mean cosine"), rows)
    for one, other, cosine in found.closer_than_neighbours:
        yield f"- {literal(one)} and {literal(other)} are not neighbours, but as close ({number(cosine)})"
    yield from [""] if found.closer_than_neighbours else []


def _thresholds(answers: Answers, figures: Collection[str]) -> Iterator[str]:
    yield "## Where to cut"
    yield ""
    for one in answers.thresholds:
        hard = ", each query's hard negatives included" if one.with_hard_negatives else ""
        yield f"Among {counted(one.n_documents, 'document')}{hard}:"
        yield ""
        yield from (f"- {advice_sentence(advice)}" for advice in one.advice)
        yield ""
    yield (
        "The shares are those of the pairs that chose the threshold; new data will fall a little short, and a larger "
        "pool wants a higher threshold."
    )
    yield ""
    yield from _picture("thresholds", figures)
