"""UMAP (McInnes, Healy and Melville 2018) for maps of some thousand points, without umap-learn.

The graph of neighbours is umap-learn's, whose import would take longer than a map. Nearly all of the time of its
optimiser goes into two powers for each pair of points that is looked at. They are functions of a distance alone and are
read from a table here (benchmarks/maps.py measures the maps: they are as trustworthy). The order of the samples, the
rates and the bounds are umap-learn's, but the steps of a sample are added up before its point moves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.maps.machine_code import compiled
from embviz_callback.analysis.maps.map_quality import Points, Space, nearest

Singles = NDArray[np.float32]
Edges = tuple[NDArray[np.int32], NDArray[np.int32], Singles]

_A, _B = 1.5769434603113077, 0.8950608780665363  # of the curve that umap-learn fits to a smallest distance of 0.1
_HALVINGS = 64  # of the interval in which a width is sought
_NARROWEST = 0.001  # width, of a mean distance
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
    heads, tails, weights = fuzzy_graph(space, n_neighbours)
    # What is too weak to be drawn even once may as well not be there.
    drawn = weights >= weights.max() / pace.epochs
    every = weights.max() / weights[drawn]
    x, y = np.array(start.T, dtype=np.float32, order="C")
    state = np.uint32(np.random.default_rng(seed).integers(1, 2**32))
    compiled(_descend)(x, y, heads[drawn], tails[drawn], every, *forces(), pace.epochs, np.float32(pace.rate), state)
    return np.column_stack([x, y]).astype(np.float64)


def fuzzy_graph(space: Space, n_neighbours: int) -> Edges:
    """How surely points of the space are neighbours: of either, or of both.

    Args:
        space: ``(n, dim)``.
        n_neighbours: Of each point, itself included.

    Returns:
        Rows, columns and weights ``(n_edges,)`` of a symmetric matrix, by columns; weights are above 0 and at most 1.
    """
    found, lengths = nearest(space, n_neighbours - 1)
    n = len(found)
    heads, tails = np.repeat(np.arange(n), found.shape[1]), found.ravel()
    sure = _memberships(lengths).ravel()
    # The same edge seen from its other end, where there is one.
    places, order = tails * n + heads, np.argsort(tails * n + heads)
    at = order[np.searchsorted(places, heads * n + tails, sorter=order).clip(max=len(order) - 1)]
    is_mutual = places[at] == heads * n + tails
    sure += np.where(is_mutual, sure[at] * (1 - sure), 0.0)
    rows, columns = np.append(heads, tails[~is_mutual]), np.append(tails, heads[~is_mutual])
    weights, order = np.append(sure, sure[~is_mutual]).astype(np.float32), np.lexsort((rows, columns))
    order = order[weights[order] > 0]
    return rows[order].astype(np.int32), columns[order].astype(np.int32), weights[order]


def _memberships(lengths: Points) -> Points:
    """How surely each point takes its neighbours for such; the nearest that is no copy of it is one beyond doubt.

    Args:
        lengths: ``(n, k)``, distances of each point's neighbours, itself left out.

    Returns:
        Of the same shape, an exponential fall of such a width that a row's sum is the binary logarithm of ``k + 1``.
    """
    n_neighbours = lengths.shape[1] + 1
    nearest_other = np.where(lengths > 0, lengths, np.inf).min(axis=1)
    nearest_other[np.isinf(nearest_other)] = 0.0
    beyond = np.maximum(lengths - nearest_other[:, None], 0.0)
    low, width, high = np.zeros(len(lengths)), np.ones(len(lengths)), np.full(len(lengths), np.inf)
    for _ in range(_HALVINGS):
        is_wide = np.exp(-beyond / width[:, None]).sum(axis=1) > np.log2(n_neighbours)
        low, high = np.where(is_wide, low, width), np.where(is_wide, width, high)
        width = np.where(np.isinf(high), 2 * width, (low + high) / 2)
    # umap-learn counts a point as the first of its own neighbours.
    usual = np.where(nearest_other > 0, lengths.sum(axis=1), lengths.sum() / len(lengths)) / n_neighbours
    sure: Points = np.exp(-beyond / np.maximum(width, _NARROWEST * usual)[:, None])
    return sure


def forces() -> tuple[Singles, Singles]:
    """What a step towards a neighbour, and one away from another point, is of the way between them.

    Returns:
        Two tables over the squared distance, from ``2**-40`` to ``2**24`` by 64 places an octave.
    """
    low, high = _OCTAVES
    octaves, parts = np.divmod(np.arange((high - low) * _STEPS + 1), _STEPS)
    squared = np.exp2(octaves + low) * (1 + parts / _STEPS)
    spread = 1 + _A * squared**_B
    pull = -2 * _A * _B * squared ** (_B - 1) / spread
    push = 2 * _B / ((_DAMPING + squared) * spread)
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
