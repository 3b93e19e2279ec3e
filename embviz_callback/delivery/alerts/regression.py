"""What a training does to sets that it is not trained for: what each has gained or lost, and an alert on a loss."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, CHOOSABLE
from embviz_callback.analysis.verdict.best import Candidate, candidate
from embviz_callback.analysis.verdict.losses import KEPT, LOST, Loss, loss_at_look
from embviz_callback.delivery.alerts.rule import AlertEvent, Reading, check_listeners
from embviz_callback.delivery.results.per_query import ByQuery, read_by_query
from embviz_callback.drawing.wording import change
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot

JOINT = "rank1"  # what the sets are compared by


@dataclass(frozen=True)
class RegressionAlert:
    """Watches that a set does not lose against the untrained model, or against a baseline.

    It fires where the loss is beyond the allowed one and beyond chance; the chance is counted over all evaluations of
    the run, so that of trainings without such a loss at most 5 % are ever accused (`loss_at_look`).

    Attributes:
        of: Name of the set; empty for the first, or the only one.
        metric: A share or score with a value per query, such as rank1, mrr or ndcg_at_10.
        loss: That is accepted, at least 0.
        baseline: ``metrics.json`` of an evaluation of the same set; None for the untrained model.
        stop_training: Ends training at the first evaluation at which it fires.
        on_alert: Called with each `AlertEvent` on the main process; what it raises is logged, not raised.
        notify: Name of an environment variable that holds addresses of https://appriseit.com, as for `MarginAlert`.

    Raises:
        ValueError: If a value is out of its range.
    """

    of: str = ""
    metric: str = "rank1"
    loss: float = 0.02
    baseline: str | None = None
    stop_training: bool = False
    on_alert: Callable[[AlertEvent], None] | None = None
    notify: str | None = None

    def __post_init__(self) -> None:
        if self.metric not in CHOOSABLE:
            raise ValueError(f"metric must be one of {', '.join(CHOOSABLE)}, got {self.metric!r}")
        if not 0 <= self.loss < math.inf:
            raise ValueError(f"loss must be at least 0, got {self.loss}")
        if self.baseline is not None:
            read_by_query(Path(self.baseline).expanduser())  # a wrong path must not be found after an epoch
        check_listeners(self.on_alert, self.notify)


@dataclass(frozen=True, eq=False)
class Origin:
    """What the evaluations of a set are held against by one metric.

    Attributes:
        value: Of the metric.
        pseudo: ``(n_groups,)`` its pseudo-values.
        looks: Evaluations that were held against it.
        firing: A `RegressionAlert` fired at the last.
    """

    value: float
    pseudo: tuple[float, ...]
    looks: int = 0
    firing: bool = False

    @classmethod
    def of(cls, one: Candidate) -> Self:
        """That of an evaluation."""
        return cls(one.value, tuple(one.pseudo.tolist()))

    def to_json(self) -> dict[str, Any]:
        """Plain types, for a checkpoint."""
        return {"value": self.value, "pseudo": list(self.pseudo), "looks": self.looks, "firing": self.firing}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The origin that `to_json` gave."""
        pseudo = tuple(float(value) for value in stored["pseudo"])
        return cls(float(stored["value"]), pseudo, int(stored["looks"]), bool(stored["firing"]))

    def look(self, model: Candidate, metric: str, allowed: float, *, among: int = 1) -> tuple[Self, Loss]:
        """One evaluation more, and what it has lost; `among` as for `loss_at_look`."""
        looks = self.looks + 1
        before = Candidate(self.value, np.array(self.pseudo), math.nan)
        return replace(self, looks=looks), loss_at_look(before, model, metric, allowed=allowed, look=looks, among=among)


Origins = dict[str, Origin]


def judge_regression(alert: RegressionAlert, origins: Origins, snapshot: Snapshot, name: str) -> AlertEvent | None:
    """Shows an evaluation of the alert's set to it.

    Args:
        alert: The rule.
        origins: Key to what is held against; takes what is learned.
        snapshot: The evaluation.
        name: Of the set, for the message.

    Returns:
        What there is to say, if anything.
    """
    key, here = _key(alert, name), _candidate(snapshot, alert.metric)
    if here is None:
        return None
    if key not in origins:
        origin = here if alert.baseline is None and snapshot.epoch is None else _read(alert, snapshot)
        if origin is None:
            return None
        origins[key] = Origin.of(origin)
    if snapshot.epoch is None:
        return None
    before = origins[key]
    after, loss = before.look(here, alert.metric, alert.loss)
    origins[key] = replace(after, firing=loss.outcome == LOST)
    if loss.outcome == LOST:
        return _event(alert, snapshot, loss, name, after.looks, kind="firing", is_first=not before.firing)
    return _event(alert, snapshot, loss, name, after.looks, kind="recovered", is_first=True) if before.firing else None


def is_firing(alert: RegressionAlert, origins: Origins, name: str) -> bool:
    """Whether an alert fired at the last evaluation of a set."""
    origin = origins.get(_key(alert, name))
    return origin is not None and origin.firing


def _key(alert: RegressionAlert, name: str) -> str:
    return f"{name}/{alert.metric}/{alert.loss:g}/{alert.baseline or ''}"


def _read(alert: RegressionAlert, snapshot: Snapshot) -> Candidate | None:
    """The baseline's file, whose queries may stand in another order."""
    own = ByQuery.of(snapshot)
    if alert.baseline is None or own is None:
        return None
    found = read_by_query(Path(alert.baseline).expanduser())
    return candidate(found.in_order_of(own), alert.metric) if found.fingerprint == own.fingerprint else None


def _candidate(snapshot: Snapshot, metric: str) -> Candidate | None:
    statistics = snapshot.metrics.per_query
    return None if statistics is None else candidate(statistics, metric)


def _event(
    alert: RegressionAlert, snapshot: Snapshot, loss: Loss, name: str, looks: int, *, kind: str, is_first: bool
) -> AlertEvent:
    of, against = name or "the set", alert.baseline or "the untrained model"
    moved = f"{CATALOGUE[alert.metric].title} {change(-loss.value, alert.metric)}"
    allowed = f"{change(-alert.loss, alert.metric)} allowed"
    if kind == "firing":
        said = f"regression of {of} at epoch {snapshot.epoch}: {moved} against {against}, {allowed}, beyond chance"
        said += f" over {counted(looks, 'evaluation')}"
    else:
        said = f"regression of {of} is no longer shown at epoch {snapshot.epoch}: {moved} against {against}, {allowed}"
    cause = "regression" if kind == "firing" else ""
    reading, of = Reading.of(snapshot), f"regression of {of}"
    return reading.event(kind, cause, said, threshold=alert.loss, is_first=is_first, of=of)


@dataclass(frozen=True)
class Moved:
    """What one of several sets has gained or lost since the training began.

    Attributes:
        name: Of the set.
        value: After minus before.
        outcome: LOST or GAINED beyond chance, else UNTOLD.
    """

    name: str
    value: float
    outcome: str


GAINED, UNTOLD = "gained", "may be chance"


def moved(origins: Origins, snapshots: Mapping[str, Snapshot]) -> tuple[Moved, ...]:
    """What every set has gained or lost in rank-1 against the untrained model.

    The error is counted over all sets and looks.

    Args:
        origins: As for `judge_regression`.
        snapshots: Name of the set to its evaluation, all of one model.

    Returns:
        One for each set; none at the untrained model itself, or where it is not known.
    """
    found = []
    for name, snapshot in snapshots.items():
        key, here = f"{name}/joint", _candidate(snapshot, JOINT)
        if here is None:
            continue
        if snapshot.epoch is None:
            origins[key] = Origin.of(here)
        elif key in origins:
            origins[key], loss = origins[key].look(here, JOINT, 0.0, among=len(snapshots))
            # A loss that is excluded with none allowed is a gain.
            outcome = {LOST: LOST, KEPT: GAINED}.get(loss.outcome, UNTOLD)
            found.append(Moved(name, -loss.value, outcome))
    return tuple(found)


def outcome_of(value: float, *, is_sure: bool) -> str:
    """GAINED or LOST where a change is beyond chance, else UNTOLD."""
    return UNTOLD if not is_sure else GAINED if value > 0 else LOST


def joint_sentence(changes: Sequence[Moved], *, against: str = "the untrained model") -> str:
    """What a training, or another checkpoint, does to all sets together.

    Args:
        changes: One for each set.
        against: What they are held against.

    Returns:
        The change of each in points, and the verdict: forgetting where one has gained and another lost beyond chance.

    Example:
        >>> joint_sentence([Moved("rental", 0.061, GAINED), Moved("general", -0.032, LOST)])
        'rental +6.1, general -3.2 points of rank-1 against the untrained model, beyond chance: forgetting'
        >>> joint_sentence([Moved("rental", 0.061, GAINED), Moved("general", -0.004, UNTOLD)])
        'rental +6.1, general -0.4 (may be chance) points of rank-1 against the untrained model: a gain, no loss shown'
    """
    said = ", ".join(
        f"{one.name} {change(one.value, JOINT).removesuffix(' points')}"
        + (f" ({UNTOLD})" if one.outcome == UNTOLD else "")
        for one in changes
    )
    outcomes = {one.outcome for one in changes}
    sure = "" if UNTOLD in outcomes else ", beyond chance"
    if LOST in outcomes:
        verdict = "forgetting" if GAINED in outcomes else "a loss without a gain"
    else:
        verdict = "a gain, no loss shown" if GAINED in outcomes else "no change shown"
    return f"{said} points of {CATALOGUE[JOINT].title} against {against}{sure}: {verdict}"
