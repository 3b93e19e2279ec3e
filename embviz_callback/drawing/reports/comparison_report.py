"""The comparison in words and tables, as markdown."""

import math
from collections.abc import Iterator, Sequence

from embviz_callback.analysis.compare.comparison import RULE, Comparison, Difference, Fall
from embviz_callback.analysis.compare.standings import Change, Changes
from embviz_callback.drawing.reports.markdown import literal, table
from embviz_callback.drawing.wording import UNKNOWN, number, pool, rank_word

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
    lines = [
        "# Comparison",
        "",
        *_opening(comparison),
        *_falls(comparison),
        "## Metrics",
        "",
        *table(["metric", *map(literal, comparison.labels)], _metric_rows(comparison)),
        f"## Differences from {literal(comparison.labels[comparison.reference])}",
        "",
        "Each with its paired 95 % interval; bold where the interval leaves 0 out.",
        "",
        *_differences(comparison),
        "## Queries gained and lost",
        "",
        *_gained_and_lost(comparison),
    ]
    for name in figures:
        lines += [f"![{literal(name.replace('_', ' '))}]({name}.png)", ""]
    return "\n".join(lines).rstrip() + "\n"


def sentences(comparison: Comparison) -> tuple[str, ...]:
    """Which is best and what has fallen, one sentence each, as the command prints them."""
    best = f"best: {comparison.labels[comparison.best]}"
    return best, *(_fall(fall, is_in_order=comparison.is_in_order) for fall in comparison.falls)


def _opening(comparison: Comparison) -> Iterator[str]:
    n = comparison.metrics[0].n_queries
    first = comparison.metrics[0]
    against = f" against {pool(first.n_documents, first.n_corpus)}" if first.n_corpus else ""
    yield f"{len(comparison.labels)} evaluations of {n} queries{against}, subset {comparison.fingerprint}."
    yield ""
    yield f"**Best: {literal(comparison.labels[comparison.best])}.** Rule: {RULE}."
    yield ""


def _falls(comparison: Comparison) -> Iterator[str]:
    for fall in comparison.falls:
        yield f"- {literal(_fall(fall, is_in_order=comparison.is_in_order), 400)}"
    if comparison.falls:
        yield ""


def _fall(fall: Fall, *, is_in_order: bool) -> str:
    sign = "a sign of overfitting" if is_in_order else "worse beyond chance"
    return f"{sign}: {fall.metric} of {fall.after} is {_plain(fall.difference)} against {fall.before}"


def _metric_rows(comparison: Comparison) -> Iterator[list[str]]:
    first = comparison.metrics[0]
    for name in (*_TABLE, *(name for name in _ALSO if name in first)):
        yield [name, *(_value(metrics.get(name), metrics.intervals.get(name)) for metrics in comparison.metrics)]


def _value(value: float | None, ends: tuple[float, float] | None) -> str:
    if ends is None or not all(map(math.isfinite, ends)):
        return number(value)
    return f"{number(value)} ({number(ends[0])} to {number(ends[1])})"


def _differences(comparison: Comparison) -> list[str]:
    others = [place for place in range(len(comparison.labels)) if place != comparison.reference]
    rows = [
        [name, *(_marked(comparison.differences[place].get(name)) for place in others)]
        for name in _TABLE
        if any(name in comparison.differences[place] for place in others)
    ]
    return table(["metric", *(literal(comparison.labels[place]) for place in others)], rows)


def _marked(difference: Difference | None) -> str:
    if difference is None:
        return UNKNOWN
    text = _plain(difference)
    return f"**{text}**" if difference.is_beyond_chance else text


def _plain(difference: Difference) -> str:
    ends = f"{_signed(difference.low)} to {_signed(difference.high)}"
    return f"{_signed(difference.value)} ({ends})" if math.isfinite(difference.low) else _signed(difference.value)


def _signed(value: float) -> str:
    text = number(value)
    return f"+{text}" if value > 0 and text != "0.000" else text


def _gained_and_lost(comparison: Comparison) -> Iterator[str]:
    others = [change for place, change in enumerate(comparison.changes) if place != comparison.reference]
    yield from table(
        ["evaluation", "gained", "lost", "McNemar's exact p"],
        [[literal(one.after), f"{len(one.improved)}", f"{len(one.fell)}", f"{one.p_value:.3g}"] for one in others],
    )
    for one in others:
        yield from _lists(one)


def _lists(changes: Changes) -> Iterator[str]:
    for title, found in (("gained", changes.improved), ("lost", changes.fell)):
        if not found:
            continue
        yield f"### {literal(changes.after)}: {title}"
        yield ""
        yield from table(
            ["query", "expected", "rank before", "came first before", "rank after", "comes first after"],
            [_row(change) for change in found[:_MOST_LISTED]],
        )
        if len(found) > _MOST_LISTED:
            yield f"and {len(found) - _MOST_LISTED} more, all in comparison.json."
            yield ""


def _row(change: Change) -> list[str]:
    return [
        literal(change.query),
        literal(change.expected),
        rank_word(change.before.rank),
        literal(change.before.first),
        rank_word(change.after.rank),
        literal(change.after.first),
    ]
