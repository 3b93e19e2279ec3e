"""Mean and covariance of a set of vectors, and what follows from them without a single cosine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.embeddings import Rows, Vectors

_CHUNK = 2048  # rows turned to float64 at a time


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
    dim, count, head = rows.shape[1], int(weights.sum()), rows[:_CHUNK]
    scale, total, squares = max(count, 1), np.zeros(dim), np.zeros((dim, dim))
    centre = head.sum(axis=0, dtype=np.float64) / max(len(head), 1)  # near the mean, which is enough
    wide = np.empty(head.shape)  # for all chunks: fresh memory is slow
    for start in range(0, len(rows), _CHUNK):
        part, copies = rows[start : start + _CHUNK], weights[start : start + _CHUNK]
        centred = np.subtract(part, centre, out=wide[: len(part)])
        total += copies @ centred
        if (copies != 1).any():
            centred *= np.sqrt(copies[:, None])
        squares += centred.T @ centred  # one and the same array: BLAS computes only half
    shift = total / scale
    return Moments(count, centre + shift, squares / scale - np.outer(shift, shift))


def joined(one: Moments, other: Moments) -> Moments:
    """Moments of two sets together, as of Chan, Golub and LeVeque 1979: nothing cancels here either."""
    total = max(one.count + other.count, 1)
    shares, gap = (one.count / total, other.count / total), other.mean - one.mean
    covariance = shares[0] * one.covariance + shares[1] * other.covariance + shares[0] * shares[1] * np.outer(gap, gap)
    return Moments(one.count + other.count, one.mean + shares[1] * gap, covariance)


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
