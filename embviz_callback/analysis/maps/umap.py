"""UMAP's optimiser in a fifth of the time of umap-learn's, whose graph of neighbours it takes.

Nearly all of the time of a map goes into two powers for each pair of points that is looked at. They are functions of a
distance alone and are read from a table here (benchmarks/maps.py measures the maps: they are as trustworthy). The order
of the samples, the rates and the bounds are umap-learn's, but the steps of a sample are added up before its
point moves.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.maps.machine_code import compiled
from embviz_callback.analysis.maps.map_quality import Points, Space, nearest

Singles = NDArray[np.float32]

_MIN_DISTANCE = 0.1
_NEGATIVES = 5  # points pushed away for each that is drawn near
_OCTAVES, _STEPS = (-40, 24), 64  # of a squared distance, and places of the table in each
_DAMPING = 0.001  # of the push between points that nearly touch


@dataclass(frozen=True)
class Pace:
    """How long and how far points move.

    Attributes:
        epochs: Each draws the strongest neighbours together once.
        rate: Of the first epoch; it falls to nothing.
    """

    epochs: int
    rate: float


def optimise(space: Space, start: Points, n_neighbours: int, pace: Pace, seed: int) -> Points:
    """A layout that has come from a start to where near points are near.

    Args:
        space: ``(n, dim)``.
        start: ``(n, 2)``, no two on one place.
        n_neighbours: Of each point, itself included.
        pace: Of the points.
        seed: Of the points that are pushed away.

    Returns:
        ``(n, 2)``, the same for the same arguments on the same machine.
    """
    graph = fuzzy_graph(space, n_neighbours, pace.epochs, seed)
    x, y = np.array(start.T, dtype=np.float32, order="C")
    every = (graph.data.max() / graph.data).astype(np.float32)
    pull, push = forces()
    state = np.uint32(np.random.default_rng(seed).integers(1, 2**32))
    compiled(_descend)(x, y, graph.row, graph.col, every, pull, push, pace.epochs, np.float32(pace.rate), state)
    return np.column_stack([x, y]).astype(np.float64)


def fuzzy_graph(space: Space, n_neighbours: int, n_epochs: int, seed: int) -> Any:
    """Weighted neighbours as coordinates; edges too weak to be drawn even once are left out."""
    from umap.umap_ import fuzzy_simplicial_set

    rows, lengths = nearest(space, n_neighbours - 1)
    # UMAP counts a point as the first of its own neighbours.
    rows = np.column_stack([np.arange(len(rows)), rows])
    lengths = np.column_stack([np.zeros(len(rows)), lengths]).astype(np.float32)
    random = np.random.RandomState(seed)  # the kind that umap takes
    points = space.points.astype(np.float32)
    graph = fuzzy_simplicial_set(points, n_neighbours, random, "euclidean", knn_indices=rows, knn_dists=lengths)
    edges = graph[0].tocoo()
    edges.sum_duplicates()
    edges.data[edges.data < edges.data.max() / n_epochs] = 0.0
    edges.eliminate_zeros()
    return edges


def forces() -> tuple[Singles, Singles]:
    """What a step towards a neighbour, and one away from another point, is of the way between them.

    Returns:
        Two tables over the squared distance, from ``2**-40`` to ``2**24`` by 64 places an octave.
    """
    from umap.umap_ import find_ab_params

    a, b = find_ab_params(1.0, _MIN_DISTANCE)
    low, high = _OCTAVES
    octaves, parts = np.divmod(np.arange((high - low) * _STEPS + 1), _STEPS)
    squared = np.exp2(octaves + low) * (1 + parts / _STEPS)
    spread = 1 + a * squared**b
    pull = -2 * a * b * squared ** (b - 1) / spread
    push = 2 * b / ((_DAMPING + squared) * spread)
    return pull.astype(np.float32), push.astype(np.float32)


def _descend(
    x: Singles,
    y: Singles,
    heads: NDArray[np.int32],
    tails: NDArray[np.int32],
    every: Singles,
    pull: Singles,
    push: Singles,
    n_epochs: int,
    first_rate: np.float32,
    state: np.uint32,
) -> None:
    """Moves points; an edge is drawn together in each `every`-th epoch."""
    n, due, due_away = np.uint64(len(x)), every.copy(), every / np.float32(_NEGATIVES)
    offset, most = np.int32((127 + _OCTAVES[0]) * _STEPS), np.int32(len(pull) - 2)
    longest, rate = np.float32(4), first_rate
    for epoch in range(n_epochs):
        for edge in range(len(heads)):
            if due[edge] > epoch:
                continue
            i, j = heads[edge], tails[edge]
            xi, yi, right, up = x[i], y[i], np.float32(0), np.float32(0)
            n_away = int((epoch - due_away[edge]) * _NEGATIVES / every[edge])
            for away in range(-1, n_away):
                table = pull
                if away >= 0:
                    # Marsaglia's xorshift; the high bits of a product choose a point.
                    state ^= np.uint32(state << np.uint32(13))
                    state ^= state >> np.uint32(17)
                    state ^= np.uint32(state << np.uint32(5))
                    j = np.int32((np.uint64(state) * n) >> np.uint64(32))
                    table = push
                dx, dy = xi - x[j], yi - y[j]
                # The leading bits of a float are its octave and its place in it.
                bits = np.float32(dx * dx + dy * dy).view(np.int32)
                at = min(max((bits >> np.int32(17)) - offset, np.int32(0)), most)
                between = np.float32(bits & np.int32(0x1FFFF)) * np.float32(2.0**-17)
                force = table[at] + (table[at + 1] - table[at]) * between
                dx = rate * min(max(force * dx, -longest), longest)
                dy = rate * min(max(force * dy, -longest), longest)
                right += dx
                up += dy
                if away < 0:
                    x[j] -= dx
                    y[j] -= dy
            x[i] += right
            y[i] += up
            due[edge] += every[edge]
            due_away[edge] += n_away * every[edge] / np.float32(_NEGATIVES)
        rate = first_rate * np.float32(1 - (epoch + 1) / n_epochs)
