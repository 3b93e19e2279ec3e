"""Everything that lives while one training run goes on: its folder, worker, guard, history and alert."""

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from embviz_callback.delivery.alerts.people import LIMIT_S, Notifier
from embviz_callback.delivery.alerts.rule import AlertEvent, AlertState, MarginAlert, Reading, judge
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.loggers import Gallery
from embviz_callback.delivery.places import Places
from embviz_callback.delivery.process.jobs import CONCLUSION, Jobs
from embviz_callback.delivery.process.worker import Limits, Worker
from embviz_callback.delivery.run.history import History
from embviz_callback.files import append_row, require_space, safe_name, write_atomically
from embviz_callback.pairs.subset import Subset
from embviz_callback.snapshot import Snapshot, save_snapshot

_LAST = "last"  # sorts behind the jobs of evaluations, which begin with a number
_SPARE_BYTES = 50_000_000  # left free on the disk for the checkpoints of the training
_DEFAULT_LIMITS = Limits()
_log = logging.getLogger("embviz_callback")

Result = TypeVar("Result")


@dataclass
class Memory:
    """What survives a run and travels in checkpoints.

    Attributes:
        history: Evaluations.
        alert: State of the alert.
    """

    history: History = field(default_factory=History)
    alert: AlertState = field(default_factory=AlertState)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types: one numpy scalar would make the user's checkpoint unreadable."""
        content = {"rows": self.history.rows, "alert": self.alert.to_json()}
        plain: dict[str, Any] = json.loads(json.dumps(content))
        return plain

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> "Memory":
        """The memory that `to_json` gave."""
        return cls(History(state["rows"]), AlertState.from_json(state["alert"]))


class Run:
    """One training run as seen from one rank.

    Args:
        places: Where it writes.
        memory: What is known from before.
        alert: The rule, or None.
        limits: Of the drawing process.
        figures: Whether anything is drawn.
        log_baseline: Whether the untrained model's go into TensorBoard too.
        on_error: "warn" or "raise".
        loggers: Of the trainer, as far as they are to get figures and alerts.
    """

    def __init__(
        self,
        places: Places,
        memory: Memory,
        *,
        alert: MarginAlert | None = None,
        limits: Limits = _DEFAULT_LIMITS,
        figures: bool = True,
        log_baseline: bool = False,
        on_error: str = "warn",
        loggers: Sequence[Any] = (),
    ) -> None:
        self.places = places
        self.memory = memory
        self.alert = alert
        self.log_baseline = log_baseline
        self.guard = Guard(on_error=on_error, note=self._note, rank=places.rank)
        self.worker: Worker | None = None
        drawn_in = places.folder if figures else None
        mine = loggers if places.rank == 0 and not places.is_trial else ()
        self.gallery = Gallery(mine, prefix=places.prefix, folder=drawn_in, guard=self.guard)
        if drawn_in is not None:
            report = partial(self.guard.warn, "drawing")
            self.worker = Worker(drawn_in, limits=limits, report=report, drawn=self.gallery.receive)
        self.notifier: Notifier | None = None
        if alert is not None and alert.notify is not None and places.rank == 0 and not places.is_trial:
            report = partial(self.guard.warn, "notification")
            self.notifier = Notifier(alert.notify, run=_short(places.folder), report=report)
        self._is_open = True
        self._resumed_after: int | None = None

    def begin(self, subset: Subset, *, is_resumed: bool) -> None:
        """Starts the drawing process and opens the history, which may be that of a resumed run."""
        self._forget_other_subset(subset.fingerprint)
        last = self.memory.history.last
        self._resumed_after = last["step"] if is_resumed and last is not None else None
        if self.worker is not None:
            if not is_resumed:
                self._attempt("jobs of an earlier run", partial(_set_aside, self.worker.jobs), "leaving them undrawn")
            self._attempt("drawing process", self.worker.start, "the figures")
        if self.notifier is not None:
            self._attempt("notification", self.notifier.check, "a look at the addresses")
        if said := self._attempt("introduction", self.gallery.introduction, "a line on what loggers show"):
            say(said)
        if self.places.folder is not None:
            path = self.places.folder / "history.jsonl"
            act = partial(self.memory.history.open_file, path, is_resumed=is_resumed)
            self._attempt("history file", act, "the rows of history.jsonl")
            # As a dataset: the runner on this file judges by exactly the same queries and documents.
            act = partial(_write_pairs, self.places.folder / "validation_pairs.json", subset)
            self._attempt("subset file", act, "validation_pairs.json")

    def _forget_other_subset(self, fingerprint: str) -> None:
        before = self.memory.history.fingerprint
        if before not in (None, fingerprint):
            self.guard.warn(
                "resume",
                "other subset",
                f"the subset is not that of the checkpoint (fingerprint {fingerprint}, was {before}), so that metrics "
                "are not comparable: a new history begins, without a baseline; resume with the same data, "
                "max_samples, seed and corpus to go on with the old one",
            )
            self.memory = Memory()

    def poll(self) -> None:
        """Lets the other processes have their say, and loggers what was drawn; never waits for a drawing."""
        if self.worker is not None:
            self._attempt("drawing process", self.worker.poll, "the figures")
        if self.notifier is not None:
            self._attempt("notification", self.notifier.poll, "what became of a message")
        self.gallery.show()

    def judge(self, snapshot: Snapshot) -> AlertEvent | None:
        """Shows an evaluation to the alert, and says on the main rank what it finds."""
        if self.alert is None or snapshot.epoch is None:
            return None
        self.memory.alert, event = judge(self.alert, self.memory.alert, _reading(snapshot))
        if event is not None and self.places.rank == 0:
            self._announce(event)
        return event

    def record(self, snapshot: Snapshot) -> None:
        """Adds an evaluation to the history."""
        row = {
            "label": snapshot.label,
            "epoch": snapshot.epoch,
            "step": snapshot.step,
            "fingerprint": snapshot.subset.fingerprint,
            **snapshot.metrics.as_dict(),
            "verdict": snapshot.diagnosis.verdict,
            "reason": snapshot.diagnosis.reason,
            "alert": self.memory.alert.firing,
        }
        self.memory.history.add(row)
        if self.places.folder is not None:
            act = partial(append_row, self.places.folder / "history.jsonl", row)
            self._attempt("history file", act, "a row of history.jsonl")

    def hand_over(self, snapshot: Snapshot, event: AlertEvent | None = None, *, is_partial: bool = False) -> None:
        """Gives an evaluation to the drawing process.

        Args:
            snapshot: Without maps.
            event: What the alert found, for the report.
            is_partial: The epoch has not been trained to its end.
        """
        folder = self.places.folder
        if self.worker is None or folder is None:
            return
        n_bytes = 2 * sum(part.nbytes for part in (snapshot.embeddings.queries, snapshot.embeddings.documents))
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, _SPARE_BYTES + n_bytes)
        name = _place_name(snapshot, is_partial=is_partial)
        earlier = [row for row in self.memory.history.rows if (row["epoch"], row["step"]) != _key(snapshot)]
        baseline = self.memory.history.baseline
        is_logged = self.places.events is not None and (snapshot.epoch is not None or self.log_baseline)
        job = {
            "place": name,
            "prefix": self.places.prefix,
            "events": f"{self.places.events}" if is_logged else None,
            "baseline": None if baseline is None else baseline.as_dict(),
            "history": earlier,
            "alerts": [] if event is None else [event.message],
            "said": _alerts_so_far(earlier, event),
            "faults": self.guard.faults,
            "threshold": None if self.alert is None else self.alert.threshold,
            "resumed_after": self._resumed_after,
        }
        self._resumed_after = None
        order = 0 if snapshot.epoch is None else (snapshot.step or 0) + 1
        job_name = f"{order:09d}_{name}"
        if is_logged:
            self.gallery.expect(job_name, snapshot.label, snapshot.step or 0)
        self.worker.submit(job_name, partial(fill_job, snapshot, job))

    def finish(self, *, is_hurried: bool) -> None:
        """Waits for the drawings, ends the process and says what is left; only the first call does anything.

        Args:
            is_hurried: Others wait, or the user wants an end: no more than the grace.
        """
        if not self._is_open:
            return
        self._is_open = False
        if is_hurried:
            self.guard.on_error = "warn"  # an exception of the user's is pending, and must stay what they see
        if self.worker is not None:
            if not is_hurried and self.memory.history.last is not None:
                conclude = partial(self.worker.conclude, _LAST, self._fill_conclusion)
                self._attempt("drawing process", conclude, "the analysis of the run")
            limits = self.worker.limits
            limit_s = min(limits.grace_s, limits.finish_limit_s) if is_hurried else limits.finish_limit_s
            try:
                self._attempt("drawing process", partial(self._finish, self.worker, limit_s), "the last figures")
            finally:  # Ctrl-C while waiting
                # A stage of its own: one that is no longer tried after three faults must not keep the process alive.
                self._attempt("end of the drawing process", self.worker.stop, "nothing")
        self.gallery.show()
        if self.notifier is not None:
            self._attempt("notification", partial(self.notifier.finish, LIMIT_S), "the last message")

    def _fill_conclusion(self, folder: Path) -> None:
        job = {
            "prefix": self.places.prefix,
            "events": None if self.places.events is None else f"{self.places.events}",
            "said": _alerts_so_far(self.memory.history.rows, None),
            "faults": self.guard.faults,
        }
        (folder / CONCLUSION).write_text(json.dumps(job), encoding="utf-8")  # escaped: a path may hold any bytes

    def _finish(self, worker: Worker, limit_s: float) -> None:
        begun = time.monotonic()
        worker.poll()
        waited = worker.n_unfinished > 0
        worker.finish(limit_s, partial(_say_progress, limit_s))
        if waited and not worker.n_unfinished:
            failed = len(worker.jobs.names("failed"))
            some = f"{failed} evaluation{'s' if failed > 1 else ''} could not be drawn, the others are"
            what = some if failed else "all figures are drawn"
            _print(f"{what}, {time.monotonic() - begun:.0f} s after training")
        left = worker.n_unfinished + len(worker.jobs.names("deferred"))
        if left:
            _log.warning("embviz: %d evaluations are not drawn; draw them with: %s", left, worker.how_to_finish)

    def _announce(self, event: AlertEvent) -> None:
        assert self.alert is not None
        if event.kind == "firing":
            _log.warning("embviz: %s", event.message)
        else:
            say(event.message)
        self._attempt("note", partial(self._note, {"event": "alert", **_plain(event)}), "a row of events.jsonl")
        if self.alert.on_alert is not None:
            self._attempt("on_alert", partial(self.alert.on_alert, event), "what on_alert was to do")
        if event.is_edge:
            self._tell(event)

    def _tell(self, event: AlertEvent) -> None:
        """Tells people, who have no use for the same news after every epoch."""
        if self.notifier is not None:
            self._attempt("notification", partial(self.notifier.send, event), "the message")
        self.gallery.alert(event)

    def _attempt(self, stage: str, act: Callable[[], Result], skipped: str) -> Result | None:
        last = self.memory.history.last
        where = "no evaluation yet" if last is None else f"last evaluation: {last['label']}"
        return self.guard.attempt(stage, act, where=where, skipped=skipped)

    def _note(self, row: Mapping[str, Any]) -> None:
        if self.places.folder is not None:
            append_row(self.places.folder / "events.jsonl", {"time": time.time(), **row})


def say(message: str) -> None:
    """A notice that is good news: where nobody set up logging, Lightning's own console shows it, or standard error."""
    consoles = [name for name in ("lightning.pytorch", "pytorch_lightning") if name in sys.modules]
    if _log.isEnabledFor(logging.INFO):
        _log.info("embviz: %s", message)
    elif consoles:
        logging.getLogger(consoles[0]).info("embviz: %s", message)
    else:
        _print(message)


def _print(message: str) -> None:
    """To standard error, which a program without a terminal may lack."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"embviz: {message}\n")
            sys.stderr.flush()


def _set_aside(jobs: Jobs) -> None:
    if jobs.is_served():  # another training is drawing them
        return
    if n_left := jobs.abandon():
        say(f"an earlier run in this folder left {n_left} undrawn; they lie in {jobs.root}/abandoned")


def _reading(snapshot: Snapshot) -> Reading:
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


def _key(snapshot: Snapshot) -> tuple[int | None, int | None]:
    return snapshot.epoch, snapshot.step


def _place_name(snapshot: Snapshot, *, is_partial: bool) -> str:
    if snapshot.epoch is None:
        return safe_name(snapshot.label)
    return f"epoch_{snapshot.epoch:04d}" + (f"_step_{snapshot.step}" if is_partial else "")


def fill_job(snapshot: Snapshot, job: Mapping[str, Any], folder: Path) -> None:
    """Writes an evaluation and what else its figures and report need into a folder."""
    save_snapshot(snapshot, folder)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")  # escaped: a path may hold any bytes


def _alerts_so_far(rows: Sequence[Mapping[str, Any]], event: AlertEvent | None) -> list[str]:
    said = [f"{row['label']}: the alert was firing; {row['reason']}" for row in rows if row["alert"]]
    return said if event is None else [*said, event.message]


def _write_pairs(path: Path, subset: Subset) -> None:
    write_atomically(path, json.dumps(subset.as_file(), ensure_ascii=False, indent=1) + "\n")


def _say_progress(limit_s: float, left: int) -> None:
    waiting = "1 evaluation is" if left == 1 else f"{left} evaluations are"
    _print(f"training is over, {waiting} still being drawn (at most {limit_s:.0f} s)")


def _short(folder: Path | None) -> str:
    """Enough of a run's folder to know it by, and not who keeps it where."""
    return "" if folder is None else "/".join(folder.parts[-3:-1])


def _plain(event: AlertEvent) -> dict[str, Any]:
    """JSON has no NaN and no infinity."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(event).items()
    }
