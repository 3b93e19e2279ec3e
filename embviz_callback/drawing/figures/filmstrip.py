"""All epochs' maps in one picture."""

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.drawing import style
from embviz_callback.drawing.figures.painting import Places, Sizes, common_frame, outcomes, paint_map
from embviz_callback.drawing.lettering import Lines
from embviz_callback.drawing.page.epoch_view import View
from embviz_callback.drawing.wording import number, percent
from embviz_callback.grammar import counted

MOST_FRAMES = 40
_WIDTH = 1200  # px
_NARROW = 170  # px
_CAPTION, _GAP = 46, 4  # px above a frame, and around it
_HEAD, _FOOT = 40, 44  # px
_SIZES = Sizes(document=5, hit=8, miss=13, outline=0.5)


@style.styled
def draw_filmstrip(views: Sequence[View], method: str, *, n_left_out: int = 0) -> Figure:
    """The maps of a run side by side, all on the same axes.

    TensorBoard keeps ten images of a tag; this one shows the whole run. Above 40 evaluations
    evenly spaced ones are shown, the first and the last among them.

    Args:
        views: What `embviz_callback.drawing.page.page.epoch_view` gave, in the order of training.
        method: Key of MAPS.
        n_left_out: Evaluations between these of which there are no views any more.

    Returns:
        The figure; without any map one that says why.
    """
    mapped = [view for view in views if "points" in view.map_of(method)]
    frames = [mapped[place] for place in _chosen(len(mapped))]
    if not frames:
        return _empty(views, method)
    grid = _Grid.of(len(frames))
    figure = style.new_figure(grid.height, _WIDTH, is_fixed=True)
    # One pair of axes for all frames, in pixels: forty pairs cost ten times as much.
    axes = style.placed_axes(figure, 0, 0, _WIDTH, grid.height)
    axes.set(xlim=(0, _WIDTH), ylim=(0, grid.height))
    axes.set_axis_off()
    places = [_places(view, method) for view in frames]
    frame = common_frame(places)
    shown = [grid.put(frame.inside(one), at) for at, one in enumerate(places)]
    hits = [np.array([rank == 1 for rank in view.ranks]) for view in frames]
    queries = [one[: len(hit)] for one, hit in zip(shown, hits, strict=True)]
    documents = [one[len(hit) :] for one, hit in zip(shown, hits, strict=True)]
    every = np.concatenate([*queries, *documents])
    paint_map(axes, every, outcomes(every, np.concatenate(hits), _SIZES), above=2)
    corners = [grid.corners(at) for at in range(len(frames))]
    axes.add_collection(PolyCollection(corners, facecolors="none", edgecolors=style.PALE, linewidths=1.2))
    facts = [_facts(view, method, frame.count_outside(one)) for view, one in zip(frames, places, strict=True)]
    for lines in _captions(grid, facts):
        axes.add_artist(lines)
    _write(figure, method, _foot(frames, len(mapped) + n_left_out, is_cut=any(map(frame.count_outside, places))))
    return figure


@dataclass(frozen=True)
class _Grid:
    """Where the frames lie, in px from the lower left corner."""

    columns: int
    side: float
    height: int

    @classmethod
    def of(cls, n: int) -> "_Grid":
        columns = min(n, max(4, math.ceil(math.sqrt(1.4 * n))))
        side = (_WIDTH - 20) / columns
        return cls(columns, side, round(_HEAD + _FOOT + math.ceil(n / columns) * (side + _CAPTION)))

    def corners(self, at: int) -> Places:
        """``(4, 2)`` of a frame, the lower left one first."""
        left = 10 + (at % self.columns) * self.side + _GAP
        top = self.height - _HEAD - (at // self.columns) * (self.side + _CAPTION) - _CAPTION - _GAP
        right, bottom = left + self.side - 2 * _GAP, top - self.side + 2 * _GAP
        return np.array([(left, bottom), (right, bottom), (right, top), (left, top)])

    def put(self, places: Places, at: int) -> Places:
        """Places of 0 to 1 across a frame, as px."""
        corners = self.corners(at)
        put: Places = corners[0] + places * (corners[2] - corners[0])
        return put


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


def _facts(view: View, method: str, n_outside: int) -> tuple[str, str]:
    made = view.map_of(method)
    moved = "" if made["displacement"] is None else f", moved {number(made['displacement'], 2)}"
    cut = f", {n_outside} cut off" if n_outside else ""
    return view.label, f"trust {number(made['trustworthiness'], 2)}{moved}{cut}"


def _captions(grid: _Grid, facts: Sequence[tuple[str, str]]) -> Iterator[Lines]:
    small = 9.5 if grid.side > _NARROW else 8
    corners = [grid.corners(at)[3] for at in range(len(facts))]
    for line, size, colour, above in ((0, 12, style.INK, 19.0), (1, small, style.FAINT, 4.0)):
        texts = [style.fitted(fact[line], grid.side - 12, size) for fact in facts]
        yield Lines([(x, y + above, text) for (x, y), text in zip(corners, texts, strict=True)], size, colour)


def _foot(frames: Sequence[View], n_maps: int, *, is_cut: bool) -> str:
    first, last = (sum(rank == 1 for rank in view.ranks) / len(view.ranks) for view in (frames[0], frames[-1]))
    missing = f"{counted(n_maps - len(frames), 'evaluation')} between them not shown · " if n_maps > len(frames) else ""
    axes = "same axes, far points cut off" if is_cut else "same axes everywhere"
    return (
        f"{missing}blue: query whose first document is right (first map {percent(first)}, last {percent(last)})"
        f" · red cross: wrong · green diamond: document · {axes}"
    )


def _write(figure: Figure, method: str, foot: str) -> None:
    style.entitle(figure, f"{MAPS[method].title} maps of the run")
    text = style.fitted(foot, figure.bbox.width - 30, style.NOTE_SIZE)
    figure.text(0.012, 14 / figure.bbox.height, text, fontsize=style.NOTE_SIZE, color=style.FAINT, parse_math=False)


def _empty(views: Sequence[View], method: str) -> Figure:
    reasons = [view.map_of(method)["reason"] for view in views if "reason" in view.map_of(method)]
    figure = style.new_figure(240, _WIDTH, is_fixed=True)
    reason = reasons[-1] if reasons else "no such map was made"
    _write(figure, method, f"Not drawn: {reason}")
    return figure
