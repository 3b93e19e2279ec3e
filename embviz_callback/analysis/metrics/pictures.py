"""Every map method and every figure once.

To add a map is to add a row here and a module with its layout; to add another figure, a row here and a module that
draws it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

CLEAR_SHARE = 0.5  # of the queries, whose document is among the nearest points of a map
BRIGHT_SHARE = 0.85  # of a heatmap's rows, whose brightest cell is a right one
TRUSTED = 0.85  # trustworthiness below which a map's neighbours are often none


@dataclass(frozen=True)
class MapMethod:
    """A way of laying the embeddings out on a plane.

    Attributes:
        key: In options, files and tags: ``--skip-<key>``, ``<key>_projection``.
        title: As people call it.
        layout: ``module:function`` that gives its `Layout`.
    """

    key: str
    title: str
    layout: str

    @property
    def figure(self) -> str:
        """Name of the figure that shows it."""
        return f"{self.key}_projection"

    def opener(self) -> Callable[[], Any]:
        """The function that `layout` names; its module is imported only now."""
        return _named(self.layout)


@dataclass(frozen=True)
class FigureRow:
    """A figure of every evaluation.

    Attributes:
        name: Of its file, ``<name>.png``, and tag.
        title: In words.
        draws: ``module:function`` that takes a snapshot, and the key of the map if it needs one.
        needs: Key of the map that it shows; empty for none.
    """

    name: str
    title: str
    draws: str
    needs: str = ""

    def drawer(self) -> Callable[..., Any]:
        """What draws it of a snapshot; its module is imported only now."""
        draw = _named(self.draws)
        return partial(draw, method=self.needs) if self.needs else draw


def _named(path: str) -> Callable[..., Any]:
    module, _, function = path.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


_LAYOUTS = "embviz_callback.analysis.maps.layouts"
_DRAWING = "embviz_callback.drawing.figures"
_METHODS = (
    MapMethod("tsne", "t-SNE", f"{_LAYOUTS}:tsne_layout"),
    MapMethod("umap", "UMAP", f"{_LAYOUTS}:umap_layout"),
)
MAPS: Mapping[str, MapMethod] = {row.key: row for row in _METHODS}

FIGURES: Mapping[str, FigureRow] = {
    row.name: row
    for row in (
        *(FigureRow(one.figure, f"{one.title} map", f"{_DRAWING}.map_figures:draw_map", one.key) for one in _METHODS),
        FigureRow("similarity_heatmap", "heatmap", f"{_DRAWING}.heatmap:draw_heatmap"),
        FigureRow(
            "similarity_distribution", "distribution of similarities", f"{_DRAWING}.distribution:draw_distribution"
        ),
        FigureRow("top_k_predictions", "first ten of the worst queries", f"{_DRAWING}.top_k:draw_top_k"),
    )
}


def wanted_maps(settings: object) -> tuple[str, ...]:
    """Keys of the maps that an evaluation's settings do not leave out.

    Args:
        settings: With ``skip_<key>`` for each that can be left out.

    Returns:
        Keys, in the order of MAPS.
    """
    return tuple(key for key in MAPS if not getattr(settings, f"skip_{key}", False))


def wanted_figures(settings: object) -> tuple[str, ...]:
    """Names of the figures whose maps are wanted.

    Args:
        settings: As for `wanted_maps`.

    Returns:
        Names, in the order of FIGURES.
    """
    maps = wanted_maps(settings)
    return tuple(name for name, row in FIGURES.items() if not row.needs or row.needs in maps)
