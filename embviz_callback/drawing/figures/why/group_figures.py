"""Groups as figures: their metrics with intervals, how close they lie, where they lie on the map."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embviz_callback.analysis.maps.projections import Skipped
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.analysis.why.columns import Columns, memberships
from embviz_callback.analysis.why.groups import SMALL, Group, Grouping
from embviz_callback.drawing import style
from embviz_callback.drawing.figures.painting import Layer, in_radii, paint_map, placed
from embviz_callback.drawing.wording import number
from embviz_callback.embeddings import Rows
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot

_ROW = 30  # px per group
_SHOWN = ((Metrics.rank1, (-0.02, 1.02)), (Metrics.margin, (-0.2, 1.0)))
# px: what all cells share, and of one cell; from there on a name may lie at 45 degrees, a number stands in it.
_SIDE, _LEAST_CELL, _MOST_CELL, _SLANTED, _WRITTEN = 540, 19, 72, 32, 40
_MAP_HEIGHT = 660
_ROOM = 150  # px for a label
# Okabe and Ito's colours once more, then the same again with another mark.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_MARKS = ("o", "s", "^")


@style.styled
def draw_groups(snapshot: Snapshot, grouping: Grouping) -> Figure:
    """Rank-1 and margin of every group with its interval, worst first.

    Args:
        snapshot: What was grouped, for title and corner.
        grouping: The groups.

    Returns:
        The figure.
    """
    height = 190 + _ROW * max(len(grouping.groups), 2)
    figure = style.new_figure(height)
    style.head(figure, f"By {grouping.column}, worst group first", snapshot)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, (row, limits) in zip((left, right), _SHOWN, strict=True):
        _intervals(axes, grouping.groups, row.name, snapshot.metrics[row.name])
        axes.set_xlabel(row.label)
        axes.set_xlim(*limits)
    left.set_yticks(range(len(grouping.groups)), [_name(group) for group in grouping.groups], parse_math=False)
    left.invert_yaxis()
    style.foot(figure, snapshot, *_group_facts(grouping))
    return figure


def _name(group: Group) -> str:
    mark = "*" if group.is_small else ""
    return f"{style.fitted(group.label, _ROOM, 12)} ({group.n_queries}){mark}"


def _group_facts(grouping: Grouping) -> tuple[str, ...]:
    facts = ["whiskers: 95 % intervals over queries · line: all queries · in brackets: queries of the group"]
    if any(group.is_small for group in grouping.groups):
        facts.append(f"* fewer than {SMALL} queries: says next to nothing")
    if grouping.n_left_out:
        facts.append(f"{counted(grouping.n_left_out, 'smaller group')} left out")
    if grouping.n_without:
        facts.append(f"{counted(grouping.n_without, 'query')} without a value")
    return tuple(facts)


def _intervals(axes: Axes, groups: Sequence[Group], name: str, overall: float) -> None:
    axes.grid(axis="x")
    if math.isfinite(overall):
        axes.axvline(overall, color=style.FAINT, linewidth=1.2, linestyle="--")
    for at, group in enumerate(groups):
        colour = style.FAINT if group.is_small else style.POSITIVE
        low, high = group.intervals.get(name, (math.nan, math.nan))
        if math.isfinite(low):
            axes.plot([low, high], [at, at], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([group.figures[name]], [at], "o", color=colour, markersize=7)
    axes.margins(y=0.5 / max(len(groups), 1))


@style.styled
def draw_affinity(snapshot: Snapshot, grouping: Grouping) -> Figure:
    """Mean cosine of one group's queries with another's documents, relevant pairs left out.

    Args:
        snapshot: What was grouped.
        grouping: The groups; needs at least two with documents.

    Returns:
        The matrix, or a panel that says why there is none.
    """
    title = f"Similarity between groups of {grouping.column}"
    if len(grouping.labels) < 2 or not np.isfinite(grouping.affinity).any():
        return style.text_panel(title, snapshot, "fewer than two groups have documents of their own")
    cell = float(np.clip(_SIDE / len(grouping.labels), _LEAST_CELL, _MOST_CELL))
    side = round(cell * len(grouping.labels))
    figure = style.new_figure(side + 290, max(style.WIDTH, side + 330))
    style.head(figure, title, snapshot)
    axes = figure.add_subplot()
    low, high = _tenths(grouping.affinity)
    colours = colormaps["cividis"].with_extremes(bad=style.PALE)
    image = axes.imshow(grouping.affinity, cmap=colours, interpolation="nearest", vmin=low, vmax=high)
    _name_cells(axes, grouping.labels, is_narrow=cell < _SLANTED)
    if cell >= _WRITTEN:
        _write_cells(axes, grouping.affinity, middle=(low + high) / 2)
    figure.colorbar(image, ax=axes, label="mean cosine similarity", shrink=0.8)
    style.foot(
        figure,
        snapshot,
        "pairs of a query with its own document are left out: a bright diagonal is closeness by content alone",
        f"colours span {number(low, 1)} to {number(high, 1)}, what the values need: other epochs may have others",
        f"silhouette of the documents by group: {number(grouping.silhouette)} (1: clusters, 0: mixed)",
    )
    return figure


def _tenths(values: NDArray[np.float64]) -> tuple[float, float]:
    """The tenths between which all values lie."""
    low, high = math.floor(10 * float(np.nanmin(values))) / 10, math.ceil(10 * float(np.nanmax(values))) / 10
    return low, max(high, low + 0.1)


def _name_cells(axes: Axes, labels: Sequence[str], *, is_narrow: bool) -> None:
    size = 10.5 if is_narrow else 12
    names = [style.fitted(label, _ROOM, size) for label in labels]
    turned: dict[str, Any] = {"rotation": 90} if is_narrow else {"rotation": 45, "ha": "right"}
    turned["rotation_mode"] = "default" if is_narrow else "anchor"
    axes.set_xticks(range(len(names)), names, fontsize=size, parse_math=False, **turned)
    axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)
    axes.set_xlabel("documents of")
    axes.set_ylabel("queries of")


def _write_cells(axes: Axes, values: NDArray[np.float64], *, middle: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        if math.isfinite(value):
            # Dark letters on the bright half of the scale.
            colour = style.INK if value > middle else "white"
            axes.text(column, row, number(value, 2), ha="center", va="center", fontsize=10, color=colour)


@style.styled
def draw_map_by(snapshot: Snapshot, method: str, columns: Columns, column: str) -> Figure:
    """The map's queries and documents, coloured by a column.

    Args:
        snapshot: With its maps.
        method: Key of MAPS.
        columns: What is known of the texts.
        column: Which of them; a text in several groups has the colour of the first.

    Returns:
        The map, or a panel with the reason.
    """
    title = f"{MAPS[method].title} map by {column}"
    made = snapshot.map_of(method)
    if isinstance(made, Skipped):
        return style.text_panel(title, snapshot, made.reason)
    figure = style.new_figure(_MAP_HEIGHT)
    style.head(figure, title, snapshot)
    axes = figure.add_subplot()
    codes, labels = _coded(columns, column, len(made.queries), len(made.documents))
    paint_map(axes, in_radii(placed(made)), _looks(codes, labels, len(made.queries)))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("map radii")
    axes.set_ylabel("map radii")
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=10.5)
    for text in legend.get_texts():
        text.set_parse_math(False)
    style.foot(figure, snapshot, f"small: queries, large: documents · {made.parameter}, seed {made.seed}")
    return figure


def _coded(columns: Columns, column: str, n_queries: int, n_documents: int) -> tuple[Rows, list[str]]:
    """A group number per text, the most frequent first; -1 without a group of its own colour."""
    both = memberships((*columns.queries, *columns.documents), column)
    room = len(_COLOURS) * len(_MARKS)
    labels = sorted(both, key=lambda label: -len(both[label]))[:room]
    codes = np.full(n_queries + n_documents, -1, dtype=np.int64)
    for code in reversed(range(len(labels))):
        codes[both[labels[code]]] = code
    return codes, labels


def _looks(codes: Rows, labels: Sequence[str], n_queries: int) -> list[Layer]:
    """A layer for each group that has any text; what is in none lies below."""
    sizes = np.where(np.arange(len(codes)) < n_queries, 16.0, 52.0)
    names = {-1: "other or none"} | {code: style.fitted(label, _ROOM, 10.5) for code, label in enumerate(labels)}
    return [
        Layer(
            codes == code,
            style.PALE if code < 0 else _COLOURS[code % len(_COLOURS)],
            _MARKS[max(code, 0) // len(_COLOURS)],
            sizes[codes == code],
            edge=style.INK,
            width=0.4,
            opacity=0.85,
            label=f"{name} ({int((codes == code).sum())})",
        )
        for code, name in names.items()
        if (codes == code).any()
    ]
