"""Bootstrap intervals over queries, and paired ones for a difference."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.ranks import levels, rank_metrics
from embviz_callback.analysis.scan import Similarity
from embviz_callback.embeddings import Embeddings, Floats, Rows

RANK_NAMES = (
    "rank1",
    "mrr",
    "mrr_at_10",
    "recall_at_1",
    "recall_at_5",
    "recall_at_10",
    "recall_at_50",
    "ndcg_at_10",
    "map",
)
RESOLUTION = 1e-7  # a float32 cosine of two unit rows carries about this rounding
_MOST_PACKS = 2000
_DRAWS_AT_A_TIME = 32  # what is counted then stays in the cache


@dataclass(frozen=True, eq=False)
class PerQuery:
    """What each query contributes; sums of these give a metric of any resample.

    Attributes:
        groups: ``(n_queries,)`` queries with equal numbers are drawn together.
        positive: ``(n_queries, 3)`` count, sum and sum of squares of its positive cosines.
        negative: ``(n_queries, 3)`` the same of its negatives, both about `centre`.
        ranks: Name to ``(n_queries,)`` values whose mean is the metric, extremes of ties included.
        centre: Taken off every cosine, so that squares do not cancel.
    """

    groups: Rows
    positive: Floats
    negative: Floats
    ranks: Mapping[str, Floats]
    centre: float


def per_query(similarity: Similarity, embeddings: Embeddings, *, groups: Rows | None = None) -> PerQuery:
    """Sufficient statistics of every query.

    Args:
        similarity: The scan.
        embeddings: What was scanned.
        groups: ``(n_queries,)``; by default queries that share a relevant document.

    Returns:
        One row per query.

    Raises:
        ValueError: If `groups` has another length.
    """
    n_queries = len(embeddings.queries)
    if groups is None:
        groups = relevance_groups(embeddings.relevance, n_queries)
    elif len(groups) != n_queries:
        raise ValueError(f"groups must have one entry per query, got {len(groups)} for {n_queries} queries")
    scores = similarity.positive_scores
    valid = ~np.isnan(scores)
    query = embeddings.relevance[valid, 0]
    centre = similarity.negative_mean if similarity.negative_count else 0.0
    deviation = scores[valid] - centre
    sums = [np.bincount(query, weights=deviation**power, minlength=n_queries) for power in range(3)]
    positive = np.stack(sums, axis=1).astype(np.float64)
    shift = np.nan_to_num(similarity.row_mean - centre)
    square = np.nan_to_num(similarity.row_variance) + shift**2
    negative = similarity.row_count[:, None].astype(np.float64) * np.stack([np.ones(n_queries), shift, square], axis=1)
    values = rank_metrics(levels(similarity, embeddings))
    return PerQuery(np.asarray(groups), positive, negative, values, centre)


def relevance_groups(relevance: Rows, n_queries: int) -> Rows:
    """Connected components of queries that share a relevant document, as the lowest query row."""
    label = np.arange(n_queries)
    n_documents = int(relevance[:, 1].max(initial=-1)) + 1
    while True:
        lowest = np.full(n_documents, n_queries, dtype=np.int64)
        np.minimum.at(lowest, relevance[:, 1], label[relevance[:, 0]])
        new = label.copy()
        np.minimum.at(new, relevance[:, 0], lowest[relevance[:, 1]])
        new = new[new]
        if (new == label).all():
            return label
        label = new


def bootstrap(statistics: PerQuery, *, draws: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over groups of queries.

    Each draw takes as many groups as there are, with replacement; a query brings all its
    positives and its whole row of negatives. Above 2,000 groups they are dealt at random into
    2,000 packs, which are drawn instead: the same spread at bounded cost.

    For the rank metrics two imagined groups are drawn along, a full success and a full failure
    (Agresti and Coull 1998): a hundred hits out of a hundred do not prove that no query misses.

    Args:
        statistics: One row per query.
        draws: Resamples.
        seed: Of the draws.

    Returns:
        Name to (low, high); (NaN, NaN) where nothing can be said, as with fewer than two groups.
    """
    weights = _weights(statistics.groups, draws, seed)
    return {name: _percentiles(values) for name, values in _replicates(statistics, *weights, imagined=1).items()}


def paired_difference(
    before: PerQuery, after: PerQuery, *, draws: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """How much each metric has changed on the same queries, with its 95 % interval.

    Both evaluations are drawn with the same queries, so what they have in common cancels. For
    the rank metrics two imagined groups are drawn along, one that changed for the better and
    one for the worse (Bonett and Price 2012): a change of few queries is not certain.

    Args:
        before: The earlier evaluation.
        after: The later one, of the same subset.
        draws: Resamples.
        seed: Of the draws.

    Returns:
        Name to (after - before, low, high); an interval without 0 is a change beyond chance.

    Raises:
        ValueError: If the evaluations have different queries or groups.
    """
    if not np.array_equal(before.groups, after.groups):
        raise ValueError(
            f"paired evaluations must be of one subset, got {len(before.groups)} and {len(after.groups)} queries"
            " or other groups"
        )
    weights = _weights(before.groups, draws, seed)
    once = np.zeros(len(before.groups), dtype=np.int64), np.array([[1.0, 0.0, 0.0]])
    first, second = _replicates(before, *weights, imagined=0), _replicates(after, *weights, imagined=1)
    point, other = _replicates(before, *once, imagined=0), _replicates(after, *once, imagined=1)
    return {name: (float(other[name][0] - point[name][0]), *_percentiles(second[name] - first[name])) for name in first}


def _weights(groups: Rows, draws: int, seed: int) -> tuple[Rows, Floats]:
    """The pack of every query, and how often each draw takes each pack; the last two are imagined."""
    rng = np.random.default_rng(seed)
    _, pack = np.unique(groups, return_inverse=True)
    n_packs = int(pack.max(initial=-1)) + 1
    if n_packs > _MOST_PACKS:
        pack = (rng.permutation(n_packs) % _MOST_PACKS)[pack]
        n_packs = _MOST_PACKS
    if n_packs < 2:
        return pack, np.full((1, n_packs + 2), np.nan)
    n_packs += 2
    weights = np.empty((draws, n_packs))
    for start in range(0, draws, _DRAWS_AT_A_TIME):
        part = weights[start : start + _DRAWS_AT_A_TIME]
        # Ten times faster than a multinomial draw of the counts, and the same distribution.
        taken = rng.integers(n_packs, size=part.shape) + np.arange(len(part))[:, None] * n_packs
        part[:] = np.bincount(taken.ravel(), minlength=part.size).reshape(part.shape)
    return pack, weights


def _replicates(statistics: PerQuery, pack: Rows, weights: Floats, *, imagined: float) -> dict[str, Floats]:
    """The metrics of every draw; `imagined` is the rank metric of the first imagined group."""
    names = [name for name in RANK_NAMES if name in statistics.ranks]
    columns = [
        *statistics.positive.T,
        *statistics.negative.T,
        np.ones(len(pack)),
        *(statistics.ranks[name] for name in names),
    ]
    sums = np.stack([np.bincount(pack, weights=column, minlength=weights.shape[1]) for column in columns], axis=1)
    share = len(pack) / max(len(np.unique(statistics.groups)), 1)  # an imagined group is of mean size
    sums[-2:, 6], sums[-2:, 7:] = share, [[imagined * share], [(1 - imagined) * share]]
    drawn = weights @ sums
    with np.errstate(divide="ignore", invalid="ignore"):
        positive_mean, positive_variance = _moments(drawn[:, 0:3])
        negative_mean, negative_variance = _moments(drawn[:, 3:6])
        margin = positive_mean - negative_mean
        results = {
            "positive_mean": positive_mean + statistics.centre,
            "negative_mean": negative_mean + statistics.centre,
            "margin": margin,
            "separation": _separation(margin, np.sqrt(positive_variance + negative_variance)),
        }
        judged = 1.0 if statistics.positive[:, 0].any() else math.nan
        ranks = judged * drawn[:, 7:] / drawn[:, 6:7]
    return results | dict(zip(names, ranks.T, strict=True))


def _separation(margin: Floats, spread: Floats) -> Floats:
    """As `embviz_callback.analysis.metrics.numbers.separation` says, for every draw."""
    endless = np.where(np.abs(margin) > RESOLUTION, np.copysign(np.inf, margin), np.nan)
    return np.where(spread <= RESOLUTION, endless, margin / spread)


def _moments(sums: Floats) -> tuple[Floats, Floats]:
    mean = sums[:, 1] / sums[:, 0]
    return mean, np.maximum(sums[:, 2] / sums[:, 0] - mean**2, 0.0)


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    # A draw of nothing but unusable queries says nothing; where that is common, nothing is known.
    told = np.sort(values[~np.isnan(values)])
    if len(told) < 0.9 * len(values) or not len(told):
        return math.nan, math.nan
    # Whole draws, rounded outwards: infinite separations cannot be interpolated.
    return float(told[math.floor(0.025 * (len(told) - 1))]), float(told[math.ceil(0.975 * (len(told) - 1))])
