"""All alerts of a training: asked after every evaluation, announced on the main rank, and the verdict on all sets."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from embviz_callback.delivery.alerts.people import LIMIT_S, Notifier
from embviz_callback.delivery.alerts.regression import (
    RegressionAlert,
    is_firing,
    joint_sentence,
    judge_regression,
    moved,
)
from embviz_callback.delivery.alerts.rule import AlertEvent, MarginAlert, Reading, judge
from embviz_callback.delivery.guarding import Guard, say
from embviz_callback.delivery.loggers import Gallery
from embviz_callback.delivery.results.per_query import read_by_query
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.files import without_nan
from embviz_callback.snapshot import Snapshot

_log = logging.getLogger("embviz_callback")

Attempt = Callable[[str, Callable[[], object], str], object]
Alert = MarginAlert | RegressionAlert
Event = tuple[Alert, AlertEvent]


def alerts_of(given: Any) -> tuple[Alert, ...]:
    """The rules that a user gave.

    Args:
        given: One, a list of them, or None.

    Returns:
        All of them.

    Raises:
        TypeError: If there is something else among them.
        ValueError: If there are two of the margin.
    """
    alerts = () if given is None else tuple(given) if isinstance(given, list | tuple) else (given,)
    for one in alerts:
        if not isinstance(one, Alert):
            raise TypeError(
                f"alert must be a MarginAlert, a RegressionAlert, a list of them or None, got {type(one).__name__}"
            )
    if sum(isinstance(one, MarginAlert) for one in alerts) > 1:
        raise ValueError("alert must hold one MarginAlert at most, which watches the first set")
    return alerts


def check_watched(alerts: Sequence[Alert], names: Sequence[str]) -> None:
    """Refuses an alert on a set that there is not.

    Args:
        alerts: The rules.
        names: Of the sets; one empty name for the only one.

    Raises:
        ValueError: If there is no such set.
    """
    for alert in alerts:
        if isinstance(alert, RegressionAlert) and alert.of not in ("", *names):
            there = ", ".join(filter(None, names)) or "only one, without a name"
            raise ValueError(f"RegressionAlert(of={alert.of!r}) needs a set of that name; there are: {there}")


def check_baselines(alerts: Sequence[Alert], fingerprints: Mapping[str, str]) -> None:
    """Refuses, before any training, a baseline that is of other data than the set.

    Args:
        alerts: The rules.
        fingerprints: Of the sets' subsets, the first first.

    Raises:
        ValueError: If one is.
    """
    first = next(iter(fingerprints))
    for alert in alerts:
        if isinstance(alert, RegressionAlert) and alert.baseline is not None:
            found, own = read_by_query(Path(alert.baseline).expanduser()).fingerprint, fingerprints[alert.of or first]
            if found != own:
                raise ValueError(
                    f"RegressionAlert(baseline=...) must be of the set that it watches: {alert.baseline} is of subset"
                    f" {found}, the set of {own}; use the same data, max_samples, seed and corpus"
                )


class Alarms:
    """The alerts of one training.

    Args:
        alerts: The rules.
        first: Name of the first set, which the margin is watched of.
        guard: Catches what goes wrong.
        attempt: Runs a stage under it.
        note: Takes a row of the log of events.
        gallery: The trainer's loggers.
        run: Short name of the run, for people.
        speaks: Whether this process says anything.

    Attributes:
        notifiers: Name of the environment variable with addresses to who tells them.
    """

    def __init__(
        self,
        alerts: Sequence[Alert],
        first: str,
        guard: Guard,
        attempt: Attempt,
        note: Callable[[Mapping[str, Any]], None],
        gallery: Gallery,
        *,
        run: str,
        speaks: bool,
    ) -> None:
        self._alerts, self._first = alerts, first
        self._attempt, self._note, self._gallery = attempt, note, gallery
        self._speaks = speaks
        self._joint = ""
        self._outcomes: tuple[str, ...] = ()
        report = partial(guard.warn, "notification")
        addresses = {one.notify for one in alerts if one.notify is not None} if speaks else set()
        self.notifiers = {address: Notifier(address, run=run, report=report) for address in addresses}

    def check(self) -> None:
        """Has the addresses looked at."""
        for notifier in self.notifiers.values():
            self._attempt("notification", notifier.check, "a look at the addresses")

    def poll(self) -> None:
        """Hears what became of messages."""
        for notifier in self.notifiers.values():
            self._attempt("notification", notifier.poll, "what became of a message")

    def finish(self) -> None:
        """Waits for the last message."""
        for notifier in self.notifiers.values():
            self._attempt("notification", partial(notifier.finish, LIMIT_S), "the last message")

    def judge(self, memory: Memory, snapshots: Mapping[str, Snapshot]) -> list[Event]:
        """Shows an evaluation to every alert, and says what they find.

        Args:
            memory: Of the training; keeps their states.
            snapshots: Name of the set to its evaluation, all of one model.

        Returns:
            Rule and finding.
        """
        found: list[Event] = []
        for alert in self._alerts:
            for name in filter(partial(self._concerns, alert), snapshots):
                event = self._asked(alert, memory, snapshots[name], name)
                found += [] if event is None else [(alert, event)]
        self._hold_together(memory, snapshots)
        for alert, event in found if self._speaks else ():
            self._announce(alert, event)
        return found

    def said(self, events: Sequence[Event], name: str) -> list[str]:
        """What the report of a set says of an evaluation: its alerts, and the verdict on all sets."""
        joint = [self._joint] if self._joint else []
        return [event.message for alert, event in events if self._concerns(alert, name)] + joint

    def state(self, memory: Memory, name: str) -> bool | None:
        """Whether an alert fires that concerns a set; None where none does."""
        asked = [alert for alert in self._alerts if self._concerns(alert, name)]
        if not asked:
            return None
        return any(
            memory.alert.firing if isinstance(alert, MarginAlert) else is_firing(alert, memory.origins, name)
            for alert in asked
        )

    def _concerns(self, alert: Alert, name: str) -> bool:
        of = alert.of if isinstance(alert, RegressionAlert) else ""
        return name == (of or self._first)

    def _asked(self, alert: Alert, memory: Memory, snapshot: Snapshot, name: str) -> AlertEvent | None:
        if isinstance(alert, RegressionAlert):
            return judge_regression(alert, memory.origins, snapshot, name)
        if snapshot.epoch is None:
            return None
        memory.alert, event = judge(alert, memory.alert, Reading.of(snapshot))
        return event

    def _announce(self, alert: Alert, event: AlertEvent) -> None:
        """Passes an event on to everybody who is to hear it; each way is attempted by itself."""
        if event.kind == "firing":
            _log.warning("embviz: %s", event.message)
        else:
            say(event.message)
        row = {"event": "alert", **without_nan(asdict(event))}
        self._attempt("note", partial(self._note, row), "a row of events.jsonl")
        if alert.on_alert is not None:
            self._attempt("on_alert", partial(alert.on_alert, event), "what on_alert was to do")
        if event.is_edge:  # people have no use for the same news after every epoch
            if (notifier := self.notifiers.get(alert.notify or "")) is not None:
                self._attempt("notification", partial(notifier.send, event), "the message")
            self._gallery.alert(event)

    def _hold_together(self, memory: Memory, snapshots: Mapping[str, Snapshot]) -> None:
        """Says what the training did to all sets, where that has changed."""
        if self._first == "":
            return
        changes = moved(memory.origins, snapshots)
        self._joint = joint_sentence(changes) if len(changes) > 1 else ""
        outcomes = tuple(one.outcome for one in changes)
        if self._joint and outcomes != self._outcomes and self._speaks:
            say(self._joint)
            act = partial(self._note, {"event": "sets", "said": self._joint})
            self._attempt("note", act, "a row of events.jsonl")
        self._outcomes = outcomes
