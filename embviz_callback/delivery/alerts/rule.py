"""A threshold with a memory: when the margin is too small, and when it has recovered."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.drawing.wording import measured
from embviz_callback.grammar import counted

if TYPE_CHECKING:
    from embviz_callback.snapshot import Snapshot

_LONGEST_HEADLINE = 63
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True)
class AlertEvent:
    """What the alert found at one evaluation.

    Attributes:
        kind: "firing", "recovered", or "inconclusive" (only with ``confident=True``).
        cause: "low margin", "scale" (a low margin on a squeezed scale, which costs no rank), "collapse", "non-finite
            embeddings", "cannot judge", "regression"; empty when recovered.
        is_first: It did not fire at the evaluation before.
        epoch: Training epoch from 0.
        step: The step under which the evaluation is logged.
        margin: NaN when it cannot be computed.
        threshold: What `margin` was held against.
        separation: In sigma.
        rank1: Share of queries, 0 to 1.
        message: One sentence for a log.
        of: What it is about.
    """

    kind: str
    cause: str
    is_first: bool
    epoch: int
    step: int
    margin: float
    threshold: float
    separation: float
    rank1: float
    message: str
    of: str = "margin"

    @property
    def is_edge(self) -> bool:
        """Whether it is worth waking somebody: the alert begins to fire, or recovers."""
        return self.kind == "recovered" or (self.kind == "firing" and self.is_first)

    @property
    def stops(self) -> bool:
        """Whether it ends a training that asked for that: not where only the scale of the scores is squeezed."""
        return self.kind == "firing" and self.cause != "scale"

    @property
    def headline(self) -> str:
        """A title for a message, under 64 characters."""
        said = f"alert ({self.cause})" if self.kind == "firing" else self.kind
        return f"embviz: {self.of} {said}"[:_LONGEST_HEADLINE]


@dataclass(frozen=True)
class MarginAlert:
    """Watches the margin between positive and negative cosines at every evaluation.

    A NaN margin and embeddings with NaN or infinity fire at once; a margin below the threshold and
    a collapse fire after warm-up and patience.

    Attributes:
        threshold: Smallest margin that is all right, a difference of cosines, -2 to 2.
        patience: Bad evaluations in a row that are borne before it fires, at least 0.
        warmup_epochs: Epochs at the start in which a small margin is expected, at least 0.
        stop_training: Ends training at the first evaluation at which it fires, unless ranking is intact and only the
            scale of the scores is squeezed.
        recovery_threshold: Margin at which a firing alert recovers, at least `threshold`; None is `threshold`.
            A gap between both keeps a margin that sways around the threshold from alarming each time.
        confident: Fires only when the whole 95 % interval of the margin lies below the threshold,
            recovers only when the whole interval lies above, and says "inconclusive" in between.
        on_alert: Called with each `AlertEvent` on the main process; what it raises is logged, not raised.
        notify: Name of an environment variable that holds addresses of https://appriseit.com, separated by
            spaces. They are told when the alert begins to fire and when it recovers, by a process of its own.
            Needs ``pip install "embviz-callback[notify]"``.

    Raises:
        ValueError: If a value is out of its range.
        ModuleNotFoundError: If `notify` is given and Apprise is not installed.
    """

    threshold: float = Metrics.margin.threshold
    patience: int = 0
    warmup_epochs: int = 0
    stop_training: bool = False
    recovery_threshold: float | None = None
    confident: bool = False
    on_alert: Callable[[AlertEvent], None] | None = None
    notify: str | None = None

    def __post_init__(self) -> None:
        if not -2 <= self.threshold <= 2:
            raise ValueError(f"threshold must be between -2 and 2, got {self.threshold}")
        if self.patience < 0 or self.warmup_epochs < 0:
            raise ValueError(
                f"patience and warmup_epochs must be at least 0, got {self.patience} and {self.warmup_epochs}"
            )
        if self.recovery_threshold is not None and not self.threshold <= self.recovery_threshold <= 2:
            raise ValueError(
                f"recovery_threshold must be between threshold {self.threshold} and 2, got {self.recovery_threshold}"
            )
        check_listeners(self.on_alert, self.notify)

    @property
    def recovers_at(self) -> float:
        """The margin at which a firing alert recovers."""
        return self.threshold if self.recovery_threshold is None else self.recovery_threshold


def check_listeners(on_alert: Any, notify: str | None) -> None:
    """Refuses what cannot be called, what is no name of an environment variable, and a notification without Apprise.

    Args:
        on_alert: The user's function, or None.
        notify: Name of the variable with the addresses, or None.

    Raises:
        ValueError: If it is no function, or no name.
        ModuleNotFoundError: If Apprise is not installed.
    """
    if on_alert is not None and not callable(on_alert):
        raise ValueError(f"on_alert must be callable, got {on_alert!r}")
    if notify is None:
        return
    if not _VARIABLE.fullmatch(notify):
        # Not shown: it is most likely the address itself, with its secret.
        raise ValueError(
            "notify must be the name of an environment variable that holds the addresses, such as EMBVIZ_NOTIFY; "
            "an address itself would end up in configurations and logs"
        )
    if find_spec("apprise") is None:
        raise ModuleNotFoundError(
            'MarginAlert(notify=...) needs apprise; install it with: pip install "embviz-callback[notify]"',
            name="apprise",
        )


@dataclass(frozen=True)
class AlertState:
    """What an alert remembers from one evaluation to the next, and in a checkpoint.

    Attributes:
        firing: It fired at the last evaluation.
        bad_in_a_row: Evaluations since the last good one.
    """

    firing: bool = False
    bad_in_a_row: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain types, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """The state that `to_json` gave."""
        return cls(firing=bool(state["firing"]), bad_in_a_row=int(state["bad_in_a_row"]))


@dataclass(frozen=True)
class Reading:
    """What one evaluation tells the alert.

    Attributes:
        epoch: Training epoch from 0.
        step: The step under which the evaluation is logged.
        margin: Positive minus negative mean cosine; NaN if there is none.
        interval: 95 % interval of the margin; None where there is none.
        separation: In sigma.
        rank1: Share of queries, 0 to 1.
        non_finite: Embeddings with a NaN or an infinity.
        verdict: Of the diagnosis.
        reason: Why the diagnosis says so.
    """

    epoch: int
    step: int
    margin: float
    separation: float
    rank1: float
    interval: tuple[float, float] | None = None
    non_finite: int = 0
    verdict: str = ""
    reason: str = ""

    @classmethod
    def of(cls, snapshot: "Snapshot") -> Self:
        """What a snapshot tells it."""
        metrics, diagnosis = snapshot.metrics, snapshot.diagnosis
        return cls(
            epoch=snapshot.epoch or 0,
            step=snapshot.step or 0,
            margin=metrics.margin,
            separation=metrics.separation,
            rank1=metrics.rank1,
            interval=metrics.intervals.get("margin"),
            non_finite=metrics.non_finite,
            verdict=diagnosis.verdict,
            reason=diagnosis.reason,
        )

    def event(
        self, kind: str, cause: str, message: str, *, threshold: float, is_first: bool, of: str = "margin"
    ) -> AlertEvent:
        """What is said of it; arguments as `AlertEvent` has them."""
        return AlertEvent(
            kind=kind,
            cause=cause,
            is_first=is_first,
            epoch=self.epoch,
            step=self.step,
            margin=self.margin,
            threshold=threshold,
            separation=self.separation,
            rank1=self.rank1,
            message=message,
            of=of,
        )


def judge(alert: MarginAlert, state: AlertState, reading: Reading) -> tuple[AlertState, AlertEvent | None]:
    """One step of the alert.

    Args:
        alert: The rule.
        state: What it remembers.
        reading: The evaluation.

    Returns:
        What it remembers now, and what there is to say, if anything.
    """
    cause = _cause(alert, state, reading)
    if cause in ("cannot judge", "non-finite embeddings"):
        return _fire(alert, state, reading, cause)
    if cause == "inconclusive":
        if state.firing:
            return _fire(alert, state, reading, "low margin")
        return replace(state, bad_in_a_row=0), _event(alert, reading, "inconclusive", "", is_first=True)
    if cause:
        if reading.epoch < alert.warmup_epochs and not state.firing:
            return state, None
        patient = state.bad_in_a_row + 1 <= alert.patience and not state.firing
        if patient:
            return replace(state, bad_in_a_row=state.bad_in_a_row + 1), None
        return _fire(alert, state, reading, cause)
    if state.firing:
        return AlertState(), _event(alert, reading, "recovered", "", is_first=True)
    return AlertState(), None


def _cause(alert: MarginAlert, state: AlertState, reading: Reading) -> str:
    # NaN < threshold is False, so a diverged model would silence the alert if this came second.
    if math.isnan(reading.margin):
        return "cannot judge"
    if reading.non_finite:
        return "non-finite embeddings"
    if reading.verdict == "collapse":
        return "collapse"
    limit = alert.recovers_at if state.firing else alert.threshold
    low, high = (reading.margin, reading.margin)
    if alert.confident and reading.interval is not None:
        low, high = reading.interval
    if high < limit:
        return "scale" if reading.verdict == "compressed scale" else "low margin"
    return "inconclusive" if low < limit else ""


def _fire(alert: MarginAlert, state: AlertState, reading: Reading, cause: str) -> tuple[AlertState, AlertEvent]:
    now = AlertState(firing=True, bad_in_a_row=state.bad_in_a_row + 1)
    return now, _event(alert, reading, "firing", cause, is_first=not state.firing)


def _event(alert: MarginAlert, reading: Reading, kind: str, cause: str, *, is_first: bool) -> AlertEvent:
    message = _message(alert, reading, kind, cause)
    return reading.event(kind, cause, message, threshold=alert.threshold, is_first=is_first)


def _message(alert: MarginAlert, reading: Reading, kind: str, cause: str) -> str:
    read = {name: measured(getattr(reading, name), name) for name in ("margin", "separation", "rank1")}
    level = f"separation {read['separation']} sigma, rank-1 {read['rank1']}"
    margin = f"margin {read['margin']}"
    if kind == "recovered":
        return f"margin recovered at epoch {reading.epoch}: {margin}, threshold {alert.recovers_at:g}; {level}"
    if kind == "inconclusive" and reading.interval is not None:
        low, high = reading.interval
        between = f"its 95 % interval {low:.4f} to {high:.4f} holds the threshold {alert.threshold:g}"
        return f"margin inconclusive at epoch {reading.epoch}: {margin}, {between}; {level}"
    unusable = counted(reading.non_finite, "embedding[s] [are|is] not finite")
    found = {
        "low margin": f"{margin} is below the threshold {alert.threshold:g}",
        "scale": f"{margin} is below the threshold {alert.threshold:g} on a squeezed scale, ranking is intact",
        "collapse": f"the embeddings collapsed, {margin}, threshold {alert.threshold:g}",
        "non-finite embeddings": f"{unusable}, {margin} of the others, threshold {alert.threshold:g}",
        "cannot judge": f"cannot judge, {margin}, threshold {alert.threshold:g}",
    }[cause]
    if cause in ("low margin", "scale") and reading.margin >= alert.threshold:
        found = f"{margin} has not recovered to {alert.recovers_at:g} (threshold {alert.threshold:g})"
    said = [found, *_further(reading, level, cause)]
    return f"margin alert at epoch {reading.epoch}: {'; '.join(said)}"


def _further(reading: Reading, level: str, cause: str) -> Iterator[str]:
    """What a margin must not be read without, and the diagnosis; nothing that the message says already."""
    if "separation" not in reading.reason and not math.isnan(reading.rank1):
        yield level
    if reading.verdict:
        yield reading.reason if reading.verdict == cause else f"{reading.verdict}: {reading.reason}"
