"""What a run has found so far: in memory, in a checkpoint, and in ``history.jsonl``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embviz_callback.analysis.metrics.catalogue import COURSE, shown
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.files import free_name, read_rows, write_rows

_COLUMNS = shown(COURSE)
_MOST_ROWS = 500  # in memory and in every checkpoint, 3 kB each; the file keeps them all

Row = Mapping[str, Any]


class History:
    """Evaluations of one run, oldest first, at most one for each epoch and step.

    Args:
        rows: Plain JSON, as `state` gave them.
    """

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.rows: list[Row] = list(rows)

    @property
    def baseline(self) -> Metrics | None:
        """Of the untrained model, if it was evaluated."""
        return next((Metrics.from_dict(row) for row in self.rows if row["epoch"] is None), None)

    @property
    def fingerprint(self) -> str | None:
        """Of the subset of the last evaluation."""
        return self.rows[-1]["fingerprint"] if self.rows else None

    @property
    def last(self) -> Row | None:
        """The last evaluation."""
        return self.rows[-1] if self.rows else None

    def metrics(self) -> list[Metrics]:
        """Of every evaluation, the untrained model's first."""
        return [Metrics.from_dict(row) for row in self.rows]

    def add(self, row: Row) -> None:
        """Takes an evaluation; one of the same epoch and step is replaced."""
        self.rows = [old for old in self.rows if _key(old) != _key(row)]
        self.rows.append(row)
        # The baseline stands first and stays.
        del self.rows[1 : max(1, len(self.rows) - _MOST_ROWS)]

    def open_file(self, path: Path, *, is_resumed: bool) -> None:
        """Makes a file agree with this history, so that rows can be appended to it.

        A resumed run goes on in its old file without the rows that came after the checkpoint. A
        new run leaves an old file under another name.

        Args:
            path: Need not exist.
            is_resumed: Whether the rows here come from a checkpoint.
        """
        old = list(read_rows(path))
        if not self.rows or not is_resumed:
            if old:
                path.rename(free_name(path))
            old = []
        keys = [_key(row) for row in self.rows]
        # Between the untrained model and the oldest row in memory lie those that memory let go.
        earlier = [row for row in old if keys[0] < _key(row) < min(keys[1:], default=(0, 0))]
        if self.rows:
            write_rows(path, [*self.rows[:1], *earlier, *self.rows[1:]])


def _key(row: Row) -> tuple[int, int]:
    """Sorts the untrained model first."""
    return (row["step"] + 1, row["epoch"]) if row["epoch"] is not None else (0, -1)


def epoch_table(history: Path) -> str:
    """The evaluations of a run as a table, one row for each.

    Args:
        history: ``history.jsonl`` of a run folder.

    Returns:
        Text with a header and one line per evaluation; empty if there were none.
    """
    if not history.exists():
        return ""
    rows = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines() if line]
    header = f"{'':<12}" + "".join(f"{name:>12}" for name in _COLUMNS)
    return "\n".join(["", header, *map(_table_row, rows)]) + "\n"


def _table_row(row: Row) -> str:
    values = (row["metrics"].get(name) for name in _COLUMNS)
    return f"{row['label']:<12}" + "".join(f"{'n/a':>12}" if value is None else f"{value:>12.4f}" for value in values)
