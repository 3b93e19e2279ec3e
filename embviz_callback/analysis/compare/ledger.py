"""The ledger: where each query's answer stood at every evaluation of a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from embviz_callback.analysis.compare.standings import (
    CLASSES,
    Change,
    Changes,
    Evaluation,
    Query,
    Series,
    Standing,
    classify,
)
from embviz_callback.analysis.scan import Similarity, pool_text
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import fold

__all__ = [
    "CLASSES",
    "Change",
    "Changes",
    "Evaluated",
    "Evaluation",
    "Ledger",
    "Query",
    "Series",
    "Standing",
    "classify",
]

_NOTHING = -1  # stands in the file for "no document could be ranked"


class Evaluated(Protocol):
    """What the ledger reads of a snapshot."""

    @property
    def label(self) -> str:
        """For titles."""

    @property
    def epoch(self) -> int | None:
        """Training epoch from 0."""

    @property
    def step(self) -> int | None:
        """The step under which it is logged."""

    @property
    def subset(self) -> Subset:
        """The texts."""

    @property
    def similarity(self) -> Similarity:
        """The ranks and the first documents."""

    @property
    def corpus_texts(self) -> Mapping[int, str]:
        """Row of the pool to text, for what came first of a corpus."""


@dataclass(frozen=True)
class Ledger:
    """Everything recorded in a run folder; one series per subset that was ever used.

    Attributes:
        series: In order of first use.
        current: Index of the series that was recorded into last.
    """

    series: tuple[Series, ...] = ()
    current: int = -1

    @property
    def latest(self) -> Series | None:
        """The series that is being continued; None before the first evaluation."""
        return self.series[self.current] if self.series else None

    def record(self, snapshot: Evaluated) -> Self:
        """The ledger with one more evaluation.

        An evaluation of the same epoch and step is replaced, so that a resumed run or a job drawn
        twice counts once; one that comes late finds its place by epoch and step. Another subset
        starts, or returns to, a series of its own: ranks among other documents are not comparable.

        Args:
            snapshot: The evaluation.

        Returns:
            A new ledger.
        """
        prints = [series.fingerprint for series in self.series]
        fingerprint = snapshot.subset.fingerprint
        if fingerprint not in prints:
            fresh = Series(fingerprint, _queries(snapshot.subset), (_evaluation(snapshot),))
            return replace(self, series=(*self.series, fresh), current=len(prints))
        place = prints.index(fingerprint)
        old = self.series[place]
        new = replace(old, evaluations=_with(old.evaluations, _evaluation(snapshot)))
        return replace(self, series=(*self.series[:place], new, *self.series[place + 1 :]), current=place)

    def until(self, step: int) -> Self:
        """The ledger without evaluations after a step: what a run resumed from there starts with."""
        kept = [
            replace(one, evaluations=tuple(e for e in one.evaluations if e.step is None or e.step <= step))
            for one in self.series
        ]
        return replace(self, series=tuple(kept))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; each text is written once."""
        return {"format": 1, "current": self.current, "series": [_series_to_json(one) for one in self.series]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The ledger that `to_json` wrote.

        Returns:
            An equal ledger.

        Raises:
            ValueError: If it is of another format.
        """
        if stored.get("format") != 1:
            raise ValueError(f"the ledger's format must be 1, got {stored.get('format')!r}; update embviz-callback")
        return cls(tuple(_series_from_json(one) for one in stored["series"]), stored["current"])


def _queries(subset: Subset) -> dict[str, Query]:
    first: dict[int, int] = {}
    for query, document in subset.relevance.tolist():
        first.setdefault(query, document)
    return {fold(text): Query(text, subset.documents[first[row]]) for row, text in enumerate(subset.queries)}


def _evaluation(snapshot: Evaluated) -> Evaluation:
    subset, similarity = snapshot.subset, snapshot.similarity
    standings = {}
    for row, text in enumerate(subset.queries):
        document = int(similarity.came_first[row])
        first = pool_text(subset, snapshot.corpus_texts, document) if document >= 0 else ""
        standings[fold(text)] = Standing(float(similarity.rank[row]), first)
    return Evaluation(snapshot.label, snapshot.epoch, snapshot.step, standings)


def _with(evaluations: Sequence[Evaluation], new: Evaluation) -> tuple[Evaluation, ...]:
    places = [one.identity for one in evaluations]
    if new.identity in places:
        place = places.index(new.identity)
        return (*evaluations[:place], new, *evaluations[place + 1 :])
    return tuple(sorted((*evaluations, new), key=_when))


def _when(evaluation: Evaluation) -> tuple[int, int]:
    """Place in training; what has none (the untrained model) comes before everything that has."""
    return (
        -1 if evaluation.epoch is None else evaluation.epoch,
        -1 if evaluation.step is None else evaluation.step,
    )


def _series_to_json(series: Series) -> dict[str, Any]:
    row: dict[str, int] = {"": _NOTHING}
    texts: list[str] = []
    for text in [q.expected for q in series.queries.values()] + [
        standing.first for one in series.evaluations for standing in one.standings.values()
    ]:
        if text not in row:
            row[text] = len(texts)
            texts.append(text)
    return {
        "fingerprint": series.fingerprint,
        "documents": texts,
        "queries": [[query.text, row[query.expected]] for query in series.queries.values()],
        "evaluations": [_evaluation_to_json(one, list(series.queries), row) for one in series.evaluations],
    }


def _evaluation_to_json(evaluation: Evaluation, keys: Sequence[str], row: Mapping[str, int]) -> dict[str, Any]:
    standings = [evaluation.standings[key] for key in keys]
    return {
        "label": evaluation.label,
        "epoch": evaluation.epoch,
        "step": evaluation.step,
        "rank": [standing.rank if math.isfinite(standing.rank) else None for standing in standings],
        "first": [row[standing.first] for standing in standings],
    }


def _series_from_json(stored: Mapping[str, Any]) -> Series:
    texts = [*stored["documents"], ""]  # the last is what _NOTHING points at
    queries = {fold(text): Query(text, texts[expected]) for text, expected in stored["queries"]}
    evaluations = [
        Evaluation(
            label=one["label"],
            epoch=one["epoch"],
            step=one["step"],
            standings={
                key: Standing(math.inf if rank is None else float(rank), texts[first])
                for key, rank, first in zip(queries, one["rank"], one["first"], strict=True)
            },
        )
        for one in stored["evaluations"]
    ]
    return Series(stored["fingerprint"], queries, tuple(evaluations))
