"""The ranked pool: which documents compete for a query, in which order, each vector once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embviz_callback.embeddings import Embeddings, Rows, Vectors, have_direction
from embviz_callback.measure import COSINES, Measure

# What a float32 product of rows no longer than 1 may be off by; measured up to 8e-7. Which way depends on the
# processor and on where in the matrix an entry stands, so that nothing closer is decided by it.
ROUNDING = 1e-6
EQUAL = 1e-13  # scores in float64 that differ by less are one number, added up in another order
_PART = 2**16  # numbers that stay in the cache in float64


@dataclass(frozen=True, eq=False)
class Pool:
    """The documents that are ranked, as columns of distinct vectors.

    Documents with bit-equal vectors share one column, so that their scores are equal by
    construction, whatever the matrix product does in its last bits. A document without a
    direction has no column.

    Attributes:
        vectors: ``(n_columns, dim)``.
        column: ``(n_documents,)``, the column of every document, -1 without a direction.
        members: ``(n_usable,)``, rows of the whole pool sorted by column.
        starts: ``(n_columns + 1,)``, where each column's members begin.
    """

    vectors: Vectors
    column: Rows
    members: Rows
    starts: Rows

    @cached_property
    def weights(self) -> Rows:
        """``(n_columns,)``, how many documents share each column."""
        return np.diff(self.starts)

    @cached_property
    def lines(self) -> Rows:
        """``(n_usable,)``, the column of every member."""
        return np.repeat(np.arange(len(self.vectors)), self.weights)

    @cached_property
    def places(self) -> Rows:
        """``(n_documents + 1,)``, where every document stands among the members, -1 without a direction and at last."""
        found = np.full(len(self.column) + 1, -1)
        found[self.members] = np.arange(len(self.members))
        return found


def make_pool(embeddings: Embeddings) -> Pool:
    """The subset's documents as columns.

    Columns stand in the order in which the records name their documents, then by row: among
    equal scores the first column wins, as it would in an ``argmax`` over the record list.

    Args:
        embeddings: The subset.

    Returns:
        The pool; vectors are copied once if a document must move, and once more if a row has no direction or is a
        copy of another.
    """
    documents = embeddings.documents
    order = np.argsort(first_records(embeddings.records, len(documents)), kind="stable")
    rows = documents if (order == np.arange(len(order))).all() else documents[order]
    kept = np.flatnonzero(have_direction(rows))
    first_of = _first_twin(rows, kept)
    heads = np.flatnonzero(first_of == np.arange(len(kept)))
    head_column = np.full(len(kept), -1, dtype=np.int64)
    head_column[heads] = np.arange(len(heads))
    column = np.full(len(rows), -1, dtype=np.int64)
    column[order[kept]] = head_column[first_of]
    members = order[kept[np.argsort(head_column[first_of], kind="stable")]]
    starts = np.searchsorted(column[members], np.arange(len(heads) + 1))
    return Pool(rows if len(heads) == len(rows) else rows[kept[heads]], column, members, starts)


def block_pool(rows: Rows, vectors: Vectors) -> Pool:
    """A block of a corpus as columns, copies and all: those in other blocks could not share one either.

    Args:
        rows: ``(n,)`` rows of the whole pool.
        vectors: ``(n, dim)``.

    Returns:
        The pool; vectors are copied if a row has no direction.
    """
    order = np.argsort(rows)
    kept = order[have_direction(vectors)[order]]
    is_whole = len(kept) == len(rows) and bool((kept[1:] > kept[:-1]).all())
    starts = np.arange(len(kept) + 1)
    return Pool(vectors if is_whole else vectors[kept], starts[:-1], rows[kept], starts)


def first_records(records: Rows, n_rows: int) -> Rows:
    """``(n_rows,)`` the first record that names each document, as many as there are for none."""
    found = np.full(n_rows, len(records), dtype=np.int64)
    np.minimum.at(found, records[:, 1], np.arange(len(records)))
    return found


def _first_twin(rows: Vectors, kept: Rows) -> Rows:
    """For each position of `kept`, the first position whose row is bit-equal to it."""
    first = np.arange(len(kept))
    if not len(kept):
        return first
    # Equal rows have equal sums of odd multiples of their bits; unequal sums settle nearly
    # every case at a hundredth of the price of sorting whole rows.
    odd = np.random.default_rng(0).integers(0, 2**62, rows.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    parts = np.array_split(rows, len(rows) // 4096 + 1)
    codes = np.concatenate([_bits(part).astype(np.uint64) @ odd for part in parts])[kept]
    values, counts = np.unique(codes, return_counts=True)
    if len(values) == len(codes):
        return first
    again = np.flatnonzero(np.isin(codes, values[counts > 1], kind="sort"))
    whole = _bits(rows[kept[again]]).view(f"V{4 * rows.shape[1]}")[:, 0]
    _, head, inverse = np.unique(whole, return_index=True, return_inverse=True)
    first[again] = again[head[inverse]]
    return first


def _bits(rows: Vectors) -> NDArray[np.uint32]:
    return np.ascontiguousarray(rows + np.float32(0)).view(np.uint32)  # + 0 turns -0.0 into 0.0


def exact_scores(queries: Vectors, documents: Vectors, pairs: Rows, measure: Measure = COSINES) -> NDArray[np.float64]:
    """Float64 scores of pairs; NaN where a row has no direction.

    Args:
        queries: ``(n_queries, dim)``.
        documents: ``(n_documents, dim)``.
        pairs: ``(n_pairs, 2)``, (query row, document row).
        measure: By which rows are compared; of unit rows the cosine without.

    Returns:
        ``(n_pairs,)``.
    """
    scores = pair_scores(queries, documents, pairs, measure)
    usable = have_direction(queries)[pairs[:, 0]] & have_direction(documents)[pairs[:, 1]]
    return np.where(usable, scores, np.nan)


def pair_scores(queries: Vectors, documents: Vectors, pairs: Rows, measure: Measure) -> NDArray[np.float64]:
    """As `exact_scores`, of rows that all have a direction."""
    scores, size = np.empty(len(pairs)), _PART // max(queries.shape[1], 1) + 1
    for start in range(0, len(pairs), size):
        left, right = pairs[start : start + size].T
        rows = queries[left].astype(np.float64), documents[right].astype(np.float64)
        scores[start : start + size] = measure.pairs(*rows)
    return scores
