"""The comparison in words and tables, as markdown."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from embviz_callback.analysis.compare.comparison import Comparison
from embviz_callback.analysis.metrics.catalogue import CATALOGUE, HEADLINE, shown
from embviz_callback.analysis.metrics.contrasts import Difference
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.verdict.best import RULE
from embviz_callback.analysis.verdict.power import discordance
from embviz_callback.drawing.reports.asides import Aside
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.wording import (
    UNKNOWN,
    aligned,
    chance,
    change,
    grouping,
    interval,
    measured,
    power_sentence,
    worth,
)

_MOST_LISTED = 20


def comparison_report(comparison: Comparison, *, figures: Sequence[str] = (), asides: Sequence[Aside] = ()) -> str:
    """``comparison.md``.

    Args:
        comparison: What is compared.
        figures: Names of the PNG files beside it, without their ending.
        asides: Sections of their own.

    Returns:
        Markdown; text from the data is text and nothing else.
    """
    others = [place for place in range(len(comparison.labels)) if place != comparison.reference]
    return rendered(
        "comparison_report",
        comparison=comparison,
        first=comparison.metrics[0],
        grouping=grouping(comparison.sampling),
        best=comparison.labels[comparison.best.place],
        about_best=list(_about_best(comparison)),
        rule=RULE.format(metric=CATALOGUE[comparison.best.metric].title),
        fall=fall_sentence(comparison),
        power=_power(comparison),
        metrics=list(metrics_rows(comparison)),
        changes=[
            (comparison.changes[place], chance(comparison.differences[place]["rank1"].p_value)) for place in others
        ],
        differences=list(_differences(comparison, others)),
        most_listed=_MOST_LISTED,
        figures=figures,
        asides=asides,
    )


def metrics_lines(comparison: Comparison) -> list[str]:
    """The numbers side by side, as lines for a terminal: a column for each evaluation."""
    return aligned([("", *comparison.labels), *((name, *cells) for name, cells in metrics_rows(comparison))])


def _power(comparison: Comparison) -> str:
    """At the discordance of the reference and the best, or of the reference and the next where that is the best."""
    other = comparison.best.place if comparison.best.place != comparison.reference else int(comparison.reference == 0)
    one, two = (comparison.metrics[place].per_query for place in (comparison.reference, other))
    if one is None or two is None or not np.array_equal(one.sampling.groups, two.sampling.groups):
        return ""
    against = f"{comparison.labels[other]} and {comparison.labels[comparison.reference]}"
    return power_sentence(comparison.sampling, discordance(one, two), against)


def sentences(comparison: Comparison) -> tuple[str, ...]:
    """Which is best, what may as well be, and what has fallen, one sentence each, as the command prints them."""
    best = f"best: {comparison.labels[comparison.best.place]}"
    fall = fall_sentence(comparison)
    return best, *_about_best(comparison), *([fall] if fall else [])


def _about_best(comparison: Comparison) -> Iterator[str]:
    best = comparison.best
    if math.isfinite(best.interval[0]):
        yield f"its {worth(best)}{_about(comparison)}"
    for places, said in ((best.equals, "the same to within 0.005"), (best.undecided, "cannot be told from it")):
        if places:
            yield f"{said}: {', '.join(comparison.labels[place] for place in places)}"
    if comparison.unshown:
        yield f"not shown, and may as well be the best: {', '.join(comparison.unshown)}"


def fall_sentence(comparison: Comparison) -> str:
    """That the last evaluation has fallen from the best before it; empty where that is not shown."""
    fall = comparison.fall
    if fall is None:
        return ""
    return (
        f"fallen from its best ({comparison.labels[fall.peak]}): {CATALOGUE[fall.metric].title} of"
        f" {comparison.labels[-1]} is {measured(fall.value, fall.metric)} against {measured(fall.highest, fall.metric)}"
        f"{_about(comparison)}"
    )


def _about(comparison: Comparison) -> str:
    return "; approximate, as chains of shared documents hold many queries" if comparison.sampling.is_chained else ""


def metrics_rows(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    """Each headline metric with a cell for every evaluation: value and 95 % interval."""
    for name in shown(HEADLINE):
        if any(name in metrics for metrics in comparison.metrics):
            yield name, [_value(name, metrics) for metrics in comparison.metrics]


def _value(name: str, metrics: Metrics) -> str:
    text, ends = measured(metrics.get(name), name), interval(metrics, name, decimals=None)
    return text if ends == UNKNOWN else f"{text} ({ends})"


def _differences(comparison: Comparison, others: Sequence[int]) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Each metric with its difference in every other evaluation, and whether that is beyond chance."""
    for name in shown(HEADLINE):
        found = [comparison.differences[place].get(name) for place in others]
        if any(found):
            yield name, [(_difference(one, name), one is not None and one.is_beyond_chance) for one in found]


def _difference(difference: Difference | None, name: str) -> str:
    if difference is None:
        return UNKNOWN
    value = change(difference.value, name)
    if not math.isfinite(difference.low):
        return value
    ends = f"{change(difference.low, name)} to {change(difference.high, name)}"
    return f"{value} ({ends.replace(' points', '')})"
