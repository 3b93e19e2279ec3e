"""What the training hands to the drawing process: folders with a snapshot and a job, at its end with a job alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    """What figures, report and page of one evaluation need beside its snapshot; what the end of a training needs.

    Attributes:
        place: Folder of its figures in that of the run; "" for the end of a training.
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

    place: str = ""
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
        baseline = stored.get("baseline")
        typed = {
            "baseline": None if baseline is None else Metrics.from_dict(baseline),
            "history": tuple(map(HistoryRow.from_json, stored.get("history", ()))),
            **{name: tuple(stored.get(name, ())) for name in ("alerts", "said", "faults")},
        }
        return cls(**{**stored, **typed})


def write_job(snapshot: Snapshot | None, job: Job, folder: Path) -> None:
    """Fills a folder with an evaluation, for `read_job` and `embviz_callback.snapshot.load_snapshot`.

    Args:
        snapshot: The evaluation; None for the end of a training, which has none of its own.
        job: What else is needed.
        folder: Gets both.
    """
    if snapshot is not None:
        save_snapshot(snapshot, folder)
    path = folder / (CONCLUSION if snapshot is None else JOB)
    path.write_text(json.dumps(job.to_json()), encoding="utf-8")  # escaped: a path may hold any bytes


def read_job(folder: Path) -> Job:
    """The job in a folder."""
    name = CONCLUSION if (folder / CONCLUSION).exists() else JOB
    return Job.from_json(read_json(folder / name))
