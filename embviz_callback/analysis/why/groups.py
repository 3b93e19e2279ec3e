"""Groups of queries: how well each is served, and how close groups lie to each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.catalogue import GROUPS, RANKS, SPREAD, shown
from embviz_callback.analysis.metrics.contrasts import FEWEST_GROUPS
from embviz_callback.analysis.metrics.intervals import PerQuery, intervals_of, per_query, point
from embviz_callback.analysis.metrics.resampling import or_least, told
from embviz_callback.analysis.scan import Similarity
from embviz_callback.analysis.why.columns import Columns, band_edges, memberships
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors

SMALL = 10
SHOWN = (*shown(GROUPS, RANKS), *shown(GROUPS, SPREAD))
_MOST_GROUPS = 30
_HAIR = 1e-12  # cosines of a row with itself differ from 1 by less


@dataclass(frozen=True, eq=False)
class Group:
    """One group of queries, ranked against all documents.

    Attributes:
        label: Value or band of the column.
        n_queries: Queries in it.
        figures: Name to value, names as everywhere.
        intervals: Name to the (low, high) of a 95 % interval over its queries.
        shrunken: Rank-1 drawn towards that of all groups, as far as chance accounts for its distance.
    """

    label: str
    n_queries: int
    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    shrunken: float = math.nan

    @property
    def is_small(self) -> bool:
        """Whether fewer than ten queries speak for it: then it says next to nothing."""
        return self.n_queries < SMALL

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        names = ("label", "n_queries", "small=is_small", "shrunken_rank1=shrunken")
        return told(self, *names, "metrics=figures", "intervals")


@dataclass(frozen=True, eq=False)
class Grouping:
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
        chance: Probability that groups which are all equally well served differ so much in rank-1.
        n_without: Queries that have no value in the column.
        n_left_out: Groups beyond the thirty largest.
    """

    column: str
    groups: tuple[Group, ...]
    labels: tuple[str, ...]
    affinity: Floats
    silhouette: float
    chance: float
    n_without: int
    n_left_out: int = 0


def grouped_by(
    embeddings: Embeddings,
    similarity: Similarity,
    columns: Columns,
    column: str,
    *,
    draws: int = 1000,
    seed: int = 0,
    clusters: Rows | None = None,
) -> Grouping:
    """Metrics per value of a column; at most the thirty largest groups.

    A query counts for every group it is in, as where a column holds several names.

    Args:
        embeddings: The subset's vectors.
        similarity: Their scan.
        columns: One row per text.
        column: Which of them.
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
    # Queries and documents are cut at the same quartiles, those of the documents.
    edges = band_edges(columns.documents, column)
    found, documents = (memberships(rows, column, edges=edges) for rows in (columns.queries, columns.documents))
    largest = set(sorted(found, key=lambda label: -len(found[label]))[:_MOST_GROUPS])
    kept = {label: rows for label, rows in found.items() if label in largest}
    statistics = per_query(similarity, embeddings, groups=clusters)
    groups = [_group(label, rows, statistics, draws, seed) for label, rows in kept.items()]
    shared = tuple(label for label in kept if label in documents)
    return Grouping(
        column=column,
        groups=tuple(sorted(_shrunken(groups, statistics), key=_badness)),
        labels=shared,
        affinity=_affinity(embeddings, *([one[label] for label in shared] for one in (kept, documents))),
        chance=_chance(statistics, list(kept.values()), draws=draws, seed=seed),
        silhouette=_silhouette(embeddings, list(documents.values())),
        n_without=len(set(range(len(columns.queries))).difference(*found.values())),
        n_left_out=len(found) - len(kept),
    )


def _badness(group: Group) -> tuple[bool, float, float, str]:
    rank1, margin = (-or_least(-group.figures[name]) for name in ("rank1", "margin"))
    return group.is_small, rank1, margin, group.label


def _group(label: str, rows: Rows, statistics: PerQuery, draws: int, seed: int) -> Group:
    own = statistics.taken(rows)
    whole, intervals = point(own), intervals_of(own, draws=draws, seed=seed)
    named = [name for name in SHOWN if name in whole]
    return Group(label, len(rows), {name: whole[name] for name in named}, {name: intervals[name] for name in named})


def _chance(statistics: PerQuery, members: Sequence[Rows], *, draws: int, seed: int) -> float:
    """One test over all groups: clusters of queries are dealt to the groups anew.

    Returns:
        The share of deals in which the groups' rates lie as far apart (p of Phipson and Smyth 2010); NaN where there
        are fewer than two groups or six clusters.
    """
    _, first, cluster = np.unique(statistics.sampling.groups, return_index=True, return_inverse=True)
    if len(members) < 2 or len(first) < FEWEST_GROUPS:
        return math.nan
    counts, hits = np.bincount(cluster), np.bincount(cluster, weights=statistics.ranks["rank1"])
    # A cluster is in the groups of its first query, as a document's queries mostly all are.
    inside = _indicator(members, len(cluster))[:, first]
    rng = np.random.default_rng(seed)
    deals = np.stack([np.arange(len(first)), *(rng.permutation(len(first)) for _ in range(draws))])
    n, right = (inside @ values[deals].T for values in (counts.astype(np.float64), hits))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.nansum(n * (right / n - hits.sum() / counts.sum()) ** 2, axis=0)
    return float((apart >= apart[0] - 1e-9).sum() / len(deals))


def _shrunken(groups: Sequence[Group], statistics: PerQuery) -> list[Group]:
    """Groups with their rates drawn towards the common one (empirical Bayes: DerSimonian and Laird 1986)."""
    rates, sizes = np.array([[group.figures["rank1"], group.n_queries] for group in groups]).reshape(-1, 2).T
    overall = float(statistics.ranks["rank1"].mean()) if len(statistics.sampling.groups) else math.nan
    noise = np.maximum(overall * (1 - overall), 1e-9) / np.maximum(sizes, 1)
    excess = float((np.square(rates - overall) / noise).sum()) - (len(rates) - 1)
    room = float((1 / noise).sum() - (1 / noise**2).sum() / (1 / noise).sum()) if len(rates) > 1 else 0.0
    between = max(excess / room, 0.0) if room > 0 else 0.0
    drawn = overall + between / (between + noise) * (rates - overall)
    return [replace(group, shrunken=float(rate)) for group, rate in zip(groups, drawn, strict=True)]


def _affinity(embeddings: Embeddings, queries: Sequence[Rows], documents: Sequence[Rows]) -> Floats:
    """Mean cosines from sums of unit vectors: no matrix of all pairs is made."""
    left = _indicator(queries, len(embeddings.queries)) * embeddings.usable_queries
    right = _indicator(documents, len(embeddings.documents)) * embeddings.usable_documents
    sums = (left @ embeddings.queries.astype(np.float64)) @ (right @ embeddings.documents.astype(np.float64)).T
    counts = left.sum(axis=1)[:, None] * right.sum(axis=1)[None, :]
    rows, columns = embeddings.relevance.T
    scores = np.einsum("ij,ij->i", embeddings.queries[rows], embeddings.documents[columns], dtype=np.float64)
    counts -= left[:, rows] @ right[:, columns].T
    sums -= (left[:, rows] * scores) @ right[:, columns].T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 0.5, sums / counts, np.nan)


def _indicator(members: Sequence[Rows], n: int) -> Floats:
    table = np.zeros((len(members), n))
    for line, rows in zip(table, members, strict=True):
        line[rows] = 1.0
    return table


def _silhouette(embeddings: Embeddings, members: Sequence[Rows]) -> float:
    """That of the documents, of which none may be in two groups."""
    table = _indicator(members, len(embeddings.documents))
    if len(table) < 2 or table.sum(axis=0).max() > 1:
        return math.nan
    return silhouette(embeddings.documents, np.where(table.any(axis=0), table.argmax(axis=0), -1))


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
    # scikit-learn's takes two seconds of the processor to import, which beside a training count.
    points = rows[keep].astype(np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    _, code, sizes = np.unique(codes[keep], return_inverse=True, return_counts=True)
    own = code[:, None] == np.arange(len(sizes))
    cosines = points @ (own.T @ points).T  # of each row with all of a group together, itself included
    within = 1 - (cosines[own] - 1) / np.maximum(sizes[code] - 1, 1)
    beyond = np.where(own, np.inf, 1 - cosines / sizes).min(axis=1)
    each = (beyond - within) / np.maximum(np.maximum(beyond, within), _HAIR)
    return float(np.where(sizes[code] > 1, each, 0.0).mean())
