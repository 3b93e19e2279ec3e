"""How far figures spread: bootstrap draws of clusters, and what chains of queries that share documents add."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embviz_callback.embeddings import Floats, Rows

_MOST_PACKS = 2000
_DRAWS_AT_A_TIME = 32  # what is counted then stays in the cache


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each resample takes each cluster.

    Attributes:
        pack: ``(n,)``, the cluster of every row.
        weights: ``(n_draws, n_packs)``; one row of NaN where fewer than two clusters say nothing.
    """

    pack: Rows
    weights: Floats

    def sums(self, columns: Floats) -> Floats:
        """Each draw's sums of columns.

        Args:
            columns: ``(n, n_columns)``.

        Returns:
            ``(n_draws, n_columns)``.
        """
        return self.weights @ self.packed(columns)

    def packed(self, columns: Floats) -> Floats:
        """Sums of columns ``(n, n_columns)`` in each pack, ``(n_packs, n_columns)``."""
        return packed(columns, self.pack, self.weights.shape[1])


def packed(columns: Floats, pack: Rows, n_packs: int) -> Floats:
    """Sums of columns ``(n, n_columns)`` over the rows of each pack, ``(n_packs, n_columns)``."""
    return np.stack([np.bincount(pack, weights=column, minlength=n_packs) for column in columns.T], axis=1)


@dataclass(frozen=True)
class Estimate:
    """A number and what chance allows.

    Attributes:
        value: NaN where there is nothing to estimate from.
        low: Lower end of the 95 % bootstrap interval, NaN without one.
        high: Its upper end.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    def times(self, unit: float) -> Self:
        """The same in a smaller or larger unit."""
        return type(self)(self.value * unit, self.low * unit, self.high * unit)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; NaN becomes null."""
        return {"value": plain(self.value), "interval": plain((self.low, self.high))}


def draw_clusters(clusters: Rows, *, draws: int, seed: int, imagined: int = 0) -> Draws:
    """Resamples of clusters with replacement, as many as there are.

    Above 2,000 clusters they are dealt at random into 2,000 packs, which are drawn instead: the
    same spread at bounded cost.

    Args:
        clusters: ``(n,)``, rows of equal number are drawn together.
        draws: Resamples.
        seed: Of the draws.
        imagined: Packs without rows that are drawn along; they come last.

    Returns:
        The draws.
    """
    rng = np.random.default_rng(seed)
    _, pack = np.unique(clusters, return_inverse=True)
    n_packs = int(pack.max(initial=-1)) + 1
    if n_packs > _MOST_PACKS:
        pack = (rng.permutation(n_packs) % _MOST_PACKS)[pack]
        n_packs = _MOST_PACKS
    if n_packs < 2:
        return Draws(pack, np.full((1, n_packs + imagined), np.nan))
    n_packs += imagined
    weights = np.empty((draws, n_packs))
    for start in range(0, draws, _DRAWS_AT_A_TIME):
        part = weights[start : start + _DRAWS_AT_A_TIME]
        # Ten times faster than a multinomial draw of the counts, and the same distribution.
        taken = rng.integers(n_packs, size=part.shape) + np.arange(len(part))[:, None] * n_packs
        part[:] = np.bincount(taken.ravel(), minlength=part.size).reshape(part.shape)
    return Draws(pack, weights)


def ends(replicates: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the 95 % percentile interval.

    Args:
        replicates: From the draws; a draw of nothing but unusable rows is NaN and says nothing.

    Returns:
        (low, high), whole draws, rounded outwards: infinite replicates cannot be interpolated.
        (NaN, NaN) where a tenth of the draws or more says nothing, or there are fewer than two.
    """
    told = np.sort(replicates[~np.isnan(replicates)])
    if len(told) < 2 or len(told) < 0.9 * len(replicates):
        return math.nan, math.nan
    return float(told[math.floor(0.025 * (len(told) - 1))]), float(told[math.ceil(0.975 * (len(told) - 1))])


def estimate(value: float, replicates: NDArray[np.float64]) -> Estimate:
    """A value with the `ends` of its replicates."""
    return Estimate(float(value), *ends(replicates))


def simultaneous(values: Floats, replicates: Floats) -> tuple[Estimate, ...]:
    """Several estimates whose intervals hold all at once in 95 % of cases (sup-t: Montiel Olea, Plagborg-Møller 2019).

    Args:
        values: ``(n_values,)`` from all rows.
        replicates: ``(n_draws, n_values)``.

    Returns:
        One estimate each; without an interval where `ends` has none.
    """
    told = np.array([not math.isnan(ends(column)[0]) for column in replicates.T], dtype=bool)
    spread = np.where(told, np.nanstd(np.where(told, replicates, 0.0), axis=0), np.nan)
    off = np.abs(replicates - values) / np.where(spread > 0, spread, np.nan)
    largest = np.fmax.reduce(np.where(told, off, np.nan), axis=1, initial=0.0)
    reach = float(np.quantile(largest, 0.95)) * spread
    return tuple(
        Estimate(float(value), float(value - r), float(value + r)) for value, r in zip(values, reach, strict=True)
    )


@dataclass(frozen=True, eq=False)
class Sharing:
    """Which queries share a relevant document.

    Attributes:
        pairs: A sparse ``(n_queries, n_queries)``: 1 where two do, and on the diagonal.
        worth: So many independent queries would hang together as much.
    """

    pairs: Any
    worth: float

    @classmethod
    def of(cls, relevance: Rows, n_queries: int) -> Self:
        """Of ``(n, 2)`` pairs (query row, document row)."""
        from scipy.sparse import coo_array, eye_array  # slow to import, and few data need it

        shape = (n_queries, int(relevance[:, 1].max(initial=0)) + 1)
        links = coo_array((np.ones(len(relevance)), tuple(relevance.T)), shape=shape).tocsr()
        pairs = (links @ links.T + eye_array(n_queries)).tocsr()
        pairs.data[:] = 1.0
        return cls(pairs, n_queries * n_queries / pairs.nnz)

    def spread(self, alone: Floats, grouped: Floats) -> "Spread":
        """How much wider a mean spreads than its groups say.

        The variance counts every pair of queries that share a document, in whatever group: that of two-way clustering
        (Cameron, Gelbach and Miller 2011) for queries that have several documents each. It is at least that of groups.

        Args:
            alone: ``(n_queries,)`` pseudo-values, each query by itself.
            grouped: ``(n_groups,)`` pseudo-values.

        Returns:
            What intervals and tests allow for.
        """
        own, groups = alone - alone.mean(), grouped - grouped.mean()
        by_both = float(own @ (self.pairs @ own)) / len(own) ** 2 * self.worth / max(self.worth - 1, 1e-9)
        by_groups = float(np.square(groups).sum()) / len(groups) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = float(np.sqrt(np.fmax(np.float64(by_both) / by_groups, 1.0)))
        return Spread(factor, max(int(self.worth), 1))


@dataclass(frozen=True)
class Spread:
    """How much wider a figure spreads than its groups say.

    Attributes:
        factor: What a standard error is multiplied by.
        freedom: Degrees of freedom that the variance has at most; None for those of the groups.
    """

    factor: float = 1.0
    freedom: int | None = None

    def freedom_of(self, n_groups: int) -> int:
        """Degrees of freedom of a variance over so many groups."""
        return max(n_groups - 1 if self.freedom is None else min(self.freedom, n_groups - 1), 1)


PLAIN = Spread()


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rank correlation, ties by mean ranks.

    Returns:
        From -1 to 1; NaN below two values or if either side is constant.

    Example:
        >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0]))
        0.5
    """
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(np.corrcoef(mean_ranks(one), mean_ranks(other))[0, 1])


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, of equal values the mean of theirs.

    Two lines, because scipy.stats takes more than a second of the processor to import, which beside a training count.

    Args:
        values: ``(n,)``.

    Returns:
        ``(n,)``.

    Example:
        >>> mean_ranks(np.array([3.0, 1.0, 3.0]))
        array([2.5, 1. , 2.5])
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def plain(value: Any) -> Any:
    """A value with all it holds as JSON: NaN is null, an infinity "Infinity" or "-Infinity", a value its fields."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if is_dataclass(value):
        return told(value, *vars(value))
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    if not isinstance(value, float):
        return value
    if math.isfinite(value):
        return float(value)
    return None if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"


def told(one: object, *names: str) -> dict[str, Any]:
    """What a value says of itself, as plain JSON.

    Args:
        one: The value.
        names: Of its fields and properties, in this order; "key=name" for one that JSON calls otherwise.

    Returns:
        Key to what it holds.
    """
    pairs = (name.partition("=") for name in names)
    return {key: plain(getattr(one, name or key)) for key, _, name in pairs}


def or_least(value: float) -> float:
    """The value to sort by; what nobody knows comes below all others."""
    return -math.inf if math.isnan(value) else value
