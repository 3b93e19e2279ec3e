"""The forces of t-SNE against a naive sum, its affinities against openTSNE's, its maps against openTSNE's maps."""

import numpy as np
import pytest

from embviz_callback.analysis.maps import tsne
from embviz_callback.analysis.maps.machine_code import compiled
from embviz_callback.analysis.maps.map_quality import Points, Space, trustworthiness
from embviz_callback.analysis.maps.tsne import Phase, attraction, optimise


def some_points(n: int = 60, dim: int = 6) -> Points:
    return np.random.default_rng(0).normal(size=(n, dim)) + np.repeat(np.eye(3, dim) * 4, n // 3, axis=0)


def a_start(n: int = 60) -> Points:
    return np.random.default_rng(1).normal(size=(n, 2))


def weights_of(points: Points, perplexity: float) -> Points:
    ends, others, weights = attraction(Space(points), perplexity)
    matrix = np.zeros((len(points), len(points)))
    for row in range(len(points)):
        matrix[row, others[ends[row] : ends[row + 1]]] = weights[ends[row] : ends[row + 1]]
    return matrix


def gradient(places: Points, wanted: Points, exaggeration: float) -> Points:
    """Van der Maaten and Hinton 2008, equation 5, summed as it stands there."""
    moves = places[:, None] - places[None]
    near = 1 / (1 + np.square(moves).sum(axis=2))
    np.fill_diagonal(near, 0)
    forces = (exaggeration * wanted - near / near.sum()) * near
    return 4 * (forces[..., None] * moves).sum(axis=1)


def test_attraction_is_symmetric_one_in_all_and_equals_open_tsnes() -> None:
    affinity = pytest.importorskip("openTSNE.affinity")
    points = some_points()
    ours = weights_of(points, 12.0)
    theirs = affinity.PerplexityBasedNN(points, perplexity=12, method="exact", n_jobs=1).P.toarray()
    assert ours == pytest.approx(ours.T)
    assert ours.sum() == pytest.approx(1)
    assert ours == pytest.approx(theirs, abs=1e-6 * theirs.max())


@pytest.mark.parametrize("exaggeration", [1.0, 12.0])
def test_the_first_step_goes_down_the_gradient(exaggeration: float) -> None:
    points, start = some_points(), a_start()
    placed = optimise(Space(points), start, 12.0, (Phase(1, exaggeration),), lambda done, total: None)
    # From rest every gain is 1.2, and the rate is the number of points by the exaggeration.
    step = -1.2 * 60 / exaggeration * gradient(start, weights_of(points, 12.0), exaggeration)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    wanted = start + step * np.minimum(1, 5 / length)
    assert placed == pytest.approx(wanted - wanted.mean(axis=0), abs=1e-4)


def test_the_compiled_loops_do_what_they_say_in_python() -> None:
    ends, others, weights = attraction(Space(some_points()), 12.0)
    runs = []
    for descend in (tsne._descend, compiled(tsne._descend)):
        x, y = a_start().T.astype(np.float32)
        pace = np.ones((4, 60), dtype=np.float32)
        descend(x, y, pace, ends, others, weights, 5, np.float32(2), np.float32(30))
        runs.append(np.stack([x, y]))
    assert runs[0] == pytest.approx(runs[1], abs=1e-3)


def test_a_map_is_as_trustworthy_as_open_tsnes() -> None:
    open_tsne = pytest.importorskip("openTSNE")
    points = some_points(180)
    theirs = open_tsne.TSNE(perplexity=20, random_state=0, n_jobs=1, neighbors="exact").fit(points)
    start = 1e-4 * a_start(180)
    ours = optimise(Space(points), start, 20.0, (Phase(150, 12.0), Phase(350)), lambda done, total: None)
    assert trustworthiness(points, ours) > trustworthiness(points, np.asarray(theirs)) - 0.01


def test_points_never_leap_and_stay_around_the_middle() -> None:
    placed = optimise(Space(some_points()), 30 * a_start(), 12.0, (Phase(3, 12.0),), lambda done, total: None)
    assert placed.mean(axis=0) == pytest.approx([0, 0], abs=1e-3)
    assert np.linalg.norm(placed - 30 * (a_start() - a_start().mean(axis=0)), axis=1).max() < 3 * 5 * 1.8


def test_progress_is_told_every_fifty_steps_of_all_phases() -> None:
    told: list[tuple[int, int]] = []
    phases = Phase(60, 12.0), Phase(70)
    optimise(Space(some_points()), a_start(), 12.0, phases, lambda done, total: told.append((done, total)))
    assert told == [(50, 130), (60, 130), (110, 130), (130, 130)]
