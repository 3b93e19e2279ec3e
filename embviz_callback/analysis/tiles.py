"""One pass over the cosines in tiles: counts above, ties, the best columns, a histogram."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from embviz_callback.analysis import keys
from embviz_callback.analysis.pool import EQUAL, ROUNDING, Pool, Product, exact_products
from embviz_callback.embeddings import Rows, Vectors

FINE_BINS = 2**16
_SEGMENTS = 64
_LOWEST_BAND = 64  # rows, below which a product is slow


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of the pass.

    Attributes:
        queries: ``(n_queries, dim)``, all with a direction.
        pool: The columns.
        pairs: ``(n_pairs, 2)``, (query row, column), sorted by query; column -1 for none.
        levels: ``(n_pairs,)`` the exact cosine to beat, infinite where nothing can be counted.
        top_k: Columns to keep per query.
        tile: Rows and columns of a tile.
        stride: Every stride-th column of a tile goes into the histogram.
        keep: Whether all negatives are kept as they are, instead of the histogram.
        product: Makes a tile; numpy without.
    """

    queries: Vectors
    pool: Pool
    pairs: Rows
    levels: NDArray[np.float64]
    top_k: int
    tile: tuple[int, int]
    stride: int
    keep: bool
    product: Product | None


@dataclass(eq=False)
class Tally:
    """What the pass has counted; it grows during one pass.

    Attributes:
        above: ``(n_pairs,)`` negatives above each relevant pair.
        reaching: ``(n_pairs,)`` negatives above or tied with it.
        own: ``(n_pairs,)`` each relevant pair's score as its tile made it, NaN for none.
        best: ``(n_queries, k)`` keys of the best irrelevant columns, best first.
        fine: ``(FINE_BINS,)`` sampled negatives by score, over [-1, 1].
        kept: All negatives' scores, where they are few enough to keep.
    """

    above: Rows
    reaching: Rows
    own: Vectors
    best: Rows
    fine: NDArray[np.int64]
    kept: list[NDArray[np.float32]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Tile:
    """Cosines of a band of queries with a run of columns, relevant entries at minus infinity.

    Attributes:
        rows: Which queries.
        columns: Which columns.
        scores: ``(n_rows, n_columns)``.
        hidden: Relevant entries in this tile, (row, column) counted from its corner.
        pairs: Which pairs they are.
        own: Their scores.
    """

    rows: slice
    columns: slice
    scores: Vectors
    hidden: Rows
    pairs: Rows
    own: Vectors


@dataclass(frozen=True, eq=False)
class _Sample:
    """Some of a tile's scores, by bin.

    Attributes:
        bins: ``(n,)``, relevant entries in bin 0.
        copies: ``(n,)`` how many documents each stands for; None where that is one.
        n_hidden: Documents of the relevant entries among them.
    """

    bins: NDArray[np.uint16]
    copies: Rows | None
    n_hidden: int


def run(task: Task) -> Tally:
    """Goes over all cosines once; relevant ones are left out of everything.

    Args:
        task: What is asked.

    Returns:
        The counts, over negatives only.
    """
    k = min(task.top_k, len(task.pool.vectors))
    n_queries = len(task.queries)
    tally = Tally(
        above=np.zeros(len(task.pairs), dtype=np.int64),
        reaching=np.zeros(len(task.pairs), dtype=np.int64),
        own=np.full(len(task.pairs), np.nan, dtype=np.float32),
        best=np.full((n_queries, k), keys.NOTHING),
        fine=np.zeros(FINE_BINS, dtype=np.int64),
    )
    is_alone = task.keep or task.product is not None
    # Few queries: a band for every core all the same.
    height = task.tile[0] if is_alone else min(task.tile[0], max(_LOWEST_BAND, -(-n_queries // _cores())))
    task = replace(task, tile=(height, task.tile[1]))
    bands = [slice(top, min(top + height, n_queries)) for top in range(0, n_queries, height)]
    if is_alone:
        for band in bands:
            tally.fine += _go_over(task, tally, band)
        return tally
    # Whole bands side by side, each with a product of one thread: counting then finds its tile in
    # the core's own cache, where after a product of all cores it would wait for memory.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(_cores()) as threads:
        for fine in threads.map(partial(_go_over, task, tally), bands):
            tally.fine += fine
    return tally


def _go_over(task: Task, tally: Tally, rows: slice) -> NDArray[np.int64]:
    """One band of queries: its own rows of the tally, and its share of the histogram."""
    samples = []
    for tile in _tiles(task, rows):
        if task.keep:
            _keep_all(task, tally, tile)
        else:
            samples.append(_sample(task, tile))
        tally.own[tile.pairs] = tile.own
        # Most rows have nothing new in a tile, and their highest score tells it at once.
        highest = tile.scores.max(axis=1)
        _count_pairs(task, tally, tile, highest)
        _keep_best(tally, tile.columns, tile.rows, tile.scores, highest)
    return _histogram(samples)


def _cores() -> int:
    """Bands at a time."""
    # A launcher that starts several ranks on a machine sets this.
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdecimal() and int(allowed) else min(os.cpu_count() or 1, 8)


def _tiles(task: Task, rows: slice) -> Iterator[_Tile]:
    """The tiles of one band of queries."""
    width, n_columns, top = task.tile[1], len(task.pool.vectors), rows.start
    band, pairs = task.queries[rows], _pairs_of(task, rows)
    column = task.pairs[pairs, 1]
    # One buffer for all tiles: fresh memory for each costs as much as the product itself.
    buffer = np.empty(len(band) * width, dtype=np.float32)
    for left in range(0, n_columns, width):
        columns = slice(left, min(left + width, n_columns))
        scores = _scores(task.product, band, task.pool.vectors[columns], buffer)
        inside = pairs.start + np.flatnonzero((column >= left) & (column < columns.stop))
        hidden = task.pairs[inside] - (top, left)
        at = hidden[:, 0], hidden[:, 1]
        own = scores[at]
        scores[at] = -np.inf
        yield _Tile(rows, columns, scores, hidden, inside, own)


def _pairs_of(task: Task, rows: slice) -> slice:
    return slice(*map(int, np.searchsorted(task.pairs[:, 0], (rows.start, rows.stop))))


def _scores(product: Product | None, band: Vectors, columns: Vectors, buffer: Vectors) -> Vectors:
    if product is not None:
        return np.require(product(band, columns), np.float32, "W")
    out = buffer[: len(band) * len(columns)].reshape(len(band), len(columns))
    return np.matmul(band, columns.T, out=out)


def _count_pairs(task: Task, tally: Tally, tile: _Tile, highest: Vectors) -> None:
    pairs, scores = _pairs_of(task, tile.rows), tile.scores
    owner, levels = task.pairs[pairs, 0] - tile.rows.start, task.levels[pairs].astype(np.float32)
    contested = np.flatnonzero(highest[owner] >= levels - ROUNDING)
    weights = None if task.pool.is_plain else task.pool.weights[tile.columns].astype(np.float64)
    # As many pairs at a time as there are rows, so that many positives need no more memory.
    for start in range(0, len(contested), len(scores)):
        part = contested[start : start + len(scores)]
        # One pair in every row, as with untrained models: no copy is needed.
        met = scores if np.array_equal(owner[part], np.arange(len(scores))) else scores[owner[part]]
        above = met > levels[part, None] + np.float32(ROUNDING)
        near = met >= levels[part, None] - np.float32(ROUNDING)
        near ^= above
        counts = _row_counts(above, weights)
        tally.above[pairs.start + part] += counts
        tally.reaching[pairs.start + part] += counts
        if near.any():
            _settle(task, tally, tile.columns, pairs.start + part, near)


def _settle(task: Task, tally: Tally, columns: slice, pairs: Rows, near: NDArray[np.bool_]) -> None:
    """Compares in float64 what float32's rounding leaves open.

    A positive whose score came from another kernel of the matrix product than its rivals' would
    win or lose every near tie at once, and a nearly collapsed model would look perfect or hopeless.

    Args:
        task: What is asked.
        tally: Grows.
        columns: Of the tile.
        pairs: ``(n,)`` which pairs are asked about.
        near: ``(n, n_columns)`` which columns are too close to each pair's level.
    """
    row, column = np.nonzero(near)
    owner = task.pairs[pairs, 0]
    if len(row) < near.size / 16:
        exact = exact_products(task.queries, task.pool.vectors, np.stack([owner[row], columns.start + column], axis=1))
    else:
        exact = _wide_products(task.queries, owner, task.pool.vectors[columns], near)
    gap, copies = exact - task.levels[pairs[row]], task.pool.weights[columns][column]
    for counts, counted in ((tally.above, gap > EQUAL), (tally.reaching, gap >= -EQUAL)):
        counts[pairs] += np.bincount(row, weights=copies * counted, minlength=len(pairs)).astype(np.int64)


def _wide_products(queries: Vectors, owner: Rows, columns: Vectors, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Float64 cosines of the chosen entries, by whole rows: cheaper than one by one where they are many."""
    wide = columns.astype(np.float64).T
    parts = [slice(start, start + 128) for start in range(0, len(owner), 128)]
    return np.concatenate([(queries[owner[part]].astype(np.float64) @ wide)[chosen[part]] for part in parts])


def _row_counts(hits: NDArray[np.bool_], weights: NDArray[np.float64] | None) -> Rows:
    if weights is None:
        # Eight at a time: several times faster than a sum of booleans.
        eights = np.bitwise_count(np.packbits(hits, axis=1))
        return np.asarray(eights.sum(axis=1, dtype=np.int64))
    return np.asarray(np.rint(hits @ weights), dtype=np.int64)


def _keep_best(tally: Tally, columns: slice, rows: slice, scores: Vectors, highest: Vectors) -> None:
    k = tally.best.shape[1]
    bar = keys.score_of(tally.best[rows, -1])
    if columns.start == 0 and k <= _SEGMENTS and scores.shape[1] >= 4 * _SEGMENTS:
        bar = _lower_bound(scores, k)
    # Later columns must be strictly better: among equals the first column stays.
    active = np.flatnonzero(highest > bar)
    if not len(active):
        return
    if 2 * len(active) > len(scores):
        active = np.arange(len(scores))  # a look at every row is cheaper than a copy of most
    else:
        scores = scores[active]
    row, column = np.divmod(np.flatnonzero(scores > bar[active, None]), scores.shape[1])
    found = keys.make(scores[row, column], column + columns.start)
    tally.best[rows.start + active] = keys.best_of(tally.best[rows.start + active], row, found)


def _lower_bound(scores: Vectors, k: int) -> Vectors:
    """A bar per row that at least `k` of its scores exceed.

    The k-th largest of the maxima of disjoint segments is reached by k scores, and much cheaper
    to find than the k-th largest score.

    Args:
        scores: ``(n_rows, n_columns)``.
        k: At most the number of segments.

    Returns:
        ``(n_rows,)``.
    """
    whole = scores.shape[1] // _SEGMENTS * _SEGMENTS
    segments = scores[:, :whole].reshape(len(scores), -1, _SEGMENTS).max(axis=1)
    kth = np.partition(segments, _SEGMENTS - k, axis=1)[:, _SEGMENTS - k]
    return np.nextafter(kth, np.float32(-np.inf))


def _keep_all(task: Task, tally: Tally, tile: _Tile) -> None:
    weights = task.pool.weights[tile.columns]
    scores = tile.scores if task.pool.is_plain else np.repeat(tile.scores, weights, axis=1)
    tally.kept.append(scores[scores > -np.inf])


def _sample(task: Task, tile: _Tile) -> _Sample:
    """Another share of the columns in every tile, so that all queries and documents are seen."""
    turn = tile.rows.start // task.tile[0] * 7 + tile.columns.start // task.tile[1]
    chosen = slice(turn % task.stride, None, task.stride)
    bins, weights = fine_bins(tile.scores[:, chosen]), task.pool.weights[tile.columns]
    hidden = tile.hidden[:, 1]
    hidden = hidden[(hidden - chosen.start) % task.stride == 0]
    copies = None if task.pool.is_plain else np.broadcast_to(weights[chosen], bins.shape).ravel()
    return _Sample(bins.astype(np.uint16).ravel(), copies, int(weights[hidden].sum()))


def _histogram(samples: list[_Sample]) -> NDArray[np.int64]:
    """Of a whole band: 65,536 counters for every tile would cost more than what they count."""
    if not samples:
        return np.zeros(FINE_BINS, dtype=np.int64)
    bins = np.concatenate([sample.bins for sample in samples])
    parts = [sample.copies for sample in samples if sample.copies is not None]
    counts = np.bincount(bins, weights=np.concatenate(parts) if parts else None, minlength=FINE_BINS)
    fine: NDArray[np.int64] = counts.astype(np.int64)
    fine[0] -= sum(sample.n_hidden for sample in samples)
    return fine


def fine_bins(scores: NDArray[np.float32]) -> Rows:
    """The fine bin of each score; minus infinity falls into bin 0."""
    scaled = scores + np.float32(1)
    scaled *= FINE_BINS / 2
    np.clip(scaled, 0, FINE_BINS - 1, out=scaled)
    return scaled.astype(np.int64)
