"""Vectors from elsewhere, an API or another framework: plain arrays, and the subset that they are of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.numbers import relevance_pairs
from embviz_callback.embeddings import Embeddings, Rows
from embviz_callback.measure import COSINE
from embviz_callback.pairs.records import Record
from embviz_callback.pairs.subset import Subset, check_rows
from embviz_callback.pairs.texts import clean, fold, is_blank, places_of
from embviz_callback.settings import SIMILARITIES


def subset_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[Subset, Embeddings]:
    """What an ``.npz`` of anybody's holds.

    Equal texts are one row, as everywhere; without texts every row is its own.

    Args:
        arrays: `query` ``(N, dim)`` and `document` ``(M, dim)``; `relevance` as pairs, as one document row per query or
            as a boolean matrix, by default row i to row i; `query_text` and `document_text` where there are texts;
            `similarity`, where documents are ranked by another one than the cosine.

    Returns:
        A subset without records of its own, and its embeddings.

    Raises:
        ValueError: If an array is missing or their shapes disagree.
    """
    missing = [name for name in ("query", "document") if name not in arrays]
    if missing:
        raise ValueError(f"expected the arrays query and document, found {', '.join(sorted(arrays)) or 'none'}")
    similarity = str(arrays.get("similarity", COSINE))
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {similarity!r}")
    queries, documents = arrays["query"], arrays["document"]
    for name, rows in (("query", queries), ("document", documents)):
        if rows.ndim != 2 or rows.dtype.kind not in "fiu" or not len(rows):
            raise ValueError(f"{name} must be numbers of shape (n, dim), got {rows.dtype} {rows.shape}")
    if "relevance" not in arrays and len(queries) != len(documents):
        raise ValueError(
            f"without relevance there must be a document per query, got {len(documents)} for {len(queries)}"
        )
    relevance = arrays.get("relevance", np.arange(len(queries)))
    pairs = relevance_pairs(relevance, len(queries), len(documents))
    check_rows("relevance", pairs, len(queries), len(documents))  # numpy would take row -1 for the last
    query_texts, query_rows = _merged(_texts(arrays.get("query_text"), len(queries), "query"))
    document_texts, document_rows = _merged(_texts(arrays.get("document_text"), len(documents), "document"))
    pairs = np.unique(np.column_stack([query_rows[pairs[:, 0]], document_rows[pairs[:, 1]]]), axis=0)
    subset = _bare_subset(query_texts, document_texts, pairs)
    first = [np.unique(rows, return_index=True)[1] for rows in (query_rows, document_rows)]
    return subset, Embeddings.from_raw(queries[first[0]], documents[first[1]], pairs, similarity=similarity)


def embeddings_in_order(
    subset: Subset, records: Sequence[Record], queries: NDArray[Any], documents: NDArray[Any]
) -> Embeddings:
    """The embeddings of a subset from one row of queries and one of documents per record.

    Args:
        subset: Chosen from the records.
        records: With one positive each, without hard negatives.
        queries: ``(n_records, dim)``.
        documents: ``(n_records, dim)``, of each record's positive.

    Returns:
        The embeddings; of equal texts the first row counts.

    Raises:
        ValueError: If there is not a row per record, or a record has more documents than one.
    """
    for name, rows in (("queries", queries), ("documents", documents)):
        if rows.ndim != 2 or len(rows) != len(records):
            raise ValueError(f"{name} must have one row for each of {len(records)} records, got shape {rows.shape}")
    for at, record in enumerate(records):
        if len(record.positives) != 1 or record.judged:
            raise ValueError(f"a record must have one document, record {at + 1} has {len(record.positives)} or grades")
    return Embeddings.from_raw(
        queries[places_of(subset.queries, [one.query for one in records])],
        documents[places_of(subset.documents, [one.positives[0] for one in records])],
        subset.relevance,
        records=subset.records,
    )


def load_rows(path: Path) -> NDArray[Any]:
    """The rows of an ``.npy`` file.

    Args:
        path: The file.

    Returns:
        ``(n, dim)`` numbers.

    Raises:
        ValueError: If the file is missing, damaged or holds something else.
    """
    try:
        with path.open("rb") as file:
            rows: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: expected an .npy array, found none ({reason}). Fix: np.save it") from None
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: expected numbers of shape (n, dim), found {rows.dtype} {rows.shape}. Fix: np.save such"
        )
    return rows


def _texts(given: NDArray[Any] | None, n: int, name: str) -> list[str]:
    if given is None:
        return [f"{name} {row + 1}" for row in range(n)]
    if given.shape != (n,) or given.dtype.kind != "U":
        raise ValueError(f"{name}_text must be {n} texts, got {given.dtype} {given.shape}")
    shown = [clean(text) for text in given.tolist()]
    return [f"{name} {row + 1}" if is_blank(text) else text for row, text in enumerate(shown)]


def _merged(texts: Sequence[str]) -> tuple[tuple[str, ...], Rows]:
    """Distinct texts by their folds in the order of their first rows, and which of them each row is."""
    spelling: dict[str, str] = {}
    for text in texts:
        spelling.setdefault(fold(text), text)
    distinct = tuple(spelling.values())
    return distinct, np.array(places_of(texts, distinct), dtype=np.int64)


def _bare_subset(queries: tuple[str, ...], documents: tuple[str, ...], relevance: Rows) -> Subset:
    return Subset(
        queries=queries,
        documents=documents,
        relevance=relevance,
        hard_negatives=(),
        hard_pairs=np.empty((0, 2), dtype=np.int64),
        hard_types=(),
        records=relevance,
        ids=(None,) * len(queries),
        metadata=({},) * len(queries),
        document_metadata=({},) * len(documents),
        seed=0,
        n_available=len(queries),
    )
