"""The drawings of one set: its process, the loggers that take pictures, and what both are given."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from embviz_callback.delivery.guarding import Guard, say, say_plainly
from embviz_callback.delivery.loggers import Gallery
from embviz_callback.delivery.places import Places
from embviz_callback.delivery.process.handovers import MOST_PAST, Job, write_job
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.training_side import Limits, Worker
from embviz_callback.delivery.run.history import HistoryRow
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.files import require_space, safe_name
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot

_LAST = "last"  # sorts behind the jobs of evaluations, which begin with a number
_SPARE_BYTES = 50_000_000  # left free on the disk for the checkpoints of the training

_log = logging.getLogger("embviz_callback")

Attempt = Callable[[str, Callable[[], Any], str], Any]


class Drawings:
    """What becomes of one set's evaluations in another process.

    Args:
        places: Where the set's files are; without a folder nothing is drawn.
        limits: Of the process.
        guard: Knows the faults so far.
        attempt: Takes stage, act and what is skipped where it fails.
        loggers: Of the trainer, as far as they are to get figures.
        is_drawn: Whether anything is drawn.
        log_baseline: Whether the figures of the untrained model go into TensorBoard too.
        threshold: Of the margin, for the reports.
    """

    def __init__(
        self,
        places: Places,
        limits: Limits,
        guard: Guard,
        attempt: Attempt,
        *,
        loggers: Sequence[Any] = (),
        is_drawn: bool = True,
        log_baseline: bool = False,
        threshold: float | None = None,
    ) -> None:
        folder = places.folder if is_drawn else None
        self.places = places
        self.gallery = Gallery(loggers, prefix=places.prefix, folder=folder, guard=guard)
        self.worker: Worker | None = None
        if folder is not None:
            report = partial(guard.warn, "drawing")
            self.worker = Worker(folder, limits=limits, report=report, drawn=self.gallery.receive)
        self._guard = guard
        self._attempt = attempt
        self._log_baseline = log_baseline
        self._threshold = threshold
        self._resumed_after: int | None = None

    def start(self, memory: Memory, *, is_resumed: bool) -> None:
        """Starts the process; what an earlier run left undrawn is set aside."""
        last = memory.history.last
        self._resumed_after = last.step if is_resumed and last is not None else None
        if self.worker is None:
            return
        if not is_resumed:
            act = partial(set_aside_earlier, self.worker.jobs)
            self._attempt("jobs of an earlier run", act, "leaving them undrawn")
        self._attempt("drawing process", self.worker.start, "the figures")

    def poll(self) -> None:
        """Lets the process have its say, and loggers what was drawn; never waits for a drawing."""
        if self.worker is not None:
            self._attempt("drawing process", self.worker.poll, "the figures")
        self.gallery.show()

    def hand_over(self, snapshot: Snapshot, memory: Memory, said: Sequence[str], *, is_partial: bool) -> None:
        """Gives an evaluation to the process.

        Args:
            snapshot: The evaluation.
            memory: Of its set.
            said: Sentences of alerts and verdicts on it.
            is_partial: The epoch has not been trained to its end.
        """
        folder = self.places.folder
        if self.worker is None or folder is None:
            return
        n_bytes = 2 * sum(part.nbytes for part in (snapshot.embeddings.queries, snapshot.embeddings.documents))
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, _SPARE_BYTES + n_bytes)
        job = self._job(snapshot, memory, tuple(said), is_partial=is_partial)
        self._resumed_after = None
        order = 0 if snapshot.epoch is None else (snapshot.step or 0) + 1
        name = f"{order:09d}_{job.place}"
        if job.events is not None:
            self.gallery.expect(name, snapshot.label, snapshot.step or 0)
        self.worker.submit(name, partial(write_job, snapshot, job))

    def conclude(self, memory: Memory, said: Sequence[str]) -> None:
        """Asks for the analysis of the run, the last of all; `said` stands on its page beside the alerts."""
        if self.worker is None or memory.history.last is None:
            return
        job = Job(
            prefix=self.places.prefix,
            events=None if self.places.events is None else f"{self.places.events}",
            said=(*_said_by(memory.history.rows), *said),
            faults=tuple(self._guard.faults),
        )
        act = partial(self.worker.conclude, _LAST, partial(write_job, None, job))
        self._attempt("drawing process", act, "the analysis of the run")

    def finish(self, end: float) -> None:
        """Waits for the drawings and ends the process.

        Args:
            end: Of the waiting, as `time.monotonic` counts.
        """
        if self.worker is not None:
            limit_s = max(0.0, end - time.monotonic())
            try:
                act = partial(_wait_for, self.worker, limit_s)
                self._attempt("drawing process", act, "the last figures")
            finally:  # Ctrl-C while waiting
                # A stage of its own: one that is no longer tried after three faults must not keep the process alive.
                self._attempt("end of the drawing process", self.worker.stop, "nothing")
        self.gallery.show()

    def _job(self, snapshot: Snapshot, memory: Memory, said: tuple[str, ...], *, is_partial: bool) -> Job:
        history = memory.history
        earlier = history.before(HistoryRow.of(snapshot, alert=False))
        is_logged = self.places.events is not None and (snapshot.epoch is not None or self._log_baseline)
        return Job(
            place=_place_name(snapshot, is_partial=is_partial),
            run_id=memory.run_id,
            prefix=self.places.prefix,
            events=f"{self.places.events}" if is_logged else None,
            baseline=history.baseline,
            history=tuple(replace(row, standing=None) for row in earlier[-MOST_PAST:]),
            alerts=said,
            said=(*_said_by(earlier), *said),
            faults=tuple(self._guard.faults),
            threshold=self._threshold,
            resumed_after=self._resumed_after,
        )


def _place_name(snapshot: Snapshot, *, is_partial: bool) -> str:
    if snapshot.epoch is None:
        return safe_name(snapshot.label)
    return f"epoch_{snapshot.epoch:04d}" + (f"_step_{snapshot.step}" if is_partial else "")


def _said_by(rows: Sequence[HistoryRow]) -> list[str]:
    return [f"{row.label}: the alert was firing; {row.reason}" for row in rows if row.alert]


def _wait_for(worker: Worker, limit_s: float) -> None:
    """Waits, says how long and for how much, and in the end what is left and how to draw it."""
    begun = time.monotonic()
    worker.poll()
    waited = worker.n_unfinished > 0
    worker.finish(limit_s, partial(_say_progress, limit_s))
    if waited and not worker.n_unfinished:
        failed = worker.n_torn + len(worker.jobs.names("failed"))
        some = f"{counted(failed, 'evaluation')} could not be drawn, or in part only, the others are"
        what = some if failed else "all figures are drawn"
        say_plainly(f"{what}, {time.monotonic() - begun:.0f} s after training")
    left = worker.n_unfinished + len(worker.jobs.names("deferred"))
    if left:
        undrawn = counted(left, "evaluation[s] [are|is] not drawn; draw [them|it] with")
        _log.warning("embviz: %s: %s", undrawn, worker.how_to_finish)


def _say_progress(limit_s: float, left: int) -> None:
    waiting = counted(left, "evaluation[s] [are|is]")
    say_plainly(f"training is over, {waiting} still being drawn (at most {limit_s:.0f} s)")


def set_aside_earlier(jobs: Jobs) -> None:
    """Sets aside what an earlier training left undrawn in the same folder, unless another one is drawing it."""
    if jobs.is_served():  # another training is drawing them
        return
    if n_left := jobs.abandon():
        say(f"an earlier run in this folder left {n_left} undrawn; they lie in {jobs.root}/abandoned")
