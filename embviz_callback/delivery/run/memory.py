"""What survives a run and travels in the checkpoints of its training."""

import json
import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from embviz_callback.delivery.alerts.regression import Origin, Origins
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
        origins: What losses are counted from.
        beside: Histories of further sets, by their names.
        way: The settings by which texts were encoded and ranked; empty where nobody knows.
    """

    history: History = field(default_factory=History)
    alert: AlertState = field(default_factory=AlertState)
    run_id: str = field(default_factory=_new_id)
    origins: Origins = field(default_factory=dict)
    beside: dict[str, Self] = field(default_factory=dict)
    way: dict[str, Any] = field(default_factory=dict)

    def of(self, name: str) -> Self:
        """That of a set, by its name; of the first by an empty one."""
        return self if not name else self.beside.setdefault(name, type(self)(run_id=self.run_id))

    def forget(self, name: str, called: str) -> None:
        """Drops the history of a set whose data are others now, and what its evaluations were held against.

        Args:
            name: As for `of`.
            called: As its alerts call it.
        """
        self.of(name).history = History()
        self.origins = {key: origin for key, origin in self.origins.items() if not key.startswith(f"{called}/")}
        if not name:
            self.alert, self.run_id = AlertState(), _new_id()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types: one numpy scalar would make the user's checkpoint unreadable."""
        rows = [row.to_json() for row in self.history.rows]
        content: dict[str, Any] = {"rows": rows, "alert": self.alert.to_json(), "run_id": self.run_id}
        if self.origins:
            content["origins"] = {key: origin.to_json() for key, origin in self.origins.items()}
        if self.way:
            content["way"] = self.way
        if self.beside:
            content["sets"] = {name: one.to_json() for name, one in self.beside.items()}
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
        memory.origins = _origins_of(stored.get("origins"))
        way = stored.get("way")
        memory.way = dict(way) if isinstance(way, Mapping) else {}
        sets = stored.get("sets")
        for name, one in sets.items() if isinstance(sets, Mapping) else ():
            memory.beside[f"{name}"] = cls.from_json(one)
        return memory


def _origins_of(stored: Any) -> Origins:
    """Those that can be read; where one is lost, no loss is shown."""
    found = {}
    for key, one in stored.items() if isinstance(stored, Mapping) else ():
        with suppress(*UNREADABLE):
            found[f"{key}"] = Origin.from_json(one)
    return found


def _alert_of(stored: Any) -> tuple[AlertState, bool]:
    """The alert's state, and whether it could be read."""
    try:
        return AlertState.from_json(stored), True
    except UNREADABLE:
        return AlertState(), False
