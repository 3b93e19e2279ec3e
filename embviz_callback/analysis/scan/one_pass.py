"""One pass over all cosines: counts above, ties, the best columns, a histogram."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from embviz_callback.analysis.scan.counting import count_pairs
from embviz_callback.analysis.scan.nearest import NOTHING, keep_best
from embviz_callback.analysis.scan.spread import FINE_BINS, sample, total
from embviz_callback.analysis.scan.tiles import Tally, Task, Tile, tiles_of

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
        best=np.full((n_queries, k), NOTHING),
        fine=np.zeros(FINE_BINS, dtype=np.int64),
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
            samples.append(sample(task, tile))
        tally.own[tile.pairs] = tile.own
        count_pairs(task, tally, tile)
        keep_best(tally, tile)
    return total(samples)


def _cores() -> int:
    """Bands at a time."""
    # A launcher that starts several ranks on a machine sets this.
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdecimal() and int(allowed) else min(os.cpu_count() or 1, 8)


def _keep_all(task: Task, tally: Tally, tile: Tile) -> None:
    """In float64: so few are cheap, and none is tied with a positive that only looks so."""
    queries, documents = task.queries[tile.band.rows], task.pool.vectors[tile.columns]
    scores = task.measure.table(documents, queries)
    scores[tile.hidden] = -np.inf
    if not task.pool.is_plain:
        scores = np.repeat(scores, task.pool.weights[tile.columns], axis=0)
    tally.kept.append(scores[scores > -np.inf])


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Lets BLAS use one thread for a product meanwhile, in the whole process.

    Idle threads of OpenBLAS go on asking for work for some 20 ms, on cores that the next step of
    a scan, or of the training, needs.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """Looking for them takes milliseconds, and numpy's is there before this module."""
    return ThreadpoolController()
