"""What became of each query over several evaluations of one subset."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from embviz_callback.pairs.texts import fold

CLASSES = ("always", "learned", "wavering", "forgotten", "never")


@dataclass(frozen=True)
class Standing:
    """One query at one evaluation.

    Attributes:
        rank: Expected rank of its best positive, from 1; infinite where it has none.
        first: The document that came first; empty where nothing could be ranked.
    """

    rank: float
    first: str

    @property
    def is_hit(self) -> bool:
        """Whether a relevant document came first for sure: rank 1 exactly, so no wrong one is tied with it."""
        return self.rank == 1


@dataclass(frozen=True)
class Evaluation:
    """All queries at one evaluation.

    Attributes:
        label: For titles.
        epoch: Training epoch from 0; None outside training.
        step: Logged step; None outside training.
        standings: Folded query text to its standing.
    """

    label: str
    epoch: int | None
    step: int | None
    standings: Mapping[str, Standing]

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes a repeated evaluation the same one: epoch and step, or outside training the label."""
        return (self.label,) if self.epoch is None and self.step is None else (self.epoch, self.step)

    @property
    def hits(self) -> frozenset[str]:
        """Keys of the queries whose first document is relevant."""
        return frozenset(key for key, standing in self.standings.items() if standing.is_hit)

    @property
    def mrr(self) -> float:
        """Mean of 1/rank over the queries; decides between evaluations of equal hits."""
        return math.fsum(1 / standing.rank for standing in self.standings.values()) / max(len(self.standings), 1)


@dataclass(frozen=True)
class Query:
    """A query as it is shown.

    Attributes:
        text: As written in the data.
        expected: Its first relevant document.
    """

    text: str
    expected: str


@dataclass(frozen=True)
class Change:
    """A query whose first document became right or wrong between two evaluations.

    Attributes:
        query: Its text.
        expected: A relevant document.
        before: Then.
        after: Now.
    """

    query: str
    expected: str
    before: Standing
    after: Standing


@dataclass(frozen=True)
class Changes:
    """What two evaluations of the same queries differ in.

    Attributes:
        before: Label of the reference.
        after: Label of the other.
        improved: Missed before, hit after; the largest gain of ranks first.
        fell: Hit before, missed after; the deepest fall first.
    """

    before: str
    after: str
    improved: tuple[Change, ...]
    fell: tuple[Change, ...]


@dataclass(frozen=True)
class Series:
    """The evaluations on one subset, in the order of training.

    Attributes:
        fingerprint: Of the subset.
        queries: Folded text to the query.
        evaluations: Each (epoch, step) once.
    """

    fingerprint: str
    queries: Mapping[str, Query]
    evaluations: tuple[Evaluation, ...]

    def ranks(self, query: str) -> tuple[float, ...]:
        """The rank of a query's best positive at every evaluation.

        Args:
            query: In any spelling that folds to the same text.

        Returns:
            One rank per evaluation; a KeyError for a query that the subset does not have.
        """
        return tuple(evaluation.standings[fold(query)].rank for evaluation in self.evaluations)

    def classes(self) -> dict[str, tuple[str, ...]]:
        """Queries by what became of them, see `classify`; every class is there, the texts in file order."""
        found: dict[str, list[str]] = {name: [] for name in CLASSES}
        for key, query in self.queries.items():
            hits = [evaluation.standings[key].is_hit for evaluation in self.evaluations]
            found[classify(hits)].append(query.text)
        return {name: tuple(texts) for name, texts in found.items()}

    def changes(self, before: int, after: int) -> Changes:
        """Queries gained and lost from one evaluation to another.

        Args:
            before: Index among the evaluations.
            after: Likewise; need not be the later one.

        Returns:
            The changes.
        """
        first, second = self.evaluations[before], self.evaluations[after]
        improved = self._moved(first, second, second.hits - first.hits)
        fell = self._moved(first, second, first.hits - second.hits)
        improved.sort(key=lambda change: (-change.before.rank, change.query))
        fell.sort(key=lambda change: (-change.after.rank, change.query))
        return Changes(first.label, second.label, tuple(improved), tuple(fell))

    def _moved(self, before: Evaluation, after: Evaluation, keys: Iterable[str]) -> list[Change]:
        return [
            Change(self.queries[key].text, self.queries[key].expected, before.standings[key], after.standings[key])
            for key in keys
        ]


def classify(hits: Sequence[bool]) -> str:
    """What became of a query over the evaluations of a run.

    What counts is how many unbroken runs of hits there are (a hit is rank 1 without a tie):
    none is `never`; one is `always` if it spans all evaluations, `learned` if it begins later and
    reaches the last one, `forgotten` if it ends before the last one; two or more are `wavering`,
    whatever the last one is.

    Args:
        hits: One entry per evaluation, at least one.

    Returns:
        One of CLASSES.

    Raises:
        ValueError: If there is no evaluation.

    Example:
        >>> classify([False, True, True]), classify([True, False, True]), classify([False, True, False])
        ('learned', 'wavering', 'forgotten')
    """
    if not hits:
        raise ValueError("hits must have one entry per evaluation, got none")
    starts = sum(now and not before for before, now in zip([False, *hits[:-1]], hits, strict=True))
    if starts != 1:
        return "wavering" if starts else "never"
    if not hits[-1]:
        return "forgotten"
    return "always" if hits[0] else "learned"
