"""Groups against each other: a scale that fits the values, names that can be read."""

from dataclasses import replace

import numpy as np
import planted
import pytest
from matplotlib.text import Text

from embviz_callback.analysis.why.columns import columns_of
from embviz_callback.analysis.why.groups import Grouping, grouped_by
from embviz_callback.drawing.figures.png import to_png
from embviz_callback.drawing.figures.why.group_figures import draw_affinity
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot


@pytest.fixture(scope="module")
def grouped() -> tuple[Snapshot, Grouping]:
    one = planted.evaluate(planted.records(60, 6), planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=0.5))
    made = take_snapshot(
        label="planted", subset=one.subset, embeddings=one.embeddings, settings=Settings(bootstrap_draws=100)
    )
    columns = columns_of(one.subset)
    return made, grouped_by(made.embeddings, made.similarity, columns, "price", draws=100)


def with_groups(grouped: tuple[Snapshot, Grouping], n: int, low: float, high: float) -> tuple[Snapshot, Grouping]:
    names = tuple(f"Quận {at} Bình Thạnh" for at in range(n))
    values = np.linspace(low, high, n * n).reshape(n, n)
    values[0, 0] = np.nan
    return grouped[0], replace(grouped[1], labels=names, affinity=values)


@pytest.mark.parametrize(
    ("low", "high", "limits"),
    [(-0.13, 0.37, (-0.2, 0.4)), (0.61, 0.68, (0.6, 0.7)), (0.5, 0.5, (0.5, 0.6)), (-0.02, 0.05, (-0.1, 0.1))],
)
def test_the_colours_span_the_tenths_around_the_values_and_the_figure_says_which(
    grouped: tuple[Snapshot, Grouping], low: float, high: float, limits: tuple[float, float]
) -> None:
    figure = draw_affinity(*with_groups(grouped, 5, low, high))
    assert figure.axes[0].images[0].get_clim() == pytest.approx(limits)
    text = "\n".join(found.get_text() for found in figure.findobj(Text))
    assert f"colours span {limits[0]} to {limits[1]}, what the values need" in text


@pytest.mark.parametrize("n", [2, 9, 20, 27, 60])
def test_no_name_of_a_group_lies_over_another(grouped: tuple[Snapshot, Grouping], n: int) -> None:
    figure = draw_affinity(*with_groups(grouped, n, -0.1, 0.4))
    to_png(figure)
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        names = axis.get_ticklabels()
        assert len(names) == n
        # Straight or turned by 90 degrees: what is upright of a box; at 45, what lies between two lines of text.
        along = np.array([name.get_window_extent().bounds for name in names])
        turned = names[0].get_rotation()
        step = abs(np.diff(along[:, 0] + along[:, 2] if axis is figure.axes[0].xaxis else along[:, 1]))
        line = names[0].get_fontsize() * 100 / 72
        assert step.min() * (np.sqrt(0.5) if turned == 45 else 1) >= line * 0.95


def test_numbers_stand_in_cells_that_are_large_enough(grouped: tuple[Snapshot, Grouping]) -> None:
    assert len(draw_affinity(*with_groups(grouped, 5, 0.1, 0.4)).axes[0].texts) == 24  # one is unknown
    assert not draw_affinity(*with_groups(grouped, 27, 0.1, 0.4)).axes[0].texts
