"""The best of several evaluations of one subset, what its metric is worth, and whether the last has fallen from it."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.catalogue import CHOOSABLE, RANK_NAMES
from embviz_callback.analysis.metrics.contrasts import paired_interval, paired_standard_error
from embviz_callback.analysis.metrics.intervals import PerQuery, point, pseudo_values, t_quantile
from embviz_callback.analysis.metrics.resampling import PLAIN, Sharing, Spread, draw_clusters, or_least, plain
from embviz_callback.embeddings import Embeddings, Floats

SAME = 0.005  # of the primary metric: less decides nothing
LEAST_FALL = 0.01
MOST = 50  # evaluations that are looked at: the last and those before it
RULE = (
    "highest {metric}; of those whose paired 95 % interval to it lies wholly within ±0.005 the one with the highest"
    " separation, which unlike the margin does not depend on the scale of the scores; of equal ones the first"
)
_HAIR = 1e-6  # by which a merit is raised: a float32 between 0 and 1 still tells it
_CONTENDING = 3.0  # standard errors below the best within which an evaluation may as well be the better one
# The tails of a best one's interval. It is too high more often than too low, so that its lower tail has the larger
# share of the 5 %: measured in benchmarks/conclusions.py.
_BELOW, _ABOVE = 0.035, 0.015
# Looks at a run, and what the deepest fall among so many equal evaluations, in standard deviations of one, must exceed:
# up to the 20th look 3.5 % of runs have such a fall, 1 % more up to the 50th and 0.5 % up to the 200th, 5 % in all, by
# 100,000 runs of normal deviates (about the studentized range of Tukey 1949, one way round).
_DEEPEST_FALL = ((20, 4.92), (50, 5.89), (200, 6.97))


@dataclass(frozen=True, eq=False)
class Candidate:
    """One evaluation, as far as the choice of the best looks at it.

    Attributes:
        value: Of the metric that decides.
        pseudo: ``(n_groups,)`` its pseudo-values, in the same order of groups for all candidates.
        separation: Decides between equals.
        label: What it is called: "epoch 3".
        metric: Name of the one that decides; "" where the caller knows.
        training_loss: Mean of the training's loss since the evaluation before; NaN where nobody knows it.
        merit: What `merit` gave it among those before it; NaN where it was not asked.
        sharing: Which queries share documents, where chains of them are cut; of candidates of one run one at least
            knows it, it is in no file.
    """

    value: float
    pseudo: Floats
    separation: float
    label: str = ""
    metric: str = ""
    training_loss: float = math.nan
    merit: float = math.nan
    sharing: Sharing | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: 3 kB for 500 queries, so that a resumed training knows which of its evaluations was the best."""
        numbers = {name: plain(getattr(self, name)) for name in _NUMBERS}
        packed = base64.b64encode(self.pseudo.astype("<f4").tobytes()).decode()
        return {"label": self.label, "metric": self.metric, **numbers, "pseudo": packed}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The candidate that `to_json` gave."""
        numbers: dict[str, Any] = {name: math.nan if stored[name] is None else float(stored[name]) for name in _NUMBERS}
        values = np.frombuffer(base64.b64decode(stored["pseudo"]), dtype="<f4").astype(np.float64)
        return cls(pseudo=values, label=str(stored["label"]), metric=str(stored["metric"]), **numbers)


_NUMBERS = ("value", "separation", "training_loss", "merit")


@dataclass(frozen=True)
class Best:
    """The best of several evaluations.

    Attributes:
        metric: By which.
        place: Index of the best.
        value: Of the metric.
        among: How many it was chosen from.
        equals: Indices of others that are the same to within 0.005.
        undecided: Indices of others that it cannot be told from.
        interval: 95 % for the true value of the metric, of the evaluation that was chosen on these queries.
    """

    metric: str
    place: int
    value: float
    among: int
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


def chosen_metric(embeddings: Embeddings, chosen: str = "") -> str:
    """Name of the metric that decides: the chosen, else nDCG@10 with grades or several documents a query, else MRR."""
    has_several = len(embeddings.relevance) > len(embeddings.queries)
    return chosen or ("ndcg_at_10" if has_several or len(embeddings.grades) else "mrr")


def check_metric(chosen: str) -> None:
    """Refuses a metric by which nothing can be chosen.

    Raises:
        ValueError: If it is none of those that are higher for the better and known of each query; "" is all right.
    """
    if chosen and chosen not in CHOOSABLE:
        raise ValueError(f"metric must be one of {', '.join(CHOOSABLE)}, got {chosen!r}")


def candidate(statistics: PerQuery, metric: str, *, label: str = "", training_loss: float = math.nan) -> Candidate:
    """One evaluation by the metric that decides.

    Returns:
        The candidate. Where a chain of shared documents was cut, it has a pseudo-value for each query, and knows which
        share one.
    """
    whole, sharing = point(statistics), statistics.sampling.sharing
    statistics = statistics if sharing is None else statistics.one_by_one
    # As a file keeps it: what has not changed must not seem to have, after a training was resumed.
    pseudo = pseudo_values(statistics)[metric].astype(np.float32).astype(np.float64)
    return Candidate(whole[metric], pseudo, whole["separation"], label, metric, training_loss, sharing=sharing)


def spread_between(candidates: Sequence[Candidate], changes: Floats) -> Spread:
    """How much wider a difference spreads than its pseudo-values, by the first of some candidates that knows."""
    sharing = next((one.sharing for one in candidates if one.sharing is not None), None)
    return PLAIN if sharing is None else sharing.spread(changes, changes)


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
    held = held_against_the_highest(candidates, metric)
    wider = spread_between(candidates, held.pseudo[:, held.place]).factor
    return Best(
        metric=metric,
        place=held.place,
        value=candidates[held.place].value,
        among=len(candidates),
        equals=tuple(at for at in (held.top, *np.flatnonzero(held.same).tolist()) if at != held.place),
        undecided=tuple(np.flatnonzero(held.undecided).tolist()),
        interval=_interval(held, metric, draws, seed, wider),
    )


def best_of(candidates: Sequence[Candidate], metric: str) -> int:
    """Index of what `choose_best` calls the best, without its interval."""
    return held_against_the_highest(candidates, metric).place


def merit(candidates: Sequence[Candidate], metric: str) -> float:
    """One number for whoever can only keep the highest, as ModelCheckpoint and its like do, so that they keep by RULE.

    Args:
        candidates: Evaluations in the order of training, each but the last with its own merit.
        metric: Name of the one that decides.

    Returns:
        Of the last: its value, raised above all merits before it where it is the best by RULE, and held down to the
        highest of them where it is not.
    """
    *earlier, last = candidates[-MOST:]
    known = [one.merit for one in earlier if not math.isnan(one.merit)]
    if not known or math.isnan(last.value):
        return last.value
    if best_of(candidates[-MOST:], metric) == len(earlier):
        return max(last.value, max(known) + _HAIR)
    return min(last.value, max(known))


@dataclass(frozen=True, eq=False)
class Held:
    """All candidates against the highest: which is the best, and how near the others come.

    Attributes:
        top: Index of the highest.
        place: Index of the best by RULE.
        pseudo: ``(n_groups, n_candidates)`` pseudo-values.
        same: ``(n_candidates,)``, which others are the same.
        undecided: Which others the highest cannot be told from.
        contending: Which may as well be the better one, the highest among them.
    """

    top: int
    place: int
    pseudo: Floats
    same: NDArray[np.bool_]
    undecided: NDArray[np.bool_]
    contending: NDArray[np.bool_]


def held_against_the_highest(candidates: Sequence[Candidate], metric: str) -> Held:
    """Holds evaluations of the same queries against the highest of them."""
    values = np.array([one.value for one in candidates])
    pseudo = np.stack([one.pseudo for one in candidates], axis=1)
    top = _highest(values)
    gaps, others = values[top] - values, np.arange(len(values)) != top
    behind = [pseudo[:, top] - column for column in pseudo.T]
    wider = [spread_between(candidates, column) for column in behind]
    low, high = np.array([paired_interval(metric, *one) for one in zip(gaps, behind, wider, strict=True)]).T
    errors = [one.factor * paired_standard_error(metric, column) for column, one in zip(behind, wider, strict=True)]
    same = others & (low > -SAME) & (high < SAME)
    return Held(
        top=top,
        place=max([top, *np.flatnonzero(same).tolist()], key=lambda at: (or_least(candidates[at].separation), -at)),
        pseudo=pseudo,
        same=same,
        undecided=others & ~same & (low <= 0),
        contending=~(gaps > _CONTENDING * np.array(errors)),  # the highest, behind which no gap is, among them
    )


def _highest(values: Floats) -> int:
    """The first of the highest; NaN is below everything."""
    return int(np.argmax(np.where(np.isnan(values), -np.inf, values)))


def _interval(held: Held, metric: str, draws: int, seed: int, wider: float) -> tuple[float, float]:
    """Ends for the true value of the one that was chosen.

    The lower end takes every contender for as good as the best one: it then came out highest because its queries
    happened to suit it, by as much as the luckiest of them in a resample. The upper end is that of its own interval.

    Returns:
        (low, high); (NaN, NaN) where nothing can be said.
    """
    pseudo = held.pseudo
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
    luck = (drawn - drawn.mean(axis=0))[:, held.contending].min(axis=1)
    own = drawn[:, held.place]
    centre = float(own.mean())
    below, above = float(np.quantile(luck, _BELOW)), float(np.quantile(own, 1 - _ABOVE)) - centre
    return centre + wider * below, centre + wider * above


def fallen(candidates: Sequence[Candidate], metric: str) -> Fall | None:
    """The fall of the last evaluation from the best before it, if there is one beyond chance and beyond 0.01.

    It is asked after every evaluation, and the best one is whichever has come out highest: the fall must exceed the
    deepest among as many equal evaluations, so that of runs of up to 200 equal checkpoints at most 5 % are ever accused
    (benchmarks/conclusions.py).

    Args:
        candidates: In the order of training.
        metric: Name of the one that decides.

    Returns:
        The fall; None where none is shown.
    """
    recent = candidates[-MOST:]
    values = np.array([one.value for one in recent])
    if len(values) < 2 or not np.isfinite(values[-1]):
        return None
    peak = _highest(values[:-1])
    drop = float(values[peak] - values[-1])
    changes = recent[peak].pseudo - recent[-1].pseudo
    spread = spread_between(recent, changes)
    error = spread.factor * paired_standard_error(metric, changes)
    if spread.freedom is not None:  # a variance that so few are known from is hardly known
        error *= t_quantile(0.975, spread.freedom_of(len(changes))) / NormalDist().inv_cdf(0.975)
    n_looks = len(candidates)
    deepest = next((depth for most, depth in _DEEPEST_FALL if n_looks <= most), _DEEPEST_FALL[-1][1])
    if not (drop > LEAST_FALL and drop > deepest / math.sqrt(2) * error):
        return None
    return Fall(metric, n_looks - len(recent) + peak, float(values[peak]), float(values[-1]))
