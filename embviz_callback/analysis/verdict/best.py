"""The best of several evaluations of one subset, what its metric is worth, and whether the last has fallen from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.contrasts import paired_standard_error
from embviz_callback.analysis.metrics.intervals import RANK_NAMES, PerQuery, point, pseudo_values, t_quantile
from embviz_callback.analysis.metrics.resampling import draw_clusters
from embviz_callback.embeddings import Embeddings, Floats

SAME = 0.005  # of the primary metric: less decides nothing
LEAST_FALL = 0.01
MOST = 50  # evaluations that are looked at: the last and those before it
RULE = (
    "highest {metric}; of those whose paired 95 % interval to it lies wholly within ±0.005 the one with the highest"
    " separation, which unlike the margin does not depend on the scale of the scores; of equal ones the first"
)
_CONTENDING = 3.0  # standard errors below the best within which an evaluation may as well be the better one
# The tails of a best one's interval. It is too high more often than too low, so that its lower tail has the larger
# share of the 5 %: measured in benchmarks/conclusions.py.
_BELOW, _ABOVE = 0.035, 0.015
# Looks at a run, and what the deepest fall among so many equal evaluations, in standard deviations of one, exceeds in
# 5 % of runs: 20,000 runs of normal deviates (about the studentized range of Tukey 1949, one way round).
_DEEPEST_FALL = ((20, 4.75), (50, 5.46), (200, 6.33))


@dataclass(frozen=True, eq=False)
class Candidate:
    """One evaluation, as far as the choice of the best looks at it.

    Attributes:
        value: Of the metric that decides.
        pseudo: ``(n_groups,)`` its pseudo-values, in the same order of groups for all candidates.
        separation: Decides between equals.
    """

    value: float
    pseudo: Floats
    separation: float


@dataclass(frozen=True)
class Best:
    """The best of several evaluations.

    Attributes:
        metric: By which.
        place: Index of the best.
        equals: Indices of others that are the same to within 0.005.
        undecided: Indices of others that it cannot be told from.
        interval: 95 % for the true value of the metric, of the evaluation that was chosen on these queries.
    """

    metric: str
    place: int
    equals: tuple[int, ...]
    undecided: tuple[int, ...]
    interval: tuple[float, float]


@dataclass(frozen=True)
class Fall:
    """The last of several evaluations is worse than the best before it, beyond chance.

    Attributes:
        metric: By which.
        peak: Index of the best before it.
        highest: Its value.
        value: Of the last.
    """

    metric: str
    peak: int
    highest: float
    value: float


def primary_metric(embeddings: Embeddings) -> str:
    """Name of the metric that decides: nDCG@10 where documents carry grades or a query has several, else MRR."""
    has_several = len(embeddings.relevance) > len(embeddings.queries)
    return "ndcg_at_10" if has_several or len(embeddings.grades) else "mrr"


def candidate(statistics: PerQuery, metric: str) -> Candidate:
    """One evaluation by the metric that decides."""
    whole = point(statistics)
    return Candidate(whole[metric], pseudo_values(statistics)[metric], whole["separation"])


def choose_best(candidates: Sequence[Candidate], metric: str, *, draws: int = 1000, seed: int = 0) -> Best:
    """The best of evaluations of the same queries, by RULE.

    Args:
        candidates: At least one, in any order.
        metric: Name of the one that decides.
        draws: Resamples behind the interval.
        seed: Of the resamples.

    Returns:
        The best, and those that may as well be.
    """
    values = np.array([one.value for one in candidates])
    top = _highest(values)
    pseudo = np.stack([one.pseudo for one in candidates], axis=1)
    gaps = values[top] - values
    errors = np.array([paired_standard_error(metric, pseudo[:, top] - column) for column in pseudo.T])
    reach = t_quantile(0.975, max(len(pseudo) - 1, 1)) * errors
    others = np.arange(len(values)) != top
    same = others & (np.abs(gaps) + reach < SAME)
    place = max([top, *np.flatnonzero(same).tolist()], key=lambda at: (_known(candidates[at].separation), -at))
    contending = ~others | ~(gaps > _CONTENDING * errors)
    return Best(
        metric=metric,
        place=place,
        equals=tuple(at for at in (top, *np.flatnonzero(same).tolist()) if at != place),
        undecided=tuple(np.flatnonzero(others & ~same & (gaps - reach <= 0)).tolist()),
        interval=_interval(pseudo, metric, place, contending, draws, seed),
    )


def _highest(values: Floats) -> int:
    """The first of the highest; NaN is below everything."""
    return int(np.argmax(np.where(np.isnan(values), -np.inf, values)))


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _interval(
    pseudo: Floats, metric: str, place: int, contending: NDArray[np.bool_], draws: int, seed: int
) -> tuple[float, float]:
    """Ends for the true value of the one that was chosen.

    The lower end takes every contender for as good as the best one: it then came out highest because its queries
    happened to suit it, by as much as the luckiest of them in a resample. The upper end is that of its own interval.

    Returns:
        (low, high); (NaN, NaN) where nothing can be said.
    """
    # As for its own interval, an imagined full success and full failure are drawn along with a rank metric.
    imagined = 2 if metric in RANK_NAMES else 0
    resamples = draw_clusters(np.arange(len(pseudo)), draws=draws, seed=seed, imagined=imagined)
    sums = resamples.packed(np.column_stack([pseudo, np.ones(len(pseudo))]))
    if imagined:
        sums[-2], sums[-1] = 1.0, np.append(np.zeros(pseudo.shape[1]), 1.0)
    drawn = resamples.weights @ sums
    drawn = drawn[:, :-1] / drawn[:, -1:]
    if np.isnan(drawn).any():
        return math.nan, math.nan
    luck = (drawn - drawn.mean(axis=0))[:, contending].min(axis=1)
    own = drawn[:, place]
    return float(own.mean() + np.quantile(luck, _BELOW)), float(np.quantile(own, 1 - _ABOVE))


def fallen(candidates: Sequence[Candidate], metric: str, *, n_earlier: int = 0) -> Fall | None:
    """The fall of the last evaluation from the best before it, if there is one beyond chance and beyond 0.01.

    It is asked after every evaluation, and the best one is whichever has come out highest: the fall must exceed the
    deepest of 20 (50, 200) equal evaluations in 95 % of runs, so that of runs of 20 equal checkpoints at most 5 % are
    ever accused (benchmarks/conclusions.py).

    Args:
        candidates: In the order of training; the last 50 are looked at.
        metric: Name of the one that decides.
        n_earlier: Evaluations before these, which were looked at in their time.

    Returns:
        The fall; None where none is shown.
    """
    recent = candidates[-MOST:]
    values = np.array([one.value for one in recent])
    if len(values) < 2 or not np.isfinite(values[-1]):
        return None
    peak = _highest(values[:-1])
    drop = float(values[peak] - values[-1])
    error = paired_standard_error(metric, recent[peak].pseudo - recent[-1].pseudo)
    n_looks = n_earlier + len(candidates)
    deepest = next((depth for most, depth in _DEEPEST_FALL if n_looks <= most), _DEEPEST_FALL[-1][1])
    if not (drop > LEAST_FALL and drop > deepest / math.sqrt(2) * error):
        return None
    return Fall(metric, n_looks - len(recent) + peak, float(values[peak]), float(values[-1]))
