"""Bootstrap draws of clusters, for statistics that are no metric of a whole evaluation."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.embeddings import Floats, Rows

_MOST_PACKS = 2000


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
        n_packs = self.weights.shape[1]
        packed = [np.bincount(self.pack, weights=column, minlength=n_packs) for column in columns.T]
        return self.weights @ np.stack(packed, axis=1) if packed else np.empty((len(self.weights), 0))


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

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; NaN becomes null."""
        return {"value": plain(self.value), "interval": [plain(self.low), plain(self.high)]}


def draw_clusters(clusters: Rows, *, draws: int, seed: int) -> Draws:
    """Resamples of clusters with replacement, as many as there are.

    Above 2,000 clusters they are dealt at random into 2,000 packs, which are drawn instead.

    Args:
        clusters: ``(n,)``, rows of equal number are drawn together.
        draws: Resamples.
        seed: Of the draws.

    Returns:
        The draws.
    """
    rng = np.random.default_rng(seed)
    _, pack = np.unique(clusters, return_inverse=True)
    pack = pack.reshape(-1).astype(np.int64)
    n_packs = int(pack.max(initial=-1)) + 1
    if n_packs > _MOST_PACKS:
        pack = (rng.permutation(n_packs) % _MOST_PACKS)[pack]
        n_packs = _MOST_PACKS
    if n_packs < 2:
        return Draws(pack, np.full((1, n_packs), np.nan))
    return Draws(pack, rng.multinomial(n_packs, np.full(n_packs, 1 / n_packs), size=draws).astype(np.float64))


def estimate(value: float, replicates: NDArray[np.float64]) -> Estimate:
    """A value with the 2.5th and 97.5th percentile of its replicates.

    Args:
        value: From all rows.
        replicates: From the draws; where more than one in twenty is NaN there is no interval.

    Returns:
        The estimate.
    """
    known = replicates[~np.isnan(replicates)]
    if len(known) < 2 or len(known) < 0.95 * len(replicates):
        return Estimate(float(value))
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def mean_estimate(values: Floats, draws: Draws) -> Estimate:
    """The mean of what is not NaN, with its interval."""
    known = ~np.isnan(values)
    columns = np.stack([known.astype(np.float64), np.where(known, values, 0.0)], axis=1)
    sums = draws.sums(columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        return estimate(float(np.mean(values[known])) if known.any() else math.nan, sums[:, 1] / sums[:, 0])


def ranks(values: NDArray[np.float64]) -> Floats:
    """Ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse.reshape(-1)]


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rank correlation, ties by mean ranks.

    Returns:
        From -1 to 1; NaN below two values or if either side is constant.

    Example:
        >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0]))
        0.5
    """
    if len(one) < 2:
        return math.nan
    left, right = ranks(one) - (len(one) + 1) / 2, ranks(other) - (len(other) + 1) / 2
    spread = math.sqrt(float(left @ left) * float(right @ right))
    return float(left @ right) / spread if spread > 0 else math.nan


def plain(value: float) -> float | str | None:
    """A number for JSON: NaN is null, an infinity the text "Infinity" or "-Infinity"."""
    if math.isnan(value):
        return None
    return float(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}Infinity"
