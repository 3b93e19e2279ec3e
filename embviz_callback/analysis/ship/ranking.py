"""Ranks by scores of any kind: how many documents stand above each relevant one, and how many tie with it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.ranks import Counts
from embviz_callback.analysis.scan import EQUAL
from embviz_callback.embeddings import Embeddings, Rows, Vectors, have_direction
from embviz_callback.measure import COSINES, Measure

# Of some queries, ``(n, n_pool)``; minus infinity for what cannot be ranked.
Scores = Callable[[slice], NDArray[np.floating]]

_ENTRIES = 8_000_000  # scores at a time: 64 MB
_FEW = 8  # positives of a query that are counted one by one; more are looked up among sorted scores
_CHUNK = 8192  # documents turned to float64 at a time


def blocks(n_queries: int, n_pool: int) -> list[slice]:
    """Runs of queries whose scores fit into a bounded memory."""
    n_rows = max(1, _ENTRIES // max(n_pool, 1))
    return [slice(start, min(start + n_rows, n_queries)) for start in range(0, n_queries, n_rows)]


def count(embeddings: Embeddings, scores: Scores, n_pool: int) -> Counts:
    """Counts what stands above each relevant document and what ties with it.

    Args:
        embeddings: Whose relevance and grades; documents are the first columns of the scores.
        scores: Of any kind, the higher the better.
        n_pool: Columns of the scores.

    Returns:
        The counts.
    """
    relevance = embeddings.relevance
    gains = embeddings.gains[:, :2] if len(embeddings.grades) else np.empty((0, 2), dtype=np.int64)
    own = np.empty(len(relevance))
    above, tied = np.zeros((2, len(relevance)), dtype=np.int64)
    gain_above, gain_tied = np.zeros((2, len(gains)), dtype=np.int64)
    gain_order = np.argsort(gains[:, 0], kind="stable")
    rows = np.arange(len(embeddings.queries) + 1)
    starts = np.searchsorted(relevance[:, 0], rows)
    gain_starts = np.searchsorted(gains[gain_order, 0], rows)
    for block in blocks(len(embeddings.queries), n_pool):
        for row, line in zip(range(block.start, block.stop), scores(block), strict=True):
            pairs = slice(starts[row], starts[row + 1])
            documents = relevance[pairs, 1]
            graded = gain_order[gain_starts[row] : gain_starts[row + 1]]
            levels = line[gains[graded, 1]]
            gain_above[graded], gain_tied[graded] = _standing(line, levels)
            gain_tied[graded] -= 1  # itself
            gain_above[graded[levels == -np.inf]], gain_tied[graded[levels == -np.inf]] = -1, 0
            levels = own[pairs] = line[documents]
            line[documents] = -np.inf
            above[pairs], tied[pairs] = _standing(line, levels)
    unranked = own == -np.inf
    own[unranked], above[unranked], tied[unranked] = np.nan, 0, 0
    return Counts(own, above, tied, gain_above, gain_tied)


def _standing(line: NDArray[np.floating], levels: NDArray[np.floating]) -> tuple[Rows, Rows]:
    """How many of a line's scores lie above each level, and how many at it."""
    if len(levels) <= _FEW:
        above = np.array([np.count_nonzero(line > level + EQUAL) for level in levels], dtype=np.int64)
        reaching = np.array([np.count_nonzero(line >= level - EQUAL) for level in levels], dtype=np.int64)
    else:
        ordered = np.sort(line)
        above = len(line) - np.searchsorted(ordered, levels + EQUAL, side="right")
        reaching = len(line) - np.searchsorted(ordered, levels - EQUAL, side="left")
    return above, reaching - above


def scores_of(queries: Vectors, documents: Vectors, measure: Measure = COSINES) -> Scores:
    """Scores in float64, so that equal ones are equal.

    Args:
        queries: ``(n_queries, dim)``, unit rows or zero for the cosine, else on the scale of the measure.
        documents: ``(n_pool, dim)``, likewise; a row without a direction is not ranked.
        measure: By which they are compared.

    Returns:
        The scores.
    """

    def block(rows: slice) -> NDArray[np.floating]:
        left = queries[rows]
        table = np.empty((len(left), len(documents)))
        for start in range(0, len(documents), _CHUNK):
            part = slice(start, start + _CHUNK)
            table[:, part] = measure.table(left, documents[part])
        return table

    return masked(block, have_direction(queries), have_direction(documents))


def masked(scores: Scores, asks: NDArray[np.bool_], answers: NDArray[np.bool_]) -> Scores:
    """The scores with minus infinity wherever a query or a document has no direction."""

    def block(rows: slice) -> NDArray[np.floating]:
        table = scores(rows)
        if not answers.all():
            table[:, ~answers] = -np.inf
        table[~asks[rows]] = -np.inf
        return table

    return block
