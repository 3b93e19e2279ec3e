"""The maps: where queries and their documents lie."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embviz_callback.analysis.maps.map_quality import radius
from embviz_callback.analysis.maps.projections import Projection
from embviz_callback.analysis.metrics.pictures import FIGURES, MAPS
from embviz_callback.drawing import style
from embviz_callback.drawing.wording import counted, number, percent
from embviz_callback.snapshot import Snapshot

_HALF_WIDTHS = (2.2, 3.0, 5.0, 10.0)  # in map radii; the first that holds all points

_HEIGHT = 905  # px
# A fixed square of 700 px: points of two epochs can be compared at the same place of the picture.
_SQUARE = (75 / style.WIDTH, 130 / _HEIGHT, 700 / style.WIDTH, 700 / _HEIGHT)

Places = NDArray[np.float64]


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
    made, title = snapshot.maps.get(method), FIGURES[MAPS[method].figure].title
    if not isinstance(made, Projection):
        reason = "it was not asked for" if made is None else made.reason
        return style.text_panel(title, snapshot, reason)
    figure = style.new_figure(_HEIGHT, is_fixed=True)
    style.head(figure, title, snapshot)
    axes = figure.add_axes(_SQUARE)
    queries, documents = _in_radii(made)
    found = snapshot.similarity.is_hit
    _join(axes, queries, documents, snapshot.embeddings.relevance, found)
    _scatter(axes, queries, documents, found)
    _frame(axes, np.concatenate([queries, documents]))
    n_missing = len(queries) + len(documents) - _count(queries) - _count(documents)
    style.foot(figure, snapshot, *_facts(made, n_missing=n_missing), has_corpus=False)
    return figure


def _in_radii(made: Projection) -> tuple[Places, Places]:
    places = np.concatenate([made.queries, made.documents]).astype(np.float64)
    known = places[np.isfinite(places).all(axis=1)]
    places = (places - known.mean(axis=0)) / max(radius(known), 1e-12)
    return places[: len(made.queries)], places[len(made.queries) :]


def _join(
    axes: Axes, queries: Places, documents: Places, relevance: NDArray[np.int64], found: NDArray[np.bool_]
) -> None:
    lines = np.stack([queries[relevance[:, 0]], documents[relevance[:, 1]]], axis=1)
    is_hit = found[relevance[:, 0]]
    axes.add_collection(LineCollection(list(lines[is_hit]), colors=style.FAINT, linewidths=0.8, alpha=0.35, zorder=1))
    axes.add_collection(LineCollection(list(lines[~is_hit]), colors=style.MISS, linewidths=1.0, alpha=0.5, zorder=2))


def _scatter(axes: Axes, queries: Places, documents: Places, found: NDArray[np.bool_]) -> None:
    # Hollow, so that a query that lies on its document hides nothing.
    axes.scatter(
        documents[:, 0],
        documents[:, 1],
        s=55,
        marker="D",
        facecolors="none",
        edgecolors=style.DOCUMENT,
        linewidths=1.3,
        zorder=3,
        label=f"document ({_count(documents):,})",
    )
    layers = (("query, hit", found, style.POSITIVE, "o", 34), ("query, miss", ~found, style.MISS, "X", 80))
    for order, (name, chosen, colour, marker, size) in enumerate(layers, start=4):
        axes.scatter(
            queries[chosen, 0],
            queries[chosen, 1],
            s=size,
            c=colour,
            marker=marker,
            edgecolors="white",
            linewidths=0.6,
            zorder=order,
            label=f"{name} ({_count(queries[chosen]):,})",
        )
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=3,
        frameon=False,
        markerscale=1.4,
        handletextpad=0.2,
        borderaxespad=0.2,
    )


def _count(places: Places) -> int:
    return int(np.isfinite(places[:, 0]).sum())


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
