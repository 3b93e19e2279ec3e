"""How many columns of a tile lie above each relevant pair, and how many tie with it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.pool import EQUAL, pair_scores
from embviz_callback.analysis.scan.tiles import Tally, Task, Tile
from embviz_callback.embeddings import Rows, Vectors

_ENDLESS = np.float32(np.inf)


@dataclass(frozen=True, eq=False)
class _Asked:
    """Relevant pairs of a band, each about a row of its tiles.

    Attributes:
        pairs: ``(n,)`` which of the task's; -1 where nothing is asked about a row.
        rows: ``(n,)`` their queries' rows; None where they are one for every row.
        levels: ``(n,)`` their cosines, infinite where nothing is asked.
    """

    pairs: Rows
    rows: Rows | None
    levels: Vectors


def count_pairs(task: Task, tally: Tally, tile: Tile) -> None:
    """Adds to a tally the columns of a tile that lie above each relevant pair or tie with it.

    Args:
        task: What is asked.
        tally: Its `above` and `reaching` grow.
        tile: The scores.
    """
    band = tile.band
    contested = np.flatnonzero(tile.highest.max(axis=0)[band.owner] >= band.levels - task.margin)
    if not len(contested):
        return
    everything = _Asked(band.pairs[contested], band.owner[contested], band.levels[contested])
    for asked in _turns(everything, tile.scores.shape[1]):
        # One step lower, for what is just at the margin.
        found = tile.entries_above(np.nextafter(asked.levels - task.margin, -_ENDLESS), asked.rows)
        if found is None:
            _count_everywhere(task, tally, tile, asked)
        else:
            which, column, scores = found
            _count_entries(task, tally, asked, which, tile.columns.start + column, scores)


def _turns(asked: _Asked, n_rows: int) -> Iterator[_Asked]:
    """The first, second, ... pair of every row, while most rows have one; then the rest by the number."""
    assert asked.rows is not None
    turn = np.arange(len(asked.rows)) - np.searchsorted(asked.rows, asked.rows)
    nth = 0
    while 4 * len(here := np.flatnonzero(turn == nth)) >= n_rows:
        pairs, levels = np.full(n_rows, -1), np.full(n_rows, _ENDLESS)
        pairs[asked.rows[here]], levels[asked.rows[here]] = asked.pairs[here], asked.levels[here]
        yield _Asked(pairs, None, levels)
        nth += 1
    rest = np.flatnonzero(turn >= nth)
    # At most as many as there are rows, so that many positives need no more memory.
    for start in range(0, len(rest), n_rows):
        part = rest[start : start + n_rows]
        yield _Asked(asked.pairs[part], asked.rows[part], asked.levels[part])


def _count_entries(task: Task, tally: Tally, asked: _Asked, which: Rows, columns: Rows, scores: Vectors) -> None:
    """Counts entries, each above or near the level of the pair that it was found for."""
    above, pairs = scores > asked.levels[which] + task.margin, asked.pairs[which]
    copies = above * task.pool.weights[columns]
    _add(tally, pairs, copies, copies)
    near = np.flatnonzero(~above)
    if len(near):
        _settle(task, tally, pairs[near], columns[near])


def _count_everywhere(task: Task, tally: Tally, tile: Tile, asked: _Asked) -> None:
    """Counts in whole columns: the positives of an untrained model stand in the midst of all scores."""
    scores = tile.scores if asked.rows is None else np.take(tile.scores, asked.rows, axis=1)
    above = scores > asked.levels + task.margin
    near = scores >= asked.levels - task.margin
    near ^= above
    weights = task.pool.weights[tile.columns]
    counts = _line_counts(above, weights if (weights != 1).any() else None)
    real = asked.pairs >= 0
    _add(tally, asked.pairs[real], counts[real], counts[real])
    if near.any():
        _settle_many(task, tally, tile.columns, asked, near)


def _add(tally: Tally, pairs: Rows, above: Rows, reaching: Rows) -> None:
    np.add.at(tally.above, pairs, above)
    np.add.at(tally.reaching, pairs, reaching)


def _line_counts(hits: NDArray[np.bool_], weights: Rows | None) -> Rows:
    """Hits of every pair, ``(n_columns, n)`` to ``(n,)``."""
    if weights is not None:
        return np.asarray(np.rint(weights.astype(np.float64) @ hits), dtype=np.int64)
    total = np.zeros(hits.shape[1], dtype=np.int64)
    bytes_ = hits.view(np.uint8)
    for start in range(0, len(hits), 255):  # a byte holds so many
        total += bytes_[start : start + 255].sum(axis=0, dtype=np.uint8)
    return total


def _settle(task: Task, tally: Tally, pairs: Rows, columns: Rows) -> None:
    """Compares in float64 what float32's rounding leaves open.

    A positive whose score came from another kernel of the matrix product than its rivals' would
    win or lose every near tie at once, and a nearly collapsed model would look perfect or hopeless.

    Args:
        task: What is asked.
        tally: Grows.
        pairs: ``(n,)`` which pairs.
        columns: ``(n,)`` the column that is too close to each one's level.
    """
    entries = np.stack([task.pairs[pairs, 0], columns], axis=1)
    _add_exact(task, tally, pairs, columns, pair_scores(task.queries, task.pool.vectors, entries, task.measure))


def _settle_many(task: Task, tally: Tally, columns: slice, asked: _Asked, near: NDArray[np.bool_]) -> None:
    """`_settle` for the chosen entries of a whole tile, ``(n_columns, n)``."""
    column, which = np.nonzero(near)
    pairs = asked.pairs[which]
    if len(column) < near.size / 16:
        _settle(task, tally, pairs, columns.start + column)
        return
    # Whole lines, which is cheaper than one by one where they are many.
    queries, documents = task.queries[task.pairs[asked.pairs, 0]], task.pool.vectors[columns]
    parts = [slice(start, start + 128) for start in range(0, len(documents), 128)]
    exact = np.concatenate([task.measure.table(documents[part], queries)[near[part]] for part in parts])
    _add_exact(task, tally, pairs, columns.start + column, exact)


def _add_exact(task: Task, tally: Tally, pairs: Rows, columns: Rows, exact: NDArray[np.float64]) -> None:
    gap, copies = exact - task.levels[pairs], task.pool.weights[columns]
    _add(tally, pairs, copies * (gap > EQUAL), copies * (gap >= -EQUAL))
