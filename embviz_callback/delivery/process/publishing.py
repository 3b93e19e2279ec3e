"""Jobs of one run become pictures and text: the drawing process's side of a hand-over."""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from embviz_callback.analysis.metrics.pictures import MAPS, wanted_maps
from embviz_callback.analysis.verdict.checklist import Check
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.process.handovers import Job, read_job
from embviz_callback.delivery.process.jobs import CONCLUSION, Jobs
from embviz_callback.delivery.process.training_side import this_python
from embviz_callback.delivery.run.keeping import MOST
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.delivery.showing import Begun, begin_maps, make_maps, show
from embviz_callback.delivery.sinks import FolderSink, Sink, TensorBoardSink
from embviz_callback.delivery.tensorboard.dashboards import layout_value, threshold_value
from embviz_callback.delivery.tensorboard.hparams import session_values
from embviz_callback.delivery.tensorboard.projector import write_projection
from embviz_callback.drawing.figures.filmstrip import draw_filmstrip
from embviz_callback.drawing.figures.png import to_png
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.files import edition, write_atomically
from embviz_callback.snapshot import SNAPSHOT, Snapshot, load_snapshot

_ANALYSIS = "embviz_callback.delivery.process.run_analysis"


@dataclass(frozen=True)
class Published:
    """What became of one job.

    Attributes:
        files: Figures and report of the evaluation, relative to the folder of the run.
        faults: What failed, one sentence each; everything else is on disk.
    """

    files: list[str]
    faults: list[str]


@dataclass(frozen=True, eq=False)
class _Ahead:
    """An evaluation that waits, with its maps in the making.

    Attributes:
        edition: Of its file: one of the same name may have taken its place.
        snapshot: Without maps.
        maps: To come.
    """

    edition: tuple[int, int, int]
    snapshot: Snapshot
    maps: Begun


class Publisher:
    """Turns jobs of one run into pictures and text, and keeps its evaluations for the next maps and for comparisons.

    Args:
        folder: Of the run; each evaluation gets a folder in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run = RunFolder(folder)
        self._last: tuple[str, Snapshot] | None = None
        self._ahead: _Ahead | None = None
        self._analysis = _AnalysisBeside(self._run)
        self._event_files: dict[tuple[str, str], TensorBoardSink] = {}
        # Kept: what a thread waited for a processor, which its time limit leaves out, goes with it.
        self._threads = ThreadPoolExecutor(len(MAPS))

    def publish(self, folder: Path) -> Published:
        """Draws one job: a folder with a saved snapshot and ``job.json``, or with ``conclusion.json`` alone."""
        guard = Guard()
        if (folder / CONCLUSION).exists():
            self._conclude(read_job(folder), guard)
            return Published([], guard.faults)
        if self._last is not None:  # the first of a training makes the folder its own
            self._analysis.begin()
        (snapshot, begun), job, name = self._opened(folder), read_job(folder), folder.name
        begin = partial(self._begin, job)
        guard.attempt("beginning", begin, where=snapshot.label, skipped="forgetting what came after the checkpoint")
        previous = self._previous(snapshot, name)
        snapshot = snapshot.with_maps(make_maps(snapshot, previous, guard, self._threads, begun=begun))
        self._last = name, snapshot
        self._look_ahead(name)
        sinks = self._sinks(job, snapshot.step or 0)
        history = [(row.label, row.metrics) for row in job.history]
        data = self._run.data_check(snapshot)
        context = Context(job.baseline, history, alerts=(*job.alerts, *job.faults), data=data)
        checks, _ = show(snapshot, sinks, guard, context)
        self._finish(snapshot, job, name, checks, sinks, guard)
        written = [path for sink in sinks if isinstance(sink, FolderSink) for path in sink.written]
        return Published([f"{path.relative_to(self.folder)}" for path in written], guard.faults)

    def _finish(
        self, snapshot: Snapshot, job: Job, name: str, checks: Sequence[Check], sinks: Sequence[Sink], guard: Guard
    ) -> None:
        """What an evaluation leaves for the run: the page, the event file, and itself."""
        attempt = partial(guard.attempt, where=snapshot.label)
        renew = partial(self._renew_page, snapshot, job, checks, sinks, guard)
        attempt("page", renew, skipped="report.html and the film strips")
        for sink in sinks:
            attempt("writing", sink.flush, skipped=f"{type(sink).__name__}")
        keeping = partial(self._run.keep, snapshot, name)
        attempt(
            "keeping the evaluation", keeping, skipped="this evaluation in comparisons and as a start for the next maps"
        )
        if snapshot.settings.projector and job.events is not None:
            kept = {path.name for path in self._run.kept}
            project = partial(write_projection, Path(job.events), snapshot, name, kept)
            attempt("projector", project, skipped="this evaluation in the projector")

    def _conclude(self, job: Job, guard: Guard) -> None:
        """What is made once, of a training that has ended."""
        attempt = partial(guard.attempt, where="the end of the run")
        if not self._analysis.is_made():
            # Late: the first figures must not wait for what only the end needs.
            from embviz_callback.delivery.process.run_analysis import analyse_run

            act = partial(analyse_run, self._run)
            attempt("analysis", act, skipped="analysis.json and the analysis in report.html")
        last = attempt("reading", self._newest, skipped="the analysis in report.html")
        if last is None:
            return
        renew = partial(self._run.write_page, last, Context(alerts=job.said, notes=[*job.faults, *guard.faults]))
        attempt("page", renew, skipped="the analysis in report.html")
        if job.events is not None:
            write = partial(self._write_session, Path(job.events), job.prefix, last)
            attempt("writing", write, skipped="this run in TensorBoard's table of hyperparameters")

    def _newest(self) -> Snapshot | None:
        """The last kept evaluation."""
        kept = self._run.kept
        if self._last is not None and kept and self._last[0] == kept[-1].name:
            return self._last[1]
        return load_snapshot(kept[-1]) if kept else None

    def _write_session(self, events: Path, prefix: str, last: Snapshot) -> None:
        if not last.provenance.hparams:
            return
        sink = self._event_file(events, prefix)
        for value in session_values(last.provenance.hparams, last.metrics, prefix):
            sink.value(value, last.step or 0)
        sink.flush()

    def _begin(self, job: Job) -> None:
        """What is on disk of a training that is done anew must be gone before the maps start from it."""
        if job.resumed_after is not None:
            self._last = None
        self._run.belong_to(job.run_id, resumed_after=job.resumed_after)

    def _renew_page(
        self, snapshot: Snapshot, job: Job, checks: Sequence[Check], sinks: Sequence[Sink], guard: Guard
    ) -> None:
        self._run.add_view(snapshot, checks)
        views = self._run.write_page(snapshot, Context(alerts=job.said, notes=[*job.faults, *guard.faults]))
        # A strip shows the whole run: while others wait, the last of them will draw it.
        if Jobs(self.folder / "jobs").evaluations("pending"):
            return
        for method in wanted_maps(snapshot.settings):
            png = to_png(draw_filmstrip(views, method, n_left_out=self._run.n_left_out))
            write_atomically(self.folder / f"{method}_filmstrip.png", png)
            for sink in sinks:
                if isinstance(sink, TensorBoardSink):
                    sink.figure(f"{method}_filmstrip", png, snapshot.step or 0)

    def _sinks(self, job: Job, step: int) -> list[Sink]:
        sinks: list[Sink] = [FolderSink(self.folder / job.place)]
        if job.events is not None:
            sink = self._event_file(Path(job.events), job.prefix)
            if job.threshold is not None:
                sink.value(threshold_value(job.threshold, job.prefix), step)
            sinks.append(sink)
        return sinks

    def _event_file(self, events: Path, prefix: str) -> TensorBoardSink:
        key = (f"{events}", prefix)
        if key not in self._event_files:
            self._event_files[key] = TensorBoardSink(events, prefix=prefix)
            self._event_files[key].value(layout_value(prefix), 0)
        return self._event_files[key]

    def _previous(self, snapshot: Snapshot, name: str) -> Snapshot | None:
        """The evaluation before this one in training: one that was put off may be drawn after later ones."""
        before = [path for path in self._run.kept if path.name < name]
        found = self._last if self._last is not None and self._last[0] < name else None
        if before and (found is None or found[0] < before[-1].name):
            found = before[-1].name, load_snapshot(before[-1])
        same = found is not None and found[1].subset.fingerprint == snapshot.subset.fingerprint
        return found[1] if found is not None and same else None

    def _opened(self, folder: Path) -> tuple[Snapshot, Begun | None]:
        """The evaluation in a job, and its maps where they were begun beside the figures of the one before."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.edition == edition(folder / SNAPSHOT):
            return ahead.snapshot, ahead.maps
        return load_snapshot(folder), None

    def _look_ahead(self, name: str) -> None:
        """Begins the maps of the evaluation behind this one, if it waits already: figures leave a second core idle."""
        jobs = Jobs(self.folder / "jobs")
        for following in [one for one in jobs.evaluations("pending") if one > name][:1]:
            folder = jobs.root / "pending" / following
            with suppress(Exception):  # it has been put off, or cannot be read, which it will say when its turn comes
                if read_job(folder).resumed_after is None:
                    found, snapshot = edition(folder / SNAPSHOT), load_snapshot(folder)
                    begun = begin_maps(snapshot, self._previous(snapshot, following), self._threads)
                    self._ahead = _Ahead(found, snapshot, begun)


class _AnalysisBeside:
    """The analysis in a process of its own, beside the last drawings: two cores are idle when a training has ended.

    Args:
        run: The folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Starts it where the training has ended and at least two evaluations are still to be drawn.

        Fewer are drawn before the process has imported what it needs.
        """
        jobs = Jobs(self._run.path / "jobs")
        waiting = jobs.evaluations("pending", "active")
        has_ended = len(jobs.names("pending")) > len(jobs.evaluations("pending"))
        # Of more than are kept, some will be gone when all are drawn: what is found must not depend on who is faster.
        if self._process is None and has_ended and len(waiting) > 1 and len(waiting) + len(self._run.kept) <= MOST:
            with suppress(OSError):  # it is made at the end
                command = [this_python(), "-P", "-m", _ANALYSIS, f"{self._run.path}"]
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def is_made(self) -> bool:
        """Waits for it; whether it was begun and is there."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return False
        with process.stdin:  # its end would be the process's too
            return process.wait() == 0
