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

from embviz_callback.analysis.scan.counting import count_pairs
from embviz_callback.analysis.scan.moments import (
    Collected,
    add_scores,
    effective_rank,
    joined,
    mean_off_diagonal,
    moments,
    row_moments,
)
from embviz_callback.analysis.scan.nearest import (
    NOTHING,
    best_columns,
    best_documents,
    keep_best,
    listed_scores,
    merged_lists,
    naive_hits,
)
from embviz_callback.analysis.scan.pool import EQUAL, ROUNDING, block_pool, exact_scores, make_pool
from embviz_callback.analysis.scan.similarity import Similarity, negatives_of, positives_of, row_statistics
from embviz_callback.analysis.scan.spread import (
    FINE_BINS,
    all_negatives,
    counted_by_bin,
    distribution,
    fine_bins,
    sample,
    wins,
)
from embviz_callback.analysis.scan.tiles import SLACK, Tally, Task, tiles_of
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors
from embviz_callback.measure import Product

EXACT_AUC_PAIRS = 2**22  # so many negatives are sorted: 32 MiB
SAMPLED_PAIRS = 2**21  # about so many of a larger number go into the histogram
_LOWEST_BAND = 64  # rows, below which a product is slow
_NO_ROWS = slice(0)
_WORTH_THREADS = 2**19  # cosines: some milliseconds


@dataclass(frozen=True, eq=False)
class Sums:
    """What has come of the blocks of a corpus.

    Attributes:
        counted: As of `Tally`.
        collected: About their moments.
        rows: ``(n_queries, k)`` the best rows of the pool, best first, -1 for nothing.
        scores: ``(n_queries, k)`` their exact scores, minus infinity for nothing.
    """

    counted: Rows
    collected: Collected
    rows: Rows
    scores: Floats

    def plus(self, other: "Sums") -> Self:
        """Of these blocks and others."""
        rows, scores = self.rows.copy(), self.scores.copy()
        active = np.flatnonzero((other.rows >= 0).any(axis=1))
        both = np.concatenate([rows[active], other.rows[active]], axis=1)
        scored = np.concatenate([scores[active], other.scores[active]], axis=1)
        rows[active], scores[active] = merged_lists(both, scored, both, rows.shape[1])
        return type(self)(self.counted + other.counted, self.collected.plus(other.collected), rows, scores)

    def packed(self) -> tuple[Rows, Floats]:
        """All of it as integers and floats, as many for every share of a corpus."""
        ints, floats = self.collected.packed()
        return np.concatenate([self.counted, self.rows.ravel(), ints]), np.concatenate([self.scores.ravel(), floats])

    def unpacked(self, ints: Rows, floats: Floats) -> Self:
        """What another scan of the same subset has packed."""
        counted, rows, counts = np.split(ints, np.cumsum([len(self.counted), self.rows.size]))
        scores, sums = np.split(floats, [self.scores.size])
        shape, collected = self.rows.shape, self.collected.unpacked(counts, sums)
        return type(self)(counted, collected, rows.reshape(shape), scores.reshape(shape))


class Pass:
    """One pass by the embeddings' own measure.

    Args:
        embeddings: The subset.
        n_corpus: Documents of the corpus.
        top_k: Documents kept per query.
        tile: Queries and documents of a tile.
        product: Makes a tile.
        drawn: Which rows of the corpus its covariance is of, as of `drawn_rows`; none where nobody asks for moments.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        n_corpus: int,
        top_k: int,
        tile: tuple[int, int],
        product: Product | None,
        drawn: Rows | slice = _NO_ROWS,
    ) -> None:
        self._embeddings, self._drawn = embeddings, drawn
        self._exact = exact_scores(embeddings.queries, embeddings.documents, embeddings.relevance, embeddings.measure)
        self._usable = np.flatnonzero(embeddings.usable_queries)
        self._asked = ~np.isnan(self._exact)
        pool, (query, document) = make_pool(embeddings), embeddings.relevance[self._asked].T
        is_whole = len(self._usable) == len(embeddings.queries)
        cosines = len(self._usable) * (len(pool.members) + n_corpus)
        self._own = Task(
            queries=embeddings.queries if is_whole else embeddings.queries[self._usable],
            pool=pool,
            pairs=np.column_stack([np.searchsorted(self._usable, query), pool.column[document]]),
            places=pool.places[document],
            levels=self._exact[self._asked],
            top_k=top_k,
            tile=tile,
            stride=max(-(-cosines // SAMPLED_PAIRS), 1),
            keep=cosines <= EXACT_AUC_PAIRS,
            product=product,
            measure=embeddings.measure,
        )
        ones = np.ones(len(self._own.queries), dtype=np.int64)
        jobs = [partial(moments, *given) for given in ((pool.vectors, pool.weights), (self._own.queries, ones))]
        self._tally, (self._moments, self._query_moments) = run(self._own, *jobs)
        self._listed = best_documents(self._own, self._tally)
        listed = len(self._own.queries), top_k + SLACK
        none = moments(pool.vectors[:0], pool.weights[:0])
        self._nothing = Collected(0, none.mean, 0 * self._tally.added, none, pool.vectors[:0])
        self.sums = Sums(0 * self._tally.counted, self._nothing, np.full(listed, -1), np.full(listed, -np.inf))

    def add(self, rows: Rows, vectors: Vectors) -> None:
        """Scores a block; its rows are those of the whole pool."""
        pool = block_pool(rows, vectors)
        if not len(pool.vectors):
            return
        pairs = self._own.pairs * (1, 0) - (0, 1)  # no relevant document is among them
        margin = ROUNDING * self._embeddings.measure.stretch(pool.vectors)
        is_part = not isinstance(self._drawn, slice)  # where all are drawn, their covariance tells the variances
        task = replace(self._own, pool=pool, pairs=pairs, margin=margin, bar=self._bar(margin), adds_up=is_part)
        of_corpus = pool.members - len(self._embeddings.documents)
        tally, (collected,) = run(task, partial(self._nothing.of_block, of_corpus, pool.vectors, self._drawn))
        columns, _ = best_columns(task, tally)
        listed, scores = np.append(pool.members, -1)[columns], listed_scores(task, np.arange(len(columns)), columns)
        collected = replace(collected, added=tally.added)
        self.sums = self.sums.plus(Sums(tally.counted, collected, listed, scores))

    @property
    def unbeaten(self) -> float:
        """Share of queries of which no document so far scores above a relevant one."""
        is_first = self._counts()[0] == 0
        return len(np.unique(self._own.pairs[is_first, 0])) / len(self._embeddings.queries)

    def _bar(self, margin: float) -> Vectors:
        """What a document's score in float32 must exceed to be worth a look."""
        own = np.full(len(self._own.queries), -np.inf)
        if self._listed[1].shape[1] == self.sums.scores.shape[1]:
            own = np.nan_to_num(self._listed[1][:, -1], nan=-np.inf) - self._own.margin
        bar = np.maximum(own, self.sums.scores[:, -1] - EQUAL) - margin
        return np.asarray(np.nextafter(bar.astype(np.float32), np.float32(-np.inf)))

    def _counts(self) -> list[Rows]:
        """Of own documents and blocks: `above`, `reaching`, `fine` and `beaten` of a tally."""
        n_pairs = len(self._own.pairs)
        return np.split(self._tally.counted + self.sums.counted, np.cumsum([n_pairs, n_pairs, FINE_BINS]))

    def _above_and_tied(self) -> tuple[Rows, Rows]:
        """Documents above each relevant pair and those with its score, itself among them; 0 where it has none."""
        above, tied = np.zeros((2, len(self._asked)), dtype=np.int64)
        above[self._asked], reaching, *_ = self._counts()
        tied[self._asked] = reaching - above[self._asked]
        return above, tied

    def gains(self) -> dict[str, Any]:
        """Fields of a similarity, of a pass in which what gains took the place of what is relevant."""
        above, tied = self._above_and_tied()
        return {"gain_above": np.where(self._asked, above, -1), "gain_tied": np.where(self._asked, tied - 1, 0)}

    def finish(self, n_pool: int) -> Similarity:
        """What own documents and blocks have given together."""
        embeddings, own = self._embeddings, self._own
        corpus = self.sums.collected.settled()
        pool = joined(self._moments, corpus.moments)
        of_scores = joined(row_moments(own.queries, self._moments), corpus.of_scores(own.queries))
        rows = row_statistics(embeddings, of_scores, self._usable, self._exact)
        _, _, fine, beaten = self._counts()
        documents, scores = self._merged()
        top_documents = np.full((len(embeddings.queries), documents.shape[1]), -1)
        top_scores = np.full(top_documents.shape, np.nan, dtype=np.float32)
        top_documents[self._usable], top_scores[self._usable] = documents, scores
        hard = exact_scores(embeddings.queries, embeddings.hard_negatives, embeddings.hard_pairs, embeddings.measure)
        return Similarity(
            relevance=embeddings.relevance,
            **positives_of(embeddings, self._exact, *self._above_and_tied()),
            **rows,
            **negatives_of(rows),
            **distribution(own, self._tally.own, fine, int(beaten[0]), int(rows["row_count"].sum())),
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
        pool = self._own.pool
        exact = listed_scores(self._own, np.arange(len(documents)), np.append(pool.column, -1)[documents])
        return merged_lists(
            np.concatenate([documents, self.sums.rows], axis=1),
            np.concatenate([exact, self.sums.scores], axis=1),
            np.concatenate([pool.places[documents], self.sums.rows], axis=1),
            self.sums.rows.shape[1],
        )


def run(task: Task, *others: Callable[[], Any]) -> tuple[Tally, list[Any]]:
    """Goes over all cosines once.

    Args:
        task: What is asked.
        others: What needs no cosines and is done beside them.

    Returns:
        What was counted, relevant ones being left out of the histogram only, and what the others have given.
    """
    k = min(task.top_k + SLACK, len(task.pool.vectors))
    n_queries = len(task.queries)
    tally = Tally(
        above=np.zeros(len(task.pairs), dtype=np.int64),
        reaching=np.zeros(len(task.pairs), dtype=np.int64),
        own=np.zeros(len(task.pairs), dtype=np.float32),
        best=np.full((n_queries, k), NOTHING),
        bar=np.full(n_queries, -np.inf, dtype=np.float32) if task.bar is None else task.bar.copy(),
        fine=np.zeros(FINE_BINS, dtype=np.int64),
        added=np.zeros((2, n_queries)),
    )
    is_few = n_queries * len(task.pool.vectors) < _WORTH_THREADS
    is_alone = task.product is not None or _cores() == 1 or is_few
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
        with ThreadPoolExecutor(_cores()) as threads:
            found = [job.result() for job in [threads.submit(job) for job in jobs]]
    for fine, beaten in found[len(others) :]:
        tally.fine += fine
        tally.beaten += beaten
    return tally, found[: len(others)]


def _go_over(task: Task, tally: Tally, rows: slice) -> tuple[NDArray[np.int64], int]:
    """One band of queries: its own rows of the tally, its share of the histogram, and of what positives win."""
    kept, samples = [np.empty(0)], [np.empty(0, dtype=np.uint16)]
    for tile in tiles_of(task, rows):
        if task.keep:
            kept.append(all_negatives(task, tile))
        else:
            samples.append(sample(task, tile))
        band, own = tile.band, tile.relevant
        tally.own[band.pairs[own]] = tile.scores[band.column[own] - tile.columns.start, band.owner[own]]
        if task.adds_up:
            add_scores(tally, tile)
        count_pairs(task, tally, tile)
        keep_best(tally, tile)
    # Of the whole band: 65,536 counters for every tile would cost more than what they count.
    if not task.keep:
        return counted_by_bin(np.concatenate(samples)), 0
    negatives = np.concatenate(kept)
    return counted_by_bin(fine_bins(negatives)), wins(task.levels, negatives)


def _cores() -> int:
    """Bands at a time."""
    # A launcher that starts several ranks on a machine sets this.
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdecimal() and int(allowed) else min(os.cpu_count() or 1, 8)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Lets BLAS use one thread for a product meanwhile, in the whole process.

    Idle threads of OpenBLAS go on asking for work for some 20 ms, on cores that the next step of
    a scan, or of the training, needs.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


_libraries = cache(ThreadpoolController)  # looking for them takes milliseconds, and numpy's is there before this module
