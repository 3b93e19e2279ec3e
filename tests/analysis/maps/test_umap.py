"""The forces of UMAP against their formulas, the compiled loop against the same loop in Python."""

import numpy as np
import pytest

from embviz_callback.analysis.maps import umap
from embviz_callback.analysis.maps.machine_code import compiled

A, B = 1.5769434603, 0.8950608779  # of umap-learn's default, a smallest distance of 0.1
NO_FORCE = np.zeros(64 * 64 + 1, dtype=np.float32)
ONE_EDGE = np.array([0], dtype=np.int32), np.array([1], dtype=np.int32), np.ones(1, dtype=np.float32)


def attraction(squared: float) -> float:
    """McInnes, Healy and Melville 2018, of the way to a neighbour."""
    return -2 * A * B * squared ** (B - 1) / (1 + A * squared**B)


def repulsion(squared: float) -> float:
    """The same paper, of the way to another point."""
    return 2 * B / ((0.001 + squared) * (1 + A * squared**B))


@pytest.mark.slow  # umap-learn is imported
@pytest.mark.parametrize("distance", [0.0123, 0.7, 1.0, 3.3, 41.0])
def test_a_neighbour_is_drawn_near_by_the_force_of_the_paper(distance: float) -> None:
    pull, _ = umap.forces()
    x, y = np.array([0, distance], dtype=np.float32), np.zeros(2, dtype=np.float32)
    umap._descend(x, y, *ONE_EDGE, pull, NO_FORCE, 2, np.float32(1), np.uint32(1))
    # Half of the first rate in the second epoch, in which the edge is due.
    step = 0.5 * max(attraction(distance**2) * -distance, -4)
    assert x == pytest.approx([step, distance - step], rel=1e-4)
    assert y.tolist() == [0, 0]


@pytest.mark.slow
def test_other_points_push_away_by_the_force_of_the_paper_and_stay_where_they_are() -> None:
    _, push = umap.forces()
    x, y = np.array([0, 2], dtype=np.float32), np.array([0, 1], dtype=np.float32)
    umap._descend(x, y, *ONE_EDGE, NO_FORCE, push, 2, np.float32(1), np.uint32(1))
    force = 0.5 * repulsion(5)
    n_pushed = round(float(x[0] / (force * -2)))
    assert 1 <= n_pushed <= 4  # of four drawn among both points
    assert [x[0], y[0]] == pytest.approx([n_pushed * force * -2, n_pushed * force * -1], rel=1e-4)
    assert [x[1], y[1]] == [2, 1]


def test_the_compiled_loop_does_what_it_says_in_python() -> None:
    random = np.random.default_rng(0)
    heads, tails = random.integers(0, 20, size=(2, 40)).astype(np.int32)
    every = random.uniform(1, 5, size=40).astype(np.float32)
    pull, push = -np.linspace(1, 0, 4097, dtype=np.float32), np.linspace(2, 0, 4097, dtype=np.float32)
    start, runs = random.normal(size=(2, 20)).astype(np.float32), []
    for descend in (umap._descend, compiled(umap._descend)):
        x, y = start.copy()
        descend(x, y, heads, tails, every, pull, push, 10, np.float32(0.5), np.uint32(7))
        runs.append(np.stack([x, y]))
    assert runs[0] == pytest.approx(runs[1], abs=1e-4)
    assert np.abs(runs[0] - start).max() > 0.1
