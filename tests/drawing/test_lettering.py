"""Lines of text drawn from outlines look as matplotlib's own, take the same room, and are outlined once."""

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from packaging.version import Version

from embviz_callback.drawing import lettering, style
from embviz_callback.drawing.lettering import FAMILY, Canvas, Lines

VIETNAMESE = "Phòng trọ quận Bình Thạnh, giá 3tr5/tháng, gần ĐH — “ở ghép”: ✓ ≡ ✗ AVATAR Ỷ"

unhinted = pytest.mark.skipif(
    Version(matplotlib.__version__) < Version("3.11"), reason="before 3.11 matplotlib moves letters onto whole pixels"
)


@style.styled
def drawn(canvas: type[FigureCanvasAgg], text: str, **look: object) -> np.ndarray:
    """Darkness, 0 to 255, of a line on a white page."""
    figure = Figure(figsize=(9, 9), dpi=100)
    figure.text(0.0213, 0.4177, text, fontsize=12, **look)
    page = canvas(figure)
    page.draw()
    return 255.0 - np.asarray(page.buffer_rgba())[..., :3].mean(axis=2)


@unhinted
@pytest.mark.parametrize(
    "look", [{}, {"rotation": 90, "ha": "center"}, {"rotation": 30}, {"va": "top", "color": "#0072B2"}]
)
def test_a_line_looks_as_matplotlib_draws_it(look: dict[str, object]) -> None:
    ours, theirs = drawn(Canvas, VIETNAMESE, **look), drawn(FigureCanvasAgg, VIETNAMESE, **look)
    inked = theirs > 0
    assert inked.sum() > 3000
    assert np.abs(ours - theirs)[inked].mean() < 12  # of 255
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.01)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


@unhinted
@pytest.mark.parametrize("size", [8, 10.5, 16])
@pytest.mark.parametrize("text", [VIETNAMESE, "0.94", "…", "gỹ", "1,000 queries · n = 5", " two  spaces "])
@style.styled
def test_a_line_takes_the_room_that_matplotlib_measures(text: str, size: float) -> None:
    prop = FontProperties(family=[FAMILY], size=size)
    ours = lettering._Renderer(800, 100, 100).get_text_width_height_descent(text, prop, False)
    theirs = RendererAgg(800, 100, 100).get_text_width_height_descent(text, prop, False)
    assert ours == pytest.approx(theirs, abs=1.0)  # px


@style.styled
def test_lines_of_one_artist_look_as_each_for_itself() -> None:
    lines, pages = [(0.1, 0.7, VIETNAMESE), (0.2, 0.3, "مرحبا 0.94")], []
    for is_one in (True, False):
        axes = Figure(figsize=(9, 2), dpi=100).add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        if is_one:
            axes.add_artist(Lines(lines, 9.5, "#5A5A5A"))
        else:
            for x, y, text in lines:
                axes.text(x, y, text, fontsize=9.5, color="#5A5A5A", parse_math=False)
        page = Canvas(axes.figure)
        page.draw()
        pages.append(np.asarray(page.buffer_rgba()).copy())
    assert pages[0].min() < 128
    assert np.array_equal(*pages)


@pytest.mark.parametrize("text", ["مرحبا", "שלום", "z\u0301\u0302", "$\\frac{a}{b}$"])
def test_scripts_that_need_shaping_marks_and_mathematics_are_left_to_matplotlib(text: str) -> None:
    assert np.array_equal(drawn(Canvas, text, parse_math=True), drawn(FigureCanvasAgg, text, parse_math=True))


def test_a_letter_is_outlined_once() -> None:
    drawn(Canvas, VIETNAMESE)
    known = lettering._outline.cache_info().misses
    drawn(Canvas, VIETNAMESE[::-1])
    assert lettering._outline.cache_info().misses == known
