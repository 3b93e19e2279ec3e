"""Scores of queries and columns in tiles, one band of queries at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.pool import ROUNDING, Pool
from embviz_callback.embeddings import Floats, Rows, Vectors
from embviz_callback.measure import Measure, Product

GROUP = 16  # columns
SLACK = 6  # columns that are kept beyond the list: float32 may have let a near tie in its place
# OpenBLAS makes products of up to so many multiplications by another kernel, with other last bits.
_SMALL_PRODUCT = 2**20


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of the pass.

    Attributes:
        queries: ``(n_queries, dim)``, all with a direction.
        pool: The columns.
        pairs: ``(n_pairs, 2)``, (query row, column), sorted by query; column -1 for none.
        places: ``(n_pairs,)`` where each one's document stands among the members of the pool.
        levels: ``(n_pairs,)`` the exact score to beat.
        top_k: Columns to list per query.
        tile: Queries and columns of a tile.
        stride: Every stride-th column of a tile goes into the histogram.
        keep: Whether all negatives go into it, in float64, and are compared with all positives.
        product: Makes a tile; numpy without.
        measure: By which rows are compared.
        margin: How near two scores in float32 leave open which is the higher.
        bar: ``(n_queries,)`` the score that a column must exceed to be listed; None for any.
        adds_up: Whether scores and their squares are added up.
    """

    queries: Vectors
    pool: Pool
    pairs: Rows
    places: Rows
    levels: NDArray[np.float64]
    top_k: int
    tile: tuple[int, int]
    stride: int
    keep: bool
    product: Product | None
    measure: Measure
    margin: float = ROUNDING
    bar: Vectors | None = None
    adds_up: bool = False


@dataclass(eq=False)
class Tally:
    """What the pass has counted; it grows during one pass.

    Attributes:
        above: ``(n_pairs,)`` documents above each relevant pair.
        reaching: ``(n_pairs,)`` documents above or tied with it, its own among them.
        own: ``(n_pairs,)`` each relevant pair's score as its tile made it.
        best: ``(n_queries, k)`` keys of the best columns, best first.
        bar: ``(n_queries,)`` what a score must exceed to be among them.
        fine: ``(FINE_BINS,)`` negatives by score, over [-1, 1]; all, or a sample.
        beaten: Where all are in it: how many pairs of a positive and a negative the positive wins, and once more how
            many it does not lose.
        added: ``(2, n_queries)`` the sum of each query's scores and that of their squares, where the task adds them up.
    """

    above: Rows
    reaching: Rows
    own: Vectors
    best: Rows
    bar: Vectors
    fine: Rows
    added: Floats
    beaten: int = 0

    @property
    def counted(self) -> Rows:
        """All that adds up over the parts of a pool, in one row: `above`, `reaching`, `fine` and `beaten`."""
        return np.concatenate([self.above, self.reaching, self.fine, [self.beaten]])


@dataclass(frozen=True, eq=False)
class Band:
    """Some queries side by side, and their relevant pairs.

    Attributes:
        rows: Which queries.
        pairs: ``(n_pairs,)`` which pairs.
        owner: ``(n_pairs,)`` the row of each one's query, counted from the top of the band.
        column: ``(n_pairs,)`` the column of its document.
        place: ``(n_pairs,)`` where its document stands among the members of the pool.
        levels: ``(n_pairs,)`` its cosine, rounded to float32.
    """

    rows: slice
    pairs: Rows
    owner: Rows
    column: Rows
    place: Rows
    levels: Vectors


@dataclass(frozen=True, eq=False)
class Tile:
    """Scores of a run of columns with a band of queries.

    Columns lie along the first axis: what is asked of every query at once is then asked of
    whole lines of memory, at a fraction of what it costs across them.

    Attributes:
        band: The queries.
        columns: Which columns.
        scores: ``(n_columns, n_rows)``.
        highest: ``(n_groups, n_rows)`` highest score of each `GROUP` columns. Nearly everything
            is settled by these; the scores are looked at again only where a group reaches
            what is asked.
        relevant: ``(n_relevant,)`` which of the band's pairs have their document in these columns.
        members: Which members of the pool stand in these columns.
    """

    band: Band
    columns: slice
    scores: Vectors
    highest: Vectors
    relevant: Rows
    members: slice

    @property
    def hidden(self) -> tuple[Rows, Rows]:
        """Member, from the first of the tile, and row of every relevant pair."""
        return self.band.place[self.relevant] - self.members.start, self.band.owner[self.relevant]

    def entries_above(self, levels: Vectors, rows: Rows | None = None) -> tuple[Rows, Rows, Vectors] | None:
        """The scores that exceed a level, found by way of the groups.

        Args:
            levels: ``(n,)``.
            rows: ``(n,)`` the row in which each is asked about; without, there is one for every row.

        Returns:
            Which level each entry exceeds, its column in the tile and its score; None where so
            many groups hold one that a look at the whole tile is cheaper.
        """
        group, which = where((self.highest if rows is None else np.take(self.highest, rows, axis=1)) > levels)
        if 8 * GROUP * len(group) > self.scores.size:
            return None
        column = (group[:, None] * GROUP + np.arange(GROUP)).ravel()
        which = np.repeat(which, GROUP)
        if len(self.scores) % GROUP:
            inside = np.flatnonzero(column < len(self.scores))
            column, which = column[inside], which[inside]
        scores = self.scores[column, which if rows is None else rows[which]]
        exceeds = np.flatnonzero(scores > levels[which])
        return which[exceeds], column[exceeds], scores[exceeds]


def where(hits: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """`np.nonzero` of a matrix, several times faster where little is set."""
    line, place = np.divmod(np.flatnonzero(hits), max(hits.shape[1], 1))
    return line, place


def tiles_of(task: Task, rows: slice) -> Iterator[Tile]:
    """The tiles of one band of queries; each is overwritten by the next.

    Args:
        task: What is asked.
        rows: The band.

    Yields:
        Tiles in the order of their columns.
    """
    width, n_columns = task.tile[1], len(task.pool.vectors)
    queries, band = task.queries[rows], _band(task, rows)
    # One buffer for all tiles: fresh memory for each costs as much as the product itself.
    least = _SMALL_PRODUCT // max(queries.size, 1) + 1 if task.adds_up else 0
    buffer = np.empty((_whole_groups(max(min(width, n_columns), least)), len(queries)), dtype=np.float32)
    for left in range(0, n_columns, width):
        columns = slice(left, min(left + width, n_columns))
        scores, vectors = buffer[: columns.stop - left], task.pool.vectors[columns]
        # What is added up must be one number for a document wherever it stands, or the sums would tell (by some 1e-9,
        # as they do where BLAS has other such rules) how the pool was cut.
        padded = np.pad(vectors, ((0, max(least - len(vectors), 0)), (0, 0))) if len(vectors) < least else vectors
        task.measure.fill(buffer[: len(padded)], padded, queries, task.product)
        grouped = buffer[: _whole_groups(len(scores))]
        grouped[len(scores) :] = -np.inf
        highest = grouped.reshape(-1, GROUP, len(queries)).max(axis=1)
        relevant = np.flatnonzero((band.column >= left) & (band.column < columns.stop))
        yield Tile(band, columns, scores, highest, relevant, slice(*task.pool.starts[[left, columns.stop]].tolist()))


def _band(task: Task, rows: slice) -> Band:
    pairs = np.arange(*np.searchsorted(task.pairs[:, 0], (rows.start, rows.stop)))
    owner, column = (task.pairs[pairs] - (rows.start, 0)).T
    return Band(rows, pairs, owner, column, task.places[pairs], task.levels[pairs].astype(np.float32))


def _whole_groups(n_columns: int) -> int:
    return -(-n_columns // GROUP) * GROUP
