"""Whether a model has lost against a baseline on the same queries: shown, excluded, or not to be told."""

from collections.abc import Mapping
from dataclasses import dataclass

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, LOWER
from embviz_callback.analysis.metrics.contrasts import paired_standard_error
from embviz_callback.analysis.metrics.intervals import PerQuery, group_sums, point, pseudo_values, t_quantile

LOST, KEPT, UNDECIDED = "the loss is shown", "the loss is excluded", "the data cannot tell"
_DOUBT = 0.05


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
    for name, least in allowed.items():
        if name not in known:
            raise ValueError(f"a loss can be allowed of {', '.join(known)}, not of {name!r}")
        if not least >= 0:
            raise ValueError(f"an allowed loss must be at least 0, got {least:g} for {name}")
    if len(baseline.groups) != len(model.groups):
        raise ValueError(f"the baseline has {len(baseline.groups)} queries and the model {len(model.groups)}")
    before, after, whole = pseudo_values(baseline), pseudo_values(model), point(baseline)
    reach = t_quantile(1 - _DOUBT / max(len(allowed), 1), max(len(group_sums(model)) - 1, 1))
    found = []
    for name, least in allowed.items():
        sign = -1.0 if CATALOGUE[name].better == LOWER else 1.0
        value = sign * (whole[name] - known[name])
        width = reach * paired_standard_error(name, before[name] - after[name])
        found.append(Loss(name, least, value, value - width, value + width, _outcome(value, width, least)))
    return tuple(found)


def _outcome(value: float, width: float, allowed: float) -> str:
    if value - width > allowed:
        return LOST
    return KEPT if value + width < allowed else UNDECIDED
