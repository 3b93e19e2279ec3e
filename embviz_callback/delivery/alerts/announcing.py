"""What an alert says reaches everybody who is to hear it: the log, the user's function, people, loggers."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from embviz_callback.delivery.alerts.people import Notifier
from embviz_callback.delivery.alerts.rule import AlertEvent, Reading
from embviz_callback.delivery.guarding import say
from embviz_callback.delivery.loggers import Gallery
from embviz_callback.files import without_nan
from embviz_callback.snapshot import Snapshot

_log = logging.getLogger("embviz_callback")

Attempt = Callable[[str, Callable[[], object], str], object]


def reading_of(snapshot: Snapshot) -> Reading:
    """What an evaluation tells the alert."""
    metrics = snapshot.metrics
    return Reading(
        epoch=snapshot.epoch or 0,
        step=snapshot.step or 0,
        margin=metrics.margin,
        separation=metrics.separation,
        rank1=metrics.rank1,
        interval=metrics.intervals.get("margin"),
        non_finite=metrics.non_finite,
        verdict=snapshot.diagnosis.verdict,
        reason=snapshot.diagnosis.reason,
    )


def announce(
    event: AlertEvent,
    on_alert: Callable[[AlertEvent], None] | None,
    *,
    attempt: Attempt,
    note: Callable[[Mapping[str, Any]], None],
    gallery: Gallery,
    notifier: Notifier | None,
) -> None:
    """Passes an event on; each way is attempted by itself.

    Args:
        event: What the alert found.
        on_alert: The user's function, or None.
        attempt: Takes stage, act and what is skipped where it fails.
        note: Takes the row for the log of events.
        gallery: The trainer's loggers.
        notifier: Who tells people; None for nobody.
    """
    if event.kind == "firing":
        _log.warning("embviz: %s", event.message)
    else:
        say(event.message)
    attempt("note", partial(note, {"event": "alert", **without_nan(asdict(event))}), "a row of events.jsonl")
    if on_alert is not None:
        attempt("on_alert", partial(on_alert, event), "what on_alert was to do")
    if event.is_edge:  # people have no use for the same news after every epoch
        if notifier is not None:
            attempt("notification", partial(notifier.send, event), "the message")
        gallery.alert(event)
