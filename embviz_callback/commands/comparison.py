"""Several checkpoints on the same pairs, as one table."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from embviz_callback.drawing.markdown import literal, table
from embviz_callback.drawing.wording import interval, number, percent

if TYPE_CHECKING:
    from embviz_callback.commands.results import Outcome

_RULE = (
    "The best is the one with the highest rank-1 in whole per cent, and among equals the highest margin: a difference "
    "in rank-1 below one point is noise on a few hundred queries. Where the intervals of two rows overlap widely, "
    "do not take one for better than the other."
)


def merit(outcome: "Outcome") -> tuple[float, float]:
    """What checkpoints are ordered by: rank-1 in whole per cent, then margin; NaN comes last."""
    rank1, margin = outcome.metrics.rank1, outcome.metrics.margin
    judged = rank1 == rank1 and margin == margin
    return (round(rank1, 2), margin) if judged else (float("-inf"), float("-inf"))


def comparison(outcomes: Sequence["Outcome"]) -> str:
    """The table, the best first.

    Args:
        outcomes: Of one subset.

    Returns:
        Markdown.
    """
    ranked = sorted(outcomes, key=merit, reverse=True)
    head = ("checkpoint", "rank-1", "margin", "95 % interval", "separation", "MRR", "AUC", "ready", "reading")
    lines = [
        f"# Comparison of {len(ranked)} checkpoints",
        "",
        f"Subset {ranked[0].content['fingerprint']}, {ranked[0].metrics.n_queries:,} queries, "
        f"{ranked[0].metrics.n_documents:,} documents.",
        "",
        *table(head, [_row(outcome) for outcome in ranked]),
        f"Best: {literal(ranked[0].label)}. {_RULE}",
    ]
    return "\n".join(lines) + "\n"


def _row(outcome: "Outcome") -> list[str]:
    metrics = outcome.metrics
    return [
        literal(outcome.label),
        percent(metrics.rank1),
        number(metrics.margin, 4),
        interval(metrics, "margin", partial(number, digits=4)),
        f"{number(metrics.separation, 2)}σ",
        number(metrics.mrr),
        number(metrics.auc),
        "yes" if outcome.content["ready"] else "no",
        outcome.content["diagnosis"]["verdict"],
    ]
