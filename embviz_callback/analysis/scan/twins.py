"""Negatives that share their vector with a positive of the same query."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.pool import EQUAL
from embviz_callback.analysis.scan.tiles import Tally, Task
from embviz_callback.embeddings import Rows, Vectors


@dataclass(frozen=True, eq=False)
class Twins:
    """Every column that is relevant to a query, with the negatives that hide in it.

    The pass leaves relevant entries out; where several documents share a column, the irrelevant
    ones among them must be brought back, with exactly the positive's score.

    Attributes:
        row: ``(n,)`` row among the task's queries, ascending.
        column: ``(n,)``.
        score: ``(n,)`` as the tile made it.
        level: ``(n,)`` the exact cosine.
        count: ``(n,)`` negatives in the column, mostly 0.
    """

    row: Rows
    column: Rows
    score: Vectors
    level: NDArray[np.float64]
    count: Rows


def find_twins(task: Task, tally: Tally) -> Twins:
    """The relevant columns of every query, each once."""
    valid = task.pairs[:, 1] >= 0
    entries, first, positives = np.unique(
        task.pairs[valid] @ (len(task.pool.vectors), 1), return_index=True, return_counts=True
    )
    row, column = np.divmod(entries, max(len(task.pool.vectors), 1))
    pair = np.flatnonzero(valid)[first]
    return Twins(row, column, tally.own[pair], task.levels[pair], task.pool.weights[column] - positives)


def counts_with_twins(task: Task, tally: Tally, twins: Twins) -> tuple[Rows, Rows]:
    """Negatives above and tied with each relevant pair, twins included.

    Args:
        task: What was asked.
        tally: What the pass has counted without them.
        twins: The twins.

    Returns:
        Two arrays ``(n_pairs,)``.
    """
    above, tied = tally.above, tally.reaching - tally.above
    extra = twins.count > 0
    if not extra.any():
        return above, tied
    row, level, count = twins.row[extra], twins.level[extra], twins.count[extra]
    first, last = np.searchsorted(row, task.pairs[:, 0]), np.searchsorted(row, task.pairs[:, 0], side="right")
    # Every relevant pair meets every such column of its own query.
    n_met = last - first
    pair = np.repeat(np.arange(len(task.pairs)), n_met)
    met = np.arange(len(pair)) - np.repeat(np.cumsum(n_met) - n_met - first, n_met)
    gap = level[met] - task.levels[pair]
    np.add.at(above, pair, count[met] * (gap > EQUAL))
    np.add.at(tied, pair, count[met] * (np.abs(gap) <= EQUAL))
    return above, tied
