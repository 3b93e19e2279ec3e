"""Groups of queries: how well each is served, and how close groups lie to each other."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.catalogue import GROUPS, RANKS, SPREAD, shown
from embviz_callback.analysis.metrics.intervals import PerQuery, bootstrap, per_query
from embviz_callback.analysis.metrics.numbers import separation
from embviz_callback.analysis.metrics.resampling import plain
from embviz_callback.analysis.scan import Similarity
from embviz_callback.analysis.why.columns import Columns, Membership, band_edges, is_number, memberships
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors

SMALL = 10
SHOWN = (*shown(GROUPS, RANKS), *shown(GROUPS, SPREAD))
_MOST_GROUPS = 30


@dataclass(frozen=True, eq=False)
class Group:
    """One group of queries, ranked against all documents.

    Attributes:
        label: Value or band of the column.
        n_queries: Queries in it.
        figures: Name to value, names as everywhere.
        intervals: Name to the (low, high) of a 95 % bootstrap interval over its queries.
    """

    label: str
    n_queries: int
    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    @property
    def is_small(self) -> bool:
        """Whether fewer than ten queries speak for it: then it says next to nothing."""
        return self.n_queries < SMALL

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "label": self.label,
            "n_queries": self.n_queries,
            "small": self.is_small,
            "metrics": {name: plain(value) for name, value in self.figures.items()},
            "intervals": {name: [plain(low), plain(high)] for name, (low, high) in self.intervals.items()},
        }


@dataclass(frozen=True, eq=False)
class Slices:
    """The groups of one column.

    Attributes:
        column: Its name.
        groups: Worst rank-1 first, then worst margin; those too small to judge come last.
        labels: The groups of `affinity`, in the column's own order.
        affinity: ``(n_labels, n_labels)``, mean cosine of one group's queries (rows) with the other's
            documents (columns), pairs that are relevant left out: what belongs together by
            content alone. NaN where there is no such pair.
        silhouette: Mean silhouette of the documents by group, cosine distance, -1 to 1: near 1
            the groups are clusters, near 0 they mix. NaN below two groups.
        n_without: Queries that have no value in the column.
        n_left_out: Groups beyond the thirty largest.
    """

    column: str
    groups: tuple[Group, ...]
    labels: tuple[str, ...]
    affinity: Floats
    silhouette: float
    n_without: int
    n_left_out: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "column": self.column,
            "groups": [group.as_dict() for group in self.groups],
            "labels": list(self.labels),
            "affinity": [[plain(float(value)) for value in row] for row in self.affinity],
            "silhouette": plain(self.silhouette),
            "n_without": self.n_without,
            "n_left_out": self.n_left_out,
        }


def slice_by(
    embeddings: Embeddings,
    similarity: Similarity,
    columns: Columns,
    column: str,
    *,
    edges: tuple[float, ...] | None = None,
    draws: int = 1000,
    seed: int = 0,
    clusters: Rows | None = None,
) -> Slices:
    """Metrics per value of a column; at most the thirty largest groups.

    A query counts for every group it is in, as where a column holds several names.

    Args:
        embeddings: The subset's vectors.
        similarity: Their scan.
        columns: One row per text.
        column: Which of them.
        edges: Bounds of bands for a column of numbers.
        draws: Resamples behind the intervals.
        seed: Of the resamples.
        clusters: ``(n_queries,)`` queries that are drawn together.

    Returns:
        The groups.

    Raises:
        ValueError: If no query has the column; those there are are named.
    """
    if all(column not in row for row in columns.queries):
        there = ", ".join(columns.names) or "none"
        raise ValueError(f"no query has a column {column!r}; there are {there}")
    if edges is None:
        edges = _common_edges(columns, column)
    found = memberships(columns.queries, column, edges=edges)
    kept, n_left_out = _largest(found)
    statistics = per_query(similarity, embeddings, groups=clusters)
    groups = [
        _group(label, rows, statistics, draws, seed) for label, rows in zip(kept.labels, kept.members, strict=True)
    ]
    documents = memberships(columns.documents, column, edges=edges)
    labels = tuple(label for label in kept.labels if label in documents.labels)
    known = np.unique(np.concatenate([*found.members, np.empty(0, dtype=np.int64)]))
    return Slices(
        column=column,
        groups=tuple(sorted(groups, key=_badness)),
        labels=labels,
        affinity=_affinity(embeddings, kept, documents, labels),
        silhouette=silhouette(embeddings.documents, documents.codes(len(embeddings.documents)))
        if documents.is_single
        else math.nan,
        n_without=len(columns.queries) - len(known),
        n_left_out=n_left_out,
    )


def _common_edges(columns: Columns, column: str) -> tuple[float, ...] | None:
    """Queries and documents are cut at the same quartiles, those of the documents."""
    numbers = [float(row[column]) for row in columns.documents if is_number(row.get(column))]  # type: ignore[arg-type]
    return band_edges(numbers) if len(set(numbers)) > 6 else None


def _largest(found: Membership) -> tuple[Membership, int]:
    if len(found.labels) <= _MOST_GROUPS:
        return found, 0
    sizes = [-len(rows) for rows in found.members]
    chosen = sorted(sorted(range(len(sizes)), key=lambda at: sizes[at])[:_MOST_GROUPS])
    kept = Membership(found.column, tuple(found.labels[at] for at in chosen), tuple(found.members[at] for at in chosen))
    return kept, len(found.labels) - _MOST_GROUPS


def _badness(group: Group) -> tuple[bool, float, float, str]:
    rank1, margin = (
        math.inf if math.isnan(group.figures[name]) else group.figures[name] for name in ("rank1", "margin")
    )
    return group.is_small, rank1, margin, group.label


def _group(label: str, rows: Rows, statistics: PerQuery, draws: int, seed: int) -> Group:
    own = replace(
        statistics,
        groups=statistics.groups[rows],
        positive=statistics.positive[rows],
        negative=statistics.negative[rows],
        ranks={name: values[rows] for name, values in statistics.ranks.items()},
    )
    intervals = bootstrap(own, draws=draws, seed=seed)
    return Group(label, len(rows), _figures(own), {name: intervals[name] for name in SHOWN if name in intervals})


def _figures(own: PerQuery) -> dict[str, float]:
    """The metrics of some queries from their sums."""
    positive_mean, positive_variance = _moments(own.positive.sum(axis=0))
    negative_mean, negative_variance = _moments(own.negative.sum(axis=0))
    margin = positive_mean - negative_mean
    found = {name: float(values.mean()) for name, values in own.ranks.items()}
    found |= {
        "margin": margin,
        "separation": separation(margin, math.sqrt(positive_variance), math.sqrt(negative_variance)),
        "positive_mean": positive_mean + own.centre,
        "negative_mean": negative_mean + own.centre,
    }
    return {name: found[name] for name in SHOWN}


def _moments(sums: Floats) -> tuple[float, float]:
    if not sums[0]:
        return math.nan, math.nan
    mean = float(sums[1] / sums[0])
    return mean, max(float(sums[2] / sums[0]) - mean**2, 0.0)


def _affinity(embeddings: Embeddings, queries: Membership, documents: Membership, labels: tuple[str, ...]) -> Floats:
    """Mean cosines from sums of unit vectors: no matrix of all pairs is made."""
    left = _indicator(queries, labels, len(embeddings.queries)) * embeddings.usable_queries
    right = _indicator(documents, labels, len(embeddings.documents)) * embeddings.usable_documents
    sums = (left @ embeddings.queries.astype(np.float64)) @ (right @ embeddings.documents.astype(np.float64)).T
    counts = left.sum(axis=1)[:, None] * right.sum(axis=1)[None, :]
    rows, columns = embeddings.relevance.T
    scores = np.einsum("ij,ij->i", embeddings.queries[rows], embeddings.documents[columns], dtype=np.float64)
    counts -= left[:, rows] @ right[:, columns].T
    sums -= (left[:, rows] * scores) @ right[:, columns].T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 0.5, sums / counts, np.nan)


def _indicator(found: Membership, labels: tuple[str, ...], n: int) -> Floats:
    table = np.zeros((len(labels), n))
    where = dict(zip(found.labels, found.members, strict=True))
    for at, label in enumerate(labels):
        table[at, where[label]] = 1.0
    return table


def silhouette(rows: Vectors, codes: Rows) -> float:
    """Mean silhouette by cosine distance (Rousseeuw 1987).

    Args:
        rows: ``(n, dim)`` unit rows; zero rows are left out.
        codes: ``(n,)`` group of each row, -1 for none.

    Returns:
        From -1 to 1; NaN below two groups or where every row is alone in its own. A row alone in
        its group counts 0.
    """
    keep = (codes >= 0) & np.any(rows != 0, axis=1)
    if not 2 <= len(np.unique(codes[keep])) < keep.sum():
        return math.nan
    from sklearn.metrics import silhouette_score  # slow to import, and no metric needs it

    return float(silhouette_score(rows[keep].astype(np.float64), codes[keep], metric="cosine"))
