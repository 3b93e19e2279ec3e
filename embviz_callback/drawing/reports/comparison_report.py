"""The comparison in words and tables, as markdown."""

import math
from collections.abc import Iterator, Sequence

from embviz_callback.analysis.compare.comparison import RULE, Comparison, Difference, Fall
from embviz_callback.analysis.metrics.catalogue import HEADLINE, shown
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.wording import UNKNOWN, change, interval, measured

_MOST_LISTED = 20


def comparison_report(comparison: Comparison, *, figures: Sequence[str] = ()) -> str:
    """``comparison.md``.

    Args:
        comparison: What is compared.
        figures: Names of the PNG files beside it, without their ending.

    Returns:
        Markdown; text from the data is text and nothing else.
    """
    others = [place for place in range(len(comparison.labels)) if place != comparison.reference]
    first = comparison.metrics[0]
    return rendered(
        "comparison_report",
        comparison=comparison,
        n_queries=first.n_queries,
        n_documents=first.n_documents,
        n_corpus=first.n_corpus,
        best=comparison.labels[comparison.best],
        rule=RULE,
        falls=_falls(comparison),
        metrics=list(_metrics(comparison)),
        changes=[comparison.changes[place] for place in others],
        differences=list(_differences(comparison, others)),
        most_listed=_MOST_LISTED,
        figures=figures,
    )


def metrics_lines(comparison: Comparison) -> list[str]:
    """The numbers side by side, as lines for a terminal: a column for each evaluation."""
    rows = [("", *comparison.labels), *((name, *cells) for name, cells in _metrics(comparison))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def sentences(comparison: Comparison) -> tuple[str, ...]:
    """Which is best and what has fallen, one sentence each, as the command prints them."""
    return f"best: {comparison.labels[comparison.best]}", *_falls(comparison)


def _falls(comparison: Comparison) -> list[str]:
    sign = "a sign of overfitting" if comparison.is_in_order else "worse beyond chance"
    return [f"{sign}: {_fall(fall)}" for fall in comparison.falls]


def _fall(fall: Fall) -> str:
    return f"{fall.metric} of {fall.after} is {_difference(fall.difference, fall.metric)} against {fall.before}"


def _metrics(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
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
