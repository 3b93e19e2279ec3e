"""The folder of one evaluated checkpoint: arrays, numbers, figures, report and page."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import FIGURES
from embviz_callback.analysis.ship.lexical import Words
from embviz_callback.analysis.verdict.checklist import Check
from embviz_callback.analysis.why.analysis import Questions, analyse
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.results.result_files import embeddings_npz, errors_csv, metrics_json
from embviz_callback.delivery.showing import Maps, Progress, make_maps, show
from embviz_callback.delivery.sinks import FolderSink
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.page.page import page
from embviz_callback.drawing.page.page_analysis import analysis_view
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.files import to_json, write_atomically
from embviz_callback.pairs.weight_rule import default_rule
from embviz_callback.snapshot import Snapshot

_FILES = (
    *(f"{name}.png" for name in FIGURES),
    "metrics.json",
    "embeddings.npz",
    "errors.csv",
    "report.md",
    "report.html",
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one checkpoint.

    Attributes:
        snapshot: The evaluation, with its maps.
        folder: Holds its files.
        content: What ``metrics.json`` holds.
        faults: What could not be made, one sentence each.
        words: What words alone find, where they were asked.
    """

    snapshot: Snapshot
    folder: Path
    content: Mapping[str, Any]
    faults: tuple[str, ...] = ()
    words: Words | None = None

    @property
    def label(self) -> str:
        """The checkpoint in as few words as tell it from the others."""
        return self.snapshot.label

    @property
    def metrics(self) -> Metrics:
        """Its numbers."""
        return self.snapshot.metrics


def write_results(
    snapshot: Snapshot,
    folder: Path,
    context: Context,
    *,
    progress: Callable[[str], Progress | None] = lambda method: None,
) -> Outcome:
    """Every file of an evaluation, each as soon as it can be made.

    The numbers are on disk before the first map is begun, so that no failure of a map or a figure
    loses them.

    Args:
        snapshot: Without maps.
        folder: Made if it is not there.
        context: What else report and page say.
        progress: Gives, for a map, what is told of steps done and in all.

    Returns:
        What was made.
    """
    for name in _FILES:
        # What an earlier evaluation left must not stand beside the figures of this one.
        (folder / name).unlink(missing_ok=True)
    write_atomically(folder / "embeddings.npz", embeddings_npz(snapshot))
    write_atomically(folder / "metrics.json", to_json(metrics_json(snapshot, ())))
    write_atomically(folder / "errors.csv", errors_csv(snapshot))
    guard = Guard()  # a fault costs a warning and one figure
    snapshot = snapshot.with_maps(maps_of(snapshot, guard, progress))
    checks, _ = show(snapshot, [FolderSink(folder)], guard, context)
    content = metrics_json(snapshot, checks)
    write_atomically(folder / "metrics.json", to_json(content))
    write_atomically(folder / "report.html", result_page(snapshot, checks, guard, context))
    return Outcome(snapshot, folder, content, tuple(guard.faults))


def maps_of(snapshot: Snapshot, guard: Guard, progress: Callable[[str], Progress | None] = lambda method: None) -> Maps:
    """The maps of a snapshot, one after the other: two bars on one line would be none."""
    with ThreadPoolExecutor(1) as thread:
        return make_maps(snapshot, None, guard, thread, progress)


def result_page(snapshot: Snapshot, checks: Sequence[Check], guard: Guard, context: Context) -> str:
    """The page of one evaluation.

    Args:
        snapshot: With its maps.
        checks: The checklist.
        guard: Catches what goes wrong in the analysis; what it has caught stands on the page.
        context: What else stands on it.

    Returns:
        HTML.
    """
    analysis = guard.attempt(
        "analysis", partial(_analysis, snapshot), where=snapshot.label, skipped="the analysis on the page"
    )
    beside = replace(context, analysis=analysis, notes=guard.faults)
    return page([epoch_view(snapshot, checks=checks)], snapshot.subset, beside, title=snapshot.label)


def _analysis(snapshot: Snapshot) -> Mapping[str, Any]:
    """What the records' own columns and hard negatives tell; `embviz analyse` is told more."""
    questions = Questions(rule=default_rule(), draws=snapshot.settings.bootstrap_draws, seed=snapshot.settings.seed)
    return analysis_view(analyse([snapshot], questions), snapshot.label)
