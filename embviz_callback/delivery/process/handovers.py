"""What the training hands to the drawing process: folders with a snapshot and a job, or with a conclusion."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.delivery.process.jobs import CONCLUSION
from embviz_callback.delivery.run.history import HistoryRow
from embviz_callback.files import read_json
from embviz_callback.snapshot import Snapshot, save_snapshot

JOB = "job.json"
MOST_PAST = 20  # evaluations in a report; a job that held all would grow with the training


@dataclass(frozen=True)
class Job:
    """What figures, report and page of one evaluation need beside its snapshot.

    Attributes:
        place: Folder of its figures in that of the run.
        run_id: Of the training.
        prefix: What stands before the slash in every tag.
        events: Folder of the event file; None where nothing is logged.
        baseline: Metrics of the untrained model; None where it was not evaluated.
        history: Earlier evaluations, oldest first; no more of them than a report tells.
        alerts: What the alert says of this one.
        said: What the alert has said so far, this one included.
        faults: What has failed so far, one sentence each.
        threshold: Of the margin alert; None without one.
        resumed_after: Step of the checkpoint that training went on from, in the first job after that.
    """

    place: str
    run_id: str = ""
    prefix: str = "embviz"
    events: str | None = None
    baseline: Metrics | None = None
    history: tuple[HistoryRow, ...] = ()
    alerts: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    threshold: float | None = None
    resumed_after: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        typed = {
            "baseline": None if self.baseline is None else self.baseline.as_dict(),
            "history": [row.to_json() for row in self.history],
        }
        return {name: value for name, value in vars(self).items() if name not in typed} | typed

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The job that `to_json` gave."""
        baseline = stored["baseline"]
        typed = {
            "baseline": None if baseline is None else Metrics.from_dict(baseline),
            "history": tuple(map(HistoryRow.from_json, stored["history"])),
            **{name: tuple(stored[name]) for name in ("alerts", "said", "faults")},
        }
        return cls(**{**stored, **typed})


@dataclass(frozen=True)
class Conclusion:
    """What is made once, of a training that has ended.

    Attributes:
        prefix: What stands before the slash in every tag.
        events: Folder of the event file; None where nothing is logged.
        said: What the alert has said.
        faults: What has failed, one sentence each.
    """

    prefix: str = "embviz"
    events: str | None = None
    said: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The conclusion that `to_json` gave."""
        return cls(**{**stored, **{name: tuple(stored[name]) for name in ("said", "faults")}})


def write_job(snapshot: Snapshot, job: Job, folder: Path) -> None:
    """Fills a folder with an evaluation, for `read_job` and `embviz_callback.snapshot.load_snapshot`."""
    save_snapshot(snapshot, folder)
    _write(folder / JOB, job.to_json())


def read_job(folder: Path) -> Job:
    """The job in a folder."""
    return Job.from_json(read_json(folder / JOB))


def write_conclusion(conclusion: Conclusion, folder: Path) -> None:
    """Fills a folder with the end of a training."""
    _write(folder / CONCLUSION, conclusion.to_json())


def read_conclusion(folder: Path) -> Conclusion:
    """The conclusion in a folder."""
    return Conclusion.from_json(read_json(folder / CONCLUSION))


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")  # escaped: a path may hold any bytes
