"""Columns: what is known about each text beside the text, from metadata or read out of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embviz_callback.embeddings import Rows
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.weight_rule import is_number

Value = str | float | tuple[str, ...]
Row = Mapping[str, Value]
Extract = Callable[[str], Mapping[str, Value | list[str]]]

_FEW_NUMBERS = 6
_BANDS = 4
_LARGEST = 1e100  # beyond, and at NaN, no mean or difference can be computed: as good as not known


@dataclass(frozen=True)
class Columns:
    """The columns of every text of a subset.

    A column may hold a text, a number or several names (amenities); a row leaves out what is not
    known of its text.

    Attributes:
        queries: One row per query: its own columns, completed by those of its first document,
            which usually says more than the query does.
        documents: One row per document.
        hard_negatives: One row per hard negative; empty rows without an extractor.
    """

    queries: tuple[Row, ...]
    documents: tuple[Row, ...]
    hard_negatives: tuple[Row, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every column, in order of first appearance."""
        rows = (*self.queries, *self.documents)
        return tuple(dict.fromkeys(name for row in rows for name in row))

    def numeric(self) -> tuple[str, ...]:
        """Columns that hold numbers in documents, and nothing else."""
        values = {name: [row[name] for row in self.documents if name in row] for name in self.names}
        return tuple(name for name, found in values.items() if found and all(map(is_number, found)))


def columns_of(subset: Subset, extract: Extract | None = None) -> Columns:
    """The subset's metadata, completed by what an extractor reads from the texts.

    Args:
        subset: Its metadata wins over what is read.
        extract: From a text to its columns.

    Returns:
        The columns.
    """
    stated = tuple(_row(text, own, extract) for text, own in zip(subset.queries, subset.metadata, strict=True))
    documents = tuple(
        _row(text, own, extract) for text, own in zip(subset.documents, subset.document_metadata, strict=True)
    )
    first = dict(subset.relevance[::-1].tolist())
    completed = tuple({**documents[first[query]], **own} for query, own in enumerate(stated))
    return Columns(completed, documents, tuple(_row(text, {}, extract) for text in subset.hard_negatives))


def _row(text: str, own: Mapping[str, str | float], extract: Extract | None) -> Row:
    read = extract(text) if extract is not None else {}
    row = {name: tuple(value) if isinstance(value, list) else value for name, value in {**read, **own}.items()}
    return {name: value for name, value in row.items() if isinstance(value, str | tuple) or abs(value) <= _LARGEST}


def memberships(rows: Sequence[Row], column: str, *, edges: Sequence[float] | None = None) -> dict[str, Rows]:
    """The groups of one column.

    Args:
        rows: One per text.
        column: Its name; rows without it are in no group.
        edges: Ascending bounds of bands for numbers; by default `band_edges`.

    Returns:
        Label to the rows of the group, ascending; bands by value, names by frequency. A column of several names lets
        a row be in several groups.
    """
    edges = band_edges(rows, column) if edges is None else edges
    groups: dict[str, list[int]] = {}
    order: dict[str, float] = {}
    for at, row in enumerate(rows):
        for label, place in _labels(row[column], edges) if column in row else ():
            groups.setdefault(label, []).append(at)
            order[label] = place
    labels = sorted(groups, key=lambda label: (order[label], -len(groups[label]), label))
    return {label: np.unique(np.array(groups[label], dtype=np.int64)) for label in labels}


def band_edges(rows: Sequence[Row], column: str) -> tuple[float, ...] | None:
    """Distinct quartiles of a column's numbers, lowest and highest left out; None for at most six different ones."""
    numbers = [float(row[column]) for row in rows if is_number(row.get(column))]  # type: ignore[arg-type]
    if len(set(numbers)) <= _FEW_NUMBERS:
        return None
    cuts = np.unique(np.quantile(numbers, np.arange(1, _BANDS) / _BANDS))
    return tuple(float(cut) for cut in cuts if min(numbers) < cut)


def _labels(value: Value, edges: Sequence[float] | None) -> list[tuple[str, float]]:
    if isinstance(value, tuple):
        return [(name, math.inf) for name in value]
    if not is_number(value):
        return [(str(value), math.inf)] if str(value).strip() else []
    number = float(value)
    if not edges:
        return [(f"{number:g}", number)]
    band = int(np.searchsorted(edges, number, side="right"))
    return [(_band_label(edges, band), float(band))]


def _band_label(edges: Sequence[float], band: int) -> str:
    if band == 0:
        return f"below {edges[0]:g}"
    return f"{edges[-1]:g} and more" if band == len(edges) else f"{edges[band - 1]:g} to {edges[band]:g}"
