"""The type of the figures: how wide each letter is, and lines of text drawn from outlines kept.

Matplotlib lays every text out two times and renders each of its letters anew: a figure of two hundred lines spent three
quarters of its time on that. Here a letter is outlined once in a process, and a line is one path.
"""

import functools
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font, Kerning, LoadFlags
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

FAMILY = "DejaVu Sans"
_EM = 64  # px at which the font is measured
_FIRST_SHAPED = 0x590  # scripts from here on may be joined or run to the left
_SIMPLE_AGAIN = range(0x1E00, 0x2C00)  # Latin and Greek with accents, punctuation, arrows, signs


class Canvas(FigureCanvasAgg):
    """A canvas for PNG that draws lines of text as single paths."""

    def get_renderer(self) -> RendererAgg:
        """Ours, of the figure's size; the same one for the same size."""
        size = *self.get_width_height(physical=True), self.figure.dpi
        if self._lastKey != size:
            self.renderer, self._lastKey = _Renderer(*size), size
        found: RendererAgg = self.renderer
        return found


class _Renderer(RendererAgg):
    """Leaves to matplotlib what is mathematics or belongs to a script that needs shaping."""

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, ismath: Any = False, mtext: Any = None
    ) -> None:
        if ismath or not _is_ours(s, prop):
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        gc.set_linewidth(0)
        gc.set_snap(False)  # upright stems keep their width
        place = Affine2D().scale(self._size(prop)).rotate_deg(angle).translate(x, self.height - y)
        self.draw_path(gc, _line(s).path, place, gc.get_rgb())

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> tuple[float, float, float]:
        if ismath or not _is_ours(s, prop):
            width, height, descent = super().get_text_width_height_descent(s, prop, ismath)
            return width, height, descent
        line, size = _line(s), self._size(prop)
        return line.width * size, (line.top - line.bottom) * size, -line.bottom * size

    def _size(self, prop: FontProperties) -> float:
        size: float = prop.get_size_in_points() * self.dpi / 72
        return size


class Lines(Artist):
    """Lines of one size and colour, each from the left end of its baseline.

    One artist for all: laid out as a `Text` each, the captions of forty maps take as long as the maps.

    Args:
        lines: (x, y, text) in the coordinates of the axes that they are added to.
        size: Points.
        colour: As matplotlib names it.
    """

    zorder = 3  # that of other text

    def __init__(self, lines: Sequence[tuple[float, float, str]], size: float, colour: str) -> None:
        super().__init__()
        self._lines, self._colour = lines, colour
        self._prop = FontProperties(family=[FAMILY], size=size)

    def get_text(self) -> str:
        """All of them, one below the other."""
        return "\n".join(text for _, _, text in self._lines)

    def draw(self, renderer: RendererBase) -> None:
        """Draws them; called by matplotlib."""
        gc = renderer.new_gc()
        gc.set_foreground(self._colour)
        _, height = renderer.get_canvas_width_height()
        places = self.get_transform().transform([(x, y) for x, y, _ in self._lines])
        for (x, y), (_, _, text) in zip(places.tolist(), self._lines, strict=True):
            renderer.draw_text(gc, x, height - y, text, self._prop, 0)
        gc.restore()
        self.stale = False


class _Line(NamedTuple):
    """A line of text in units of its type size: the outlines of its letters, and what room they take."""

    path: Path
    width: float
    bottom: float
    top: float


class _Letter(NamedTuple):
    """A letter's outline in units of the type size, as `Path` takes it."""

    corners: NDArray[np.float64]
    codes: NDArray[np.uint8]


def has_glyph(character: str) -> bool:
    """Whether the font can show it."""
    return ord(character) in _glyphs()


@functools.lru_cache(maxsize=4096)
def advance(character: str) -> float:
    """How far a letter moves the pen, in units of the type size."""
    glyph = _font().load_char(ord(character), flags=LoadFlags.NO_HINTING)
    return float(glyph.linearHoriAdvance) / 65536 / _EM


def _is_ours(text: str, prop: FontProperties) -> bool:
    return prop.get_family() == [FAMILY] and prop.get_weight() == "normal" and all(map(_stands_alone, text))


@functools.lru_cache(maxsize=4096)
def _stands_alone(character: str) -> bool:
    code = ord(character)
    in_range = code < _FIRST_SHAPED or code in _SIMPLE_AGAIN
    return in_range and not unicodedata.combining(character) and has_glyph(character)


@functools.lru_cache(maxsize=1024)
def _line(text: str) -> _Line:
    pen, before = 0.0, ""
    corners, codes = [np.zeros((1, 2))], [np.array([Path.MOVETO])]
    for character in text:
        pen += _kerning(before, character) if before else 0.0
        letter = _outline(character)
        corners.append(letter.corners + np.array([pen, 0.0]))
        codes.append(letter.codes)
        pen += advance(character)
        before = character
    every = np.concatenate(corners)
    # From the pen's start to its end, where no letter reaches further: so does matplotlib.
    (left, bottom), (right, top) = every.min(axis=0).tolist(), every.max(axis=0).tolist()
    return _Line(Path(every, np.concatenate(codes)), max(pen, right) - left, bottom, top)


@functools.lru_cache(maxsize=4096)
def _outline(character: str) -> _Letter:
    if character.isspace():
        return _Letter(np.zeros((0, 2)), np.zeros(0, dtype=np.uint8))
    drawn = TextPath((0, 0), character, size=_EM, prop=FontProperties(family=[FAMILY]))
    return _Letter(np.asarray(drawn.vertices) / _EM, np.asarray(drawn.codes))


@functools.lru_cache(maxsize=16384)
def _kerning(left: str, right: str) -> float:
    """How much nearer two letters stand than their widths say, in units of the type size."""
    font = _font()
    pair = font.get_char_index(ord(left)), font.get_char_index(ord(right))
    return font.get_kerning(*pair, Kerning.UNFITTED) / 64 / _EM


@functools.cache
def _font() -> FT2Font:
    font = FT2Font(font_manager.findfont(FAMILY, fallback_to_default=False))
    font.set_size(_EM, 72)
    return font


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(_font().get_charmap())
