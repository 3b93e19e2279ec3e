"""What passes over all scores of queries and documents have found."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.moments import Moments
from embviz_callback.analysis.scan.pool import EQUAL
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors
from embviz_callback.measure import COSINE, Measure

TOP = 10  # documents kept of every query
_ROUNDINGS = 64  # of a variance in 1,024 dimensions, generously
_OF_RANKS = (
    *("pair_above", "pair_tied", "best_positive_row", "above", "tied", "rank", "top_documents"),
    *("auc", "auc_error", "naive_hits", "gain_above", "gain_tied"),
)
_BESIDE_RANKS = ("best_positive", "top_scores", "hard_scores")


@dataclass(frozen=True, eq=False)
class Similarity:
    """What one pass over all cosines has found, or two where the model declares another similarity.

    Means, spreads and the histogram are of cosines; what ranks, and the scores that are named beside a rank, follow
    the similarity that the model declares, which is the cosine where it declares none.

    The ranked pool is the documents, and after them the corpus where one was given: a row from
    ``n_documents`` on is corpus row ``row - n_documents``. Rows without a direction are misses
    (rank infinite) and are in no mean; their scores are NaN.

    Attributes:
        relevance: ``(n_positive_pairs, 2)`` pairs (query row, document row), as of the embeddings.
        positive_scores: ``(n_positive_pairs,)`` exact cosines, aligned with `relevance`.
        pair_above: ``(n_positive_pairs,)`` negatives above each relevant pair.
        pair_tied: ``(n_positive_pairs,)`` negatives with its score.
        best_positive: ``(n_queries,)`` best positive's similarity, NaN without a usable one.
        best_positive_row: ``(n_queries,)`` its document row, -1 without.
        above: ``(n_queries,)`` negatives above the best positive.
        tied: ``(n_queries,)`` negatives tied with it.
        rank: ``(n_queries,)`` expected rank of the first relevant document, from 1, ties in
            random order; infinite for an unusable query or no usable positive.
        top_documents: ``(n_queries, k)`` best rows of the pool, best first; among equal scores
            the one that the records name first. -1 where nothing can be ranked.
        top_scores: ``(n_queries, k)`` their similarities.
        row_count: ``(n_queries,)`` usable negatives of each query.
        row_mean: ``(n_queries,)`` their mean, NaN without.
        row_variance: ``(n_queries,)`` their population variance.
        negative_count: All usable negatives.
        negative_mean: Their mean.
        negative_std: Their population standard deviation.
        edges: ``(n_bins + 1,)`` over [-1, 1].
        negative_counts: ``(n_bins,)``; above 4 million negatives estimated from a sample.
        positive_counts: ``(n_bins,)``.
        auc: Probability that a random positive outscores a random negative, ties half.
        auc_error: How far `auc` may be off: 0 where it is exact.
        hard_scores: ``(n_hard_pairs,)`` similarities, aligned with `hard_pairs`.
        naive_hits: ``(n_records,)`` whether ``argmax`` over the record list finds its own row.
        effective_rank: Directions used by queries and documents together.
        mean_off_diagonal: Mean cosine of two different documents of the pool.
        n_pool: Documents and corpus.
        gain_above: ``(n_gains,)`` documents of the pool above each pair of the embeddings' `gains`, -1 where it has
            no score; empty where grades tell no more than `relevance`.
        gain_tied: ``(n_gains,)`` other documents with its score.
        overlap: Share that the distributions of positive and negative cosines have in common; NaN where one is empty.
        pair_levels: ``(n_positive_pairs,)`` what relevant pairs are ranked by, from -1 to 1; by default
            `positive_scores`.
        measure: The similarity that ranks, one of `embviz_callback.measure.SIMILARITIES`.
    """

    relevance: Rows
    positive_scores: Floats
    pair_above: Rows
    pair_tied: Rows
    best_positive: Floats
    best_positive_row: Rows
    above: Rows
    tied: Rows
    rank: Floats
    top_documents: Rows
    top_scores: Vectors
    row_count: Rows
    row_mean: Floats
    row_variance: Floats
    negative_count: int
    negative_mean: float
    negative_std: float
    edges: Floats
    negative_counts: NDArray[np.int64]
    positive_counts: NDArray[np.int64]
    auc: float
    auc_error: float
    hard_scores: Floats
    naive_hits: NDArray[np.bool_]
    effective_rank: float
    mean_off_diagonal: float
    n_pool: int
    gain_above: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    gain_tied: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    overlap: float = math.nan
    pair_levels: Floats = field(default_factory=lambda: np.empty(0))
    measure: str = COSINE

    def __post_init__(self) -> None:
        if not len(self.pair_levels):
            object.__setattr__(self, "pair_levels", self.positive_scores)

    @cached_property
    def is_hit(self) -> NDArray[np.bool_]:
        """``(n_queries,)`` whether a relevant document surely comes first: no other scores as high."""
        return np.asarray(self.rank == 1)

    @cached_property
    def came_first(self) -> Rows:
        """``(n_queries,)`` row of the pool that is named as first, -1 for none.

        A hit's first document, and a miss's first that is not relevant: in a tie for the first
        place the list may well begin with the query's own.
        """
        return self._taken_first(self.top_documents, -1)

    @cached_property
    def first_score(self) -> Vectors:
        """``(n_queries,)`` the similarity of `came_first`, NaN for none."""
        return self._taken_first(self.top_scores, np.float32(np.nan))

    def _taken_first(self, listed: NDArray[Any], nothing: Any) -> NDArray[Any]:
        """Of each query's list the entry at the place of `came_first`."""
        answers = np.isin(
            np.arange(len(self.rank))[:, None] * self.n_pool + self.top_documents,
            self.relevance @ (self.n_pool, 1),
        )
        candidates = (self.top_documents >= 0) & (answers == self.is_hit[:, None])
        if not candidates.shape[1]:
            return np.full(len(candidates), nothing, dtype=listed.dtype)
        chosen = np.take_along_axis(listed, candidates.argmax(axis=1)[:, None], axis=1)[:, 0]
        return np.where(candidates.any(axis=1), chosen, nothing)


def ranked_by(measure: Measure, cosines: Similarity, ranking: Similarity) -> Similarity:
    """The cosines' moments, with the ranks of another similarity and its own values beside them."""
    return replace(
        cosines,
        **{name: getattr(ranking, name) for name in _OF_RANKS},
        **{name: measure.value(getattr(ranking, name)) for name in _BESIDE_RANKS},
        pair_levels=ranking.positive_scores,
        measure=measure.name,
    )


def positives_of(embeddings: Embeddings, exact: Floats, above: Rows, tied: Rows) -> dict[str, Any]:
    """Everything about the relevant pairs and each query's best one, from counts in which these are themselves."""
    query, documents = embeddings.relevance.T
    pair_above, pair_tied = np.subtract((above, tied), _among_own(query, exact))
    order = np.lexsort((-exact, query))  # NaN comes last, the first of equals first
    best = order[np.searchsorted(query, np.arange(len(embeddings.queries)))]
    has = ~np.isnan(exact[best])
    equals = np.bincount(query[exact[best][query] - exact <= EQUAL], minlength=len(best))
    return {
        "positive_scores": exact,
        "pair_above": pair_above,
        "pair_tied": pair_tied,
        "best_positive": exact[best],
        "best_positive_row": np.where(has, documents[best], -1),
        "above": pair_above[best],
        "tied": pair_tied[best],
        "rank": np.where(has, 1 + pair_above[best] + pair_tied[best] / (equals + 1), np.inf),
    }


def _among_own(query: Rows, scores: Floats) -> tuple[Rows, Rows]:
    """How many relevant documents of its own query lie above each pair, and how many tie with it, its own among them.

    Args:
        query: ``(n_pairs,)``.
        scores: ``(n_pairs,)`` exact, NaN for none, which is above nothing and ties with nothing.

    Returns:
        Two arrays ``(n_pairs,)``.
    """
    above, tied = np.zeros((2, len(query)), dtype=np.int64)
    order = np.lexsort((-scores, query))
    order = order[~np.isnan(scores[order])]
    is_first = np.diff(query[order], prepend=-1) > 0
    begins = is_first | (np.diff(scores[order], prepend=np.inf) < -EQUAL)
    starts, group = np.flatnonzero(begins), np.cumsum(begins) - 1
    above[order] = starts[group] - np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    tied[order] = np.bincount(group)[group]
    return above, tied


def row_statistics(embeddings: Embeddings, scores: Moments, usable: Rows, exact: Floats) -> dict[str, Any]:
    """Count, mean and variance of each query's negatives: all documents minus the relevant ones."""
    n_queries, query = len(embeddings.queries), embeddings.relevance[:, 0]
    mean, variance = np.full((2, n_queries), np.nan)
    n_documents = scores.count
    mean[usable], variance[usable] = scores.mean, scores.covariance
    deviation = exact - mean[query]
    valid = ~np.isnan(deviation)
    powers = [np.bincount(query[valid], weights=deviation[valid] ** n, minlength=n_queries) for n in range(3)]
    count = np.where(np.isnan(mean), 0, n_documents - powers[0]).astype(np.int64)
    divisor = np.where(count > 0, count, np.nan)
    shift = -powers[1] / divisor
    whole = n_documents * variance / divisor
    row_variance = whole - powers[2] / divisor - shift**2
    # What rounding leaves of a difference is no spread, such as that of one negative, or of copies of one.
    noise = (_ROUNDINGS + powers[0]) * np.finfo(np.float64).eps * np.maximum(whole, np.sqrt(whole))
    row_variance[row_variance < noise] = 0.0
    return {"row_count": count, "row_mean": mean + shift, "row_variance": row_variance}


def negatives_of(rows: dict[str, Any]) -> dict[str, Any]:
    """Moments of all negatives from those of every query's."""
    some = rows["row_count"] > 0
    total = int(rows["row_count"].sum())
    if not total:
        return {"negative_count": 0, "negative_mean": math.nan, "negative_std": math.nan}
    share, means = rows["row_count"][some] / total, rows["row_mean"][some]
    mean = float(share @ means)
    variance = float(share @ (rows["row_variance"][some] + (means - mean) ** 2))
    return {"negative_count": total, "negative_mean": mean, "negative_std": math.sqrt(variance)}
