"""What survives a run and travels in the checkpoints of its training."""

import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from embviz_callback.delivery.alerts.rule import AlertState
from embviz_callback.delivery.run.history import UNREADABLE, History, readable_rows

_log = logging.getLogger("embviz_callback")


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass
class Memory:
    """What is known of a training from one fit to the next.

    Attributes:
        history: Evaluations.
        alert: State of the alert.
        run_id: Tells this training from any other that wrote into the same folder.
    """

    history: History = field(default_factory=History)
    alert: AlertState = field(default_factory=AlertState)
    run_id: str = field(default_factory=_new_id)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types: one numpy scalar would make the user's checkpoint unreadable."""
        rows = [row.to_json() for row in self.history.rows]
        content = {"rows": rows, "alert": self.alert.to_json(), "run_id": self.run_id}
        plain: dict[str, Any] = json.loads(json.dumps(content))
        return plain

    @classmethod
    def from_json(cls, state: Any) -> Self:
        """The memory that `to_json` gave, of this version or an older one.

        Args:
            state: What stood in a checkpoint; None where there is none.

        Returns:
            What can be read of it; the rest is left aside with one warning.
        """
        if not state:
            return cls()
        stored = state if isinstance(state, Mapping) else {}
        given = stored.get("rows")
        rows, n_left_aside = readable_rows(given if isinstance(given, list) else [])
        alert, is_whole = _alert_of(stored.get("alert"))
        if n_left_aside or not is_whole or not isinstance(given, list):
            _log.warning(
                "embviz: the state in the checkpoint is damaged or of another version; %d of its evaluations "
                "are known, the rest is left aside",
                len(rows),
            )
        memory = cls(History(rows), alert)
        run_id = stored.get("run_id")
        if isinstance(run_id, str) and run_id:
            memory.run_id = run_id
        return memory


def _alert_of(stored: Any) -> tuple[AlertState, bool]:
    """The alert's state, and whether it could be read."""
    try:
        return AlertState.from_json(stored), True
    except UNREADABLE:
        return AlertState(), False
