"""Passes over all scores, block by block: counts above, ties, the best documents, a histogram."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from embviz_callback.analysis.scan.counting import NO_TWINS, count_pairs, counts_with_twins, find_twins
from embviz_callback.analysis.scan.moments import Moments, effective_rank, joined, mean_off_diagonal, moments
from embviz_callback.analysis.scan.nearest import NOTHING, best_documents, keep_best, merged_lists, naive_hits
from embviz_callback.analysis.scan.pool import EQUAL, ROUNDING, block_pool, exact_scores, make_pool
from embviz_callback.analysis.scan.similarity import Similarity, negatives_of, positives_of, row_statistics
from embviz_callback.analysis.scan.spread import (
    COARSE_BINS,
    FINE_BINS,
    counted_by_bin,
    distribution,
    draws_of,
    fine_bins,
    sample,
    wins,
)
from embviz_callback.analysis.scan.tiles import SLACK, Tally, Task, Tile, tiles_of
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors
from embviz_callback.measure import Product

EXACT_AUC_PAIRS = 2**22  # so many negatives are sorted: 32 MiB
SAMPLED_PAIRS = 2**22  # about so many of a larger number go into the histogram
_LOWEST_BAND = 64  # rows, below which a product is slow
_WORTH_THREADS = 2**19  # cosines: some milliseconds


@dataclass(frozen=True, eq=False)
class Sums:
    """What has come of the blocks of a corpus.

    Attributes:
        above: ``(n_pairs,)`` documents above each relevant pair.
        reaching: ``(n_pairs,)`` documents above or tied with it.
        fine: ``(FINE_BINS,)`` as of `Tally`.
        beaten: Likewise.
        moments: Of the documents with a direction.
        rows: ``(n_queries, k)`` the best rows of the pool, best first, -1 for nothing.
        scores: ``(n_queries, k)`` their exact scores, minus infinity for nothing.
    """

    above: Rows
    reaching: Rows
    fine: Rows
    beaten: int
    moments: Moments
    rows: Rows
    scores: Floats

    @classmethod
    def nothing(cls, task: Task, k: int) -> Self:
        """Of no block."""
        n_pairs, shape, dim = len(task.pairs), (len(task.queries), k), task.queries.shape[1]
        above, reaching = np.zeros((2, n_pairs), dtype=np.int64)
        none = Moments(0, np.zeros(dim), np.zeros((dim, dim)))
        fine = np.zeros(FINE_BINS, dtype=np.int64)
        return cls(above, reaching, fine, 0, none, np.full(shape, -1), np.full(shape, -np.inf))

    def plus(self, other: "Sums") -> Self:
        """Of these blocks and others."""
        rows, scores = self.rows, self.scores
        active = np.flatnonzero((other.rows >= 0).any(axis=1))
        if len(active):
            rows, scores = rows.copy(), scores.copy()
            both = np.concatenate([rows[active], other.rows[active]], axis=1)
            scored = np.concatenate([scores[active], other.scores[active]], axis=1)
            rows[active], scores[active] = merged_lists(both, scored, both, rows.shape[1])
        return type(self)(
            self.above + other.above,
            self.reaching + other.reaching,
            self.fine + other.fine,
            self.beaten + other.beaten,
            joined(self.moments, other.moments),
            rows,
            scores,
        )

    def packed(self) -> tuple[Rows, Floats]:
        """All of it as integers and floats, as many for every share of a corpus."""
        counts = np.array([self.beaten, self.moments.count])
        ints = np.concatenate([self.above, self.reaching, self.fine, counts, self.rows.ravel()])
        return ints, np.concatenate([self.moments.mean, self.moments.covariance.ravel(), self.scores.ravel()])

    def unpacked(self, ints: Rows, floats: Floats) -> Self:
        """What another scan of the same subset has packed."""
        n_pairs, dim = len(self.above), len(self.moments.mean)
        above, reaching, fine, counts, rows = np.split(ints, np.cumsum([n_pairs, n_pairs, FINE_BINS, 2]))
        mean, covariance, scores = np.split(floats, np.cumsum([dim, dim * dim]))
        beaten, count = counts.tolist()
        found, shape = Moments(count, mean, covariance.reshape(dim, dim)), self.rows.shape
        return type(self)(above, reaching, fine, beaten, found, rows.reshape(shape), scores.reshape(shape))


class Pass:
    """One pass by the embeddings' own measure.

    Args:
        embeddings: The subset.
        n_corpus: Documents of the corpus.
        top_k: Documents kept per query.
        tile: Queries and documents of a tile.
        product: Makes a tile.
    """

    def __init__(
        self, embeddings: Embeddings, *, n_corpus: int, top_k: int, tile: tuple[int, int], product: Product | None
    ) -> None:
        self._embeddings = embeddings
        self._usable = np.flatnonzero(embeddings.usable_queries)
        self._exact = exact_scores(embeddings.queries, embeddings.documents, embeddings.relevance, embeddings.measure)
        self._own = _task(
            embeddings, self._usable, self._exact, n_corpus=n_corpus, top_k=top_k, tile=tile, product=product
        )
        ones = np.ones(len(self._own.queries), dtype=np.int64)
        tally, others = run(self._own, lambda: self._own.pool.moments, partial(moments, self._own.queries, ones))
        self._tally, self._query_moments = tally, others[1]
        self._twins = find_twins(self._own, tally)
        self._listed = best_documents(self._own, tally, self._twins)
        self.sums = Sums.nothing(self._own, top_k + SLACK)

    def add(self, rows: Rows, vectors: Vectors) -> None:
        """Scores a block; its rows are those of the whole pool."""
        pool = block_pool(rows, vectors)
        if not len(pool.vectors):
            return
        pairs = self._own.pairs * (1, 0) - (0, 1)  # no relevant document is among them
        margin = ROUNDING * self._embeddings.measure.stretch(pool.vectors)
        task = replace(self._own, pool=pool, pairs=pairs, margin=margin, bar=self._bar(margin))
        tally, _ = run(task, lambda: pool.moments)
        documents, _ = best_documents(task, tally, NO_TWINS)
        query, place = np.nonzero(documents >= 0)
        found = documents[query, place]
        entries = np.column_stack([query, np.searchsorted(pool.members, found)])
        scores = exact_scores(task.queries, pool.vectors, entries, task.measure)
        lists = np.full(documents.shape, -1), np.full(documents.shape, -np.inf)
        lists[0][query, place], lists[1][query, place] = found, scores
        self.sums = self.sums.plus(Sums(tally.above, tally.reaching, tally.fine, tally.beaten, pool.moments, *lists))

    @property
    def unbeaten(self) -> float:
        """Share of queries of which no document so far scores above a relevant one."""
        is_first = (self._tally.above + self.sums.above == 0) & np.isfinite(self._own.levels)
        return len(np.unique(self._own.pairs[is_first, 0])) / len(self._embeddings.queries)

    def _bar(self, margin: float) -> Vectors:
        """What a document's score in float32 must exceed to be worth a look."""
        own = np.full(len(self._own.queries), -np.inf)
        if self._listed[1].shape[1] == self.sums.scores.shape[1]:
            own = np.nan_to_num(self._listed[1][:, -1], nan=-np.inf) - self._own.margin
        bar = np.maximum(own, self.sums.scores[:, -1] - EQUAL) - margin
        return np.asarray(np.nextafter(bar.astype(np.float32), np.float32(-np.inf)))

    def finish(self, n_pool: int) -> Similarity:
        """What own documents and blocks have given together."""
        embeddings, own, usable, sums = self._embeddings, self._own, self._usable, self.sums
        tally = replace(
            self._tally,
            above=self._tally.above + sums.above,
            reaching=self._tally.reaching + sums.reaching,
            fine=self._tally.fine + sums.fine,
            beaten=self._tally.beaten + sums.beaten,
        )
        pool = joined(own.pool.moments, sums.moments)
        rows = row_statistics(embeddings, own.queries, pool, usable, self._exact)
        spread = distribution(own, tally, self._twins, int(rows["row_count"].sum()))
        top_documents, top_scores = _all_rows(usable, len(embeddings.queries), *self._merged())
        hard = exact_scores(embeddings.queries, embeddings.hard_negatives, embeddings.hard_pairs, embeddings.measure)
        return Similarity(
            relevance=embeddings.relevance,
            **positives_of(embeddings, usable, self._exact, *counts_with_twins(own, tally, self._twins)),
            **rows,
            **negatives_of(rows),
            **vars(spread),
            edges=np.linspace(-1, 1, COARSE_BINS + 1),
            top_documents=top_documents[:, : own.top_k],
            top_scores=top_scores[:, : own.top_k],
            hard_scores=hard,
            naive_hits=naive_hits(embeddings, top_documents),
            effective_rank=effective_rank([self._query_moments, pool]),
            mean_off_diagonal=mean_off_diagonal(pool),
            n_pool=n_pool,
        )

    def _merged(self) -> tuple[Rows, Vectors]:
        """Own documents and those of the corpus in one list per query, in float64's order."""
        documents, scores = self._listed
        if not (self.sums.rows >= 0).any():
            return documents, scores
        query, place = np.nonzero(documents >= 0)
        entries = np.column_stack([query, documents[query, place]])
        exact = np.full(documents.shape, -np.inf)
        exact[query, place] = exact_scores(
            self._own.queries, self._embeddings.documents, entries, self._embeddings.measure
        )
        order = np.full(len(self._embeddings.documents) + 1, -1)  # the last is no document
        order[self._own.pool.members] = np.arange(len(self._own.pool.members))
        return merged_lists(
            np.concatenate([documents, self.sums.rows], axis=1),
            np.concatenate([exact, self.sums.scores], axis=1),
            np.concatenate([order[documents], self.sums.rows], axis=1),
            self.sums.rows.shape[1],
        )


def _task(
    embeddings: Embeddings,
    usable: Rows,
    exact: Floats,
    *,
    n_corpus: int,
    top_k: int,
    tile: tuple[int, int],
    product: Product | None,
) -> Task:
    """The pass over the queries that have a direction."""
    pool = make_pool(embeddings)
    queries, relevance = embeddings.queries, embeddings.relevance
    if len(usable) < len(queries):
        queries = queries[usable]
        asked = np.isin(relevance[:, 0], usable)
        relevance, exact = relevance[asked], exact[asked]
    pairs = np.stack([np.searchsorted(usable, relevance[:, 0]), pool.column[relevance[:, 1]]], axis=1)
    cosines = len(queries) * (len(pool.members) + n_corpus)
    return Task(
        queries=queries,
        pool=pool,
        pairs=pairs,
        levels=np.where(pairs[:, 1] >= 0, exact, np.inf),
        top_k=top_k,
        tile=tile,
        stride=max(-(-cosines // SAMPLED_PAIRS), 1),
        keep=cosines <= EXACT_AUC_PAIRS,
        product=product,
        measure=embeddings.measure,
    )


def _all_rows(usable: Rows, n_queries: int, documents: Rows, scores: Vectors) -> tuple[Rows, Vectors]:
    """Rows of the usable queries among those of all."""
    all_documents = np.full((n_queries, documents.shape[1]), -1)
    all_scores = np.full(all_documents.shape, np.nan, dtype=np.float32)
    all_documents[usable], all_scores[usable] = documents, scores
    return all_documents, all_scores


def run(task: Task, *others: Callable[[], Any]) -> tuple[Tally, list[Any]]:
    """Goes over all cosines once; relevant ones are left out of everything.

    Args:
        task: What is asked.
        others: What needs no cosines and is done beside them.

    Returns:
        The counts, over negatives only, and what the others have given.
    """
    k = min(task.top_k + SLACK, len(task.pool.vectors))
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
    for fine, beaten in found[len(others) :]:
        tally.fine += fine
        tally.beaten += beaten
    return tally, found[: len(others)]


def _go_over(task: Task, tally: Tally, rows: slice) -> tuple[NDArray[np.int64], int]:
    """One band of queries: its own rows of the tally, its share of the histogram, and of what positives win."""
    kept: list[NDArray[np.float64]] = []
    samples: list[NDArray[np.uint16]] = []
    draws = draws_of(task, rows)
    for tile in tiles_of(task, rows):
        if task.keep:
            kept.append(_all_negatives(task, tile))
        else:
            samples.append(sample(task, tile, draws))
        tally.own[tile.pairs] = tile.own
        count_pairs(task, tally, tile)
        keep_best(task, tally, tile)
    # Of the whole band: 65,536 counters for every tile would cost more than what they count.
    if not task.keep:
        return counted_by_bin(np.concatenate([*samples, np.empty(0, dtype=np.uint16)])), 0
    negatives = np.concatenate([*kept, np.empty(0)])
    return counted_by_bin(fine_bins(negatives)), wins(task.positives, negatives)


def _cores() -> int:
    """Bands at a time."""
    # A launcher that starts several ranks on a machine sets this.
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdecimal() and int(allowed) else min(os.cpu_count() or 1, 8)


def _all_negatives(task: Task, tile: Tile) -> NDArray[np.float64]:
    """In float64: so few are cheap, and none is tied with a positive that only looks so."""
    queries, documents = task.queries[tile.band.rows], task.pool.vectors[tile.columns]
    scores = task.measure.table(documents, queries)
    scores[tile.hidden] = -np.inf
    if not task.pool.is_plain:
        scores = np.repeat(scores, task.pool.weights[tile.columns], axis=0)
    return np.asarray(scores[scores > -np.inf])


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
