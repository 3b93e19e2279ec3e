"""All epochs' maps in one picture."""

import base64
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.drawing import style
from embviz_callback.drawing.figures.painting import Frame, Places, Sizes, common_frame, outcomes, paint_map
from embviz_callback.drawing.page.epoch_view import View
from embviz_callback.drawing.wording import number, percent
from embviz_callback.grammar import counted

MOST_FRAMES = 40
_WIDTH = 1200  # px
_NARROW = 170  # px
_CAPTION = 46  # px above a frame
_HEAD, _FOOT = 40, 44  # px
_SIZES = Sizes(document=5, hit=8, miss=13, outline=0.5)


@style.styled
def draw_filmstrip(views: Sequence[View], method: str) -> Figure:
    """The maps of a run side by side, all on the same axes.

    TensorBoard keeps ten images of a tag; this one shows the whole run. Above 40 evaluations
    evenly spaced ones are shown, the first and the last among them.

    Args:
        views: What `embviz_callback.drawing.page.page.epoch_view` gave, in the order of training.
        method: Key of MAPS.

    Returns:
        The figure; without any map one that says why.
    """
    mapped = [view for view in views if "points" in view.map_of(method)]
    frames = [mapped[place] for place in _chosen(len(mapped))]
    if not frames:
        return _empty(views, method)
    columns = min(len(frames), max(4, math.ceil(math.sqrt(1.4 * len(frames)))))
    rows = math.ceil(len(frames) / columns)
    side = (_WIDTH - 20) / columns
    height = round(_HEAD + _FOOT + rows * (side + _CAPTION))
    figure = style.new_figure(height, _WIDTH, is_fixed=True)
    places = [_places(view, method) for view in frames]
    frame = common_frame(places)
    for place, view in enumerate(frames):
        left = 10 + (place % columns) * side
        top = _HEAD + (place // columns) * (side + _CAPTION) + _CAPTION
        box = (left + 4) / _WIDTH, 1 - (top + side - 4) / height, (side - 8) / _WIDTH, (side - 8) / height
        axes = figure.add_axes(box)
        is_hit = np.array([rank == 1 for rank in view.ranks])
        paint_map(axes, places[place], outcomes(places[place], is_hit, _SIZES))
        _bare(axes, frame)
        _caption(axes, _facts(view, method, frame.count_outside(places[place])), side)
    _write(figure, method, _foot(frames, len(mapped), is_cut=any(map(frame.count_outside, places))))
    return figure


def _chosen(n: int) -> list[int]:
    if n <= MOST_FRAMES:
        return list(range(n))
    return sorted({int(place) for place in np.linspace(0, n - 1, MOST_FRAMES).round()})


def _places(view: View, method: str) -> Places:
    """Queries first, then documents; NaN for what is on no map."""
    made = view.map_of(method)
    packed = np.frombuffer(base64.b64decode(made["points"]), dtype="<i2").reshape(-1, 2).astype(np.float64)
    packed[packed == np.iinfo(np.int16).min] = np.nan
    return np.asarray(packed / np.iinfo(np.int16).max * made["half"] + np.asarray(made["centre"]))


def _bare(axes: Axes, frame: Frame) -> None:
    frame.put(axes)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=style.PALE)


def _facts(view: View, method: str, n_outside: int) -> tuple[str, str]:
    made = view.map_of(method)
    moved = "" if made["displacement"] is None else f", moved {number(made['displacement'], 2)}"
    cut = f", {n_outside} cut off" if n_outside else ""
    return view.label, f"trust {number(made['trustworthiness'], 2)}{moved}{cut}"


def _caption(axes: Axes, facts: tuple[str, str], side: float) -> None:
    small = 9.5 if side > _NARROW else 8
    lines = (
        (style.fitted(facts[0], side - 12, 12), 12, style.INK, 19),
        (style.fitted(facts[1], side - 10, small), small, style.FAINT, 4),
    )
    for text, size, colour, above in lines:
        axes.annotate(
            text,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, above * 72 / style.DPI),
            textcoords="offset points",
            fontsize=size,
            color=colour,
            parse_math=False,
        )


def _foot(frames: Sequence[View], n_maps: int, *, is_cut: bool) -> str:
    first, last = (sum(rank == 1 for rank in view.ranks) / len(view.ranks) for view in (frames[0], frames[-1]))
    missing = f"{counted(n_maps - len(frames), 'evaluation')} between them not shown · " if n_maps > len(frames) else ""
    axes = "same axes, far points cut off" if is_cut else "same axes everywhere"
    return (
        f"{missing}blue: query whose first document is right (first map {percent(first)}, last {percent(last)})"
        f" · red cross: wrong · green diamond: document · {axes}"
    )


def _write(figure: Figure, method: str, foot: str) -> None:
    title = f"{MAPS[method].title} maps of the run"
    figure.suptitle(title, x=0.012, y=1 - 10 / figure.bbox.height, ha="left", fontsize=style.TITLE_SIZE)
    room = figure.bbox.width - 30
    text = style.fitted(foot, room, style.NOTE_SIZE)
    figure.text(0.012, 14 / figure.bbox.height, text, fontsize=style.NOTE_SIZE, color=style.FAINT, parse_math=False)


def _empty(views: Sequence[View], method: str) -> Figure:
    reasons = [view.map_of(method)["reason"] for view in views if "reason" in view.map_of(method)]
    figure = style.new_figure(240, _WIDTH, is_fixed=True)
    reason = reasons[-1] if reasons else "no such map was made"
    _write(figure, method, f"Not drawn: {reason}")
    return figure
