"""One evaluation to every place: maps, figures and report from a job on disk."""

import json
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from embviz_callback.analysis.maps.layouts import open_layout
from embviz_callback.analysis.maps.projections import Projection, Skipped, heatmap_rows, project
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import MAPS, wanted_figures, wanted_maps
from embviz_callback.analysis.verdict.checklist import Check, bright_diagonal, checklist
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.process.jobs import CONCLUSION, Jobs
from embviz_callback.delivery.run.data_check import data_check_once
from embviz_callback.delivery.run.keeping import keep, kept_folders
from embviz_callback.delivery.run.run_page import forget_after, forget_before, publish_page
from embviz_callback.delivery.sinks import FolderSink, Sink, TensorBoardSink
from embviz_callback.delivery.tensorboard.dashboards import layout_value, threshold_value
from embviz_callback.delivery.tensorboard.hparams import session_values
from embviz_callback.delivery.tensorboard.projector import write_projection
from embviz_callback.drawing.figures.catalogue import draw, to_png
from embviz_callback.drawing.figures.filmstrip import draw_filmstrip
from embviz_callback.drawing.reports.evaluation_report import report
from embviz_callback.files import write_atomically
from embviz_callback.snapshot import Snapshot, load_snapshot

Maps = Mapping[str, Projection | Skipped]


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
        self._kept: tuple[str, Snapshot] | None = None
        self._event_files: dict[tuple[str, str], TensorBoardSink] = {}
        # Kept: what a thread waited for a processor, which its time limit leaves out, goes with it.
        self._threads = ThreadPoolExecutor(len(MAPS))

    def publish(self, job: Path) -> Published:
        """Draws one job: a folder with a saved snapshot and ``job.json``, or with ``conclusion.json`` alone."""
        guard = Guard(on_error="warn", note=lambda row: None)
        if (job / CONCLUSION).exists():
            self._conclude(json.loads((job / CONCLUSION).read_text(encoding="utf-8")), guard)
            return Published([], guard.faults)
        snapshot = load_snapshot(job)
        facts = json.loads((job / "job.json").read_text(encoding="utf-8")) | {"folder": str(self.folder)}
        forget = partial(self._forget, job, facts)
        guard.attempt("beginning", forget, where=snapshot.label, skipped="forgetting what came after the checkpoint")
        snapshot = snapshot.with_maps(make_maps(snapshot, self._previous(snapshot, job.name), guard, self._threads))
        sinks = self._sinks(facts, snapshot.step or 0)
        checks = show(snapshot, facts, sinks, guard)
        renew = partial(self._renew_page, snapshot, facts, checks, sinks, guard)
        guard.attempt("page", renew, where=snapshot.label, skipped="report.html and the film strips")
        for sink in sinks:
            guard.attempt("writing", sink.flush, where=snapshot.label, skipped=f"{type(sink).__name__}")
        keeping = partial(self._keep, snapshot, job.name)
        skipped = "this evaluation in comparisons and as a start for the next maps"
        guard.attempt("keeping the evaluation", keeping, where=snapshot.label, skipped=skipped)
        if snapshot.settings.projector and facts["events"] is not None:
            project_it = partial(self._project, Path(facts["events"]), snapshot, job.name)
            guard.attempt("projector", project_it, where=snapshot.label, skipped="this evaluation in the projector")
        written = [path for sink in sinks if isinstance(sink, FolderSink) for path in sink.written]
        return Published([f"{path.relative_to(self.folder)}" for path in written], guard.faults)

    def _conclude(self, facts: Mapping[str, Any], guard: Guard) -> None:
        """What is made once, of a training that has ended."""
        # Late: the first figures must not wait for what only the end needs.
        from embviz_callback.delivery.run.run_analysis import publish_analysis

        where = "the end of the run"
        act = partial(publish_analysis, self.folder, facts)
        guard.attempt("analysis", act, where=where, skipped="analysis.json and the analysis in report.html")
        if facts["events"] is not None:
            act = partial(self._write_session, facts)
            guard.attempt("writing", act, where=where, skipped="this run in TensorBoard's table of hyperparameters")

    def _write_session(self, facts: Mapping[str, Any]) -> None:
        kept = kept_folders(self.folder)
        last = load_snapshot(kept[-1]) if kept else None
        if last is None or not last.provenance.get("hparams"):
            return
        sink = self._event_file(facts)
        for value in session_values(last.provenance["hparams"], last.metrics, facts["prefix"]):
            sink.value(value, last.step or 0)
        sink.flush()

    def _project(self, events: Path, snapshot: Snapshot, name: str) -> None:
        write_projection(events, snapshot, name, {path.name for path in kept_folders(self.folder)})

    def _forget(self, job: Path, facts: Mapping[str, Any]) -> None:
        """What is on disk of a training that is done anew, before the maps start from it."""
        if facts["resumed_after"] is not None:
            self._kept = None
            forget_after(self.folder, int(facts["resumed_after"]))
        elif not facts["history"]:
            forget_before(self.folder, job)

    def _renew_page(
        self,
        snapshot: Snapshot,
        facts: Mapping[str, Any],
        checks: Sequence[Check],
        sinks: Sequence[Sink],
        guard: Guard,
    ) -> None:
        notes = [*facts["faults"], *guard.faults]
        views = publish_page(
            self.folder,
            snapshot,
            checks=checks,
            alerts=facts["said"],
            notes=notes,
            title=f"Run {self.folder.resolve().parent.name}",
            data=data_check_once(self.folder, snapshot),
        )
        # A strip shows the whole run: while others wait, the last of them will draw it.
        if Jobs(self.folder / "jobs").has_evaluations():
            return
        for method in wanted_maps(snapshot.settings):
            png = to_png(draw_filmstrip(views, method))
            write_atomically(self.folder / f"{method}_filmstrip.png", png)
            for sink in sinks:
                if isinstance(sink, TensorBoardSink):
                    sink.figure(f"{method}_filmstrip", png, snapshot.step or 0)

    def _sinks(self, facts: Mapping[str, Any], step: int) -> list[Sink]:
        sinks: list[Sink] = [FolderSink(self.folder / facts["place"])]
        if facts["events"] is not None:
            sink = self._event_file(facts)
            if facts["threshold"] is not None:
                sink.value(threshold_value(float(facts["threshold"]), facts["prefix"]), step)
            sinks.append(sink)
        return sinks

    def _event_file(self, facts: Mapping[str, Any]) -> TensorBoardSink:
        key = (facts["events"], facts["prefix"])
        if key not in self._event_files:
            self._event_files[key] = TensorBoardSink(Path(facts["events"]), prefix=facts["prefix"])
            self._event_files[key].value(layout_value(facts["prefix"]), 0)
        return self._event_files[key]

    def _previous(self, snapshot: Snapshot, name: str) -> Snapshot | None:
        """The evaluation before this one in training: one that was put off may be drawn after later ones."""
        before = [path for path in kept_folders(self.folder) if path.name < name]
        found = self._kept if self._kept is not None and self._kept[0] < name else None
        if before and (found is None or found[0] < before[-1].name):
            found = before[-1].name, load_snapshot(before[-1])
        same = found is not None and found[1].subset.fingerprint == snapshot.subset.fingerprint
        return found[1] if found is not None and same else None

    def _keep(self, snapshot: Snapshot, name: str) -> None:
        self._kept = name, snapshot
        keep(self.folder, snapshot, name)


def make_maps(snapshot: Snapshot, previous: Snapshot | None, guard: Guard, threads: Executor) -> Maps:
    """Both maps of a snapshot, made at once.

    Both libraries spend their time outside Python's lock, and each map is the same as if it were made alone. No
    more than one of them may use numba: its threads abort the process when two do (umap #665).

    Args:
        snapshot: Without maps.
        previous: Whose maps they start from, if they are to stay put.
        guard: Catches what goes wrong in one, so that the other is made.
        threads: One for each map.

    Returns:
        Under the key of each method a map, or why there is none.
    """
    maps: dict[str, Projection | Skipped] = {method: Skipped(f"left out by skip_{method}") for method in MAPS}
    wanted = wanted_maps(snapshot.settings)
    for method in wanted:
        # Here, where nothing else is imported meanwhile; what cannot be imported is said by the map itself.
        with suppress(Exception, SystemExit):
            open_layout(method)
    # Warnings are silenced in the whole process by each map, which must not outlast the other.
    with warnings.catch_warnings():
        making = {method: threads.submit(_make_map, snapshot, previous, method) for method in wanted}
        wait(making.values())
    for method, future in making.items():
        made = guard.attempt(f"{method} map", future.result, where=snapshot.label, skipped="this map")
        maps[method] = made or Skipped(f"the map failed: {guard.faults[-1]}")
    return maps


def _make_map(snapshot: Snapshot, previous: Snapshot | None, method: str) -> Projection | Skipped:
    before = None if previous is None else previous.maps.get(method)
    before = before if isinstance(before, Projection) else None
    return project(snapshot.embeddings, method, seed=snapshot.settings.seed, previous=before)


def show(snapshot: Snapshot, facts: Mapping[str, Any], sinks: Sequence[Sink], guard: Guard) -> tuple[Check, ...]:
    """Draws the figures, writes the report and gives both to every sink.

    Args:
        snapshot: With maps.
        facts: Of the job: baseline, history and alerts.
        sinks: Not flushed here.
        guard: Catches what goes wrong in one figure or one sink.

    Returns:
        The checklist.
    """
    step = snapshot.step or 0
    made: list[str] = []
    for name in wanted_figures(snapshot.settings):
        png = guard.attempt(name, partial(_png, name, snapshot), where=snapshot.label, skipped="this figure")
        if png is None:
            continue
        made.append(name)
        for sink in sinks:
            act = partial(sink.figure, name, png, step)
            guard.attempt("writing", act, where=snapshot.label, skipped=f"{name} in {type(sink).__name__}")
    checks = _checks(snapshot, made)
    text = guard.attempt(
        "report",
        partial(_report, snapshot, facts, checks, made, guard.faults),
        where=snapshot.label,
        skipped="the report",
    )
    for sink in sinks if text else ():
        act = partial(sink.text, "report", text or "", step)
        guard.attempt("writing", act, where=snapshot.label, skipped=f"the report in {type(sink).__name__}")
    return checks


def _png(name: str, snapshot: Snapshot) -> bytes:
    return to_png(draw(name, snapshot))


def _checks(snapshot: Snapshot, made: Sequence[str]) -> tuple[Check, ...]:
    settings = snapshot.settings
    pairs = heatmap_rows(snapshot.embeddings, settings.heatmap_pairs, settings.seed)
    bright = bright_diagonal(snapshot.embeddings, pairs[:, 0], pairs[:, 1]) if len(pairs) else None
    return checklist(snapshot.metrics, snapshot.maps, made, bright)


def _report(
    snapshot: Snapshot,
    facts: Mapping[str, Any],
    checks: Sequence[Check],
    made: Sequence[str],
    faults: Sequence[str],
) -> str:
    baseline = facts["baseline"]
    return report(
        snapshot,
        checks=checks,
        baseline=None if baseline is None else Metrics.from_dict(baseline),
        history=[(row["label"], Metrics.from_dict(row)) for row in facts["history"]],
        alerts=[*facts["alerts"], *facts["faults"], *faults],
        figures=made,
        data=data_check_once(Path(facts["folder"]), snapshot),
    )
