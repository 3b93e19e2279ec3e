"""The maps: where queries and their documents lie."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.analysis.metrics.pictures import FIGURES, MAPS
from embviz_callback.drawing import style
from embviz_callback.drawing.figures.painting import Places, Sizes, in_radii, outcomes, paint_map, placed
from embviz_callback.drawing.wording import number, percent
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot

_HALF_WIDTHS = (2.2, 3.0, 5.0, 10.0)  # in map radii; the first that holds all points

_HEIGHT = 905  # px
# A fixed square of 700 px: points of two epochs can be compared at the same place of the picture.
_SQUARE = (75, 130, 700, 700)

_SIZES = Sizes(document=55, hit=34, miss=80, outline=1.3, rim=0.6)


@style.styled
def draw_map(snapshot: Snapshot, method: str) -> Figure:
    """Queries and documents on a plane, each query joined to what answers it.

    The axes count radii of the map from its middle, so that they are the same at every epoch and
    a distance can be read in the unit in which displacement is given.

    Args:
        snapshot: With a map, or the reason why there is none.
        method: Key of MAPS.

    Returns:
        The map, or a panel with the reason.
    """
    made, title = snapshot.map_of(method), FIGURES[MAPS[method].figure].title
    if isinstance(made, Skipped):
        return style.text_panel(title, snapshot, made.reason)
    figure = style.new_figure(_HEIGHT, is_fixed=True)
    style.head(figure, title, snapshot)
    axes = style.placed_axes(figure, *_SQUARE)
    places, is_hit = in_radii(placed(made)), snapshot.similarity.is_hit
    _join(axes, places[: len(is_hit)], places[len(is_hit) :], snapshot.embeddings.relevance, is_hit)
    paint_map(axes, places, outcomes(places, is_hit, _SIZES, names=True), above=3)
    style.legend_above(axes, ncols=3, markerscale=1.4, handletextpad=0.2)
    _frame(axes, places)
    n_missing = int((~np.isfinite(places[:, 0])).sum())
    style.foot(figure, snapshot, *_facts(made, n_missing=n_missing), has_corpus=False)
    return figure


def _join(
    axes: Axes, queries: Places, documents: Places, relevance: NDArray[np.int64], found: NDArray[np.bool_]
) -> None:
    lines = np.stack([queries[relevance[:, 0]], documents[relevance[:, 1]]], axis=1)
    is_hit = found[relevance[:, 0]]
    axes.add_collection(LineCollection(list(lines[is_hit]), colors=style.FAINT, linewidths=0.8, alpha=0.35, zorder=1))
    axes.add_collection(LineCollection(list(lines[~is_hit]), colors=style.MISS, linewidths=1.0, alpha=0.5, zorder=2))


def _frame(axes: Axes, places: Places) -> None:
    reach = float(np.nanmax(np.abs(places)))
    half = next((width for width in _HALF_WIDTHS if reach <= 0.98 * width), reach * 1.05)
    axes.set(xlim=(-half, half), ylim=(-half, half), aspect="equal")
    step = 1 if half < 5 else round(half / 5)
    ticks = np.arange(-int(half / step) * step, half + step / 2, step)
    axes.set(xticks=ticks, yticks=ticks, xlabel="radii of the map")
    axes.grid(visible=True)


def _facts(made: Projection, *, n_missing: int) -> tuple[str, ...]:
    moved = "" if made.displacement is None else f" · moved {number(made.displacement, 2)} radii since the last map"
    quality = f"trustworthiness {number(made.trustworthiness)} · continuity {number(made.continuity)}{moved}"
    near = f"positive among the 10 nearest points: {percent(made.clear_share)} of queries"
    lost = f" · {counted(n_missing, 'unusable row')} not drawn" if n_missing else ""
    return quality, f"{near}{lost}", f"{made.parameter} · seed {made.seed} · {made.note}"
