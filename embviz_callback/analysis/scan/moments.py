"""Mean and covariance of a set of vectors, and what follows from them; and sums of scores."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.pool import ROUNDING
from embviz_callback.analysis.scan.tiles import Tally, Tile
from embviz_callback.embeddings import Floats, Rows, Vectors

# Rows of a larger corpus whose covariance stands for that of all, which would cost dim**2 a document. The effective
# rank is then lower by 0.2 to 0.3 % in 256 dimensions, by 0.8 to 2.6 % in 1,024.
DRAWN = 10_000
_MANY = 8  # queries a dimension, from which on a covariance of all costs less than sums of all scores
_CHUNK = 2048  # rows turned to float64 at a time
_SCORES = 2**16  # likewise: they stay in the cache


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and population covariance of a set of rows, or variance of each column, in float64.

    Attributes:
        count: Rows, copies counted.
        mean: ``(dim,)``.
        covariance: ``(dim, dim)``, or ``(dim,)`` the variances.
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
    between = np.outer(gap, gap) if one.covariance.ndim == 2 else gap**2
    covariance = shares[0] * one.covariance + shares[1] * other.covariance + shares[0] * shares[1] * between
    return Moments(one.count + other.count, one.mean + shares[1] * gap, covariance)


def row_moments(queries: Vectors, documents: Moments) -> Moments:
    """Mean and population variance of each query's cosines with all documents, none of which is computed.

    Args:
        queries: ``(n_queries, dim)``.
        documents: Their moments.

    Returns:
        A column for each query.
    """
    means, variances = np.empty(len(queries)), np.empty(len(queries))
    for start in range(0, len(queries), _CHUNK):
        part = queries[start : start + _CHUNK].astype(np.float64)
        means[start : start + _CHUNK] = part @ documents.mean
        variances[start : start + _CHUNK] = np.einsum("ij,ij->i", part @ documents.covariance, part)
    return Moments(documents.count, means, np.maximum(variances, 0.0))


@dataclass(frozen=True, eq=False)
class Collected:
    """What the blocks of a corpus tell about its moments.

    Attributes:
        count: Documents with a direction.
        total: ``(dim,)`` their sum.
        added: As of `Tally`.
        drawn: Moments of those that were drawn, as of `drawn_rows`.
        waiting: Further ones, not yet among these: to update a covariance for the few of every block would be dear.
    """

    count: int
    total: Floats
    added: Floats
    drawn: Moments
    waiting: Vectors

    def of_block(self, rows: Rows, vectors: Vectors, drawn: Rows | slice) -> Self:
        """Of a block alone, without its scores; `drawn` is as of `drawn_rows`."""
        some = vectors[drawn if isinstance(drawn, slice) else np.isin(rows, drawn, assume_unique=True)]
        total = vectors.sum(axis=0, dtype=np.float64)
        return replace(self, count=len(vectors), total=total, waiting=some).settled(_CHUNK)

    def plus(self, other: Self) -> Self:
        """Of these blocks and others."""
        drawn = joined(self.drawn, other.drawn) if other.drawn.count else self.drawn
        waiting = np.concatenate([self.waiting, other.waiting])
        sums = self.count + other.count, self.total + other.total, self.added + other.added
        return type(self)(*sums, drawn, waiting).settled(_CHUNK)

    def settled(self, least: int = 0) -> Self:
        """The same, with no row waiting if so many do."""
        if len(self.waiting) < least:
            return self
        drawn = joined(self.drawn, moments(self.waiting, np.ones(len(self.waiting), dtype=np.int64)))
        return replace(self, drawn=drawn, waiting=self.waiting[:0].copy())

    def packed(self) -> tuple[Rows, Floats]:
        """All of it as integers and floats."""
        drawn = self.settled().drawn
        floats = self.total, drawn.mean, drawn.covariance.ravel(), self.added.ravel()
        return np.array([self.count, drawn.count]), np.concatenate(floats)

    def unpacked(self, ints: Rows, floats: Floats) -> Self:
        """What another scan of the same subset has packed."""
        dim, (count, n_drawn) = len(self.drawn.mean), ints.tolist()
        total, mean, covariance, added = np.split(floats, np.cumsum([dim, dim, dim * dim]))
        drawn = Moments(n_drawn, mean, covariance.reshape(dim, dim))
        return type(self)(count, total, added.reshape(2, -1), drawn, self.waiting[:0])

    @property
    def moments(self) -> Moments:
        """Of all documents, but for the covariance, which is that of the drawn ones; after `settled`."""
        return Moments(self.count, self.total / max(self.count, 1), self.drawn.covariance)

    def of_scores(self, queries: Vectors) -> Moments:
        """Of each query's cosines; after `settled`.

        Args:
            queries: ``(n_queries, dim)``.

        Returns:
            Exact; the variance, where not all documents were drawn, as exact as scores in float32 are.
        """
        found = row_moments(queries, self.moments)
        if self.drawn.count == self.count:
            return found
        mean, square = self.added / self.count  # both of rounded scores: those of copies have no variance
        variance = square - mean**2
        return replace(found, covariance=np.where(variance < ROUNDING**2, 0.0, variance))


def drawn_rows(n: int, n_queries: int, dim: int) -> Rows | slice:
    """Which of so many rows of a corpus are drawn, the same wherever and whenever they come; a slice for all."""
    if n <= DRAWN or n_queries > _MANY * dim:
        return slice(None)
    return np.random.default_rng(0).choice(n, DRAWN, replace=False)


def add_scores(tally: Tally, tile: Tile) -> None:
    """Adds up each query's scores of a tile, and their squares.

    In float64, so that neither the order of tiles nor how they are cut is seen in the sums, and so that what is left
    of them as variance is off by no more than the scores are.
    """
    scores, squares = tally.added[:, tile.band.rows]
    height = _SCORES // len(scores) + 1
    wide, ones = np.empty((height, len(scores))), np.ones(height)
    for start in range(0, len(tile.scores), height):
        part = tile.scores[start : start + height]
        lines, each = wide[: len(part)], ones[: len(part)]
        lines[:] = part
        scores += each @ lines
        lines *= lines
        squares += each @ lines


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
