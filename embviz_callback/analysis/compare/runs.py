"""Several trainings side by side: each by its best evaluation, without what the choice of it has added."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.catalogue import RANK_NAMES
from embviz_callback.analysis.metrics.contrasts import paired_standard_error
from embviz_callback.analysis.metrics.intervals import t_interval, t_quantile
from embviz_callback.analysis.metrics.resampling import Estimate, draw_clusters, or_least
from embviz_callback.analysis.verdict.best import SAME, Candidate, held_against_the_highest, spread_between
from embviz_callback.embeddings import Floats

MOST_RUNS = 20
LEADS, SAME_AS, UNDECIDED, BEHIND = "leads", "the same", "cannot be told from it", "behind"
_FEWEST_FREEDOM = 3.0
# Of resamples: a bootstrap of some hundred groups spreads a little too little, 0.95 accuses 7 % of equal leaderboards.
_SURE = 0.965


@dataclass(frozen=True, eq=False)
class Training:
    """The evaluations of one run.

    Attributes:
        label: Of the run.
        candidates: At least one, in the order of training; the groups of queries are those of all other runs.
        hparams: Of the training.
    """

    label: str
    candidates: tuple[Candidate, ...]
    hparams: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A line of the leaderboard: a run, or the runs of one setting.

    Attributes:
        label: Of the run, or the setting.
        runs: Indices of its runs.
        best: For each of them the index of its best evaluation.
        value: The metric of these, averaged.
        corrected: The same without the luck of having been chosen, with its 95 % interval.
        behind: What the leader is ahead by; its interval holds for all pairs of entries at once. None for the leader.
        outcome: LEADS, SAME_AS (the interval lies within ±0.005), UNDECIDED or BEHIND.
    """

    label: str
    runs: tuple[int, ...]
    best: tuple[int, ...]
    value: float
    corrected: Estimate
    behind: Estimate | None
    outcome: str


@dataclass(frozen=True)
class Leaderboard:
    """Trainings in the order of what they have reached.

    Attributes:
        metric: By which.
        entries: The highest first.
        differing: Hyperparameters that differ between the runs, each with its value per run; None where it has none.
        n_groups: Independent groups of queries behind every interval.
    """

    metric: str
    entries: tuple[Entry, ...]
    differing: Mapping[str, tuple[Any, ...]]
    n_groups: int


@dataclass(frozen=True, eq=False)
class _Reached:
    """What runs have reached together, by the best evaluation of each at its place.

    `drawn` are deviations of the corrected value in resamples of the queries; `seeds` is the variance that other
    seeds of the same setting would add, known from as many as there are. `known` is who knows which queries share
    documents.
    """

    places: tuple[int, ...]
    value: float
    corrected: float
    drawn: Floats
    pseudo: Floats
    seeds: float = 0.0
    n_runs: int = 1
    known: tuple[Candidate, ...] = ()


def leaderboard(
    trainings: Sequence[Training],
    metric: str,
    *,
    settings: Sequence[tuple[str, tuple[int, ...]]] = (),
    draws: int = 1000,
    seed: int = 0,
) -> Leaderboard:
    """Holds trainings against each other on the same queries.

    The best of twenty equal evaluations comes out higher than the best of two: of each run's best is taken what the
    luckiest of those that cannot be told from it gains in resamples of the queries. Differences are paired, and their
    intervals hold for all pairs at once (sup-t), so that they also hold for the one that happens to lead: of runs that
    are all equal, about 5 % of leaderboards at most call any of them behind (benchmarks/trainings.py).

    Args:
        trainings: Two or more.
        metric: Name of the one that decides.
        settings: Label and indices of the runs that are averaged; empty for each run by itself. The spread between
            seeds counts in the intervals of an average.
        draws: Resamples.
        seed: Of the resamples.

    Returns:
        The leaderboard.

    Raises:
        ValueError: If there are fewer than two to be held against each other.
    """
    kinds = list(settings) or [(one.label, (place,)) for place, one in enumerate(trainings)]
    if len(kinds) < 2:
        raise ValueError(f"a leaderboard needs two runs or settings, got {len(kinds)}")
    n_groups = len(trainings[0].candidates[0].pseudo)
    weights = _weights(n_groups, draws, seed)
    alone = [_reached(one.candidates, metric, weights) for one in trainings]
    reached = [_averaged([alone[place] for place in places]) for _, places in kinds]
    order = sorted(range(len(kinds)), key=lambda at: -or_least(reached[at].corrected))
    behind = _behind([reached[at] for at in order], metric)
    entries = tuple(
        Entry(
            label=kinds[at][0],
            runs=kinds[at][1],
            best=reached[at].places,
            value=reached[at].value,
            corrected=_own(reached[at], metric, n_groups),
            behind=gap,
            outcome=_outcome(gap),
        )
        for at, gap in zip(order, behind, strict=True)
    )
    return Leaderboard(metric, entries, differing([one.hparams for one in trainings]), n_groups)


def differing(hparams: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Hyperparameters that are not the same everywhere.

    Args:
        hparams: Of each run.

    Returns:
        Name to the value of every run.

    Example:
        >>> differing([{"lr": 0.1, "dim": 8}, {"lr": 0.2, "dim": 8}])
        {'lr': (0.1, 0.2)}
    """
    names = dict.fromkeys(name for one in hparams for name in one)
    values = {name: tuple(one.get(name) for one in hparams) for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def _weights(n_groups: int, draws: int, seed: int) -> Floats:
    """How often each resample takes each group, as shares; ``(draws, n_groups)``."""
    drawn = draw_clusters(np.arange(n_groups), draws=draws, seed=seed)
    weights = drawn.weights[:, drawn.pack]
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _reached(candidates: tuple[Candidate, ...], metric: str, weights: Floats) -> _Reached:
    held = held_against_the_highest(candidates, metric)
    best, highest = candidates[held.place], candidates[held.top]
    drawn = weights @ held.pseudo[:, held.contending]
    wider = spread_between(candidates, highest.pseudo).factor
    lucky = (drawn - drawn.mean(axis=0)).max(axis=1)
    luck = float(lucky.mean())
    corrected, drawn = float(highest.value) - wider * luck, wider * (lucky - luck)
    return _Reached((held.place,), best.value, corrected, drawn, best.pseudo, known=candidates[:1])


def _averaged(members: Sequence[_Reached]) -> _Reached:
    """Runs of one setting."""
    corrected = np.array([one.corrected for one in members])
    n = len(members)
    return _Reached(
        places=tuple(place for one in members for place in one.places),
        value=float(np.mean([one.value for one in members])),
        corrected=float(corrected.mean()),
        drawn=np.mean([one.drawn for one in members], axis=0),
        pseudo=np.mean([one.pseudo for one in members], axis=0),
        seeds=float(corrected.var(ddof=1)) / n if n > 1 else 0.0,
        n_runs=n,
        known=members[0].known,
    )


def _behind(reached: Sequence[_Reached], metric: str) -> list[Estimate | None]:
    """What the first is ahead of each by; its reach is that of all pairs at once."""
    pairs = list(combinations(range(len(reached)), 2))
    gaps = np.stack([reached[one].drawn - reached[other].drawn for one, other in pairs], axis=1)
    apart = [reached[one].pseudo - reached[other].pseudo for one, other in pairs]
    wider = [spread_between(reached[0].known, changes).factor for changes in apart]
    floors = [factor * paired_standard_error(metric, changes) for factor, changes in zip(wider, apart, strict=True)]
    spread = np.maximum(gaps.std(axis=0), np.nan_to_num(floors, nan=np.inf))
    # Where two are the same on every resample there is nothing to be lucky with.
    off = np.abs(gaps) / np.where(spread > 0, spread, np.inf)
    critical = float(np.quantile(off.max(axis=1), _SURE)) if np.isfinite(off).all() else math.nan
    normal = NormalDist().inv_cdf(0.975)
    found: list[Estimate | None] = [None]
    for place in range(1, len(reached)):
        both = (reached[0], reached[place])
        queries = float(spread[pairs.index((0, place))]) ** 2
        seeds = sum(one.seeds for one in both)
        freedom = _freedom(queries, [(one.seeds, one.n_runs) for one in both], len(both[0].pseudo))
        reach = max(critical, normal) * t_quantile(0.975, freedom) / normal * math.sqrt(queries + seeds)
        value = both[0].corrected - both[1].corrected
        found.append(Estimate(value, value - reach, value + reach))
    return found


def _freedom(queries: float, seeds: Sequence[tuple[float, int]], n_groups: int) -> int:
    """Of Welch and Satterthwaite: a spread that is known from three seeds is hardly known."""
    parts = [(queries, max(n_groups - 1, 1)), *((part, n - 1) for part, n in seeds if n > 1)]
    total, doubt = sum(part for part, _ in parts), sum(part**2 / n for part, n in parts)
    return int(max(total**2 / doubt, _FEWEST_FREEDOM)) if doubt > 0 else n_groups


def _own(one: _Reached, metric: str, n_groups: int) -> Estimate:
    queries = float(one.drawn.var())
    freedom = _freedom(queries, [(one.seeds, one.n_runs)], n_groups)
    reach = t_quantile(0.975, freedom) * math.sqrt(queries + one.seeds)
    low, high = one.corrected - reach, one.corrected + reach
    if metric in RANK_NAMES:
        # Forty hits of forty leave a resample nothing to vary in, and prove no perfect run.
        ends = t_interval(one.corrected, one.pseudo, is_share=True)
        low, high = max(min(low, ends[0]), 0.0), min(max(high, ends[1]), 1.0)
    return Estimate(one.corrected, low, high)


def _outcome(behind: Estimate | None) -> str:
    if behind is None:
        return LEADS
    if behind.low > 0:
        return BEHIND
    return SAME_AS if max(-behind.low, behind.high) < SAME else UNDECIDED
