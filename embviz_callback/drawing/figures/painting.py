"""Maps on axes, whichever figure shows them: the points by their looks, and axes that several maps can share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from embviz_callback.analysis.maps.map_quality import radius
from embviz_callback.analysis.maps.projections import Projection
from embviz_callback.drawing import style

Places = NDArray[np.float64]  # (n, 2), a row of NaN for what is on no map

_FAR = 2.5  # times the distance that holds three quarters of a map's points


@dataclass(frozen=True, eq=False)
class Layer:
    """Points of one look.

    Attributes:
        chosen: ``(n,)`` which of the places.
        colour: Of a filled mark's face, of a hollow one's edge.
        marker: As matplotlib names it.
        size: Points squared, one for all or one for each chosen.
        edge: Colour of a filled mark's edge.
        width: Of the edge in points.
        is_hollow: Whether what lies below is seen.
        opacity: 1 for opaque.
        label: For the legend; empty for none.
    """

    chosen: NDArray[np.bool_]
    colour: str
    marker: str
    size: float | Places
    edge: str = "white"
    width: float = 0.0
    is_hollow: bool = False
    opacity: float | None = None
    label: str = ""


@dataclass(frozen=True)
class Sizes:
    """Of documents, hits and misses, in points squared, and the widths of their edges in points."""

    document: float
    hit: float
    miss: float
    outline: float
    rim: float = 0.0


@dataclass(frozen=True, eq=False)
class Frame:
    """A square that several maps are seen in.

    Attributes:
        middle: ``(2,)``.
        half: Half of its side.
    """

    middle: Places
    half: float

    def put(self, axes: Axes) -> None:
        """Sets the limits of axes."""
        (x, y), half = self.middle, self.half
        axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half))

    def inside(self, places: Places) -> Places:
        """Places as shares of the side, 0 to 1; NaN for what cannot be seen in it."""
        shares = (places - self.middle) / (2 * self.half) + 0.5
        is_seen = np.abs(places - self.middle).max(axis=1) <= self.half
        found: Places = np.where(is_seen[:, None], shares, np.nan)
        return found

    def count_outside(self, places: Places) -> int:
        """How many points cannot be seen in it."""
        return int((np.abs(places - self.middle).max(axis=1) > self.half).sum())  # false for NaN


def paint_map(axes: Axes, places: Places, layers: Sequence[Layer], *, above: int = 1) -> None:
    """Puts a map's points on axes, each layer over the one before.

    Args:
        axes: To paint on.
        places: ``(n, 2)``; NaN is left out.
        layers: The looks.
        above: The first layer's zorder.
    """
    for order, layer in enumerate(layers, start=above):
        x, y = places[layer.chosen].T
        axes.scatter(
            x,
            y,
            s=layer.size,
            marker=layer.marker,
            # A face that cannot be seen: without any, matplotlib draws each mark anew instead of stamping one.
            facecolors=(0, 0, 0, 0) if layer.is_hollow else layer.colour,
            edgecolors=layer.colour if layer.is_hollow else layer.edge,
            linewidths=layer.width,
            alpha=layer.opacity,
            zorder=order,
            label=layer.label or None,
        )


def outcomes(places: Places, is_hit: NDArray[np.bool_], sizes: Sizes, *, names: bool = False) -> list[Layer]:
    """The looks of documents, of queries that find theirs first and of those that do not.

    Args:
        places: Queries first, then documents.
        is_hit: ``(n_queries,)``.
        sizes: Of the marks.
        names: Whether the layers have names for a legend.

    Returns:
        Documents hollow, so that a query that lies on its document hides nothing.
    """
    n_queries, is_seen = len(is_hit), np.isfinite(places[:, 0])
    documents, hits = np.arange(len(places)) >= n_queries, np.zeros(len(places), dtype=np.bool_)
    hits[:n_queries] = is_hit
    misses = ~documents & ~hits

    def label(name: str, chosen: NDArray[np.bool_]) -> str:
        return f"{name} ({int((chosen & is_seen).sum()):,})" if names else ""

    return [
        Layer(
            documents,
            style.DOCUMENT,
            "D",
            sizes.document,
            width=sizes.outline,
            is_hollow=True,
            label=label("document", documents),
        ),
        Layer(hits, style.POSITIVE, "o", sizes.hit, width=sizes.rim, label=label("query, hit", hits)),
        Layer(misses, style.MISS, "X", sizes.miss, width=sizes.rim, label=label("query, miss", misses)),
    ]


def placed(made: Projection) -> Places:
    """A map's points, queries first."""
    return np.concatenate([made.queries, made.documents]).astype(np.float64)


def in_radii(places: Places, unit: Places | None = None) -> Places:
    """Places as radii of a map from its middle: the unit in which displacement is given.

    Args:
        places: ``(n, 2)``.
        unit: Another map, whose middle and radius count; None for its own.

    Returns:
        ``(n, 2)``.
    """
    known = places if unit is None else unit
    known = known[np.isfinite(known).all(axis=1)]
    moved: Places = (places - known.mean(axis=0)) / max(radius(known), 1e-12)
    return moved


def common_frame(maps: Sequence[Places]) -> Frame:
    """A square that holds every map but for the far points that lie off it.

    A cluster that one map of a run has thrown far out would shrink all others to a blot.

    Args:
        maps: Each ``(n, 2)``, all in one unit.

    Returns:
        The square, a little larger than what it holds.
    """
    near = np.concatenate([_without_far(places) for places in maps])
    low, high = near.min(axis=0), near.max(axis=0)
    return Frame((low + high) / 2, float((high - low).max()) * 0.52 or 1.0)


def _without_far(places: Places) -> Places:
    known = places[np.isfinite(places).all(axis=1)]
    if not len(known):
        return known
    distance = np.abs(known - np.median(known, axis=0)).max(axis=1)
    near: Places = known[distance <= _FAR * np.quantile(distance, 0.75)]
    return near
