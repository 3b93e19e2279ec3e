"""The report of one evaluation, filled in after the guide's "What to report"."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, LOWER, VERDICT, by_tier, shown
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import FIGURES
from embviz_callback.analysis.metrics.searches import missed
from embviz_callback.analysis.verdict.checklist import (
    CANNOT_TELL,
    DESCRIBED,
    FAILED,
    NOT_JUDGED,
    SCALE,
    Check,
    band,
    conclusion,
)
from embviz_callback.analysis.verdict.power import discordance
from embviz_callback.drawing.reports.asides import NOTHING, Context
from embviz_callback.drawing.reports.data_section import data_section
from embviz_callback.drawing.reports.figures_in_words import oddities, readings
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.wording import change, grouping, interval, power_sentence
from embviz_callback.measure import TITLES
from embviz_callback.snapshot import Snapshot

_DECIMALS = 4
_N_WORST = 10
_ASSUMED = 0.10  # discordance of two models that nobody has compared yet

Values = dict[str, Any]


def report(
    snapshot: Snapshot,
    checks: Sequence[Check],
    context: Context = NOTHING,
    *,
    figures: Collection[str] = tuple(FIGURES),
) -> str:
    """Everything that one evaluation found, as a page of markdown.

    Args:
        snapshot: With its maps.
        checks: What `checklist` gave.
        context: What else it says.
        figures: Names of the figures made; each stands beside the report as ``<name>.png``.

    Returns:
        Markdown; text from the data is inert in it.
    """
    metrics, wrong = snapshot.metrics, missed(snapshot)
    return rendered(
        "evaluation_report",
        snapshot=snapshot,
        subset=snapshot.subset,
        metrics=metrics,
        conclusion=conclusion(checks),
        failures=[check for check in checks if check.outcome in (FAILED, CANNOT_TELL, NOT_JUDGED)],
        data=None if context.data is None else data_section(context.data),
        beside=context,
        n_several=_n_repeated(snapshot.embeddings.relevance[:, 0]),
        n_shared=_n_repeated(snapshot.embeddings.relevance[:, 1]),
        provenance=list(_flat(snapshot.provenance.facts)),
        grouping="" if metrics.per_query is None else grouping(metrics.per_query.sampling),
        power=_power(metrics, context.history),
        key_metrics=[name for name in by_tier(metrics) if not _says_nothing(name, metrics)],
        readings=readings(snapshot),
        odd=oddities(snapshot),
        pictures=[name for name in FIGURES if name in figures],
        checks=checks,
        course=[*context.history, (snapshot.label, metrics)] if context.history else [],
        in_course=[CATALOGUE[name] for name in shown(VERDICT)],
        has_hubs=not math.isnan(metrics.get("hubness", math.nan)),
        is_ranked=not math.isnan(metrics.rank1),
        n_missed=len(wrong),
        whole_corpus=_whole_corpus(snapshot),
        ranked_by=TITLES[snapshot.similarity.measure],
        worst=wrong[:_N_WORST],
        catalogue=CATALOGUE,
        decimals=_DECIMALS,
        nan=math.nan,
        is_lower_better=_is_lower_better,
        why=_why,
        **{word.__name__: word for word in (band, interval, change)},
    )


def _power(metrics: Metrics, history: Sequence[tuple[str, Metrics]]) -> str:
    """The smallest difference that is found, at the discordance to the evaluation before it."""
    now = metrics.per_query
    if now is None:
        return ""
    label, before = next(((name, past.per_query) for name, past in reversed(history) if past.per_query), ("", None))
    if before is None or before.sampling.n_queries != now.sampling.n_queries:
        return power_sentence(now.sampling, _ASSUMED)
    return power_sentence(now.sampling, discordance(before, now), label)


def _whole_corpus(snapshot: Snapshot) -> str:
    """What a sample of a corpus tells of all of it; empty where all of it was ranked."""
    told = snapshot.provenance.corpus.get("of_the_whole")
    if not told:
        return ""
    share, low, high = told["share_above"]
    least, most = told["positives_within_10"]
    return (
        f"These are a sample of a corpus of {told['texts']:,}. Of the whole only this is known, each with an error of "
        f"at most 5 %: {share:.4%} of it ({low:.4%} to {high:.4%}) score above a right document, one stands "
        f"first for at most {told['positives_within_1'][1]:.1%} and among the first ten for {least:.1%} to {most:.1%}"
    )


def _n_repeated(rows: np.ndarray[Any, Any]) -> int:
    return int((np.bincount(rows) > 1).sum())


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _says_nothing(name: str, metrics: Metrics) -> bool:
    """Of bounds for ties: where there are no ties."""
    if name == "auc_error":
        return metrics[name] == 0
    of = name.rpartition("_")[0]
    return CATALOGUE[name].is_bound and not abs(metrics[of] - metrics[name]) > 1e-9  # two NaNs bound nothing


def _is_lower_better(name: str) -> bool:
    return name in CATALOGUE and CATALOGUE[name].better == LOWER


def _why(check: Check) -> str:
    """What the row does not say by itself: what is missing, or why nothing was judged."""
    if check.outcome == CANNOT_TELL:
        return check.reason.partition("; ")[2]
    if check.outcome == SCALE:
        return check.reason.partition(": ")[2]
    if check.meets is None:
        return check.reason.partition("not judged: ")[2]
    return check.reason if check.outcome == DESCRIBED and not check.meets else ""
