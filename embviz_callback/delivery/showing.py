"""One evaluation shown: its maps, its figures and its report, in every place that is to have them."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from dataclasses import replace
from functools import partial

from embviz_callback.analysis.maps.layouts import open_layout
from embviz_callback.analysis.maps.projections import Projection, Skipped, project
from embviz_callback.analysis.metrics.pictures import MAPS, wanted_figures, wanted_maps
from embviz_callback.analysis.verdict.checklist import Check, bright_cells, checklist
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.sinks import Sink
from embviz_callback.drawing.figures.png import draw, to_png
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.drawing.reports.evaluation_report import report
from embviz_callback.snapshot import Snapshot

Maps = Mapping[str, Projection | Skipped]
Begun = Mapping[str, Future[Projection | Skipped]]
Progress = Callable[[int, int], None]


def make_maps(
    snapshot: Snapshot,
    previous: Snapshot | None,
    guard: Guard,
    threads: Executor,
    progress: Callable[[str], Progress | None] = lambda method: None,
    begun: Begun | None = None,
) -> Maps:
    """The maps of a snapshot, as many at once as there are threads.

    Args:
        snapshot: Without maps.
        previous: Whose maps they start from, if they are to stay put.
        guard: Catches what goes wrong in one, so that the other is made.
        threads: In which they are made.
        progress: Gives, for a map, what is told of steps done and in all.
        begun: What `begin_maps` gave for this snapshot, where it was asked before.

    Returns:
        Under the key of each method a map, or why there is none.
    """
    maps: dict[str, Projection | Skipped] = {method: Skipped(f"left out by skip_{method}") for method in MAPS}
    # Warnings are silenced in the whole process by each map, which must not outlast the other.
    with warnings.catch_warnings():
        making = begin_maps(snapshot, previous, threads, progress) if begun is None else begun
        wait(making.values())
    for method, future in making.items():
        made = guard.attempt(f"{method} map", future.result, where=snapshot.label, skipped="this map")
        maps[method] = made or Skipped(f"the map failed: {guard.faults[-1]}")
    return maps


def begin_maps(
    snapshot: Snapshot,
    previous: Snapshot | None,
    threads: Executor,
    progress: Callable[[str], Progress | None] = lambda method: None,
) -> Begun:
    """Begins the maps of a snapshot, for `make_maps`, and waits for none.

    They spend their time outside Python's lock, and each is the same as if it were made alone. None may use
    numba's own threads, which abort the process when two ask for them (umap #665).

    Args:
        snapshot: Without maps.
        previous: Whose maps they start from.
        threads: In which they are made.
        progress: As of `make_maps`.

    Returns:
        Under the key of each method that is wanted the map to come.
    """
    wanted = wanted_maps(snapshot.settings)
    for method in wanted:
        # Here, where nothing else is imported meanwhile; what cannot be imported is said by the map itself.
        with suppress(Exception, SystemExit):
            open_layout(method)
    return {method: threads.submit(_make_map, snapshot, previous, method, progress(method)) for method in wanted}


def _make_map(
    snapshot: Snapshot, previous: Snapshot | None, method: str, progress: Progress | None
) -> Projection | Skipped:
    before = None if previous is None else previous.maps.get(method)
    before = before if isinstance(before, Projection) else None
    return project(snapshot.embeddings, method, seed=snapshot.settings.seed, previous=before, progress=progress)


def show(snapshot: Snapshot, sinks: Sequence[Sink], guard: Guard, context: Context) -> tuple[tuple[Check, ...], str]:
    """Draws the figures, writes the report and gives both to every sink.

    Args:
        snapshot: With maps.
        sinks: Not flushed here.
        guard: Catches what goes wrong in one figure or one sink.
        context: For the report.

    Returns:
        The checklist, and the report; empty where it failed.
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
    said = replace(context, alerts=[*context.alerts, *guard.faults])
    write = partial(report, snapshot, checks, said, figures=made)
    text = guard.attempt("report", write, where=snapshot.label, skipped="the report") or ""
    for sink in sinks if text else ():
        act = partial(sink.text, "report", text, step)
        guard.attempt("writing", act, where=snapshot.label, skipped=f"the report in {type(sink).__name__}")
    return checks, text


def _png(name: str, snapshot: Snapshot) -> bytes:
    return to_png(draw(name, snapshot))


def _checks(snapshot: Snapshot, made: Sequence[str]) -> tuple[Check, ...]:
    bright = bright_cells(snapshot.embeddings, seed=snapshot.settings.seed)
    return checklist(snapshot.metrics, snapshot.maps, made, bright)
