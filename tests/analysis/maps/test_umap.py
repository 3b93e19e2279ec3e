"""The graph of UMAP against umap-learn's, its forces against their formulas, the compiled loop against Python."""

import numpy as np
import pytest

from embviz_callback.analysis.maps import umap
from embviz_callback.analysis.maps.machine_code import compiled
from embviz_callback.analysis.maps.map_quality import Points, Space, nearest

A, B = 1.5769434603, 0.8950608779  # of umap-learn's default, a smallest distance of 0.1
NO_FORCE = np.zeros(64 * 64 + 1, dtype=np.float32)
ONE_EDGE = np.array([0], dtype=np.int32), np.array([1], dtype=np.int32), np.ones(1, dtype=np.float32)


def normal(n: int, dim: int = 8) -> Points:
    return np.random.default_rng(n).normal(size=(n, dim))


POINTS = {
    "a cloud": normal(80),
    "clusters": normal(90) + np.repeat(10 * np.eye(3, 8), 30, axis=0),
    "five points": normal(5),
    "as many neighbours as points": normal(15),
    "on a line, equally spaced": np.arange(40.0)[:, None],
    "each twice": np.repeat(normal(30), 2, axis=0),
    "one place of forty": np.concatenate([np.zeros((40, 8)), normal(40)]),
    "few places, many copies": np.repeat(np.eye(6), 20, axis=0),
    "one far away": np.concatenate([normal(30), np.full((1, 8), 20.0)]),
}


def umap_learns(space: Space, n_neighbours: int) -> Points:
    from umap.umap_ import fuzzy_simplicial_set

    rows, lengths = nearest(space, n_neighbours - 1)
    rows = np.column_stack([np.arange(len(rows)), rows])
    lengths = np.column_stack([np.zeros(len(rows)), lengths]).astype(np.float32)
    known = {"knn_indices": rows, "knn_dists": lengths}
    random = np.random.RandomState(0)
    graph, _, _ = fuzzy_simplicial_set(space.points.astype(np.float32), n_neighbours, random, "euclidean", **known)
    dense: Points = graph.toarray()
    return dense


@pytest.mark.slow  # numba compiles umap-learn's
@pytest.mark.parametrize("name", POINTS)
def test_the_graph_of_neighbours_is_umap_learns(name: str) -> None:
    pytest.importorskip("umap")
    space = Space(POINTS[name])
    n_neighbours = min(15, len(space.points) - 1)
    heads, tails, weights = umap.fuzzy_graph(space, n_neighbours)
    ours = np.zeros((len(space.points), len(space.points)))
    ours[heads, tails] = weights
    assert len(set(zip(heads.tolist(), tails.tolist(), strict=True))) == len(weights)
    assert ours.tolist() == ours.T.tolist()
    # umap-learn seeks the widths until a row's sum is off by less than 0.00001.
    assert ours == pytest.approx(umap_learns(space, n_neighbours), abs=1e-5)


@pytest.mark.slow
def test_the_curve_is_the_one_that_umap_learn_fits() -> None:
    fitted = pytest.importorskip("umap.umap_").find_ab_params(1.0, 0.1)
    assert pytest.approx(fitted, rel=1e-6) == (umap._A, umap._B)


def attraction(squared: float) -> float:
    """McInnes, Healy and Melville 2018, of the way to a neighbour."""
    return -2 * A * B * squared ** (B - 1) / (1 + A * squared**B)


def repulsion(squared: float) -> float:
    """The same paper, of the way to another point."""
    return 2 * B / ((0.001 + squared) * (1 + A * squared**B))


@pytest.mark.parametrize("distance", [0.0123, 0.7, 1.0, 3.3, 41.0])
def test_a_neighbour_is_drawn_near_by_the_force_of_the_paper(distance: float) -> None:
    pull, _ = umap.forces()
    x, y = np.array([0, distance], dtype=np.float32), np.zeros(2, dtype=np.float32)
    umap._descend(x, y, *ONE_EDGE, pull, NO_FORCE, 2, np.float32(1), np.uint32(1))
    # Half of the first rate in the second epoch, in which the edge is due.
    step = 0.5 * max(attraction(distance**2) * -distance, -4)
    assert x == pytest.approx([step, distance - step], rel=1e-4)
    assert y.tolist() == [0, 0]


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
