"""What the figures of maps share: the points by their looks, one frame for many maps, few arrows."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from matplotlib.transforms import Bbox
from small_runs import a_run, a_subset

from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.drawing import style
from embviz_callback.drawing.figures.filmstrip import MOST_FRAMES, draw_filmstrip
from embviz_callback.drawing.figures.painting import Places, Sizes, common_frame, in_radii, outcomes, paint_map
from embviz_callback.drawing.figures.side_by_side import draw_comparison_maps
from embviz_callback.drawing.page.epoch_view import View, epoch_view
from embviz_callback.snapshot import Snapshot


def a_disk(n: int = 200) -> Places:
    """Points of a round map of radius 1."""
    angle, distance = np.arange(n) * 2.4, np.sqrt((np.arange(n) + 0.5) / n)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


def with_map(snapshot: Snapshot, places: Places) -> Snapshot:
    n, places = len(snapshot.subset.queries), places.astype(np.float32)
    made = snapshot.maps["tsne"]
    assert isinstance(made, Projection)
    return snapshot.with_maps({"tsne": replace(made, queries=places[:n], documents=places[n:])})


@pytest.fixture(scope="module")
def run() -> list[Snapshot]:
    """Four epochs of 40 queries and 40 documents on a round map; a sixth of the first lies far off."""
    places = a_disk(80)
    far = places.copy()
    far[:13] = 9.0 + 0.1 * places[:13]
    return [with_map(one, far if at == 0 else places) for at, one in enumerate(a_run(a_subset()))]


def said(figure: Figure) -> str:
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(match=lambda one: hasattr(one, "get_text")))


def test_documents_are_hollow_and_misses_lie_over_hits() -> None:
    places, is_hit = a_disk(5), np.array([True, False])
    axes = Figure().add_subplot()
    paint_map(axes, places, outcomes(places, is_hit, Sizes(5, 8, 13, outline=0.5), names=True), above=3)
    looks = [found for found in axes.collections if isinstance(found, PathCollection)]
    assert [found.get_label() for found in looks] == ["document (3)", "query, hit (1)", "query, miss (1)"]
    assert [found.get_zorder() for found in looks] == [3, 4, 5]
    assert looks[0].get_facecolors().tolist() == [[0, 0, 0, 0]]
    colours = [to_hex(looks[0].get_edgecolors()[0]), *(to_hex(found.get_facecolors()[0]) for found in looks[1:])]
    assert colours == [style.DOCUMENT.lower(), style.POSITIVE.lower(), style.MISS.lower()]
    assert [np.asarray(found.get_offsets()).tolist() for found in looks] == [
        places[2:].tolist(),
        places[:1].tolist(),
        places[1:2].tolist(),
    ]


def test_a_frame_holds_every_map_whole() -> None:
    frame = common_frame([a_disk(), 2 * a_disk() + 1])
    assert frame.count_outside(a_disk()) == frame.count_outside(2 * a_disk() + 1) == 0
    assert frame.half == pytest.approx(2, rel=0.08)


def test_a_far_cluster_of_one_map_does_not_rule_the_frame_and_is_counted() -> None:
    far = a_disk()
    far[:40] += 20
    frame = common_frame([far, a_disk()])
    assert frame.half < 1.1
    assert (frame.count_outside(far), frame.count_outside(a_disk())) == (40, 0)


def test_two_clouds_are_no_outliers_and_both_are_seen() -> None:
    clouds = np.concatenate([a_disk(100), a_disk(100) + np.array([8, 0])])
    assert common_frame([clouds, a_disk()]).count_outside(clouds) == 0


def test_a_map_of_one_point_or_of_none_has_a_frame() -> None:
    nowhere = np.full((3, 2), np.nan)
    frame = common_frame([nowhere, np.array([[2.0, 3.0]])])
    assert (frame.middle.tolist(), frame.half) == ([2, 3], 1)
    assert frame.count_outside(nowhere) == 0


def test_radii_are_a_maps_own_or_anothers() -> None:
    places = np.array([[1.0, 1.0], [3.0, 1.0], [np.nan, np.nan]])
    assert in_radii(places)[:2].tolist() == [[-1, 0], [1, 0]]
    assert in_radii(np.array([[2.0, 5.0]]), places).tolist() == [[0, 4]]


def frames_of(figure: Figure) -> list[tuple[Bbox, Places]]:
    """Each frame of a strip with the points in it."""
    (axes,) = figure.axes
    (borders,) = (found for found in axes.collections if isinstance(found, PolyCollection))
    points = [np.asarray(found.get_offsets()) for found in axes.collections if isinstance(found, PathCollection)]
    every = np.concatenate(points)
    boxes = [path.get_extents() for path in borders.get_paths()]
    return [(box, every[[box.contains(*place) for place in every]]) for box in boxes]


def test_the_film_strip_is_framed_by_what_most_points_need_and_says_what_is_cut_off(run: list[Snapshot]) -> None:
    figure = draw_filmstrip([epoch_view(one) for one in run], "tsne")
    frames = frames_of(figure)
    assert [len(points) for _, points in frames] == [67, 80, 80, 80]
    assert all(np.ptp(points[:, 0]) > 0.9 * box.width for box, points in frames[1:])
    text = said(figure)
    assert "trust 0.91, moved 0.05, 13 cut off" in text
    assert text.count("cut off") == 2  # the first frame, and the line below all
    assert "same axes, far points cut off" in text
    assert "same axes everywhere" in said(draw_filmstrip([epoch_view(one) for one in run[1:]], "tsne"))


def test_a_strip_shows_a_point_at_the_same_place_of_every_frame(run: list[Snapshot]) -> None:
    frames = frames_of(draw_filmstrip([epoch_view(one) for one in run[1:]], "tsne"))
    places = [np.sort((points - box.min) / box.size, axis=0) for box, points in frames]
    assert places[0] == pytest.approx(places[1], abs=1e-4)
    assert places[0] == pytest.approx(places[2], abs=1e-4)


def test_a_strip_of_many_epochs_shows_forty_the_first_and_the_last_among_them(run: list[Snapshot]) -> None:
    view = epoch_view(run[1]).to_json()
    figure = draw_filmstrip([View(view | {"label": f"epoch {n}"}) for n in range(90)], "tsne")
    assert len(frames_of(figure)) == MOST_FRAMES == 40
    assert {"epoch 0", "epoch 89"} < set(said(figure).split("\n"))
    assert "50 evaluations between them not shown" in said(figure)


def test_a_film_strip_without_maps_says_why(run: list[Snapshot]) -> None:
    text = said(draw_filmstrip([epoch_view(run[0])], "umap"))
    assert "Not drawn: no such map was made" in text
    skipped = run[0].with_maps({"umap": Skipped("UMAP failed (MemoryError: 2 GB)")})
    assert "Not drawn: UMAP failed (MemoryError: 2 GB)" in said(draw_filmstrip([epoch_view(skipped)], "umap"))


def moved(run: list[Snapshot], n_moved: int) -> list[Snapshot]:
    """Two evaluations whose first queries have gone to the right, each farther than the one before it."""
    places = a_disk(80)
    gone = places.copy()
    gone[:n_moved, 0] += 0.5 + 0.01 * np.arange(n_moved)
    return [with_map(run[0], places), with_map(run[2], gone)]


def arrows_of(pair: list[Snapshot]) -> tuple[Quiver, str]:
    figure = draw_comparison_maps([one.maps["tsne"] for one in pair], pair, ["a", "b"])
    (arrows,) = (found for found in figure.axes[1].collections if isinstance(found, Quiver))
    return arrows, said(figure)


def test_few_moves_are_all_shown_and_short_ones_never(run: list[Snapshot]) -> None:
    arrows, text = arrows_of(moved(run, 7))
    assert len(arrows.U) == 7
    assert "arrows: 7 of 7" in text


def test_of_many_moves_the_longest_are_shown_those_of_queries_gained_or_lost_first(run: list[Snapshot]) -> None:
    many = a_run(a_subset(120), (3.0, 0.6))
    n = len(many[0].subset.queries)
    places = a_disk(n + len(many[0].subset.documents))
    gone = places.copy()
    gone[:n, 0] += 0.5 + 0.01 * np.arange(n)
    pair = [with_map(many[0], places), with_map(many[1], gone)]
    is_changed = pair[0].similarity.is_hit != pair[1].similarity.is_hit
    assert is_changed.sum() > 40
    arrows, text = arrows_of(pair)
    expected = np.flatnonzero(is_changed)[::-1][:40]  # each has moved farther than the one before it
    unit = in_radii(gone, places)[:n] - in_radii(places)[:n]
    assert sorted(arrows.U) == pytest.approx(sorted(unit[expected, 0]))
    assert f"arrows: 40 of {n}" in text
    assert "the 40 longest moves over 0.1 radii, those of queries gained or lost before others" in text
