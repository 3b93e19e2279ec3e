"""Negatives that may be right answers: candidates for false negatives, found without labels."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.numbers import Evaluated
from embviz_callback.analysis.metrics.resampling import or_least, told
from embviz_callback.analysis.scan import exact_scores
from embviz_callback.analysis.why.columns import Columns, Row
from embviz_callback.analysis.why.errors import differing
from embviz_callback.embeddings import Floats, Rows, Vectors
from embviz_callback.measure import COSINE
from embviz_callback.pairs.check.disagreement import column_of_type
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import fold

_NEARNESS = 0.1  # of the typical distance
_LEAST_SHARED = 2
_WITHIN = 0.05


@dataclass(frozen=True)
class Suspect:
    """A negative of a query that may be a right answer to it: a candidate for a reader's eye.

    Attributes:
        query: Its text.
        positive: Its best positive.
        is_hard: Whether the negative is a hard negative; else a document of the pool.
        negative: Its text.
        evidence: Why, in words, what the texts say first.
        n_shared: Columns that are known of both and equal.
        score: Its similarity with the query in the last evaluation.
        positive_score: The best positive's.
        likeness: Its cosine with the best positive.
        outranked: Share of the evaluations in which it stood above the best positive.
    """

    query: str
    positive: str
    is_hard: bool
    negative: str
    evidence: tuple[str, ...]
    n_shared: int
    score: float
    positive_score: float
    likeness: float
    outranked: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        texts, numbers = ("query", "positive", "negative"), ("score", "positive_score", "likeness", "outranked")
        return told(self, *texts, "hard=is_hard", "evidence", *numbers)


def suspects(history: Sequence[Evaluated], columns: Columns) -> tuple[Suspect, ...]:
    """Documents and hard negatives that may be a right answer which nobody marked as one.

    That the model puts a negative near the positive is no evidence: telling such texts apart is what it is trained
    for, and most hard negatives that it ranks too high are wrong all the same. What counts is what the texts say.

    - All features are equal: the very columns of the positive, at least two, with equal values; and what a hard
      negative's declared type names must be among them, or its difference may be one that nobody reads. For the same
      reason both texts must name the same numbers: a price that is no column makes two listings of one.
    - Or the same words stand in both texts, and no column differs.

    Of these the model must hold the negative for as good as the positive: within 0.05 of its cosine, or nearly its
    copy, or above it in at least half of at least three evaluations. How many of those shown are, and how many there
    are that are shown: benchmarks/conclusions.py.

    Args:
        history: Evaluations of one subset, oldest first; the last is looked at, the others say
            what lasted.
        columns: What is known of each text; hard negatives need an extractor.

    Returns:
        Those with most columns equal first, then most often outranking, then most alike.

    Raises:
        ValueError: If there is no evaluation.
    """
    if not history:
        raise ValueError("suspects needs at least one evaluation")
    last = history[-1]
    same = [one for one in history if one.subset.fingerprint == last.subset.fingerprint]
    found = [*_hard_suspects(same, columns), *_document_suspects(last, columns)]
    row = {text: place for place, text in enumerate(last.subset.queries)}
    found.sort(key=lambda one: row[one.query])  # those of equal evidence
    return tuple(sorted(found, key=lambda one: (-one.n_shared, -or_least(one.outranked), -or_least(one.likeness))))


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of documents and of negatives: texts and columns."""

    documents: Sequence[str]
    negatives: Sequence[str]
    own: Sequence[Row]
    other: Sequence[Row]

    def evidence(self, document: int, negative: int, types: Collection[str]) -> tuple[str, int]:
        """Why both say the same, and how many columns are equal; "" where that is not known."""
        own, other = self.own[document], self.other[negative]
        shared = own.keys() & other.keys()
        if next(differing(own, other), None) is not None:
            return "", 0
        text, beside = self.documents[document], self.negatives[negative]
        is_known = (
            len(shared) >= _LEAST_SHARED and own.keys() == other.keys() and all(_is_column(name, own) for name in types)
        )
        if is_known and _numbers(text) == _numbers(beside):
            return f"all {len(shared)} features equal the positive's", len(shared)
        if _words(text) == _words(beside):
            return "the same words as the positive", len(shared)
        return "", 0


def _words(text: str) -> list[str]:
    return sorted(re.findall(r"\w+", fold(text)))


def _is_column(type_name: str, row: Row) -> bool:
    """Whether what a type of hard negative is about is known of a text."""
    return fold(type_name) in row or column_of_type(type_name) in row


def _numbers(text: str) -> list[float]:
    """5tr, 5.0 triệu and 5,0 tr name the same number."""
    return sorted(float(found.replace(",", ".")) for found in re.findall(r"\d+(?:[.,]\d+)?", fold(text)))


def _hard_suspects(same: Sequence[Evaluated], columns: Columns) -> Iterator[Suspect]:
    last, outranked = same[-1], _outranked(same)
    known = _Known(last.subset.documents, last.subset.hard_negatives, columns.documents, columns.hard_negatives)
    pairs = last.embeddings.hard_pairs, last.similarity.hard_scores, last.embeddings.hard_negatives
    return _candidates(last, *pairs, outranked, known, types=last.subset.hard_types, is_lasting=len(same) >= 3)


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


def _document_suspects(last: Evaluated, columns: Columns) -> Iterator[Suspect]:
    """Of the non-relevant documents among each query's best ten."""
    similarity, documents = last.similarity, last.embeddings.documents
    n_queries, k = similarity.top_documents.shape
    pairs = np.stack([np.repeat(np.arange(n_queries), k), similarity.top_documents.ravel()], axis=1)
    codes = last.embeddings.relevance @ (len(documents), 1)
    keep = (pairs[:, 1] >= 0) & (pairs[:, 1] < len(documents)) & (similarity.best_positive_row[pairs[:, 0]] >= 0)
    keep &= ~np.isin(pairs @ (len(documents), 1), codes)
    pairs, scores = pairs[keep], similarity.top_scores.ravel()[keep].astype(np.float64)
    outranked = (scores > similarity.best_positive[pairs[:, 0]]).astype(np.float64)
    rows, texts = columns.documents, last.subset.documents
    return _candidates(last, pairs, scores, documents, outranked, _Known(texts, texts, rows, rows))


def _candidates(
    last: Evaluated,
    pairs: Rows,
    scores: Floats,
    negatives: Vectors,
    outranked: Floats,
    known: _Known,
    *,
    types: Sequence[Collection[str]] | None = None,
    is_lasting: bool = False,
) -> Iterator[Suspect]:
    """Pairs whose texts say the same and whose scores do not tell them apart.

    Args:
        last: The evaluation.
        pairs: ``(n, 2)``, (query row, row of a negative).
        scores: ``(n,)``, their similarities.
        negatives: What the second rows stand for.
        outranked: ``(n,)``, share of the evaluations in which the negative won.
        known: What the texts say.
        types: What hard negatives are said to differ in; None for documents.
        is_lasting: Whether there were evaluations enough for that to say something.

    Yields:
        Those with evidence.
    """
    query, negative = pairs.T
    positive, best = last.similarity.best_positive_row[query], last.similarity.best_positive[query]
    likeness = exact_scores(last.embeddings.documents, negatives, np.stack([positive, negative], axis=1))
    likeness = np.where(positive >= 0, likeness, np.nan)
    distances = 1 - likeness[~np.isnan(likeness)]
    near = (1 - likeness) <= _NEARNESS * (np.median(distances) if len(distances) else np.nan)
    lasting = (outranked >= 0.5) & is_lasting
    # Of another similarity than the cosine nobody knows how much is little.
    high = scores >= best - (_WITHIN if last.similarity.measure == COSINE else 0.0)
    for at in np.flatnonzero(near | lasting | high).tolist():
        said, n_shared = known.evidence(positive[at], negative[at], () if types is None else types[at])
        if said:
            more = ["nearly a copy to the model"] if near[at] else []
            more += ["keeps outranking the positive"] if lasting[at] else []
            yield Suspect(
                query=last.subset.queries[query[at]],
                positive=known.documents[positive[at]],
                is_hard=types is not None,
                negative=known.negatives[negative[at]],
                evidence=(said, *more),
                n_shared=n_shared,
                score=float(scores[at]),
                positive_score=float(best[at]),
                likeness=float(likeness[at]),
                outranked=float(outranked[at]),
            )
