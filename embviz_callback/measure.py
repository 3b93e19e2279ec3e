"""How a query is compared with a document: by the cosine, or by what the model declares instead."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from embviz_callback.settings import SIMILARITIES

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Product = Callable[[Vectors, Vectors], Vectors]
_Scores = TypeVar("_Scores", float, NDArray[Any])

COSINE, DOT, EUCLIDEAN, MANHATTAN = SIMILARITIES
TITLES = {
    COSINE: "cosine similarity",
    DOT: "dot product",
    EUCLIDEAN: "negative Euclidean distance",
    MANHATTAN: "negative Manhattan distance",
}
_METRICS = {EUCLIDEAN: "sqeuclidean", MANHATTAN: "cityblock"}  # as scipy calls what is scored


@dataclass(frozen=True)
class Measure:
    """A similarity on a scale on which no score is beyond 1 or -1.

    Rows are brought there by a power of two, which changes no digit of theirs: what was tied stays tied. The Euclidean
    distance is scored by its square, which has no root to make large differences of float32's rounding.

    Attributes:
        name: One of `SIMILARITIES`.
        query_unit: What query rows are divided by; 1 for the cosine, whose rows are unit vectors.
        document_unit: What document rows are.
    """

    name: str = COSINE
    query_unit: float = 1.0
    document_unit: float = 1.0

    @classmethod
    def fitting(cls, name: str, queries: Vectors, *documents: Vectors) -> Self:
        """The measure for rows as they are served.

        Args:
            name: One of `SIMILARITIES`, not the cosine.
            queries: ``(n_queries, dim)``.
            documents: All rows that queries are compared with, in as many arrays as they come in.

        Returns:
            One whose scaled rows have a length of at most 1, for distances of at most 1/2.
        """
        order = 1 if name == MANHATTAN else 2
        longest = [max(_longest(rows, order) for rows in side) for side in ((queries,), documents)]
        if name == DOT:
            return cls(name, *map(_power_of_two, longest))
        unit = 2 * _power_of_two(max(longest))
        return cls(name, unit, unit)

    @property
    def span(self) -> float:
        """What a score of 1 is worth: no value is beyond it."""
        return self.query_unit * (self.document_unit if self.name == DOT else 1.0)

    def stretch(self, rows: Vectors) -> float:
        """How many times larger than 1 a score of ``(n, dim)`` scaled rows may be; at least 1."""
        if self.name == COSINE:
            return 1.0
        longest = _longest(rows, 1 if self.name == MANHATTAN else 2)
        return max(longest, 1.0) if self.name == DOT else max(2 * longest, 1.0) ** 2

    def value(self, scores: _Scores) -> _Scores:
        """Scores as the model's own similarity; any shape, NaN stays."""
        if self.name == EUCLIDEAN:
            scores = -np.sqrt(-scores)
        return scores * self.span + 0.0  # no minus before a zero

    def pairs(self, left: Floats, right: Floats) -> Floats:
        """Exact scores of pairs, ``(n, dim)`` each, to ``(n,)``."""
        if self.name == EUCLIDEAN:
            return np.asarray(-np.einsum("ij,ij->i", left - right, left - right))
        if self.name == MANHATTAN:
            return np.asarray(-np.abs(left - right).sum(axis=1))
        return np.asarray(np.einsum("ij,ij->i", left, right))

    def table(self, columns: NDArray[Any], rows: NDArray[Any]) -> Floats:
        """Exact scores of every column with every row, ``(n_columns, n_rows)``."""
        left, right = columns.astype(np.float64), rows.astype(np.float64)
        if self.name in _METRICS:
            from scipy.spatial.distance import cdist  # slow to import, and most models declare no distance

            return np.asarray(-cdist(left, right, _METRICS[self.name]))
        return left @ right.T

    def fill(self, out: Vectors, columns: Vectors, rows: Vectors, product: Product | None) -> None:
        """Scores of every column with every row in float32, off by no more than products of unit rows.

        Args:
            out: ``(n_columns, n_rows)``, is overwritten.
            columns: ``(n_columns, dim)``.
            rows: ``(n_rows, dim)``.
            product: ``(a, b) -> a @ b.T``; numpy's without.
        """
        if self.name == MANHATTAN:  # no product of matrices
            out[:] = self.table(columns, rows)
            return
        if product is None:
            np.matmul(columns, rows.T, out=out)
        else:
            out[:] = product(columns, rows)
        if self.name == EUCLIDEAN:
            out *= 2
            out -= _squares(columns)[:, None]
            out -= _squares(rows)
            np.minimum(out, 0, out=out)


COSINES = Measure()  # of unit rows, whose products they are


def _longest(rows: Vectors, order: int) -> float:
    """The largest norm, L1 or L2."""
    wide = (rows[start : start + 1024].astype(np.float64) for start in range(0, len(rows), 1024))
    return max((float(np.linalg.norm(part, ord=order, axis=1).max()) for part in wide), default=0.0)


def _power_of_two(least: float) -> float:
    return float(2.0 ** np.ceil(np.log2(least))) if least > 0 else 1.0


def _squares(rows: Vectors) -> Vectors:
    wide = rows.astype(np.float64)
    return np.asarray(np.einsum("ij,ij->i", wide, wide), dtype=np.float32)
