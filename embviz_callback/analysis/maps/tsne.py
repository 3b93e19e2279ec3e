"""t-SNE over all pairs, for maps of some thousand points.

Without a tree the forces between all pairs are one plain loop, which a processor does eight at a time: 0.2 ms for a
thousand points, where openTSNE's Barnes-Hut takes 2.3 ms and only approximates (benchmarks/maps.py measures both; the
maps are as trustworthy). Rates, gains and the longest step are openTSNE's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.maps.machine_code import compiled
from embviz_callback.analysis.maps.map_quality import Points, Space, nearest

Progress = Callable[[int, int], None]
Singles = NDArray[np.float32]

_MOMENTUM, _LONGEST_STEP = 0.8, 5.0
_CHUNK = 50  # steps between two calls of a progress bar
_HALVINGS = 40  # of the interval in which a bandwidth is sought


@dataclass(frozen=True)
class Phase:
    """Steps of one kind.

    Attributes:
        steps: How many.
        exaggeration: By which attraction is enlarged.
    """

    steps: int
    exaggeration: float = 1.0


def optimise(space: Space, start: Points, perplexity: float, phases: tuple[Phase, ...], progress: Progress) -> Points:
    """A layout that has come from a start to where near points are near.

    Args:
        space: ``(n, dim)``.
        start: ``(n, 2)``, no two on one place.
        perplexity: Effective number of neighbours.
        phases: One after the other, each from rest.
        progress: Called with steps done and in all.

    Returns:
        ``(n, 2)``, the same for the same arguments on the same machine.
    """
    ends, others, weights = attraction(space, perplexity)
    x, y = np.ascontiguousarray(start.T, dtype=np.float32)
    done, total = 0, sum(phase.steps for phase in phases)
    for phase in phases:
        pace = np.zeros((4, len(x)), dtype=np.float32)
        pace[2:] = 1.0
        rate = len(x) / phase.exaggeration
        for first in range(0, phase.steps, _CHUNK):
            steps = min(_CHUNK, phase.steps - first)
            compiled(_descend)(
                x, y, pace, ends, others, weights, steps, np.float32(phase.exaggeration), np.float32(rate)
            )
            done += steps
            progress(done, total)
    return np.column_stack([x, y]).astype(np.float64)


def attraction(space: Space, perplexity: float) -> tuple[NDArray[np.int32], NDArray[np.int32], Singles]:
    """How strongly points of the space attract each other on a map: symmetric, 1 in all.

    Args:
        space: ``(n, dim)``.
        perplexity: Effective number of neighbours of each point.

    Returns:
        As a sparse matrix by rows: where each row ends ``(n + 1,)``, columns and weights ``(n_pairs,)``.
    """
    from scipy.sparse import csr_array

    n = len(space.points)
    rows, lengths = nearest(space, min(n - 1, int(3 * perplexity)))
    shares = compiled(_shares)(np.square(lengths), np.log(perplexity))
    starts = np.arange(0, rows.size + 1, rows.shape[1])
    one_way = csr_array((shares.ravel(), rows.ravel(), starts), shape=(n, n))
    both: Any = (one_way + one_way.T).tocsr()
    return both.indptr.astype(np.int32), both.indices.astype(np.int32), (both.data / both.data.sum()).astype(np.float32)


def _shares(squares: Points, entropy: float) -> Points:
    """Each row's neighbours weighed by a normal density of such a width that the weights have this entropy."""
    shares = np.empty_like(squares)
    for i in range(squares.shape[0]):
        low, high, sharpness = 0.0, np.inf, 1.0
        for _ in range(_HALVINGS):
            total, moment = 0.0, 0.0
            for k in range(squares.shape[1]):
                further = squares[i, k] - squares[i, 0]  # the nearest comes first
                shares[i, k] = np.exp(-sharpness * further)
                total += shares[i, k]
                moment += shares[i, k] * further
            if np.log(total) + sharpness * moment / total > entropy:
                low = sharpness
                sharpness = 2 * low if high == np.inf else (low + high) / 2
            else:
                high = sharpness
                sharpness = (low + high) / 2
        for k in range(squares.shape[1]):
            shares[i, k] /= total
    return shares


def _descend(
    x: Singles,
    y: Singles,
    pace: Singles,
    ends: NDArray[np.int32],
    others: NDArray[np.int32],
    weights: Singles,
    steps: int,
    exaggeration: np.float32,
    rate: np.float32,
) -> None:
    """Moves points down the gradient; `pace` holds the last steps and the gains in both directions."""
    n, one = len(x), np.float32(1)
    push = np.empty((2, n), dtype=np.float32)
    for _ in range(steps):
        total = np.float32(0)
        for i in range(n):
            xi, yi = x[i], y[i]
            near, right, up = np.float32(0), np.float32(0), np.float32(0)
            for j in range(n):
                dx, dy = xi - x[j], yi - y[j]
                share = one / (one + dx * dx + dy * dy)
                near += share
                right += share * share * dx
                up += share * share * dy
            push[0, i], push[1, i] = right, up
            total += near - one  # a point is no pair with itself
        middle_x, middle_y = np.float32(0), np.float32(0)
        for i in range(n):
            xi, yi = x[i], y[i]
            right, up = np.float32(0), np.float32(0)
            for k in range(ends[i], ends[i + 1]):
                dx, dy = xi - x[others[k]], yi - y[others[k]]
                pull = weights[k] / (one + dx * dx + dy * dy)
                right += pull * dx
                up += pull * dy
            push[0, i] = np.float32(4) * (exaggeration * right - push[0, i] / total)
            push[1, i] = np.float32(4) * (exaggeration * up - push[1, i] / total)
        for i in range(n):
            for axis in range(2):
                went, gain = pace[axis, i], pace[2 + axis, i]
                gain = gain + np.float32(0.2) if went * push[axis, i] <= 0 else gain * np.float32(0.8)
                pace[2 + axis, i] = max(gain, np.float32(0.01))
                pace[axis, i] = np.float32(_MOMENTUM) * went - rate * pace[2 + axis, i] * push[axis, i]
            length = np.sqrt(pace[0, i] * pace[0, i] + pace[1, i] * pace[1, i])
            shorter = min(one, np.float32(_LONGEST_STEP) / max(length, np.float32(1e-30)))
            pace[0, i] *= shorter
            pace[1, i] *= shorter
            x[i] += pace[0, i]
            y[i] += pace[1, i]
            middle_x += x[i] / n
            middle_y += y[i] / n
        for i in range(n):
            x[i] -= middle_x
            y[i] -= middle_y
