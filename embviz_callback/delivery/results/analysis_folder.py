"""The files of an analysis: its findings, its figures and its report."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from embviz_callback.analysis.why.analysis import Analysis
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.results.result_files import analysis_json
from embviz_callback.drawing.figures.png import to_png
from embviz_callback.drawing.figures.why.analysis_figures import analysis_figures
from embviz_callback.drawing.reports.analysis_report import analysis_report
from embviz_callback.files import to_json, write_atomically
from embviz_callback.pairs.check.findings import Checkup
from embviz_callback.snapshot import Snapshot


def write_analysis(
    folder: Path, snapshot: Snapshot, analysis: Analysis, checkup: Checkup | None, *, guard: Guard | None = None
) -> Sequence[str]:
    """Writes ``analysis.json``, the figures and ``analysis.md``; numbers first, so that no figure loses them.

    Args:
        folder: Made if it is not there.
        snapshot: The evaluation, with its maps where they are wanted.
        analysis: Its analysis.
        checkup: What is wrong with the data.
        guard: Catches what goes wrong in one figure; None draws none.

    Returns:
        Names of the figures.
    """
    write_atomically(folder / "analysis.json", to_json(analysis_json(snapshot, analysis, checkup)))
    made: list[str] = []
    if guard is not None:
        for name, draw in analysis_figures(snapshot, analysis).items():
            act = partial(_write, folder / f"{name}.png", draw)
            if guard.attempt(name, act, where=f"analysis of {snapshot.label}", skipped="this figure"):
                made.append(name)
    write_atomically(folder / "analysis.md", analysis_report(snapshot, analysis, checkup=checkup, figures=made))
    return made


def _write(path: Path, draw: Callable[[], Figure]) -> bool:
    write_atomically(path, to_png(draw()))
    return True
