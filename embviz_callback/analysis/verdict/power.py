"""How many queries it takes to see a difference in rank-1, and how small a one so many queries show."""

import math
from collections.abc import Sequence
from statistics import NormalDist

from embviz_callback.analysis.metrics.intervals import PerQuery

POWER = 0.8
DISCORDANCES = (0.05, 0.10, 0.20)
_LEVEL = NormalDist().inv_cdf(0.975)
_FOUND = NormalDist().inv_cdf(POWER)


def discordance(one: PerQuery, other: PerQuery) -> float:
    """Share of the queries on which two evaluations disagree whether the first document is right."""
    return float(abs(one.ranks["rank1"] - other.ranks["rank1"]).mean())


def queries_needed(difference: float, disagreeing: float) -> int:
    """Queries, all independent, that show a paired difference in 80 % of the cases at a two-sided 5 %.

    By Connor (1987), corrected for continuity as Fleiss (1981) does it: without that an exact test, or signs flipped,
    find it in 76 to 79 % of the cases.

    Args:
        difference: In rank-1, above 0.
        disagreeing: Discordance of the two evaluations, at least as large as the difference.

    Returns:
        Their number.

    Raises:
        ValueError: If the difference is not above 0, or the discordance not from it to 1.

    Example:
        >>> queries_needed(0.05, 0.10), queries_needed(0.02, 0.10)
        (352, 2060)
    """
    if not 0 < difference <= disagreeing <= 1:
        raise ValueError(
            f"difference must be above 0 and discordance from it to 1, got {difference:g} and {disagreeing:g}"
        )
    reach = _LEVEL * math.sqrt(disagreeing) + _FOUND * math.sqrt(disagreeing - difference**2)
    return math.ceil((reach / difference) ** 2 + 2 / difference)


def smallest_difference(n_queries: int, disagreeing: float) -> float:
    """The smallest paired difference in rank-1 that so many independent queries show in 80 % of the cases.

    Args:
        n_queries: At least 1.
        disagreeing: Discordance of the two evaluations.

    Returns:
        A share; NaN where not even the whole discordance would be found.

    Example:
        >>> round(smallest_difference(500, 0.10), 3)
        0.042
    """
    low, high = 0.0, disagreeing
    if not disagreeing or queries_needed(high, disagreeing) > n_queries:
        return math.nan
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if queries_needed(middle, disagreeing) <= n_queries else (middle, high)
    return high


def planned(difference: float, discordances: Sequence[float] = DISCORDANCES) -> tuple[tuple[float, int | None], ...]:
    """Queries needed at each discordance; None where it is smaller than the difference itself."""
    return tuple((one, queries_needed(difference, one) if one >= difference else None) for one in discordances)
