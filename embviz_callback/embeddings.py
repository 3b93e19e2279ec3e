"""Hand-over 1: what leaves the model's side of the house."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embviz_callback.measure import COSINE, COSINES, Measure
from embviz_callback.pairs.subset import check_answered, check_rows

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_NORM_TOLERANCE = 1e-3  # half precision keeps about three decimal digits of a unit norm
_UNIT_TOLERANCE = 1e-5  # of rows that a model made unit vectors in float32
_CHUNK = 2048  # rows turned to float64 at a time: small enough for the cache, and for memory


def _no_pairs() -> Rows:
    return np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Served:
    """Rows as a model gives them, of any length, and how it compares them.

    Attributes:
        queries: ``(n_queries, dim)`` float32.
        documents: ``(n_documents, dim)``.
        hard_negatives: ``(n_hard_negatives, dim)``.
        similarity: One of `embviz_callback.measure.SIMILARITIES`.
    """

    queries: Vectors
    documents: Vectors
    hard_negatives: Vectors
    similarity: str


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Queries and documents of one subset under one set of weights.

    Every distinct document text has exactly one row, so that a query is never counted wrong
    for ranking an identical copy of its positive first. A row that the model left non-finite or
    zero is kept as a zero row: it has no direction, counts as a miss wherever a rank is asked
    for, and stays out of every mean.

    Attributes:
        queries: ``(n_queries, dim)`` float32, rows of L2 norm 1 or exactly 0 (unusable).
        documents: ``(n_documents, dim)``, likewise.
        relevance: ``(n_positive_pairs, 2)``, sorted distinct pairs (query row, document row).
        hard_negatives: ``(n_hard_negatives, dim)``, distinct texts; not ranked as documents.
        hard_pairs: ``(n_hard_pairs, 2)``, pairs (query row, hard negative row).
        records: ``(n_records, 2)``, (query row, document row) of every record before equal
            texts were merged, in record order; what ``argmax == own row`` would have seen.
        non_finite: Rows of all three arrays that held a NaN or an infinity.
        zero: Rows of all three arrays without length.
        grades: ``(n_grades, 3)``, (query row, document row, grade) of every judged pair; empty where grades tell
            no more than `relevance`.
        served: The rows as the model gives them; None where they are these, and compared by their cosine.
        measure: By which these rows are compared; other rows than unit vectors are those of `compared`.

    Raises:
        ValueError: If shapes disagree, an index is out of range, a query has no relevant
            document, or a row is neither a unit vector nor zero.
    """

    queries: Vectors
    documents: Vectors
    relevance: Rows
    hard_negatives: Vectors = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    hard_pairs: Rows = field(default_factory=_no_pairs)
    records: Rows = field(default_factory=_no_pairs)
    non_finite: int = 0
    zero: int = 0
    grades: Rows = field(default_factory=lambda: np.empty((0, 3), dtype=np.int64))
    served: Served | None = None
    measure: Measure = COSINES

    def __post_init__(self) -> None:
        if self.hard_negatives.size == 0:
            object.__setattr__(self, "hard_negatives", np.empty((0, self.queries.shape[-1]), dtype=np.float32))
        if len(self.records) == 0:
            object.__setattr__(self, "records", self.relevance)
        for name in ("queries", "documents", "hard_negatives"):
            _check_vectors(name, getattr(self, name), dim=self.queries.shape[-1], is_unit=self.measure == COSINES)
        n_queries, n_documents = len(self.queries), len(self.documents)
        check_rows("relevance", self.relevance, n_queries, n_documents)
        check_rows("records", self.records, n_queries, n_documents)
        check_rows("hard_pairs", self.hard_pairs, n_queries, len(self.hard_negatives))
        check_rows("grades", self.grades, n_queries, n_documents, width=3)
        check_answered(self.relevance, n_queries)

    @classmethod
    def from_raw(
        cls,
        queries: ArrayLike,
        documents: ArrayLike,
        relevance: ArrayLike,
        hard_negatives: ArrayLike | None = None,
        hard_pairs: ArrayLike | None = None,
        records: ArrayLike | None = None,
        grades: ArrayLike | None = None,
        similarity: str = COSINE,
    ) -> Self:
        """Normalises rows of any length and sets aside those that have no direction.

        Args:
            queries: ``(n_queries, dim)``, any float type.
            documents: ``(n_documents, dim)``.
            relevance: ``(n, 2)`` pairs of rows; repeats are merged.
            hard_negatives: ``(n_hard_negatives, dim)``.
            hard_pairs: ``(n, 2)`` pairs (query row, hard negative row).
            records: ``(n, 2)``, see the class.
            grades: ``(n, 3)``, see the class.
            similarity: By which the model compares them, one of `embviz_callback.measure.SIMILARITIES`.

        Returns:
            Embeddings with counted `non_finite` and `zero` rows.
        """
        parts = {"queries": queries, "documents": documents}
        if hard_negatives is not None and np.size(hard_negatives):
            parts["hard_negatives"] = hard_negatives
        units: dict[str, Any] = {}
        non_finite, zero = 0, 0
        for name, raw in parts.items():
            units[name], part_non_finite, part_zero = unit_rows(name, raw)
            non_finite, zero = non_finite + part_non_finite, zero + part_zero
        given = {"hard_pairs": hard_pairs, "records": records, "grades": grades}
        extra: dict[str, Any] = {
            name: np.asarray(rows, dtype=np.int64) for name, rows in given.items() if rows is not None and np.size(rows)
        }
        if "hard_pairs" in extra:
            extra["hard_pairs"] = np.unique(extra["hard_pairs"], axis=0)
        pairs = np.unique(np.asarray(relevance, dtype=np.int64).reshape(-1, 2), axis=0)
        served = _served(parts, similarity)
        return cls(relevance=pairs, non_finite=non_finite, zero=zero, served=served, **units, **extra)

    @classmethod
    def restored(cls, *, similarity: str, non_finite: int, zero: int, **arrays: Any) -> Self:
        """The embeddings whose rows `as_served` gave.

        Args:
            similarity: Of the model.
            non_finite: Rows that were set aside.
            zero: Likewise.
            arrays: The other fields by name.

        Returns:
            Equal ones.
        """
        rows = [arrays[name] for name in ("queries", "documents", "hard_negatives") if name in arrays]
        if similarity == COSINE and all(map(_are_unit, rows)):
            return cls(non_finite=non_finite, zero=zero, **arrays)
        return cls.from_raw(**arrays, similarity=similarity)

    @property
    def similarity(self) -> str:
        """By which the model compares its rows."""
        return COSINE if self.served is None else self.served.similarity

    def ranked_by(self, similarity: str) -> Self:
        """The same rows, compared in another way."""
        rows = self.as_served
        return replace(self, served=Served(rows.queries, rows.documents, rows.hard_negatives, similarity))

    @property
    def as_served(self) -> "Served | Embeddings":
        """Whichever holds the rows as the model gives them."""
        return self.served or self

    def compared(self, corpus: Vectors | None = None) -> tuple[Self, Vectors | None]:
        """The rows by which the model ranks, on the scale of their `measure`.

        Args:
            corpus: ``(n_corpus, dim)`` further documents as served, or unit rows for the cosine.

        Returns:
            Itself for the cosine; else embeddings whose rows are those served, a row without a direction zero, and
            the corpus's likewise.
        """
        served = self.served
        if served is None or served.similarity == COSINE:
            return self, corpus
        rows = {name: finite_rows(getattr(served, name)) for name in ("queries", "documents", "hard_negatives")}
        others = [] if corpus is None else [finite_rows(corpus)]
        measure = Measure.fitting(
            served.similarity, rows["queries"], rows["documents"], rows["hard_negatives"], *others
        )
        queries = rows.pop("queries") / np.float32(measure.query_unit)
        unit = np.float32(measure.document_unit)
        scaled: dict[str, Any] = {name: part / unit for name, part in rows.items()}
        found = replace(self, queries=queries, **scaled, served=None, measure=measure)
        return found, others[0] / unit if others else None

    @cached_property
    def gains(self) -> Rows:
        """``(n_gains, 3)``, (query row, document row, gain) of all that nDCG rewards; a grade below 1 gains nothing."""
        if not len(self.grades):
            return np.column_stack([self.relevance, np.ones(len(self.relevance), dtype=np.int64)])
        return self.grades[self.grades[:, 2] > 0]

    @cached_property
    def usable_queries(self) -> NDArray[np.bool_]:
        """``(n_queries,)``, which query rows have a direction."""
        return have_direction(self.queries)

    @cached_property
    def usable_documents(self) -> NDArray[np.bool_]:
        """``(n_documents,)``, which document rows have a direction."""
        return have_direction(self.documents)


def unit_rows(name: str, raw: ArrayLike) -> tuple[Vectors, int, int]:
    """Rows scaled to L2 norm 1, those without a direction set to zero.

    Args:
        name: What the rows are, for the error.
        raw: ``(n, dim)``.

    Returns:
        The float32 rows, how many were non-finite, how many had no length.

    Raises:
        ValueError: If `raw` is not two-dimensional.
    """
    rows = np.asarray(raw)
    if rows.ndim != 2:
        raise ValueError(f"{name} must have shape (n, dim), got {rows.shape}")
    units = np.empty(rows.shape, dtype=np.float32)
    non_finite, zero = 0, 0
    for start in range(0, len(rows), _CHUNK):
        part, finite = _unit_part(rows[start : start + _CHUNK])
        units[start : start + _CHUNK] = part
        non_finite += int((~finite).sum())
        zero += int((finite & ~part.any(axis=1)).sum())
    return units, non_finite, zero


def _unit_part(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Unit rows in float64, and which rows were finite."""
    wide = rows.astype(np.float64)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(wide).all(axis=1))
    wide[~finite] = 0.0
    # Scaling by the largest entry first keeps the squares of very large and very small rows finite.
    largest = np.maximum(wide.max(axis=1, initial=0.0), -wide.min(axis=1, initial=0.0))
    wide /= np.where(largest > 0, largest, 1.0)[:, None]
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    wide /= np.where(norms > 0, norms, 1.0)[:, None]
    return wide, finite


def ranked_rows(name: str, raw: ArrayLike, similarity: str) -> Vectors:
    """Rows of a corpus as `embviz_callback.analysis.scan.scan` takes them: unit rows for the cosine, else as served.

    Args:
        name: What the rows are, for the error.
        raw: ``(n, dim)``.
        similarity: Of the model.

    Returns:
        The float32 rows.
    """
    return unit_rows(name, raw)[0] if similarity == COSINE else np.asarray(raw, dtype=np.float32)


def finite_rows(rows: Vectors) -> Vectors:
    """``(n, dim)``, a row with a NaN or an infinity set to zero; the same array where there is none."""
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    return rows if finite.all() else np.where(finite[:, None], rows, np.float32(0))


def _served(parts: dict[str, Any], similarity: str) -> Served | None:
    """What tells more than unit rows and the cosine do."""
    with np.errstate(over="ignore"):
        rows = {name: np.asarray(raw).astype(np.float32, copy=False) for name, raw in parts.items()}
    if similarity == COSINE and all(map(_are_unit, rows.values())):
        return None
    rows.setdefault("hard_negatives", np.empty((0, rows["queries"].shape[1]), dtype=np.float32))
    return Served(**rows, similarity=similarity)


def _are_unit(rows: Vectors) -> bool:
    """Whether all rows that have a direction are unit vectors."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return bool(((np.abs(norms - 1) <= _UNIT_TOLERANCE) | (norms == 0) | ~np.isfinite(norms)).all())


def _check_vectors(name: str, rows: Vectors, *, dim: int, is_unit: bool) -> None:
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise ValueError(f"{name} must be float32 of shape (n, dim), got {rows.dtype} {rows.shape}")
    if rows.shape[1] != dim:
        raise ValueError(f"{name} must have {dim} columns like queries, got {rows.shape[1]}")
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))  # without a copy of the squares
    bad = ~((np.abs(norms - 1) <= _NORM_TOLERANCE) | (norms == 0))
    if is_unit and bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"{name} must be unit vectors, row {row} has L2 norm {norms[row]:.4f}")


def have_direction(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which of ``(n, dim)`` rows are not zero, ``(n,)``."""
    found = np.zeros(len(rows), dtype=bool)
    if rows.shape[1]:
        found = rows[:, 0] != 0  # tells it of nearly every row, without a look at the others
        rest = np.flatnonzero(~found)
        found[rest] = np.any(rows[rest] != 0, axis=1)
    return found
