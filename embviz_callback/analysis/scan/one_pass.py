"""One pass over all cosines: counts above, ties, the best columns, a histogram."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan import histogram, keys
from embviz_callback.analysis.scan.counting import count_pairs
from embviz_callback.analysis.scan.one_thread import one_thread_each
from embviz_callback.analysis.scan.tiles import Tally, Task, Tile, tiles_of, where
from embviz_callback.embeddings import Vectors

_SEGMENTS = 64
_LOWEST_BAND = 64  # rows, below which a product is slow
_WORTH_THREADS = 2**19  # cosines: some milliseconds


def run(task: Task, *others: Callable[[], Any]) -> tuple[Tally, list[Any]]:
    """Goes over all cosines once; relevant ones are left out of everything.

    Args:
        task: What is asked.
        others: What needs no cosines and is done beside them.

    Returns:
        The counts, over negatives only, and what the others have given.
    """
    k = min(task.top_k, len(task.pool.vectors))
    n_queries = len(task.queries)
    tally = Tally(
        above=np.zeros(len(task.pairs), dtype=np.int64),
        reaching=np.zeros(len(task.pairs), dtype=np.int64),
        own=np.full(len(task.pairs), np.nan, dtype=np.float32),
        best=np.full((n_queries, k), keys.NOTHING),
        fine=np.zeros(histogram.FINE_BINS, dtype=np.int64),
    )
    is_alone = task.product is not None or n_queries * len(task.pool.vectors) < _WORTH_THREADS
    # Few queries: a band for every core all the same.
    height = task.tile[0] if is_alone else min(task.tile[0], max(_LOWEST_BAND, -(-n_queries // _cores())))
    task = replace(task, tile=(height, task.tile[1]))
    bands = [slice(top, min(top + height, n_queries)) for top in range(0, n_queries, height)]
    jobs: list[Callable[[], Any]] = [*others, *(partial(_go_over, task, tally, band) for band in bands)]
    if is_alone:
        found = [job() for job in jobs]
    else:
        # Whole bands side by side, each with a product of one thread: counting then finds its tile in
        # the core's own cache, where after a product of all cores it would wait for memory.
        with one_thread_each(), ThreadPoolExecutor(_cores()) as threads:
            found = [job.result() for job in [threads.submit(job) for job in jobs]]
    tally.fine += sum(found[len(others) :])
    return tally, found[: len(others)]


def _go_over(task: Task, tally: Tally, rows: slice) -> NDArray[np.int64]:
    """One band of queries: its own rows of the tally, and its share of the histogram."""
    samples = []
    for tile in tiles_of(task, rows):
        if task.keep:
            _keep_all(task, tally, tile)
        else:
            samples.append(histogram.sample(task, tile))
        tally.own[tile.pairs] = tile.own
        count_pairs(task, tally, tile)
        _keep_best(tally, tile)
    return histogram.total(samples)


def _cores() -> int:
    """Bands at a time."""
    # A launcher that starts several ranks on a machine sets this.
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdecimal() and int(allowed) else min(os.cpu_count() or 1, 8)


def _keep_best(tally: Tally, tile: Tile) -> None:
    k = tally.best.shape[1]
    bar = keys.score_of(tally.best[tile.band.rows, -1])
    if tile.columns.start == 0 and k <= min(_SEGMENTS, len(tile.highest)):
        bar = _lower_bound(tile.highest, k)
    # Later columns must be strictly better: among equals the first column stays.
    found = tile.entries_above(bar)
    if found is None:
        column, row = where(tile.scores > bar)
        found = row, column, tile.scores[column, row]
    row, column, scores = found
    if not len(row):
        return
    # Two bytes are sorted by counting, eight by comparing.
    order = np.argsort(row.astype(np.uint16) if len(bar) <= 2**16 else row, kind="stable")
    row = row[order]
    is_first = np.append(True, row[1:] != row[:-1])
    active, at = row[is_first], np.cumsum(is_first) - 1
    new = keys.make(scores[order], tile.columns.start + column[order])
    tally.best[tile.band.rows.start + active] = keys.best_of(tally.best[tile.band.rows.start + active], at, new)


def _lower_bound(highest: Vectors, k: int) -> Vectors:
    """A bar per row that at least `k` of its scores exceed.

    The k-th largest of the maxima of disjoint segments is reached by k scores, and much cheaper
    to find than the k-th largest score.

    Args:
        highest: ``(n_groups, n_rows)`` maxima of groups, at least k.
        k: At most the number of segments.

    Returns:
        ``(n_rows,)``.
    """
    n_segments = min(_SEGMENTS, len(highest))
    whole = len(highest) // n_segments * n_segments
    segments = highest[:whole].reshape(-1, n_segments, highest.shape[1]).max(axis=0)
    kth = np.partition(segments, n_segments - k, axis=0)[n_segments - k]
    bar: Vectors = np.nextafter(kth, np.float32(-np.inf))
    return bar


def _keep_all(task: Task, tally: Tally, tile: Tile) -> None:
    """In float64: so few are cheap, and none is tied with a positive that only looks so."""
    queries, documents = task.queries[tile.band.rows], task.pool.vectors[tile.columns]
    scores = documents.astype(np.float64) @ queries.astype(np.float64).T
    scores[tile.hidden] = -np.inf
    if not task.pool.is_plain:
        scores = np.repeat(scores, task.pool.weights[tile.columns], axis=0)
    tally.kept.append(scores[scores > -np.inf])
