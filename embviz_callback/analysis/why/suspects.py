"""Negatives that are probably right answers: false negatives, found without labels."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.resampling import plain
from embviz_callback.analysis.scan import Similarity, exact_products
from embviz_callback.analysis.why.columns import Columns, Row
from embviz_callback.analysis.why.errors import differing
from embviz_callback.embeddings import Embeddings, Floats, Rows
from embviz_callback.pairs.check.disagreement import column_of_type
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import fold

NEARNESS = 0.1
_LEAST_SHARED = 2
_WITHIN = 0.05


class Evaluated(Protocol):
    """What one evaluation of a subset must offer; a Snapshot does."""

    @property
    def subset(self) -> Subset:
        """The texts."""

    @property
    def embeddings(self) -> Embeddings:
        """Their vectors."""

    @property
    def similarity(self) -> Similarity:
        """Their scan."""

    @property
    def corpus_texts(self) -> Mapping[int, str]:
        """Row of the pool to text, for what came first of a corpus."""


@dataclass(frozen=True)
class Suspect:
    """A negative of a query that is probably a right answer to it.

    Attributes:
        query: Row of the query.
        positive: Row of its best positive.
        is_hard: Whether it is a hard negative; else a document of the pool.
        negative: Its row among hard negatives or documents.
        evidence: Why, in words.
        score: Its cosine with the query in the last evaluation.
        positive_score: The best positive's.
        likeness: Its cosine with the best positive.
        outranked: Share of the evaluations in which it stood above the best positive.
    """

    query: int
    positive: int
    is_hard: bool
    negative: int
    evidence: tuple[str, ...]
    score: float
    positive_score: float
    likeness: float
    outranked: float

    def as_dict(self, subset: Subset) -> dict[str, Any]:
        """Plain JSON with the texts."""
        negatives = subset.hard_negatives if self.is_hard else subset.documents
        return {
            "query": subset.queries[self.query],
            "positive": subset.documents[self.positive],
            "negative": negatives[self.negative],
            "hard": self.is_hard,
            "evidence": list(self.evidence),
            "score": plain(self.score),
            "positive_score": plain(self.positive_score),
            "likeness": plain(self.likeness),
            "outranked": plain(self.outranked),
        }


def suspects(
    history: Sequence[Evaluated], columns: Columns | None = None, *, nearness: float = NEARNESS
) -> tuple[Suspect, ...]:
    """Documents and hard negatives that look like a right answer that nobody marked as one.

    Without labels there are three kinds of evidence.

    - It is nearly a copy: its distance (1 - cosine) to the query's best positive is at most
      `nearness` of the typical one. Typical is, for hard negatives, the median over all of them;
      for documents the median over the positives' neighbours in the ranked lists.
    - It has the same features: the very columns of the positive, at least two, with equal values.
    - It keeps outranking the positive: in at least half of at least three evaluations.

    Where both texts have at least two columns in common, the columns decide: differing ones
    clear it, however close it lies (a model that cannot tell 5 from 7 million puts them side by
    side); equal ones convict it if the model too scores it within 0.05 of the positive (a hard
    negative, which somebody has called wrong: at least as high as the positive, and what its
    type names must be among the columns, or its difference may be one that nobody reads). Where
    columns are missing, nearness or outranking convicts alone.

    Args:
        history: Evaluations of one subset, oldest first; the last is looked at, the others say
            what lasted.
        columns: What is known of each text; hard negatives need an extractor.
        nearness: Share of the typical distance.

    Returns:
        Most often outranking first, then most alike.

    Raises:
        ValueError: If there is no evaluation.
    """
    if not history:
        raise ValueError("suspects needs at least one evaluation")
    last = history[-1]
    same = [one for one in history if one.subset.fingerprint == last.subset.fingerprint]
    found = [*_hard_suspects(same, columns, nearness), *_document_suspects(last, columns, nearness)]
    return tuple(sorted(found, key=lambda one: (-_known(one.outranked), -_known(one.likeness), one.query)))


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Negatives under suspicion, one per row.

    Attributes:
        query: ``(n,)``.
        positive: ``(n,)`` best positive of the query.
        negative: ``(n,)``.
        score: ``(n,)`` cosine with the query.
        positive_score: ``(n,)``.
        likeness: ``(n,)`` cosine with the positive.
        outranked: ``(n,)`` share of evaluations.
        n_evaluations: How many there were.
    """

    query: Rows
    positive: Rows
    negative: Rows
    score: Floats
    positive_score: Floats
    likeness: Floats
    outranked: Floats
    n_evaluations: int


def _hard_suspects(same: Sequence[Evaluated], columns: Columns | None, nearness: float) -> list[Suspect]:
    last = same[-1]
    pairs = last.embeddings.hard_pairs
    if not len(pairs):
        return []
    query, negative = pairs.T
    positive = last.similarity.best_positive_row[query]
    vectors = last.embeddings
    likeness = exact_products(vectors.documents, vectors.hard_negatives, np.stack([positive, negative], axis=1))
    candidates = _Candidates(
        query,
        positive,
        negative,
        last.similarity.hard_scores,
        last.similarity.best_positive[query],
        np.where(positive >= 0, likeness, np.nan),
        _outranked(same),
        len(same),
    )
    rows = None if columns is None else columns.hard_negatives
    types = [{column_of_type(name) for name in names} for names in last.subset.hard_types]
    return _convicted(candidates, _median(1 - candidates.likeness), nearness, columns, rows, types)


def _outranked(same: Sequence[Evaluated]) -> Floats:
    """Per hard pair of the last evaluation, the share of evaluations in which it won; matched by text."""
    order = [_hard_names(one.subset) for one in same]
    wins: dict[tuple[str, str], int] = dict.fromkeys(order[-1], 0)
    for one, names in zip(same, order, strict=True):
        best = one.similarity.best_positive[one.embeddings.hard_pairs[:, 0]]
        for name, won in zip(names, (one.similarity.hard_scores > best).tolist(), strict=True):
            if name in wins:
                wins[name] += won
    return np.array([wins[name] / len(same) for name in order[-1]])


def _hard_names(subset: Subset) -> list[tuple[str, str]]:
    queries, negatives = list(map(fold, subset.queries)), list(map(fold, subset.hard_negatives))
    return [(queries[row], negatives[column]) for row, column in subset.hard_pairs.tolist()]


def _document_suspects(last: Evaluated, columns: Columns | None, nearness: float) -> list[Suspect]:
    candidates = _listed(last)
    if not len(candidates.query):
        return []
    rows = None if columns is None else columns.documents
    return _convicted(candidates, _median(1 - candidates.likeness), nearness, columns, rows, None)


def _listed(last: Evaluated) -> _Candidates:
    """The non-relevant documents among each query's best ten."""
    similarity, vectors = last.similarity, last.embeddings
    n_queries, k = similarity.top_documents.shape
    query, negative = np.repeat(np.arange(n_queries), k), similarity.top_documents.ravel()
    score = similarity.top_scores.ravel().astype(np.float64)
    positive = similarity.best_positive_row[query]
    n_documents = len(vectors.documents)
    codes = vectors.relevance[:, 0] * n_documents + vectors.relevance[:, 1]
    keep = (negative >= 0) & (negative < n_documents) & (positive >= 0)
    keep &= ~np.isin(query * n_documents + negative, codes)
    query, negative, score, positive = query[keep], negative[keep], score[keep], positive[keep]
    likeness = exact_products(vectors.documents, vectors.documents, np.stack([positive, negative], axis=1))
    best = similarity.best_positive[query]
    return _Candidates(query, positive, negative, score, best, likeness, (score > best).astype(np.float64), 1)


def _median(distances: Floats) -> float:
    known = distances[~np.isnan(distances)]
    return float(np.median(known)) if len(known) else math.nan


def _convicted(
    candidates: _Candidates,
    typical: float,
    nearness: float,
    columns: Columns | None,
    rows: Sequence[Row] | None,
    types: Sequence[Collection[str]] | None,
) -> list[Suspect]:
    """Those with evidence; `types` are the columns that hard negatives are said to differ in."""
    is_hard = types is not None
    near = (1 - candidates.likeness) <= nearness * typical
    lasting: NDArray[np.bool_] = (candidates.outranked >= 0.5) & (candidates.n_evaluations >= 3)
    high = candidates.score >= candidates.positive_score - (0.0 if is_hard else _WITHIN)
    found = []
    for at in np.flatnonzero(near | lasting | high).tolist():
        own: Mapping[str, Any] = columns.documents[candidates.positive[at]] if columns else {}
        other: Mapping[str, Any] = rows[candidates.negative[at]] if rows else {}
        # A type such as "requirement" that no column covers: equal columns are no proof.
        is_read = types is None or all(name in own for name in types[at])
        evidence = _evidence(
            own, other, is_near=bool(near[at]), is_lasting=bool(lasting[at]), is_high=bool(high[at]) and is_read
        )
        if evidence:
            found.append(_suspect(candidates, at, evidence, is_hard=is_hard))
    return found


def _evidence(own: Row, other: Row, *, is_near: bool, is_lasting: bool, is_high: bool) -> tuple[str, ...]:
    shared = len(own.keys() & other.keys())
    said = [
        *(["nearly a copy of the positive"] if is_near else []),
        *(["keeps outranking the positive"] if is_lasting else []),
    ]
    if shared < _LEAST_SHARED:
        return tuple(said)
    if differing(own, other):
        return ()
    if own.keys() != other.keys() or not (is_high or said):
        return tuple(said)
    return (f"all {shared} features equal the positive's", *said)


def _suspect(candidates: _Candidates, at: int, evidence: tuple[str, ...], *, is_hard: bool) -> Suspect:
    return Suspect(
        query=int(candidates.query[at]),
        positive=int(candidates.positive[at]),
        is_hard=is_hard,
        negative=int(candidates.negative[at]),
        evidence=evidence,
        score=float(candidates.score[at]),
        positive_score=float(candidates.positive_score[at]),
        likeness=float(candidates.likeness[at]),
        outranked=float(candidates.outranked[at]),
    )
