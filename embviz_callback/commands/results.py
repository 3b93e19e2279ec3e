"""What the evaluation of one checkpoint leaves behind: arrays, numbers, maps, figures, report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from embviz_callback.analysis.maps.projections import Projection, Skipped, heatmap_rows, project
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import FIGURES, MAPS, wanted_figures, wanted_maps
from embviz_callback.analysis.verdict.checklist import Check, bright_diagonal, checklist
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.exports import embeddings_npz, errors_csv, metrics_json, to_json
from embviz_callback.files import write_atomically
from embviz_callback.pairs.weights import default_rule
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
        label: The checkpoint in as few words as tell it from the others.
        folder: Holds its files.
        metrics: Its numbers.
        content: What ``metrics.json`` holds.
        faults: Figures that could not be drawn, one sentence each.
    """

    label: str
    folder: Path
    metrics: Metrics
    content: Mapping[str, Any]
    faults: tuple[str, ...]


def write_results(
    snapshot: Snapshot, label: str, folder: Path, terminal: Terminal, data: Mapping[str, Any] | None = None
) -> Outcome:
    """Every file of an evaluation, each as soon as it can be made.

    The numbers are on disk before the first map is begun, so that no failure of a map or a figure
    loses them.

    Args:
        snapshot: Without maps.
        label: For messages.
        folder: Made if it is not there.
        terminal: Hears what is going on.
        data: What the data check found.

    Returns:
        What was made.
    """
    for name in _FILES:
        # What an earlier evaluation left must not stand beside the figures of this one.
        (folder / name).unlink(missing_ok=True)
    write_atomically(folder / "embeddings.npz", embeddings_npz(snapshot))
    write_atomically(folder / "metrics.json", to_json(metrics_json(snapshot, ())))
    write_atomically(folder / "errors.csv", errors_csv(snapshot))
    snapshot = snapshot.with_maps(_maps(snapshot, terminal))
    made, faults = _draw(snapshot, label, folder, terminal)
    checks = checklist(snapshot.metrics, snapshot.maps, made, _bright(snapshot))
    content = metrics_json(snapshot, checks)
    write_atomically(folder / "metrics.json", to_json(content))
    write_atomically(folder / "report.md", _report(snapshot, checks, made, faults, data))
    write_atomically(folder / "report.html", _page(snapshot, checks, faults, data))
    return Outcome(label, folder, snapshot.metrics, content, tuple(faults))


def _maps(snapshot: Snapshot, terminal: Terminal) -> dict[str, Projection | Skipped]:
    maps: dict[str, Projection | Skipped] = {}
    settings = snapshot.settings
    for method, row in MAPS.items():
        if method not in wanted_maps(settings):
            maps[method] = Skipped(f"left out by --skip-{method}")
            continue
        bar = terminal.bar(row.title)
        maps[method] = project(snapshot.embeddings, method, seed=settings.seed, progress=bar)
    return maps


def _draw(snapshot: Snapshot, label: str, folder: Path, terminal: Terminal) -> tuple[list[str], list[str]]:
    """Names of the figures made, and what went wrong with the others."""
    made, faults = [], []
    for name in wanted_figures(snapshot.settings):
        fault = _attempt(partial(_draw_one, name, snapshot, folder / f"{name}.png"))
        if fault:
            faults.append(f"{name} could not be drawn: {fault}")
            terminal.say(f"{label}: {faults[-1]}")
        else:
            made.append(name)
    return made, faults


def _draw_one(name: str, snapshot: Snapshot, path: Path) -> None:
    from embviz_callback.drawing.figures.catalogue import draw, to_png  # matplotlib

    write_atomically(path, to_png(draw(name, snapshot)))


def _attempt(act: Callable[[], None]) -> str:
    """What went wrong; one figure must not take the other results along."""
    try:
        act()
    except OSError:
        raise  # a full disk is no matter of one figure
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""


def _bright(snapshot: Snapshot) -> float | None:
    pairs = heatmap_rows(snapshot.embeddings, snapshot.settings.heatmap_pairs, snapshot.settings.seed)
    return bright_diagonal(snapshot.embeddings, pairs[:, 0], pairs[:, 1]) if len(pairs) else None


def _report(
    snapshot: Snapshot,
    checks: Sequence[Check],
    made: Sequence[str],
    faults: Sequence[str],
    data: Mapping[str, Any] | None,
) -> str:
    from embviz_callback.drawing.reports.evaluation_report import report

    return report(snapshot, checks=checks, figures=made, alerts=faults, data=data)


def _page(snapshot: Snapshot, checks: Sequence[Check], faults: Sequence[str], data: Mapping[str, Any] | None) -> str:
    from embviz_callback.drawing.page.page import page

    answers: list[Mapping[str, Any]] = []
    fault = _attempt(lambda: answers.append(_answers(snapshot)))
    notes = [*faults, *([f"the analysis failed: {fault}"] if fault else [])]
    return page(
        [snapshot], checks=[checks], notes=notes, title=snapshot.label, data=data, analysis=next(iter(answers), None)
    )


def _answers(snapshot: Snapshot) -> Mapping[str, Any]:
    """What the records' own columns and hard negatives tell; `embviz analyse` is told more."""
    from embviz_callback.analysis.why.answers import Questions, analyse
    from embviz_callback.drawing.page.page_analysis import answers_view

    questions = Questions(rule=default_rule(), draws=snapshot.settings.bootstrap_draws, seed=snapshot.settings.seed)
    return answers_view(analyse([snapshot], questions), snapshot.label)
