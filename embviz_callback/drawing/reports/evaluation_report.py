"""The report of one evaluation, filled in after the guide's "What to report"."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.verdict.checklist import FIGURES, Check, band, is_ready
from embviz_callback.drawing.reports.data_section import data_section
from embviz_callback.drawing.reports.markdown import literal, table
from embviz_callback.drawing.reports.readings import (
    distribution_reading,
    heatmap_reading,
    map_reading,
    oddities,
    top_k_reading,
)
from embviz_callback.drawing.wording import counted, interval, number, percent, pool, rank_word
from embviz_callback.snapshot import Snapshot

_BANDED = ("margin", "separation")
_SHARES = ("rank1", "naive_rank1", "naive_rank1_ceiling", "hard_accuracy")
_FIRST = (
    "margin",
    "separation",
    "rank1",
    "naive_rank1",
    "naive_rank1_ceiling",
    "positive_mean",
    "positive_std",
    "negative_mean",
    "negative_std",
    "auc",
    "hard_margin",
    "hard_accuracy",
)
_N_WORST = 10
_N_PAST = 20


def report(
    snapshot: Snapshot,
    *,
    checks: Sequence[Check],
    baseline: Metrics | None = None,
    history: Sequence[tuple[str, Metrics]] = (),
    alerts: Sequence[str] = (),
    figures: Collection[str] = FIGURES,
    data: Mapping[str, Any] | None = None,
) -> str:
    """Everything that one evaluation found, as a page of markdown.

    Args:
        snapshot: With its maps.
        checks: What `checklist` gave.
        baseline: Metrics of the untrained model on the same subset.
        history: Label and metrics of the earlier evaluations, oldest first.
        alerts: Sentences of the alerts of this evaluation.
        figures: Names of the figures made, or a mapping from name to relative path; a name alone
            stands beside the report as ``<name>.png``.
        data: What the data check found, as `data_section` takes it.

    Returns:
        Markdown; text from the data is inert in it.
    """
    sections = (
        _opening(snapshot, checks),
        data_section(data) if data is not None else iter(()),
        _alerts(alerts),
        _origin(snapshot),
        _key_metrics(snapshot, baseline),
        _diagnosis(snapshot),
        _visual(snapshot, figures),
        _checklist(checks),
        _course(snapshot, history),
        _hubs(snapshot),
        _worst(snapshot),
    )
    return "\n".join(line for section in sections for line in section).rstrip() + "\n"


def conclusion(checks: Sequence[Check]) -> str:
    """The verdict in bold; "not ready" names each check that is not passed."""
    if is_ready(checks):
        return "**ready**"
    return f"**not ready**: {'; '.join(_failure(check) for check in checks if check.passed is not True)}"


def _failure(check: Check) -> str:
    # A reason may quote a library's error.
    return f"{_readable(check.name)}: {literal(check.reason)}"


def _readable(name: str) -> str:
    """A metric's or check's name; an underscore would begin emphasis."""
    return name.replace("_", "\\_")


def _opening(snapshot: Snapshot, checks: Sequence[Check]) -> Iterator[str]:
    yield f"# Embedding report: {literal(snapshot.label)}"
    yield ""
    yield f"Conclusion: {conclusion(checks)}"
    yield ""


def _alerts(alerts: Sequence[str]) -> Iterator[str]:
    if not alerts:
        return
    yield "## Alerts"
    yield ""
    yield from (f"- {literal(alert, 500)}" for alert in alerts)
    yield ""


def _origin(snapshot: Snapshot) -> Iterator[str]:
    subset, metrics = snapshot.subset, snapshot.metrics
    answers = np.bincount(snapshot.embeddings.relevance[:, 0])
    askers = np.bincount(snapshot.embeddings.relevance[:, 1])
    yield "## Model and data"
    yield ""
    epoch = "outside training" if snapshot.epoch is None else str(snapshot.epoch)
    rows = [
        ("evaluated", literal(snapshot.label)),
        ("epoch", epoch),
        ("step", "none" if snapshot.step is None else f"{snapshot.step:,}"),
        ("queries", f"{len(subset.queries):,} of {subset.n_available:,} distinct ones, chosen with seed {subset.seed}"),
        ("documents", f"{len(subset.documents):,} distinct"),
        *((("corpus", f"{subset.n_corpus:,} distinct texts that answer no query"),) if subset.n_corpus else ()),
        ("hard negatives", f"{len(subset.hard_negatives):,} distinct in {counted(len(subset.hard_pairs), 'pair')}"),
        (
            "equivalents",
            f"{counted(int((answers > 1).sum()), 'query')} with several relevant documents,"
            f" {counted(int((askers > 1).sum()), 'document')} that answer several queries,"
            f" {counted(len(subset.records), 'record')} before equal texts were merged",
        ),
        ("subset", f"{subset.fingerprint} (equal fingerprints are comparable)"),
        ("unusable rows", f"{metrics.non_finite} not finite, {metrics.zero} of length zero"),
        ("seed of the maps", str(snapshot.settings.seed)),
    ]
    rows += [(literal(name), literal(value)) for name, value in _flat(snapshot.provenance)]
    yield from table(("what", "value"), rows)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _key_metrics(snapshot: Snapshot, baseline: Metrics | None) -> Iterator[str]:
    metrics = snapshot.metrics
    yield "## Key metrics"
    yield ""
    head = ["metric", "value", "band", "95 % interval"]
    names = _names(metrics)
    rows = [[_readable(name), _value(name, metrics), _band(name, metrics), _interval(name, metrics)] for name in names]
    if baseline is not None:
        head += ["untrained", "change"]
        rows = [row + _against(name, metrics, baseline) for name, row in zip(names, rows, strict=True)]
    yield from table(head, rows)
    yield (
        f"Rank-1 is {percent(metrics.rank1)} where equal and equivalent texts count as right. Counted as"
        f" `argmax == own row` it would be {percent(metrics.naive_rank1)}, of which a perfect model could reach"
        f" {percent(metrics.naive_rank1_ceiling)} on these data."
    )
    yield ""
    if metrics.n_corpus:
        yield (
            f"Ranks, negatives, AUC and hubs are against {pool(metrics.n_documents, metrics.n_corpus)}: comparable"
            " only with the same corpus. The naive figures, maps and heatmap know the documents alone."
        )
        yield ""


def _names(metrics: Metrics) -> list[str]:
    """The headline metrics first; bounds for ties only where there are ties."""
    names = [name for name in _FIRST if name in metrics] + [name for name in metrics if name not in _FIRST]
    return [name for name in names if not _says_nothing(name, metrics)]


def _says_nothing(name: str, metrics: Metrics) -> bool:
    if name == "auc_error":
        return metrics[name] == 0
    of, _, bound = name.rpartition("_")
    return bound in ("optimistic", "pessimistic") and math.isclose(metrics[of], metrics[name], abs_tol=1e-9)


def _interval(name: str, metrics: Metrics) -> str:
    return interval(metrics, name, percent if name in _SHARES else number)


def _value(name: str, metrics: Metrics) -> str:
    value = metrics.get(name)
    return percent(value) if name in _SHARES else number(value, 4)


def _band(name: str, metrics: Metrics) -> str:
    return band(name, metrics[name]) if name in _BANDED else ""


def _against(name: str, metrics: Metrics, baseline: Metrics) -> list[str]:
    change = metrics[name] - baseline.get(name, float("nan"))
    sign = "+" if change > 0 else ""
    shown = f"{number(100 * change, 1)} points" if name in _SHARES and np.isfinite(change) else number(change, 4)
    return [_value(name, baseline), f"{sign}{shown}"]


def _diagnosis(snapshot: Snapshot) -> Iterator[str]:
    diagnosis = snapshot.diagnosis
    yield "## Diagnosis"
    yield ""
    yield f"**{diagnosis.verdict}**: {literal(diagnosis.reason, 500)}."
    yield ""
    yield f"What to do: {literal(diagnosis.advice, 500)}."
    yield ""


def _visual(snapshot: Snapshot, figures: Collection[str]) -> Iterator[str]:
    yield "## What the figures show"
    yield ""
    readings = [
        *(literal(map_reading(snapshot, method), 600) for method in ("tsne", "umap")),
        *(literal(read(snapshot), 600) for read in (heatmap_reading, distribution_reading, top_k_reading)),
    ]
    yield from (f"- {reading}." for reading in readings)
    yield ""
    odd = oddities(snapshot)
    yield (
        "Looks weird:" if odd else "Nothing looks weird: not one cluster only, separated, and similarities that differ."
    )
    yield ""
    if odd:
        yield from (f"- {literal(sentence, 500)}." for sentence in odd)
        yield ""
    yield from (f"![{name.replace('_', ' ')}]({_path(figures, name)})\n" for name in FIGURES if name in figures)


def _path(figures: Collection[str], name: str) -> str:
    return str(figures[name]) if isinstance(figures, Mapping) else f"{name}.png"


def _checklist(checks: Sequence[Check]) -> Iterator[str]:
    yield "## Checklist"
    yield ""
    marks = {True: "passed", False: "**failed**", None: "**not judged**"}
    rows = [
        (
            _readable(check.name),
            number(check.value, 0 if check.name == "figures" else 4),
            _demand(check),
            marks[check.passed],
            literal(check.reason),
        )
        for check in checks
    ]
    yield from table(("check", "value", "needed", "result", "why"), rows)
    yield f"Conclusion: {conclusion(checks)}"
    yield ""


def _demand(check: Check) -> str:
    if check.name == "figures":
        return f"{check.threshold:g}"
    return f"{'<' if check.name == 'negative_mean' else '>'} {check.threshold:g}"


def _course(snapshot: Snapshot, history: Sequence[tuple[str, Metrics]]) -> Iterator[str]:
    if not history:
        return
    yield "## Course"
    yield ""
    past = [*history[-_N_PAST:], (snapshot.label, snapshot.metrics)]
    rows = [(literal(label), *_course_cells(metrics)) for label, metrics in past]
    yield from table(("evaluation", "margin", "separation", "rank-1"), rows)


def _course_cells(metrics: Metrics) -> tuple[str, str, str]:
    get = metrics.get
    return number(get("margin"), 4), number(get("separation"), 2), percent(get("rank1"))


def _worst(snapshot: Snapshot) -> Iterator[str]:
    similarity, subset = snapshot.similarity, snapshot.subset
    missed = np.flatnonzero(~similarity.is_hit)
    worst = missed[np.argsort(-similarity.rank[missed], kind="stable")][:_N_WORST]
    yield "## Worst queries"
    yield ""
    if not len(worst):
        yield "Every query has a relevant document first."
        yield ""
        return
    yield f"{len(missed)} of {counted(len(subset.queries), 'query')} have a wrong document first; the farthest off are:"
    yield ""
    head = ("query", "expected", "its rank", "its cosine", "came first", "its cosine")
    yield from table(head, [_miss(snapshot, int(row)) for row in worst])


def _hubs(snapshot: Snapshot) -> Iterator[str]:
    hubs, n_queries = snapshot.metrics.hubs, len(snapshot.subset.queries)
    if not hubs:
        return
    yield "## Hubs"
    yield ""
    yield (
        f"The documents that most often stand among a query's ten nearest; hubness is "
        f"{_value('hubness', snapshot.metrics)}, above 2 a few documents crowd into everybody's list."
    )
    yield ""
    rows = [(literal(snapshot.text(row)), f"{n:,} of {counted(n_queries, 'query')}") for row, n in hubs]
    yield from table(("document", "among the ten nearest of"), rows)


def _miss(snapshot: Snapshot, row: int) -> tuple[str, ...]:
    similarity, subset = snapshot.similarity, snapshot.subset
    relevance = snapshot.embeddings.relevance
    own = int(similarity.best_positive_row[row])
    own = own if own >= 0 else int(relevance[np.searchsorted(relevance[:, 0], row), 1])
    first = int(similarity.came_first[row])
    return (
        literal(subset.queries[row]),
        literal(subset.documents[own]),
        rank_word(float(similarity.rank[row])),
        number(float(similarity.best_positive[row])),
        literal(snapshot.text(first)) if first >= 0 else "none",
        number(float(similarity.first_score[row])) if first >= 0 else number(None),
    )
