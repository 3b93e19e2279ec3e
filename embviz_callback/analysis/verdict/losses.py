"""Whether a model has lost against a baseline on the same queries: shown, excluded, or not to be told."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, LOWER
from embviz_callback.analysis.metrics.contrasts import FEWEST_GROUPS, one_sided_reach, spreads
from embviz_callback.analysis.metrics.intervals import PerQuery, Sampling, point, pseudo_values
from embviz_callback.analysis.metrics.resampling import PLAIN, Spread
from embviz_callback.analysis.verdict.best import Candidate, spread_between
from embviz_callback.embeddings import Floats

LOST, KEPT, UNDECIDED = "the loss is shown", "the loss is excluded", "the data cannot tell"
DOUBT = 0.05
_HALF_SPENT = 10  # look by which a run has spent half of its doubt


@dataclass(frozen=True)
class Loss:
    """What a metric has lost against the baseline.

    Attributes:
        metric: Its name.
        allowed: Loss that is accepted.
        value: Baseline minus the model (or the other way round, where lower is better).
        low: Lower end of its interval.
        high: Upper end.
        outcome: LOST, KEPT or UNDECIDED.
    """

    metric: str
    allowed: float
    value: float
    low: float
    high: float
    outcome: str


def losses(baseline: PerQuery, model: PerQuery, allowed: Mapping[str, float]) -> tuple[Loss, ...]:
    """The losses of some metrics, each with one-sided bounds of 95 % over groups of queries for all of them at once.

    A loss is shown where it lies beyond the allowed one with its whole interval, excluded where it lies below with
    its whole interval: either is false in at most 5 % of the cases (benchmarks/conclusions.py).

    Args:
        baseline: What each query contributed to the baseline.
        model: The same queries in the same order.
        allowed: Metric to the loss that is accepted, at least 0.

    Returns:
        One for each metric.

    Raises:
        ValueError: If there is no such metric, a loss is below 0 or the queries differ.
    """
    known = point(model)
    check_allowed(allowed, known)
    one, two = baseline.sampling.n_queries, model.sampling.n_queries
    if one != two:
        raise ValueError(f"the baseline has {one} queries and the model {two}")
    before, after, whole = pseudo_values(baseline), pseudo_values(model), point(baseline)
    doubt, wider = DOUBT / max(len(allowed), 1), spreads(model, [baseline])
    return tuple(
        bounded(name, least, whole[name] - known[name], before[name] - after[name], doubt, wider[name][0])
        for name, least in allowed.items()
    )


def check_allowed(allowed: Mapping[str, float], known: Collection[str]) -> None:
    """Refuses losses that cannot be allowed.

    Args:
        allowed: Metric to the loss that is accepted.
        known: Names of metrics.

    Raises:
        ValueError: If there is no such metric, or a loss is below 0.
    """
    for name, least in allowed.items():
        if name not in known:
            raise ValueError(f"a loss can be allowed of {', '.join(known)}, not of {name!r}")
        if not least >= 0:
            raise ValueError(f"an allowed loss must be at least 0, got {least:g} for {name}")


def loss_at_look(
    baseline: Candidate, model: Candidate, metric: str, *, allowed: float = 0.0, look: int = 1, among: int = 1
) -> Loss:
    """The loss of one evaluation of a run against a baseline that is the same throughout, such as the untrained model.

    A training is looked at after every epoch, and of many equal evaluations one is worse by chance: the error is
    counted over all looks. Look k may spend 10 / ((k + 9) (k + 10)) of the 5 % (alpha spending: Lan and DeMets 1983;
    half of it by the tenth look), so that a run of whatever length has a loss beyond the allowed one said shown in
    at most 5 % of cases where there is none, however its evaluations hang together (benchmarks/conclusions.py).

    Args:
        baseline: By the metric, see `candidate`.
        model: The same queries, in the same order of groups.
        metric: Name of the metric that both were made by.
        allowed: Loss that is accepted, at least 0.
        look: Which evaluation of the run this is, from 1; a resumed run counts on.
        among: Sets that are looked at together and share the 5 %.

    Returns:
        The loss; its outcome is LOST where it is shown, UNDECIDED also below six groups.

    Raises:
        ValueError: If the groups differ in number, `allowed` is below 0 or `look` below 1.
    """
    if not allowed >= 0 or look < 1:
        raise ValueError(f"allowed must be at least 0 and look at least 1, got {allowed:g} and {look}")
    if len(baseline.pseudo) != len(model.pseudo):
        raise ValueError(
            f"both must be of the same groups of queries, got {len(baseline.pseudo)} and {len(model.pseudo)}"
        )
    doubt = DOUBT / among * _HALF_SPENT / ((look + _HALF_SPENT - 1) * (look + _HALF_SPENT))
    changes = baseline.pseudo - model.pseudo
    spread = spread_between([model, baseline], changes)
    return bounded(metric, allowed, baseline.value - model.value, changes, doubt, spread)


def lost(metric: str, allowed: float, drops: Floats, sampling: Sampling, doubt: float) -> Loss:
    """The loss of a mean over queries.

    Args:
        metric: Its name.
        allowed: Loss that is accepted.
        drops: ``(n_queries,)`` what each query has lost.
        sampling: Which queries stand and fall together.
        doubt: As for `bounded`.

    Returns:
        The loss.
    """
    pseudo, spread = sampling.mean_spread(drops)
    return bounded(metric, allowed, float(drops.mean()), pseudo, doubt, spread)


def bounded(metric: str, allowed: float, drop: float, changes: Floats, doubt: float, spread: Spread = PLAIN) -> Loss:
    """A loss with its one-sided bounds, and what they show.

    Args:
        metric: Its name.
        allowed: Loss that is accepted.
        drop: Of the metric.
        changes: ``(n_groups,)`` paired drops whose mean it is; below six groups nothing is shown.
        doubt: Chance of either bound being passed by the truth.
        spread: How much wider it spreads than its groups say.

    Returns:
        The loss.
    """
    sign = -1.0 if CATALOGUE[metric].better == LOWER else 1.0
    is_enough = len(changes) >= FEWEST_GROUPS
    below, above = one_sided_reach(metric, sign * changes, doubt, spread) if is_enough else (-math.inf, math.inf)
    low, high = sign * drop + below, sign * drop + above
    outcome = LOST if low > allowed else KEPT if high < allowed else UNDECIDED
    return Loss(metric, allowed, sign * drop, low, high, outcome)
