"""Jobs of one run become pictures and text: the drawing process's side of a hand-over."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from embviz_callback.analysis.metrics.pictures import MAPS, wanted_maps
from embviz_callback.analysis.verdict.checklist import Check
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.process.handovers import Job, read_job
from embviz_callback.delivery.process.jobs import CONCLUSION, Jobs
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.delivery.showing import make_maps, show
from embviz_callback.delivery.sinks import FolderSink, Sink, TensorBoardSink
from embviz_callback.delivery.tensorboard.dashboards import layout_value, threshold_value
from embviz_callback.delivery.tensorboard.hparams import session_values
from embviz_callback.delivery.tensorboard.projector import write_projection
from embviz_callback.drawing.figures.filmstrip import draw_filmstrip
from embviz_callback.drawing.figures.png import to_png
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.files import write_atomically
from embviz_callback.snapshot import Snapshot, load_snapshot


@dataclass(frozen=True)
class Published:
    """What became of one job.

    Attributes:
        files: Figures and report of the evaluation, relative to the folder of the run.
        faults: What failed, one sentence each; everything else is on disk.
    """

    files: list[str]
    faults: list[str]


class Publisher:
    """Turns jobs of one run into pictures and text, and keeps its evaluations for the next maps and for comparisons.

    Args:
        folder: Of the run; each evaluation gets a folder in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run = RunFolder(folder)
        self._last: tuple[str, Snapshot] | None = None
        self._event_files: dict[tuple[str, str], TensorBoardSink] = {}
        # Kept: what a thread waited for a processor, which its time limit leaves out, goes with it.
        self._threads = ThreadPoolExecutor(len(MAPS))

    def publish(self, folder: Path) -> Published:
        """Draws one job: a folder with a saved snapshot and ``job.json``, or with ``conclusion.json`` alone."""
        guard = Guard()
        if (folder / CONCLUSION).exists():
            self._conclude(read_job(folder), guard)
            return Published([], guard.faults)
        snapshot, job, name = load_snapshot(folder), read_job(folder), folder.name
        begin = partial(self._begin, job)
        guard.attempt("beginning", begin, where=snapshot.label, skipped="forgetting what came after the checkpoint")
        snapshot = snapshot.with_maps(make_maps(snapshot, self._previous(snapshot, name), guard, self._threads))
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
        keeping = partial(self._keep, snapshot, name)
        attempt(
            "keeping the evaluation", keeping, skipped="this evaluation in comparisons and as a start for the next maps"
        )
        if snapshot.settings.projector and job.events is not None:
            kept = {path.name for path in self._run.kept}
            project = partial(write_projection, Path(job.events), snapshot, name, kept)
            attempt("projector", project, skipped="this evaluation in the projector")

    def _conclude(self, job: Job, guard: Guard) -> None:
        """What is made once, of a training that has ended."""
        # Late: the first figures must not wait for what only the end needs.
        from embviz_callback.delivery.run.run_analysis import publish_analysis

        where = "the end of the run"
        act = partial(publish_analysis, self._run, Context(alerts=job.said, notes=job.faults))
        guard.attempt("analysis", act, where=where, skipped="analysis.json and the analysis in report.html")
        if job.events is not None:
            write = partial(self._write_session, Path(job.events), job.prefix)
            guard.attempt("writing", write, where=where, skipped="this run in TensorBoard's table of hyperparameters")

    def _write_session(self, events: Path, prefix: str) -> None:
        kept = self._run.kept
        last = load_snapshot(kept[-1]) if kept else None
        if last is None or not last.provenance.hparams:
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
        if Jobs(self.folder / "jobs").has_evaluations():
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

    def _keep(self, snapshot: Snapshot, name: str) -> None:
        self._last = name, snapshot
        self._run.keep(snapshot, name)
