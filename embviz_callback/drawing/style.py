"""What all figures have in common: size, type, colours, and text that any font can show."""

import functools
import unicodedata
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embviz_callback.drawing.lettering import FAMILY, advance, has_glyph
from embviz_callback.drawing.wording import pool
from embviz_callback.grammar import counted
from embviz_callback.pairs.texts import clean
from embviz_callback.snapshot import Snapshot

# Okabe and Ito's colours, told apart with any colour vision; each keeps its meaning in every figure.
POSITIVE = "#0072B2"
NEGATIVE = "#E69F00"
HARD = "#CC79A7"
DOCUMENT = "#009E73"
MISS = "#D55E00"
INK = "#000000"
FAINT = "#5A5A5A"
PALE = "#E8E8E8"

DPI = 100
WIDTH = 800  # px; TensorBoard shrinks pictures without smoothing
TITLE_SIZE, LABEL_SIZE, NOTE_SIZE = 16, 13, 10.5

BOX = "□"
ELLIPSIS = "…"
_LONGEST = 600  # characters looked at; no figure has room for more
_MOST_MARKS = 2  # combining marks on one letter; Vietnamese needs two
_LOOK: dict[str, Any] = {
    "font.family": [FAMILY],
    "font.size": 12,
    "figure.dpi": DPI,
    "axes.titlesize": LABEL_SIZE,
    "axes.labelsize": LABEL_SIZE,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 1.2,
    "axes.axisbelow": True,
    "grid.color": PALE,
    # The default (force_autohint) makes six thousand glyphs of the top-10 take half as long again.
    "text.hinting": "none",
}

_P = ParamSpec("_P")
_R = TypeVar("_R")


def styled(draw: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function that runs in the figures' own style, whatever the user's matplotlibrc says.

    Returns:
        The same function; the style holds for the call only. Type sizes are read when a text is
        made, fonts when it is drawn.
    """

    @functools.wraps(draw)
    def inside(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with style.context(["default", _LOOK]):
            return draw(*args, **kwargs)

    return inside


def new_figure(height: int, width: int = WIDTH, *, is_fixed: bool = False) -> Figure:
    """An empty figure of so many pixels, whose axes make room for each other or stay where they are put."""
    layout: Literal["constrained"] | None = None if is_fixed else "constrained"
    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout=layout, facecolor="white")


def placed_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes of so many pixels in a fixed figure: the same place in every epoch, and no costly search for it."""
    across, upwards = figure.bbox.size
    return figure.add_axes((left / across, bottom / upwards, width / across, height / upwards))


def head(figure: Figure, title: str, snapshot: Snapshot) -> None:
    """The title: what is shown, of which weights."""
    epoch = "" if snapshot.epoch is None or "epoch" in snapshot.label else f", epoch {snapshot.epoch}"
    entitle(figure, f"{title} · {snapshot.label}{epoch}")


def entitle(figure: Figure, title: str) -> None:
    """Writes one line above a figure."""
    where = {"y": 1 - 10 / figure.bbox.height} if figure.get_layout_engine() is None else {}
    text = fitted(title, figure.bbox.width - 40, TITLE_SIZE)
    figure.suptitle(text, x=0.012, ha="left", fontsize=TITLE_SIZE, parse_math=False, **where)


def foot(figure: Figure, snapshot: Snapshot, *lines: str, has_corpus: bool = True) -> None:
    """The corner: on how much data and which, and what else must be known to read the figure.

    Args:
        figure: Whose corner.
        snapshot: What it shows.
        lines: Stand above the size of the data.
        has_corpus: Whether the figure knows the corpus, where there is one, or the subset alone.
    """
    subset = snapshot.subset
    size = f"{counted(len(subset.queries), 'query')}, {pool(len(subset.documents), subset.n_corpus * has_corpus)}"
    size += ", without the corpus" if subset.n_corpus and not has_corpus else ""
    note(figure, *lines, f"{size} · subset {subset.fingerprint}")


def note(figure: Figure, *lines: str) -> None:
    """Writes lines below a figure."""
    text = "\n".join(fitted(line, figure.bbox.width - 30, NOTE_SIZE) for line in lines)
    where = {"y": 8 / figure.bbox.height} if figure.get_layout_engine() is None else {}
    figure.supxlabel(text, x=0.012, ha="left", fontsize=NOTE_SIZE, color=FAINT, parse_math=False, **where)


def legend_above(axes: Axes, **others: Any) -> None:
    """A legend over the upper edge; options as of `Axes.legend`."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, borderaxespad=0.2, **others)


def shown(text: str) -> str:
    """Any text as the font can show it.

    Returns:
        The text composed (NFC), without invisible characters, with a box for each character that
        the font lacks: nothing vanishes unseen and no figure fails.
    """
    composed = unicodedata.normalize("NFC", clean(text[:_LONGEST]))
    visible: list[str] = []
    marks = 0
    for character in composed:
        category = unicodedata.category(character)
        if category == "Cf" or "\ufe00" <= character <= "\ufe0f":
            continue  # joiners, direction marks, variation selectors
        marks = marks + 1 if category == "Mn" else 0
        if marks <= _MOST_MARKS:
            visible.append(character if has_glyph(character) else BOX)
    return "".join(visible)


@functools.lru_cache(maxsize=8192)  # most texts of one evaluation are those of the one before
def fitted(text: str, room: float, size: float) -> str:
    """A text for one line of so many pixels, clipped with an ellipsis.

    Args:
        text: Anything.
        room: Pixels.
        size: Points.

    Returns:
        What `shown` makes of it, or as much of that as there is room for.
    """
    whole = shown(text)
    ems = room / (size * DPI / 72)
    if len(text) <= _LONGEST and width_in_ems(whole) <= ems:
        return whole
    left = ems - width_in_ems(ELLIPSIS)
    for count, character in enumerate(whole):
        left -= advance(character)
        if left < 0:
            return whole[:count].rstrip() + ELLIPSIS
    return whole + ELLIPSIS


def fitted_to_both_ends(text: str, room: float, size: float) -> str:
    """A text for one line of so many pixels, clipped in its middle: paths and runs are told apart by either end.

    Args:
        text: Anything.
        room: Pixels.
        size: Points.

    Returns:
        As `fitted`.

    Example:
        >>> fitted_to_both_ends("checkpoints/epoch=0-step=3.ckpt", 190, 12)
        'checkpoi…p=3.ckpt'
    """
    whole = shown(text)
    if fitted(whole, room, size) == whole:
        return whole
    head, tail = fitted(whole, room / 2, size), fitted(whole[::-1], room / 2, size)
    return head + tail.removesuffix(ELLIPSIS)[::-1].lstrip()


def width_in_ems(text: str) -> float:
    """Length of a line in units of its type size."""
    return sum(advance(character) for character in text)


@styled
def text_panel(title: str, snapshot: Snapshot, reason: str) -> Figure:
    """A figure that says why there is no figure.

    Args:
        title: Of the figure that is missing.
        snapshot: What it would have shown.
        reason: Why, and how to mend it.

    Returns:
        The panel.
    """
    figure = new_figure(420)
    head(figure, title, snapshot)
    axes = figure.add_subplot()
    axes.set_axis_off()
    lines = wrapped(f"Not drawn: {reason}", figure.bbox.width - 120, TITLE_SIZE)
    axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=TITLE_SIZE, color=MISS, parse_math=False)
    foot(figure, snapshot)
    return figure


def wrapped(text: str, room: float, size: float) -> list[str]:
    """A text broken between words into lines of so many pixels; a longer word is clipped.

    Args:
        text: Anything.
        room: Pixels.
        size: Points.

    Returns:
        The lines.
    """
    ems = room / (size * DPI / 72)
    lines = [""]
    for word in shown(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if width_in_ems(longer) <= ems:
            lines[-1] = longer
        else:
            lines.append(fitted(word, room, size))
    return [line for line in lines if line]
