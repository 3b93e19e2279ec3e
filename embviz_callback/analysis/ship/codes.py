"""Vectors at a precision, and the scores that a search on them ranks by.

The codes are those of ``quantize_embeddings`` of sentence-transformers 6.2 to the bit, the scores those of faiss 1.15.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan import exact_scores
from embviz_callback.analysis.ship.ranking import Scores, masked, scores_of
from embviz_callback.embeddings import Vectors, finite_rows, have_direction
from embviz_callback.measure import COSINE, COSINES, DOT, EUCLIDEAN, MANHATTAN, Measure

FLOAT32, FLOAT16, INT8, BINARY = "float32", "float16", "int8", "binary"
CANDIDATES = 40  # four times the ten that are shown
_LEVELS = np.float32(255)
_EXACT_IN_FLOAT32 = 1024  # dimensions up to which a product of signed bytes is below 2 to the 24th
_LARGEST_CODE_SCORE = 2.0**30


@dataclass(frozen=True)
class Precision:
    """How a number of a vector is kept.

    Attributes:
        bits: Of one number.
        scores: What a search on such vectors ranks by, in words; see `ranked_by`.
    """

    bits: int
    scores: str


PRECISIONS = {
    FLOAT32: Precision(32, "the {exact}"),
    FLOAT16: Precision(16, "the {plain} of queries and documents that are both rounded to float16"),
    INT8: Precision(
        8,
        "the {plain} of the signed codes as they are, as faiss's QT_8bit_direct_signed: each dimension of the"
        " documents is cut into 256 steps between its least and its largest value, queries by the same steps, and"
        " nothing undoes that the steps differ",
    ),
    BINARY: Precision(1, "the Hamming distance of the signs, as faiss's IndexBinaryFlat"),
}

# A search compares codes, which have no length of 1, by the product in place of the cosine.
_EXACT = {
    COSINE: "cosine", DOT: "dot product", EUCLIDEAN: "Euclidean distance", MANHATTAN: "Manhattan distance",
}  # fmt: skip
_PLAIN = _EXACT | {COSINE: "inner product", DOT: "inner product"}


def ranked_by(precision: str, similarity: str) -> str:
    """What a search at a precision ranks by, in words.

    Args:
        precision: Key of PRECISIONS.
        similarity: By which the model compares its vectors.

    Returns:
        The end of a sentence.

    Example:
        >>> ranked_by("float32", "cosine"), ranked_by("float32", "euclidean")
        ('the cosine', 'the Euclidean distance')
    """
    return PRECISIONS[precision].scores.format(exact=_EXACT[similarity], plain=_PLAIN[similarity])


def ranges_of(documents: Vectors) -> Vectors:
    """The least and the largest value of each dimension, ``(2, dim)``: what int8 is calibrated on."""
    return np.stack([documents.min(axis=0), documents.max(axis=0)])


def int8_codes(rows: Vectors, ranges: Vectors) -> NDArray[np.int8]:
    """Each dimension cut into 256 steps of its range.

    Args:
        rows: ``(n, dim)``; what lies beyond the range gets its end.
        ranges: ``(2, dim)`` of the documents.

    Returns:
        ``(n, dim)``, from -128 to 127.
    """
    steps = (ranges[1] - ranges[0]) / _LEVELS
    steps = np.where(steps == 0, np.float32(1), steps)
    levels = np.clip(np.floor((rows - ranges[0]) / steps), 0, 255)
    return np.asarray(levels - 128, dtype=np.int8)


def binary_codes(rows: Vectors) -> NDArray[np.uint8]:
    """Which numbers are above 0, eight to a byte, ``(n, ceil(dim / 8))``."""
    return np.packbits(rows > 0, axis=1)


def code_scores(precision: str, queries: Vectors, documents: Vectors, measure: Measure = COSINES) -> Scores:
    """Scores of a search on vectors at a precision.

    Args:
        precision: Key of PRECISIONS.
        queries: ``(n_queries, dim)``, unit rows or zero for the cosine, else on the scale of the measure.
        documents: ``(n_pool, dim)``, likewise.
        measure: By which they are compared.

    Returns:
        The scores; those of codes are whole numbers without any rounding.
    """
    if precision == FLOAT32:
        return scores_of(queries, documents, measure)
    units = measure.query_unit, measure.document_unit
    if precision == FLOAT16:
        return scores_of(_rounded(queries, units[0]), _rounded(documents, units[1]), measure)
    usable = have_direction(queries), have_direction(documents)
    if precision == BINARY:
        return masked(_products(*(_signs(binary_codes(rows), rows.shape[1]) for rows in (queries, documents))), *usable)
    # Codes are of the rows as the model serves them.
    queries, documents = (rows * np.float32(unit) for rows, unit in zip((queries, documents), units, strict=True))
    ranges = ranges_of(documents[usable[1]]) if usable[1].any() else np.zeros((2, documents.shape[1]), np.float32)
    asks, answers = int8_codes(queries, ranges), int8_codes(documents, ranges)
    if measure.name in (EUCLIDEAN, MANHATTAN):
        return masked(lambda rows: measure.table(asks[rows], answers), *usable)
    return masked(_products(asks, answers), *usable)


def _rounded(rows: Vectors, unit: float) -> Vectors:
    """To float16 as the model serves them; a row that float16 cannot hold is zero."""
    with np.errstate(over="ignore"):
        served = (rows * np.float32(unit)).astype(np.float16).astype(np.float32)
    return finite_rows(served) / np.float32(unit)


def _signs(codes: NDArray[np.uint8], dim: int) -> NDArray[np.int8]:
    # The product of signs is the number of dimensions less twice the Hamming distance.
    return (2 * np.unpackbits(codes, axis=1, count=dim).view(np.int8) - 1).astype(np.int8)


def _products(queries: NDArray[np.int8], documents: NDArray[np.int8]) -> Scores:
    wide = np.dtype(np.float32 if queries.shape[1] <= _EXACT_IN_FLOAT32 else np.float64)
    columns = documents.astype(wide).T
    return lambda rows: queries[rows].astype(wide) @ columns


def rescored(
    coarse: Scores, queries: Vectors, documents: Vectors, measure: Measure = COSINES, *, candidates: int = CANDIDATES
) -> Scores:
    """The first candidates of a search put in the order of their float32 scores, before all that follows.

    Args:
        coarse: Scores of the search, whole numbers below 2 to the 30th.
        queries: ``(n_queries, dim)``, float32.
        documents: ``(n_pool, dim)``, likewise.
        measure: By which they are compared.
        candidates: Documents per query that are looked at again. Which of those that tie for the last places are among
            them is drawn once: an order that no model can turn to its use.

    Returns:
        Scores.
    """
    drawn = np.random.default_rng(0).permutation(len(documents))

    def block(rows: slice) -> NDArray[np.floating]:
        table = coarse(rows)
        chosen = [_first(line, drawn, candidates) for line in table]
        owners = np.repeat(np.arange(rows.start, rows.start + len(table)), [len(one) for one in chosen])
        columns = np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
        # All that is not looked at again lies below -3, in its order; exact scores lie above -1.
        placed = table.astype(np.float64) / _LARGEST_CODE_SCORE - 4
        pairs = np.stack([owners, columns], axis=1)
        placed[owners - rows.start, columns] = exact_scores(queries, documents, pairs, measure)
        return placed

    return block


def _first(line: NDArray[np.floating], drawn: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Columns of the highest scores, those at the edge in the drawn order."""
    least = np.partition(line, -n)[-n] if len(line) > n else -np.inf
    if least == -np.inf:
        return np.flatnonzero(line > -np.inf)
    above, edge = np.flatnonzero(line > least), np.flatnonzero(line == least)
    return np.concatenate([above, edge[np.argsort(drawn[edge])[: n - len(above)]]])
