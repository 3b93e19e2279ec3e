"""Shape of the embeddings: alignment, uniformity, hubs."""

import numpy as np
from numpy.typing import NDArray

from embviz_callback.embeddings import Rows, Vectors

_UNIFORMITY_ROWS = 1024


def alignment(positive_scores: NDArray[np.float64]) -> float:
    """Mean squared distance of positive pairs (Wang and Isola 2020, alpha 2): 0 best, 4 worst."""
    return float(np.mean(2 - 2 * positive_scores)) if len(positive_scores) else float("nan")


def uniformity(rows: Vectors, usable: NDArray[np.bool_] | None = None) -> float:
    """Log of the mean of exp(-2 distance^2) over distinct pairs of rows (Wang and Isola 2020, t 2).

    Above 1,024 rows an evenly spaced choice of 1,024 of them stands for all.

    Args:
        rows: ``(n, dim)`` unit rows.
        usable: ``(n,)`` which rows count; all without.

    Returns:
        0 for a single point, about -4 for rows all over a sphere of many dimensions; NaN below
        two rows.
    """
    chosen = np.arange(len(rows)) if usable is None else np.flatnonzero(usable)
    if len(chosen) < 2:
        return float("nan")
    if len(chosen) > _UNIFORMITY_ROWS:
        chosen = chosen[np.linspace(0, len(chosen) - 1, _UNIFORMITY_ROWS).astype(np.int64)]
    rows = rows[chosen]  # so many rows are copied, and no more
    total = 0.0
    for start in range(0, len(rows), 256):
        # The kernel is symmetric: the block on the diagonal and those right of it, twice.
        cosines = np.minimum(rows[start : start + 256] @ rows[start:].T, np.float32(1))
        kernel = np.exp(4 * cosines - 4)
        own = kernel[:, : len(kernel)]
        inside = own.sum(dtype=np.float64) - np.diagonal(own).sum(dtype=np.float64)
        total += float(inside + 2 * kernel[:, len(kernel) :].sum(dtype=np.float64))
    return float(np.log(total / (len(rows) * (len(rows) - 1))))


def hubness(neighbours: Rows, n_documents: int) -> tuple[float, tuple[tuple[int, int], ...]]:
    """Skewness of how often each document is among a query's nearest, and the three worst hubs.

    Radovanovic et al. 2010. Near 0: every document is found about equally often. Far above `blind_hubness`: a few
    documents crowd into everybody's list.

    Args:
        neighbours: ``(n_queries, k)`` document rows, -1 for none.
        n_documents: Documents in the ranked pool.

    Returns:
        The skewness (NaN if all documents are found equally often) and (row, occurrences) of
        the three most frequent, most frequent first.
    """
    counts = np.bincount(neighbours[neighbours >= 0], minlength=n_documents)
    spread = counts.std() if len(counts) else 0.0
    skewness = float(np.mean((counts - counts.mean()) ** 3) / spread**3) if spread > 0 else float("nan")
    worst = np.argsort(-counts, kind="stable")[:3]
    return skewness, tuple((int(row), int(counts[row])) for row in worst)


def blind_hubness(n_queries: int, k: int, n_documents: int) -> float:
    """Skewness if each query drew its k documents blindly: that of a binomial distribution.

    Args:
        n_queries: Queries.
        k: Documents in each list.
        n_documents: Documents in the ranked pool.

    Returns:
        The skewness; NaN where every query finds every document.

    Example:
        >>> round(blind_hubness(500, 10, 500), 2), round(blind_hubness(500, 10, 100_000), 2)
        (0.31, 4.47)
    """
    share = k / n_documents if n_documents else 1.0
    if not n_queries or share >= 1:
        return float("nan")
    return float((1 - 2 * share) / np.sqrt(n_queries * share * (1 - share)))
