"""What each query contributes to the metrics, and their intervals over groups of queries."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Self

import numpy as np

from embviz_callback.analysis.metrics.catalogue import RANK_NAMES
from embviz_callback.analysis.metrics.ranks import rank_values
from embviz_callback.analysis.metrics.resampling import PLAIN, Draws, Sharing, Spread, draw_clusters, ends, packed
from embviz_callback.analysis.scan import Similarity
from embviz_callback.embeddings import Embeddings, Floats, Rows

_MOST_OF_ALL = 0.1  # of the queries in one group, beyond which groups say too little
_RESOLUTION = 1e-7  # a float32 cosine of two unit rows carries about this rounding


@dataclass(frozen=True, eq=False)
class Sampling:
    """Queries that are drawn together because what they share makes them succeed and fail together.

    Those that share a relevant document, directly or in a chain. Where that makes one group of more than a tenth of
    all queries, as it does where queries have many documents, the chain is cut: then those are together whose most
    shared document is the same.

    Attributes:
        groups: ``(n_queries,)``, equal numbers for queries of one group.
        chained: ``(n, 2)`` pairs (query row, document row) where a chain had to be cut; None where not.
    """

    groups: Rows
    chained: Rows | None = None

    @classmethod
    def of(cls, relevance: Rows, n_queries: int) -> Self:
        """Of ``(n, 2)`` pairs (query row, document row)."""
        groups = relevance_groups(relevance, n_queries)
        if np.bincount(groups, minlength=1).max() <= max(_MOST_OF_ALL * n_queries, 1):
            return cls(groups)
        askers = np.bincount(relevance[:, 1])[relevance[:, 1]]
        order = np.lexsort((relevance[:, 1], -askers, relevance[:, 0]))
        query, first = np.unique(relevance[order, 0], return_index=True)
        cut = np.arange(n_queries)
        cut[query] = n_queries + relevance[order[first], 1]
        return cls(cut, relevance)

    @property
    def n_queries(self) -> int:
        """Queries that are drawn."""
        return len(self.groups)

    @property
    def n_groups(self) -> int:
        """Groups of them."""
        return len(np.unique(self.groups))

    @property
    def is_chained(self) -> bool:
        """Whether a chain had to be cut."""
        return self.chained is not None

    @cached_property
    def sharing(self) -> Sharing | None:
        """Which queries share a document, where a chain had to be cut."""
        return None if self.chained is None else Sharing.of(self.chained, self.n_queries)

    @property
    def one_by_one(self) -> Self:
        """The same with each query by itself."""
        return replace(self, groups=np.arange(self.n_queries))

    def mean_spread(self, values: Floats) -> tuple[Floats, Spread]:
        """Pseudo-values ``(n_groups,)`` of a mean over queries, and how much wider it spreads than they say."""
        pseudo = mean_pseudo_values(values, self.groups)
        return pseudo, PLAIN if self.sharing is None else self.sharing.spread(values, pseudo)


@dataclass(frozen=True, eq=False)
class PerQuery:
    """What each query contributes; sums of these give a metric of any resample.

    Attributes:
        sampling: Which of them are drawn together.
        positive: ``(n_queries, 3)`` count, sum and sum of squares of its positive cosines.
        negative: ``(n_queries, 3)`` the same of its negatives, both about `centre`.
        ranks: Name to ``(n_queries,)`` values whose mean is the metric, extremes of ties included.
        centre: Taken off every cosine, so that squares do not cancel.
    """

    sampling: Sampling
    positive: Floats
    negative: Floats
    ranks: Mapping[str, Floats]
    centre: float

    @property
    def one_by_one(self) -> Self:
        """The same with each query drawn by itself."""
        return replace(self, sampling=self.sampling.one_by_one)

    def taken(self, rows: Rows) -> Self:
        """What some of the queries contribute, in this order."""
        ranks = {name: values[rows] for name, values in self.ranks.items()}
        sampling = replace(self.sampling, groups=self.sampling.groups[rows])
        return replace(self, sampling=sampling, positive=self.positive[rows], negative=self.negative[rows], ranks=ranks)


def per_query(similarity: Similarity, embeddings: Embeddings, *, groups: Rows | None = None) -> PerQuery:
    """Sufficient statistics of every query.

    Args:
        similarity: The scan.
        embeddings: What was scanned.
        groups: ``(n_queries,)``; by default as `Sampling` has them.

    Returns:
        One row per query.

    Raises:
        ValueError: If `groups` has another length.
    """
    n_queries = len(embeddings.queries)
    if groups is not None and len(groups) != n_queries:
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
    ranks = rank_values(similarity, embeddings)
    sampling = Sampling.of(embeddings.relevance, n_queries) if groups is None else Sampling(np.asarray(groups))
    return PerQuery(sampling, positive, negative, ranks, centre)


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


def intervals_of(statistics: PerQuery, *, draws: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % intervals over groups of queries.

    Of the rank metrics by percentiles of a bootstrap. Each draw takes as many groups as there are, with replacement,
    and along with them two imagined groups, a full success and a full failure (Agresti and Coull 1998): a hundred
    hits out of a hundred do not prove that no query misses. Of the others by Student's t of their pseudo-values,
    which at few groups covers more often than percentiles do.

    Args:
        statistics: One row per query.
        draws: Resamples.
        seed: Of the draws.

    Returns:
        Name to (low, high); (NaN, NaN) where nothing can be said, as with fewer than two groups.
    """
    drawn = draw_clusters(statistics.sampling.groups, draws=draws, seed=seed, imagined=2)
    found = {name: ends(values) for name, values in _replicates(statistics, drawn, imagined=1).items()}
    whole, wider = point(statistics), own_spreads(statistics)
    found |= {name: _stretched(found[name], whole[name], wider[name].factor) for name in wider if name in RANK_NAMES}
    return found | {name: one for name, one in t_intervals(statistics).items() if name not in RANK_NAMES}


def _stretched(ends: tuple[float, float], value: float, factor: float) -> tuple[float, float]:
    """The interval of a share, as many times wider to both sides."""
    return max(value + factor * (ends[0] - value), 0.0), min(value + factor * (ends[1] - value), 1.0)


def own_spreads(statistics: PerQuery) -> dict[str, Spread]:
    """How much wider each metric spreads than its groups say; empty where no chain of shared documents was cut."""
    sharing = statistics.sampling.sharing
    if sharing is None:
        return {}
    grouped, alone = pseudo_values(statistics), pseudo_values(statistics.one_by_one)
    return {name: sharing.spread(alone[name], grouped[name]) for name in grouped}


def t_intervals(statistics: PerQuery, *, tail: float = 0.025) -> dict[str, tuple[float, float]]:
    """Intervals by Student's t of the pseudo-values; those of rank metrics with the two imagined groups.

    Args:
        statistics: One row per query.
        tail: Chance of the truth beyond each end.

    Returns:
        Name to (low, high); (NaN, NaN) where nothing can be said.
    """
    whole, wider, found = point(statistics), own_spreads(statistics), {}
    for name, values in pseudo_values(statistics).items():
        if math.isinf(whole[name]):
            found[name] = (whole[name], whole[name]) if len(values) > 1 else (math.nan, math.nan)
            continue
        spread = wider.get(name, PLAIN)
        found[name] = t_interval(whole[name], values, is_share=name in RANK_NAMES, tail=tail, spread=spread)
    return found


def t_interval(
    value: float, pseudo: Floats, *, is_share: bool, tail: float = 0.025, spread: Spread = PLAIN
) -> tuple[float, float]:
    """One interval by Student's t.

    Args:
        value: Of the metric.
        pseudo: ``(n_groups,)`` its pseudo-values.
        is_share: Whether it lies between 0 and 1: then a full success and a full failure are added.
        tail: Chance of the truth beyond each end.
        spread: How much wider it spreads than its groups say.

    Returns:
        (low, high); (NaN, NaN) below two groups.
    """
    n = len(pseudo)
    if n < 2:
        return math.nan, math.nan
    rows = np.append(pseudo, [0.0, 1.0]) if is_share else pseudo
    centre = float(rows.mean()) if is_share else value
    error = spread.factor * float(rows.std(ddof=1)) / math.sqrt(len(rows))
    reach = t_quantile(1 - tail, spread.freedom_of(n)) * error
    return (max(centre - reach, 0.0), min(centre + reach, 1.0)) if is_share else (centre - reach, centre + reach)


def t_quantile(share: float, freedom: int) -> float:
    """A quantile of Student's t above its middle, by the expansion of Abramowitz and Stegun (1964), 26.7.5.

    To 0.002 from ten degrees of freedom on, too small by up to 0.03 at five; scipy's is exact, but to import it takes
    longer than all metrics of an evaluation.

    Returns:
        The quantile.

    Example:
        >>> round(t_quantile(0.975, 10), 3)
        2.228
    """
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(z + sum(term / max(freedom, 1) ** power for power, term in enumerate(terms, start=1)))


def pseudo_values(statistics: PerQuery) -> dict[str, Floats]:
    """Jackknife pseudo-values of every metric (Tukey 1958).

    They turn a metric into a mean of one number a group, whatever its formula, so that one kind of interval and one
    kind of test serve all.

    Args:
        statistics: One row per query.

    Returns:
        Name to ``(n_groups,)``; their mean is the metric but for its bias, and their spread that of the metric. NaN
        where the metric is not finite.
    """
    sums = group_sums(statistics)
    total, n = sums.sum(axis=0), len(sums)
    whole = metrics_of_sums(total[None], statistics)
    without = metrics_of_sums(total - sums, statistics)
    with np.errstate(invalid="ignore"):
        found = {name: n * whole[name] - (n - 1) * without[name] for name in whole}
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in found.items()}


def mean_pseudo_values(values: Floats, groups: Rows) -> Floats:
    """Pseudo-values of a mean over queries, one a group.

    Args:
        values: ``(n_queries,)``.
        groups: ``(n_queries,)``.

    Returns:
        ``(n_groups,)``.
    """
    _, group = np.unique(groups, return_inverse=True)
    counts, sums = np.bincount(group), np.bincount(group, weights=values)
    n = len(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (values.sum() - sums) / (len(values) - counts)
    return np.asarray(n * values.mean() - (n - 1) * without)


def point(statistics: PerQuery) -> dict[str, float]:
    """Every metric over all queries."""
    found = metrics_of_sums(group_sums(statistics).sum(axis=0)[None], statistics)
    return {name: float(values[0]) for name, values in found.items()}


def group_sums(statistics: PerQuery) -> Floats:
    """What each group of queries adds to the sums behind the metrics, ``(n_groups, n_sums)``."""
    known, group = np.unique(statistics.sampling.groups, return_inverse=True)
    return packed(_columns(statistics), group, len(known))


def _columns(statistics: PerQuery) -> Floats:
    """Per query: moments of positives and negatives, one, and its rank metrics."""
    ranks = [statistics.ranks[name] for name in _rank_names(statistics)]
    return np.stack(
        [*statistics.positive.T, *statistics.negative.T, np.ones(statistics.sampling.n_queries), *ranks], axis=1
    )


def _rank_names(statistics: PerQuery) -> list[str]:
    return [name for name in RANK_NAMES if name in statistics.ranks]


def _replicates(statistics: PerQuery, draws: Draws, *, imagined: float) -> dict[str, Floats]:
    """The metrics of every draw; `imagined` is the rank metric of the first imagined group."""
    sums = draws.packed(_columns(statistics))
    share = len(draws.pack) / max(statistics.sampling.n_groups, 1)  # an imagined group is of mean size
    sums[-2:, 6], sums[-2:, 7:] = share, [[imagined * share], [(1 - imagined) * share]]
    return metrics_of_sums(draws.weights @ sums, statistics)


def metrics_of_sums(sums: Floats, statistics: PerQuery) -> dict[str, Floats]:
    """The metrics of sums over any queries.

    Args:
        sums: ``(n, n_sums)``, as `group_sums` gives them, added up.
        statistics: Whose they are.

    Returns:
        Name to ``(n,)``.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        positive_mean, positive_variance = _moments(sums[:, 0:3])
        negative_mean, negative_variance = _moments(sums[:, 3:6])
        margin = positive_mean - negative_mean
        results = {
            "positive_mean": positive_mean + statistics.centre,
            "negative_mean": negative_mean + statistics.centre,
            "margin": margin,
            "separation": in_spreads(margin, np.sqrt(positive_variance + negative_variance)),
        }
        judged = 1.0 if statistics.positive[:, 0].any() else math.nan
        ranks = judged * sums[:, 7:] / sums[:, 6:7]
    return results | dict(zip(_rank_names(statistics), ranks.T, strict=True))


def in_spreads(margin: Floats, spread: Floats) -> Floats:
    """Margins by their spread; without any beyond rounding infinite with the margin's sign, NaN for no margin."""
    endless = np.where(np.abs(margin) > _RESOLUTION, np.copysign(np.inf, margin), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread <= _RESOLUTION, endless, margin / spread)


def _moments(sums: Floats) -> tuple[Floats, Floats]:
    mean = sums[:, 1] / sums[:, 0]
    return mean, np.maximum(sums[:, 2] / sums[:, 0] - mean**2, 0.0)
