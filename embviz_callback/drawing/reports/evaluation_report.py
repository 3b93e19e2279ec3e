"""The report of one evaluation, filled in after the guide's "What to report"."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.verdict.checklist import FIGURES, Check, band, is_ready
from embviz_callback.drawing.reports.data_section import data_section
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.reports.readings import oddities, readings
from embviz_callback.drawing.wording import interval, number, percent
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

Values = dict[str, Any]


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
    metrics = snapshot.metrics
    missed = _missed(snapshot)
    return rendered(
        "evaluation_report",
        snapshot=snapshot,
        subset=snapshot.subset,
        metrics=metrics,
        is_ready=is_ready(checks),
        failures=[check for check in checks if check.passed is not True],
        data=None if data is None else data_section(data),
        alerts=alerts,
        n_several=_n_repeated(snapshot.embeddings.relevance[:, 0]),
        n_shared=_n_repeated(snapshot.embeddings.relevance[:, 1]),
        provenance=list(_flat(snapshot.provenance)),
        baseline=baseline,
        key_metrics=[_key_metric(name, metrics, baseline) for name in _names(metrics)],
        readings=readings(snapshot),
        odd=oddities(snapshot),
        pictures=_pictures(figures),
        checks=[_check(check) for check in checks],
        course=[*history[-_N_PAST:], (snapshot.label, metrics)] if history else [],
        hubs=[(snapshot.text(row), count) for row, count in metrics.hubs],
        n_missed=len(missed),
        worst=[_miss(snapshot, row) for row in missed[:_N_WORST]],
    )


def _n_repeated(rows: np.ndarray[Any, Any]) -> int:
    return int((np.bincount(rows) > 1).sum())


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _names(metrics: Metrics) -> list[str]:
    """The headline metrics first; bounds for ties only where there are ties."""
    names = [name for name in _FIRST if name in metrics] + [name for name in metrics if name not in _FIRST]
    return [name for name in names if not _says_nothing(name, metrics)]


def _says_nothing(name: str, metrics: Metrics) -> bool:
    if name == "auc_error":
        return metrics[name] == 0
    of, _, bound = name.rpartition("_")
    return bound in ("optimistic", "pessimistic") and math.isclose(metrics[of], metrics[name], abs_tol=1e-9)


def _key_metric(name: str, metrics: Metrics, baseline: Metrics | None) -> Values:
    row = {
        "name": name,
        "value": _value(name, metrics),
        "band": band(name, metrics[name]) if name in _BANDED else "",
        "interval": interval(metrics, name, percent if name in _SHARES else number),
    }
    return row if baseline is None else row | _against(name, metrics, baseline)


def _value(name: str, metrics: Metrics) -> str:
    value = metrics.get(name)
    return percent(value) if name in _SHARES else number(value, 4)


def _against(name: str, metrics: Metrics, baseline: Metrics) -> Values:
    change = metrics[name] - baseline.get(name, float("nan"))
    sign = "+" if change > 0 else ""
    shown = f"{number(100 * change, 1)} points" if name in _SHARES and np.isfinite(change) else number(change, 4)
    return {"untrained": _value(name, baseline), "change": f"{sign}{shown}"}


def _pictures(figures: Collection[str]) -> list[tuple[str, str]]:
    paths = figures if isinstance(figures, Mapping) else {name: f"{name}.png" for name in figures}
    return [(name.replace("_", " "), str(paths[name])) for name in FIGURES if name in paths]


def _check(check: Check) -> Values:
    is_count = check.name == "figures"
    return {
        "name": check.name,
        "value": number(check.value, 0 if is_count else 4),
        "wants": "" if is_count else "less" if check.name == "negative_mean" else "more",
        "threshold": f"{check.threshold:g}",
        "passed": check.passed,
        "why": _why(check),
    }


def _why(check: Check) -> str:
    """What the row does not say by itself: what is missing, or why nothing was judged."""
    if check.passed is None:
        return check.reason.partition("not judged: ")[2]
    return check.reason if check.name == "figures" and not check.passed else ""


def _missed(snapshot: Snapshot) -> list[int]:
    """Queries that find a wrong document first, the farthest off first."""
    missed = np.flatnonzero(~snapshot.similarity.is_hit)
    return [int(row) for row in missed[np.argsort(-snapshot.similarity.rank[missed], kind="stable")]]


def _miss(snapshot: Snapshot, row: int) -> Values:
    similarity, relevance = snapshot.similarity, snapshot.embeddings.relevance
    own = int(similarity.best_positive_row[row])
    own = own if own >= 0 else int(relevance[np.searchsorted(relevance[:, 0], row), 1])
    first = int(similarity.came_first[row])
    return {
        "query": snapshot.subset.queries[row],
        "expected": snapshot.subset.documents[own],
        "rank": float(similarity.rank[row]),
        "cosine": float(similarity.best_positive[row]),
        "first": snapshot.text(first) if first >= 0 else "none",
        "first_cosine": float(similarity.first_score[row]),
    }
