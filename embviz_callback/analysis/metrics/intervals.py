"""Bootstrap intervals over queries, and paired ones for a difference."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, RANKS
from embviz_callback.analysis.metrics.ranks import graded_ndcg, levels, rank_metrics
from embviz_callback.analysis.metrics.resampling import Draws, draw_clusters, ends
from embviz_callback.analysis.scan import Similarity
from embviz_callback.embeddings import Embeddings, Floats, Rows

RANK_NAMES = tuple(name for name, row in CATALOGUE.items() if row.has_interval and row.section == RANKS)
RESOLUTION = 1e-7  # a float32 cosine of two unit rows carries about this rounding


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
    values |= graded_ndcg(similarity, embeddings) if len(embeddings.grades) else {}
    return PerQuery(np.asarray(groups), positive, negative, values, centre)


def relevance_groups(relevance: Rows, n_queries: int) -> Rows:
    """Connected components of queries that share a relevant document, as the lowest query row."""
    documents, row = np.unique(relevance[:, 1], return_inverse=True)
    if len(documents) == len(relevance):
        return np.arange(n_queries)  # no document is shared
    from scipy.sparse import coo_array  # slow to import, and few data need it
    from scipy.sparse.csgraph import connected_components

    edges = (np.ones(len(row)), (relevance[:, 0], n_queries + row))
    size = n_queries + len(documents)
    _, label = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    _, lowest, component = np.unique(label[:n_queries], return_index=True, return_inverse=True)
    return np.asarray(lowest[component], dtype=np.int64)


def bootstrap(statistics: PerQuery, *, draws: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over groups of queries.

    Each draw takes as many groups as there are, with replacement; a query brings all its
    positives and its whole row of negatives.

    For the rank metrics two imagined groups are drawn along, a full success and a full failure
    (Agresti and Coull 1998): a hundred hits out of a hundred do not prove that no query misses.

    Args:
        statistics: One row per query.
        draws: Resamples.
        seed: Of the draws.

    Returns:
        Name to (low, high); (NaN, NaN) where nothing can be said, as with fewer than two groups.
    """
    drawn = draw_clusters(statistics.groups, draws=draws, seed=seed, imagined=2)
    return {name: ends(values) for name, values in _replicates(statistics, drawn, imagined=1).items()}


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
    drawn = draw_clusters(before.groups, draws=draws, seed=seed, imagined=2)
    once = Draws(np.zeros(len(before.groups), dtype=np.int64), np.array([[1.0, 0.0, 0.0]]))
    first, second = _replicates(before, drawn, imagined=0), _replicates(after, drawn, imagined=1)
    point, other = _replicates(before, once, imagined=0), _replicates(after, once, imagined=1)
    return {name: (float(other[name][0] - point[name][0]), *ends(second[name] - first[name])) for name in first}


def _replicates(statistics: PerQuery, draws: Draws, *, imagined: float) -> dict[str, Floats]:
    """The metrics of every draw; `imagined` is the rank metric of the first imagined group."""
    names = [name for name in RANK_NAMES if name in statistics.ranks]
    columns = [
        *statistics.positive.T,
        *statistics.negative.T,
        np.ones(len(draws.pack)),
        *(statistics.ranks[name] for name in names),
    ]
    sums = draws.packed(np.stack(columns, axis=1))
    share = len(draws.pack) / max(len(np.unique(statistics.groups)), 1)  # an imagined group is of mean size
    sums[-2:, 6], sums[-2:, 7:] = share, [[imagined * share], [(1 - imagined) * share]]
    drawn = draws.weights @ sums
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
