"""Shape of the embeddings: moments in closed form, alignment, uniformity, effective rank, hubs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.embeddings import Rows, Vectors

_CHUNK = 2048  # rows turned to float64 at a time
_UNIFORMITY_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and population covariance of a set of rows, in float64.

    Attributes:
        count: Rows, copies counted.
        mean: ``(dim,)``.
        covariance: ``(dim, dim)``.
    """

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def moments(rows: Vectors, weights: Rows) -> Moments:
    """Weighted moments of rows, centred before they are squared so that nothing cancels.

    Args:
        rows: ``(n, dim)``.
        weights: ``(n,)``, how often each row counts.

    Returns:
        The moments; zeros for no rows.
    """
    dim, total = rows.shape[1], int(weights.sum())
    scale = max(total, 1)
    mean = np.zeros(dim)
    for start in range(0, len(rows), _CHUNK):
        mean += weights[start : start + _CHUNK] @ rows[start : start + _CHUNK].astype(np.float64)
    mean /= scale
    covariance = np.zeros((dim, dim))
    for start in range(0, len(rows), _CHUNK):
        centred = rows[start : start + _CHUNK].astype(np.float64)
        centred -= mean
        centred *= np.sqrt(weights[start : start + _CHUNK, None])
        covariance += centred.T @ centred  # one and the same array: BLAS computes only half
    return Moments(total, mean, covariance / scale)


def row_moments(queries: Vectors, documents: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and population variance of each query's cosines with all documents.

    Args:
        queries: ``(n_queries, dim)``.
        documents: Their moments.

    Returns:
        Two arrays ``(n_queries,)``; no cosine is computed.
    """
    means, variances = np.empty(len(queries)), np.empty(len(queries))
    for start in range(0, len(queries), _CHUNK):
        part = queries[start : start + _CHUNK].astype(np.float64)
        means[start : start + _CHUNK] = part @ documents.mean
        variances[start : start + _CHUNK] = np.einsum("ij,ij->i", part @ documents.covariance, part)
    return means, np.maximum(variances, 0.0)


def effective_rank(parts: list[Moments]) -> float:
    """Number of directions that the rows really use, from 1 to dim.

    Roy and Vetterli 2007: the exponential of the entropy of the singular values, divided by
    their sum. Rows are not centred (as in RankMe, Garrido et al. 2023), so that a model that
    gives every text nearly the same vector has an effective rank near 1.

    Args:
        parts: Moments of the stacked sets.

    Returns:
        The effective rank; NaN without rows.
    """
    gram = sum((part.count * (part.covariance + np.outer(part.mean, part.mean)) for part in parts), np.zeros(()))
    if not np.any(gram):
        return float("nan")
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mean_off_diagonal(documents: Moments) -> float:
    """Mean cosine of two different documents, from the length of their sum.

    Args:
        documents: Moments of unit rows.

    Returns:
        The mean; NaN below two documents.
    """
    n = documents.count
    if n < 2:
        return float("nan")
    return float((n * documents.mean @ documents.mean - 1) / (n - 1))


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

    Radovanovic et al. 2010. Near 0: every document is found about equally often; above 2 or so:
    a few documents crowd into everybody's list.

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
