"""One pass over the cosines in tiles: counts above, ties, the best columns, a histogram."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.pool import Pool, Product, padded
from embviz_callback.embeddings import Rows, Vectors

FINE_BINS = 2**16
_SEGMENTS = 64
_NEVER = np.float32(np.inf)  # no cosine reaches it: nothing is counted against such a pair


@dataclass(eq=False)
class Tally:
    """What the pass has counted so far; lives for one scan.

    Attributes:
        above: ``(n_pairs,)`` negatives above each relevant pair.
        reaching: ``(n_pairs,)`` negatives above or tied with it.
        best: ``(n_queries, k)`` highest scores among other columns, descending.
        best_column: ``(n_queries, k)`` their columns, -1 where there are fewer.
        fine: ``(FINE_BINS,)`` sampled negatives by score, over [-1, 1].
        kept: All negatives' scores, where they are few enough to keep.
    """

    above: Rows
    reaching: Rows
    best: Vectors
    best_column: Rows
    fine: NDArray[np.int64]
    kept: list[NDArray[np.float32]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of the pass.

    Attributes:
        queries: ``(n_queries, dim)``.
        pool: The columns.
        pairs: ``(n_pairs, 2)``, (query row, column), sorted by query; -1 for no column.
        levels: ``(n_pairs,)`` the score to beat, infinite where nothing can be counted.
        top_k: Columns to keep per query.
        tile: Rows and columns of a tile.
        stride: Every stride-th column of a tile goes into the histogram.
        keep: Whether all negatives are kept as they are.
        product: Makes a tile.
    """

    queries: Vectors
    pool: Pool
    pairs: Rows
    levels: NDArray[np.float32]
    top_k: int
    tile: tuple[int, int]
    stride: int
    keep: bool
    product: Product


def run(task: Task) -> Tally:
    """Goes over all cosines once; relevant ones are left out of everything.

    Args:
        task: What is asked.

    Returns:
        The counts, over negatives only.
    """
    k = min(task.top_k, len(task.pool.vectors))
    n_queries, n_pairs = len(task.queries), len(task.pairs)
    tally = Tally(
        above=np.zeros(n_pairs, dtype=np.int64),
        reaching=np.zeros(n_pairs, dtype=np.int64),
        best=np.full((n_queries, k), -np.inf, dtype=np.float32),
        best_column=np.full((n_queries, k), -1, dtype=np.int64),
        fine=np.zeros(FINE_BINS, dtype=np.int64),
    )
    for rows, columns, tile in _tiles(task):
        _count_pairs(task, tally, rows, columns, tile)
        _keep_best(tally, rows, columns, tile)
        _sample(task, tally, rows, columns, tile)
    return tally


def _tiles(task: Task) -> Iterator[tuple[slice, slice, Vectors]]:
    """Tiles in row bands, the relevant entries at minus infinity."""
    height, width = task.tile
    for top in range(0, len(task.queries), height):
        rows = slice(top, min(top + height, len(task.queries)))
        band = padded(task.queries[rows])
        first, last = np.searchsorted(task.pairs[:, 0], (rows.start, rows.stop))
        pairs = task.pairs[first:last]
        for left in range(0, len(task.pool.vectors), width):
            columns = slice(left, min(left + width, len(task.pool.vectors)))
            block = task.product(band, padded(task.pool.vectors[columns]))
            tile = block[: rows.stop - rows.start, : columns.stop - columns.start]
            inside = pairs[(pairs[:, 1] >= columns.start) & (pairs[:, 1] < columns.stop)]
            tile[inside[:, 0] - rows.start, inside[:, 1] - columns.start] = -np.inf
            yield rows, columns, tile


def _count_pairs(task: Task, tally: Tally, rows: slice, columns: slice, tile: Vectors) -> None:
    first, last = np.searchsorted(task.pairs[:, 0], (rows.start, rows.stop))
    owner = task.pairs[first:last, 0] - rows.start
    levels = task.levels[first:last]
    contested = np.flatnonzero(tile.max(axis=1, initial=-np.inf)[owner] >= levels)
    if not len(contested):
        return
    weights = None if task.pool.is_plain else task.pool.weights[columns].astype(np.float32)
    for part in np.array_split(contested, len(contested) // len(tile) + 1):
        # A copy of the rows costs more than counting in all of them.
        scores = tile if len(part) == len(tile) and (owner[part] == np.arange(len(tile))).all() else tile[owner[part]]
        bar = levels[part, None]
        tally.above[first + part] += _row_counts(scores > bar, weights)
        tally.reaching[first + part] += _row_counts(scores >= bar, weights)


def _row_counts(hits: NDArray[np.bool_], weights: Vectors | None) -> Rows:
    if weights is not None:
        return np.rint(hits @ weights.astype(np.float64)).astype(np.int64)
    return np.bitwise_count(np.packbits(hits, axis=1)).sum(axis=1, dtype=np.int64)


def _keep_best(tally: Tally, rows: slice, columns: slice, tile: Vectors) -> None:
    k = tally.best.shape[1]
    bar = tally.best[rows, -1]
    if columns.start == 0 and k <= _SEGMENTS and tile.shape[1] >= 4 * _SEGMENTS:
        bar = _lower_bound(tile, k)
    # Later columns must be strictly better: among equals the first column stays.
    active = np.flatnonzero(tile.max(axis=1) > bar)
    if not len(active):
        return
    scores = tile[active]
    row, column = np.nonzero(scores > bar[active, None])
    found = scores[row, column]
    old = tally.best[rows][active]
    all_rows = np.concatenate([np.repeat(np.arange(len(active)), k), row])
    all_scores = np.concatenate([old.ravel(), found])
    all_columns = np.concatenate([tally.best_column[rows][active].ravel(), column + columns.start])
    order = np.lexsort((all_columns, -all_scores, all_rows))
    starts = np.searchsorted(all_rows[order], np.arange(len(active)))
    chosen = order[starts[:, None] + np.arange(k)]
    tally.best[rows.start + active] = all_scores[chosen]
    tally.best_column[rows.start + active] = all_columns[chosen]


def _lower_bound(tile: Vectors, k: int) -> NDArray[np.float32]:
    """A score per row that at least k of its entries exceed or reach, minus one step.

    The k-th largest of the maxima of disjoint segments is such a score, and much cheaper than
    the k-th largest entry.
    """
    whole = tile.shape[1] // _SEGMENTS * _SEGMENTS
    segments = tile[:, :whole].reshape(len(tile), -1, _SEGMENTS).max(axis=1)
    kth = np.partition(segments, _SEGMENTS - k, axis=1)[:, _SEGMENTS - k]
    return np.nextafter(kth, -_NEVER)


def _sample(task: Task, tally: Tally, rows: slice, columns: slice, tile: Vectors) -> None:
    if task.keep:
        kept = tile if task.pool.is_plain else np.repeat(tile, task.pool.weights[columns], axis=1)
        tally.kept.append(kept[kept > -np.inf])
        return
    offset = (rows.start // task.tile[0] * 7 + columns.start // task.tile[1]) % task.stride
    part = tile[:, offset :: task.stride]
    bins = fine_bins(part)
    weights = task.pool.weights[columns][offset :: task.stride]
    for copies in np.unique(weights):
        chosen = (bins if (weights == copies).all() else bins[:, weights == copies]).ravel()
        tally.fine += copies * np.bincount(chosen[chosen >= 0], minlength=FINE_BINS)


def fine_bins(scores: NDArray[np.floating]) -> NDArray[np.int32]:
    """The fine bin of each score, -1 for minus infinity."""
    bins = np.clip((scores + 1) * (FINE_BINS / 2), 0, FINE_BINS - 1).astype(np.int32)
    bins[scores == -np.inf] = -1
    return bins
