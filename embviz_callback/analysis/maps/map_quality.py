"""How faithful a map is to the space it shows, and how far its points moved."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from embviz_callback.embeddings import Rows, Vectors

Points = NDArray[np.float64]

NEIGHBOURS = 10  # of a point, wherever a map is judged
_BLOCK_CELLS = 4_000_000  # distances held at once: 32 MB


class Space:
    """Points and the distances between them, which maps ask for again and again.

    Args:
        points: ``(n, dim)``.
    """

    def __init__(self, points: Points) -> None:
        self.points = points
        self._whole: Points | None = None

    def squared_distances(self) -> Iterator[tuple[slice, Points]]:
        """Blocks of rows of the distance matrix, for reading only; a point is infinitely far from itself.

        Of few points there is one block, which is computed once.
        """
        n = len(self.points)
        height = max(1, _BLOCK_CELLS // n)
        if n > height:
            lengths = np.square(self.points).sum(axis=1)
            for start in range(0, n, height):
                block = slice(start, min(start + height, n))
                yield block, self._squares(block, lengths)
            return
        if self._whole is None:
            self._whole = self._squares(slice(0, n), np.square(self.points).sum(axis=1))
        yield slice(0, n), self._whole

    def _squares(self, block: slice, lengths: Points) -> Points:
        squares: Points = lengths[block, None] + lengths[None, :] - 2.0 * (self.points[block] @ self.points.T)
        squares[np.arange(len(squares)), np.arange(block.start, block.stop)] = np.inf
        return squares


def nearest(space: Space | Points, k: int) -> tuple[NDArray[np.int64], Points]:
    """The k nearest other points of every point, exactly.

    Args:
        space: ``(n, dim)``.
        k: From 1 to n - 1.

    Returns:
        Rows ``(n, k)``, nearest first and equally distant ones by row number, and their distances.
    """
    known = _space(space)
    rows = np.empty((len(known.points), k), dtype=np.int64)
    lengths = np.empty((len(known.points), k))
    for block, squares in known.squared_distances():
        chosen = np.sort(np.argpartition(squares, k - 1, axis=1)[:, :k], axis=1)
        squared = np.take_along_axis(squares, chosen, axis=1)
        order = np.argsort(squared, axis=1, kind="stable")
        rows[block] = np.take_along_axis(chosen, order, axis=1)
        lengths[block] = np.sqrt(np.maximum(np.take_along_axis(squared, order, axis=1), 0.0))
    return rows, lengths


def trustworthiness(space: Space | Points, placed: Space | Points) -> float:
    """Share of neighbourhoods on the map that are true, between 0 and 1 (Venna and Kaski 2001).

    Points that are near on the map but not in the space count against it by how far down the
    space's own order they stand; equally distant points are never held against each other.
    Continuity is the same with the two arguments swapped.

    Args:
        space: ``(n, dim)`` with n of at least 5.
        placed: ``(n, 2)``.

    Returns:
        1.0 where every map neighbour is a neighbour in the space.
    """
    known = _space(space)
    n = len(known.points)
    k = min(NEIGHBOURS, (n - 1) // 2)
    shown, _ = nearest(placed, k)
    excess = 0
    for block, squares in known.squared_distances():
        for column in shown[block].T:
            reach = np.take_along_axis(squares, column[:, None], axis=1)
            nearer = np.count_nonzero(squares < reach, axis=1)
            excess += int(np.maximum(nearer + 1 - k, 0).sum())
    return 1.0 - 2.0 * excess / (n * k * (2 * n - 3 * k - 1))


def registered(moved: Points, anchor: Points, known: NDArray[np.bool_] | None = None) -> Points:
    """A map turned, mirrored and shifted onto another, with every distance kept.

    Args:
        moved: ``(n, 2)``.
        anchor: ``(n, 2)``, the same points elsewhere.
        known: ``(n,)``, which points of `anchor` count; all by default.

    Returns:
        The rigid motion of `moved` with the least squared distance to the known points.
    """
    from scipy.linalg import orthogonal_procrustes  # beside the maps' libraries, which are slower still

    chosen = slice(None) if known is None else known
    if known is not None and not known.any():
        return moved
    middle, target = moved[chosen].mean(axis=0), anchor[chosen].mean(axis=0)
    turn, _ = orthogonal_procrustes(moved[chosen] - middle, anchor[chosen] - target)
    placed: Points = (moved - middle) @ turn + target
    return placed


def radius(placed: Points) -> float:
    """Root of the mean squared distance from the middle of the map."""
    return float(np.sqrt(np.square(placed - placed.mean(axis=0)).sum(axis=1).mean()))


def mean_displacement(placed: Points, before: Points) -> float:
    """Mean distance between old and new place, in units of the old map's radius."""
    moved = np.linalg.norm(placed - before, axis=1).mean()
    return float(moved / max(radius(before), 1e-12))


def clear_share(queries: Vectors, documents: Vectors, relevance: Rows) -> float:
    """Share of queries with a relevant document among their 10 nearest points on a map.

    Args:
        queries: ``(n_queries, 2)``, NaN rows are misses and nobody's neighbour.
        documents: ``(n_documents, 2)``, likewise.
        relevance: ``(n, 2)``, pairs (query row, document row).

    Returns:
        A share of all queries.
    """
    coordinates = np.concatenate([queries, documents]).astype(np.float64)
    shown = np.flatnonzero(np.isfinite(coordinates).all(axis=1))
    if len(shown) < 2:
        return 0.0
    neighbours, _ = nearest(coordinates[shown], min(NEIGHBOURS, len(shown) - 1))
    from_row = np.repeat(shown, neighbours.shape[1])
    near = from_row * len(coordinates) + shown[neighbours].ravel()
    wanted = relevance[:, 0] * len(coordinates) + relevance[:, 1] + len(queries)
    return len(np.unique(relevance[np.isin(wanted, near), 0])) / len(queries)


def _space(given: Space | Points) -> Space:
    return given if isinstance(given, Space) else Space(given)
