"""The figures of an analysis, by file name."""

from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from embviz_callback.analysis.maps.projections import Projection
from embviz_callback.analysis.why.analysis import Analysis
from embviz_callback.drawing.figures.why.feature_figures import (
    draw_confusions,
    draw_continuity,
    draw_importance,
    draw_thresholds,
)
from embviz_callback.drawing.figures.why.group_figures import draw_affinity, draw_groups, draw_map_by
from embviz_callback.files import safe_name
from embviz_callback.snapshot import Snapshot


def analysis_figures(snapshot: Snapshot, analysis: Analysis) -> dict[str, Callable[[], Figure]]:
    """What there is to draw; nothing is drawn until it is called.

    Args:
        snapshot: The evaluation, with its maps where they are wanted.
        analysis: Its analysis.

    Returns:
        Name, fit for a file and a TensorBoard tag, to what draws the figure.
    """
    found: dict[str, Callable[[], Figure]] = {}
    for grouping in analysis.groupings:
        name = safe_name(grouping.column)
        found[group_figure_name(grouping.column)] = partial(draw_groups, snapshot, grouping)
        if len(grouping.labels) > 1:
            found[f"affinity_{name}"] = partial(draw_affinity, snapshot, grouping)
        for method, made in snapshot.maps.items():
            if isinstance(made, Projection):
                found[f"{method}_by_{name}"] = partial(draw_map_by, snapshot, method, analysis.columns, grouping.column)
    if analysis.errors.confusions:
        found["confusions"] = partial(draw_confusions, snapshot, analysis.errors)
    if analysis.importance.effects:
        found["importance"] = partial(draw_importance, snapshot, analysis.importance)
    if analysis.edits is not None and analysis.edits.effects:
        title = "What a controlled edit moves"
        found["importance_edits"] = partial(draw_importance, snapshot, analysis.edits, title, over="listings")
    for curve in analysis.continuity:
        found[curve_figure_name(curve.column)] = partial(draw_continuity, snapshot, curve)
    found["thresholds"] = partial(draw_thresholds, snapshot, analysis.thresholds)
    return found


def group_figure_name(column: str) -> str:
    """The name of the figure of a column's groups."""
    return f"groups_{safe_name(column)}"


def curve_figure_name(column: str) -> str:
    """The name of the figure of a column's curve."""
    return f"continuity_{safe_name(column)}"
