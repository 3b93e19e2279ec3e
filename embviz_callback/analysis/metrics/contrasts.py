"""Whether evaluations of the same queries differ: intervals of differences, and tests of one or many."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.catalogue import RANK_NAMES
from embviz_callback.analysis.metrics.intervals import PerQuery, point, pseudo_values, t_quantile
from embviz_callback.analysis.metrics.resampling import PLAIN, Spread
from embviz_callback.embeddings import Floats

FLIPS = 1999
FEWEST_GROUPS = 6  # of five, no pattern of signs has a two-sided probability below 5 %
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """A metric's change between two evaluations of the same queries.

    Attributes:
        value: Later minus earlier.
        low: Lower end of its paired 95 % interval; NaN where nothing can be said.
        high: Upper end.
        p_value: Of no difference, corrected for all that were compared at once; NaN below six groups.
    """

    value: float
    low: float
    high: float
    p_value: float = math.nan

    @property
    def is_beyond_chance(self) -> bool:
        """Whether so large a difference would come by chance in fewer than 5 % of comparisons like this one."""
        return self.p_value <= LEVEL


def paired_standard_error(name: str, changes: Floats) -> float:
    """Standard error of the mean of paired changes.

    For the rank metrics, most of whose changes are 0, a pair of imagined changes is added, one for the better and one
    for the worse: as Bonett and Price (2012) add one gain and one loss, but of the size that changes have, the root
    mean square of those there are and one full change, which few queries may not have shown.

    Args:
        name: Of the metric.
        changes: ``(n_groups,)``.

    Returns:
        The standard error; NaN below two groups.
    """
    n, squares = len(changes), float(np.square(changes - changes.mean()).sum()) if len(changes) else math.nan
    if n < 2:
        return math.nan
    if name in RANK_NAMES:
        moved = changes[np.abs(changes) > 1e-12]
        squares += 2 * (float(np.square(moved).sum()) + 1) / (len(moved) + 1)
        n += 2
    return math.sqrt(squares / (n - 1) / n)


def paired_interval(name: str, value: float, changes: Floats, spread: Spread = PLAIN) -> tuple[float, float]:
    """95 % interval of a paired change.

    By Student's t; of the rank metrics corrected for their skewness, which is large where nearly all changes go one
    way: then a few queries may not have shown the largest of them (Hall 1992, transformation of t).

    Args:
        name: Of the metric.
        value: Its change.
        changes: ``(n_groups,)``, their mean is the change.
        spread: How much wider it spreads than its groups say.

    Returns:
        (low, high); NaN below two groups.
    """
    error, n = spread.factor * paired_standard_error(name, changes), len(changes)
    reach = t_quantile(0.975, spread.freedom_of(n))
    if name not in RANK_NAMES or n < 2:
        return value - reach * error, value + reach * error
    third = float(((changes - changes.mean()) ** 3).mean())
    skew = third / (error**3 * n * n)  # of the mean
    return value - _untilted(reach, skew) * error, value - _untilted(-reach, skew) * error


def one_sided_reach(name: str, changes: Floats, doubt: float, spread: Spread = PLAIN) -> tuple[float, float]:
    """How far the truth may lie below and above a mean of paired changes.

    The changes of rank metrics are few and mostly of one sign where something is lost, so that Student's t passes over
    a loss about twice as often as it should (benchmarks/ship.py). For them the reach is at least the one that takes
    skewness into account (Hall 1992, the monotone transformation), after a pair of imagined changes as large as the
    largest there is, and of size 1 / (1 + n) at least where n are of about that size: one small change proves no large
    one away.

    Args:
        name: Of the metric.
        changes: ``(n_groups,)``.
        doubt: Chance of either reach being passed.
        spread: How much wider it spreads than its groups say.

    Returns:
        Two distances from the mean, the first below 0; NaN below two groups.
    """
    n = len(changes)
    reach = t_quantile(1 - doubt, spread.freedom_of(n))
    width = reach * spread.factor * paired_standard_error(name, changes)
    if n < 2 or name not in RANK_NAMES:
        return -width, width
    sizes = np.abs(changes)
    largest = float(sizes.max())
    # Groups of several queries have pseudo-values near 0 where nothing of theirs has changed.
    moved = int((sizes > largest / 20).sum()) if largest > 1e-12 else 0
    imagined = max(largest, 1 / (1 + moved))
    off = np.append(changes - changes.mean(), [imagined, -imagined])
    error = spread.factor * float(off.std(ddof=1)) / math.sqrt(len(off))
    skewness = float((off**3).mean() / (off**2).mean() ** 1.5) / math.sqrt(len(off))
    return min(-width, -error * _untilted(reach, skewness)), max(width, -error * _untilted(-reach, skewness))


def _untilted(reach: float, skewness: float) -> float:
    """The quantile of a studentised mean whose transformed one is normal."""
    if abs(skewness) < 1e-6:
        return reach
    return 3 / skewness * float(np.cbrt(1 + skewness * (reach - skewness / 6)) - 1)


def compared(before: PerQuery, others: Sequence[PerQuery], *, seed: int = 0) -> dict[str, tuple[Difference, ...]]:
    """Differences of several evaluations from one, with probabilities that are corrected for their number.

    Each metric is a family of its own: of evaluations that are all equal, at most 5 % of such comparisons call any
    of them better or worse (benchmarks/conclusions.py).

    Args:
        before: The one.
        others: At least one, of the same subset.
        seed: Of the flips of sign.

    Returns:
        Name to a difference per other evaluation.

    Raises:
        ValueError: If the evaluations have different queries or groups.
    """
    for other in others:
        one, two = before.sampling, other.sampling
        if not np.array_equal(one.groups, two.groups):
            raise ValueError(
                f"paired evaluations must be of one subset, got {one.n_queries} and {two.n_queries} queries"
                " or other groups"
            )
    moved = [_changes(before, other) for other in others]
    wider = spreads(before, others)
    first, points = point(before), [point(other) for other in others]
    signs = flips(before.sampling.n_groups, seed=seed)
    found = {}
    for name in first:
        changes = np.stack([one[name] for one in moved], axis=1)
        shifts = [float(one[name] - first[name]) for one in points]
        chances = step_down(changes, signs, np.array([spread.factor for spread in wider[name]])).tolist()
        found[name] = tuple(
            Difference(shift, *paired_interval(name, shift, column, spread), chance)
            for shift, column, spread, chance in zip(shifts, changes.T, wider[name], chances, strict=True)
        )
    return found


def spreads(before: PerQuery, others: Sequence[PerQuery]) -> dict[str, list[Spread]]:
    """How much wider the difference of each metric spreads than groups say, see `Sharing`.

    Args:
        before: The one; where chains of its shared documents are cut, that counts.
        others: Those that are held against it.

    Returns:
        Name to one for each of the others.
    """
    moved, sharing = [_changes(before, other) for other in others], before.sampling.sharing
    if sharing is None:
        return {name: [PLAIN] * len(others) for name in moved[0]}
    alone = [_changes(before.one_by_one, other.one_by_one) for other in others]
    return {
        name: [sharing.spread(own[name], grouped[name]) for own, grouped in zip(alone, moved, strict=True)]
        for name in moved[0]
    }


def _changes(before: PerQuery, after: PerQuery) -> dict[str, Floats]:
    """Per metric ``(n_groups,)`` numbers whose mean is the change.

    Of the rank metrics these are sums over each group's queries, whose signs are as good as random where nothing has
    changed; of the others differences of pseudo-values.

    Returns:
        Name to numbers.
    """
    one, other = pseudo_values(before), pseudo_values(after)
    _, group = np.unique(before.sampling.groups, return_inverse=True)
    share = len(one["margin"]) / max(len(group), 1)
    return {
        name: np.asarray(share * np.bincount(group, weights=after.ranks[name] - before.ranks[name]), dtype=np.float64)
        if name in before.ranks
        else other[name] - one[name]
        for name in one
    }


def flips(n_groups: int, *, n: int = FLIPS, seed: int = 0) -> NDArray[np.float32]:
    """Random signs, ``(n, n_groups)``."""
    bits = np.random.default_rng(seed).integers(0, 2, size=(n, n_groups), dtype=np.int8)
    return (2 * bits - 1).astype(np.float32)


def step_down(changes: Floats, signs: NDArray[np.float32], widened: Floats | float = 1.0) -> Floats:
    """Two-sided probabilities of no difference, corrected for all columns at once.

    Under no difference a group's changes could as well have the other sign; all columns are flipped together, so that
    what evaluations have in common is kept (permutation p of Phipson and Smyth 2010; step-down maxima of Westfall
    and Young 1993, algorithm 2.8).

    Args:
        changes: ``(n_groups, n_columns)``.
        signs: What `flips` gives for so many groups.
        widened: ``(n_columns,)`` how much wider each spreads than its groups say, see `Spread`.

    Returns:
        ``(n_columns,)``; NaN below six groups, and for a column that holds a NaN.
    """
    n_groups, n_columns = changes.shape
    told = np.asarray(~np.isnan(changes).any(axis=0))
    chances = np.full(n_columns, np.nan)
    if n_groups < FEWEST_GROUPS or not told.any():
        return chances
    # Flips leave the sum of squares as it is, so that this is a monotone function of each column's t.
    scale = np.sqrt(np.square(changes[:, told]).sum(axis=0))
    unit = changes[:, told] / np.where(scale > 0, scale, 1.0)
    seen = np.abs(unit.sum(axis=0)) / np.broadcast_to(widened, n_columns)[told]
    drawn = np.abs(signs @ unit.astype(np.float32))
    order = np.argsort(-seen, kind="stable")
    # The largest of the columns that are not larger themselves.
    highest = np.maximum.accumulate(drawn[:, order][:, ::-1], axis=1)[:, ::-1]
    above = (highest >= seen[order] * (1 - 1e-6) - 1e-9).sum(axis=0)
    raw = (above + 1) / (len(signs) + 1)
    found = np.empty(len(order))
    found[order] = np.maximum.accumulate(raw)
    chances[told] = found
    return chances
