"""The comparison in words and tables, as markdown."""

import math
from collections.abc import Iterator, Sequence

from embviz_callback.analysis.compare.comparison import RULE, Comparison, Difference, Fall
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.wording import UNKNOWN, number

_TABLE = ("rank1", "mrr", "recall_at_10", "ndcg_at_10", "margin", "separation", "positive_mean", "negative_mean")
_ALSO = ("auc", "hard_accuracy", "hard_margin")
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


def sentences(comparison: Comparison) -> tuple[str, ...]:
    """Which is best and what has fallen, one sentence each, as the command prints them."""
    return f"best: {comparison.labels[comparison.best]}", *_falls(comparison)


def _falls(comparison: Comparison) -> list[str]:
    sign = "a sign of overfitting" if comparison.is_in_order else "worse beyond chance"
    return [f"{sign}: {_fall(fall)}" for fall in comparison.falls]


def _fall(fall: Fall) -> str:
    return f"{fall.metric} of {fall.after} is {_difference(fall.difference)} against {fall.before}"


def _metrics(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    first = comparison.metrics[0]
    for name in (*_TABLE, *(name for name in _ALSO if name in first)):
        yield name, [_value(metrics.get(name), metrics.intervals.get(name)) for metrics in comparison.metrics]


def _value(value: float | None, ends: tuple[float, float] | None) -> str:
    if ends is None or not all(map(math.isfinite, ends)):
        return number(value)
    return f"{number(value)} ({number(ends[0])} to {number(ends[1])})"


def _differences(comparison: Comparison, others: Sequence[int]) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Each metric with its difference in every other evaluation, and whether that is beyond chance."""
    for name in _TABLE:
        found = [comparison.differences[place].get(name) for place in others]
        if any(found):
            yield name, [(_difference(one), one is not None and one.is_beyond_chance) for one in found]


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return UNKNOWN
    ends = f"{_signed(difference.low)} to {_signed(difference.high)}"
    return f"{_signed(difference.value)} ({ends})" if math.isfinite(difference.low) else _signed(difference.value)


def _signed(value: float) -> str:
    text = number(value)
    return f"+{text}" if value > 0 and text != "0.000" else text
