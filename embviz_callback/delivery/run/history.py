"""What a run has found so far: in memory, in a checkpoint, and in ``history.jsonl``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from embviz_callback.analysis.metrics.catalogue import COURSE, shown
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.verdict.best import MOST, Best, Candidate, choose_best
from embviz_callback.drawing.wording import measured
from embviz_callback.files import append_row, free_name, read_rows, write_rows
from embviz_callback.snapshot import Snapshot

_COLUMNS = shown(COURSE)
_MOST_ROWS = 500  # in memory and in every checkpoint, 3 kB each, 6 kB of the last 50; the file keeps them all
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)  # the last of an Infinity as a count


@dataclass(frozen=True)
class HistoryRow:
    """One evaluation of a run, without its vectors.

    Attributes:
        label: Its name.
        epoch: As the trainer counts it; None for the untrained model.
        step: Under which it is logged.
        fingerprint: Of the subset.
        metrics: What was found.
        verdict: Of the diagnosis.
        reason: Why.
        alert: Whether the alert was firing afterwards.
        standing: As a candidate for the best of the run; None where nobody asks any more, or an older version wrote it.
    """

    label: str
    epoch: int | None
    step: int
    fingerprint: str
    metrics: Metrics
    verdict: str = ""
    reason: str = ""
    alert: bool = False
    standing: Candidate | None = field(default=None, compare=False)

    @classmethod
    def of(cls, snapshot: Snapshot, *, alert: bool) -> Self:
        """The row of an evaluation."""
        diagnosis = snapshot.diagnosis
        return cls(
            label=snapshot.label,
            epoch=snapshot.epoch,
            step=snapshot.step or 0,
            fingerprint=snapshot.subset.fingerprint,
            metrics=snapshot.metrics,
            verdict=diagnosis.verdict,
            reason=diagnosis.reason,
            alert=alert,
            standing=snapshot.standing,
        )

    @property
    def key(self) -> tuple[int, int]:
        """Sorts by training, the untrained model first; equal for evaluations that replace each other."""
        return (0, -1) if self.epoch is None else (self.step + 1, self.epoch)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        head = {"label": self.label, "epoch": self.epoch, "step": self.step, "fingerprint": self.fingerprint}
        foot = {"verdict": self.verdict, "reason": self.reason, "alert": self.alert}
        stands = {} if self.standing is None else {"standing": self.standing.to_json()}
        return {**head, **self.metrics.as_dict(), **foot, **stands}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The row that `to_json` gave.

        Returns:
            The row; what is missing or of a wrong type is a KeyError, TypeError or ValueError.
        """
        epoch = stored["epoch"]
        return cls(
            label=str(stored["label"]),
            epoch=None if epoch is None else int(epoch),
            step=int(stored["step"]),
            fingerprint=str(stored["fingerprint"]),
            metrics=Metrics.from_dict(stored),
            verdict=str(stored.get("verdict", "")),
            reason=str(stored.get("reason", "")),
            alert=bool(stored.get("alert", False)),
            standing=Candidate.from_json(stored["standing"]) if "standing" in stored else None,
        )


class History:
    """Evaluations of one run, oldest first, at most one for each epoch and step.

    Args:
        rows: Oldest first.
    """

    def __init__(self, rows: Iterable[HistoryRow] = ()) -> None:
        self.rows: list[HistoryRow] = list(rows)

    @property
    def baseline(self) -> Metrics | None:
        """Of the untrained model, if it was evaluated."""
        return next((row.metrics for row in self.rows if row.epoch is None), None)

    @property
    def fingerprint(self) -> str | None:
        """Of the subset of the last evaluation."""
        return self.rows[-1].fingerprint if self.rows else None

    @property
    def last(self) -> HistoryRow | None:
        """The last evaluation."""
        return self.rows[-1] if self.rows else None

    def run(self, metric: str) -> list[Candidate]:
        """Those of the evaluations that may be the best by a metric, oldest first."""
        return [row.standing for row in self.rows if row.standing is not None and row.standing.metric == metric]

    @property
    def best(self) -> Best | None:
        """The best by the metric that decided last, of the last evaluations; None where none is known."""
        last = None if self.last is None else self.last.standing
        return None if last is None else choose_best(self.run(last.metric), last.metric)

    def before(self, row: HistoryRow) -> list[HistoryRow]:
        """All evaluations but one."""
        return [old for old in self.rows if old.key != row.key]

    def add(self, row: HistoryRow) -> None:
        """Takes an evaluation; one of the same epoch and step is replaced."""
        self.rows = [*self.before(row), row]
        # The baseline stands first and stays.
        del self.rows[1 : max(1, len(self.rows) - _MOST_ROWS)]
        # Nor is an older one asked whether it is the best.
        for at in range(1, len(self.rows) - MOST):
            self.rows[at] = replace(self.rows[at], standing=None)

    def open_file(self, path: Path, *, is_resumed: bool) -> None:
        """Makes a file agree with this history, so that rows can be appended to it.

        A resumed run goes on in its old file without the rows that came after the checkpoint. A
        new run leaves an old file under another name.

        Args:
            path: Need not exist.
            is_resumed: Whether the rows here come from a checkpoint.
        """
        old = read_history(path)
        if not self.rows or not is_resumed:
            if old:
                path.rename(free_name(path))
            old = []
        keys = [row.key for row in self.rows]
        # Between the untrained model and the oldest row in memory lie those that memory let go.
        earlier = [row for row in old if keys[0] < row.key < min(keys[1:], default=(0, 0))]
        if self.rows:
            write_rows(path, [row.to_json() for row in [*self.rows[:1], *earlier, *self.rows[1:]]])


def readable_rows(stored: Iterable[Any]) -> tuple[list[HistoryRow], int]:
    """Those rows of a damaged or older state that can be read, and how many cannot."""
    rows, n_left_aside = [], 0
    for one in stored:
        try:
            rows.append(HistoryRow.from_json(one))
        except UNREADABLE:
            n_left_aside += 1
    return rows, n_left_aside


def read_history(path: Path) -> list[HistoryRow]:
    """The rows of a ``history.jsonl``, without what a killed run left torn; none where there is no file."""
    return readable_rows(read_rows(path))[0]


def append_to_history(path: Path, row: HistoryRow) -> None:
    """Adds a row to a ``history.jsonl``."""
    append_row(path, row.to_json())


def epoch_table(rows: Sequence[HistoryRow]) -> str:
    """The evaluations of a run as a table.

    Args:
        rows: Oldest first.

    Returns:
        Text with a header and one line per evaluation; empty if there were none.
    """
    if not rows:
        return ""
    header = f"{'':<12}" + "".join(f"{name:>12}" for name in _COLUMNS)
    return "\n".join(["", header, *map(_table_row, rows)]) + "\n"


def _table_row(row: HistoryRow) -> str:
    return f"{row.label:<12}" + "".join(f"{measured(row.metrics.get(name), name):>12}" for name in _COLUMNS)
