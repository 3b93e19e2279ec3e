"""What became of each query from one evaluation to another of the same subset."""

from collections.abc import Iterable
from dataclasses import dataclass

from embviz_callback.analysis.metrics.numbers import Evaluated
from embviz_callback.analysis.scan import pool_text
from embviz_callback.pairs.texts import fold


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
class Change:
    """A query whose first document became right or wrong between two evaluations.

    Attributes:
        query: Its text.
        expected: Its first relevant document.
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


def standings(one: Evaluated) -> dict[str, Standing]:
    """Where each query stood, by its folded text: rows differ between two readings of the same data."""
    found = {}
    for row, text in enumerate(one.subset.queries):
        document = int(one.similarity.came_first[row])
        first = pool_text(one.subset, one.corpus_texts, document) if document >= 0 else ""
        found[fold(text)] = Standing(float(one.similarity.rank[row]), first)
    return found


def changes_between(before: Evaluated, after: Evaluated, *, labels: tuple[str, str]) -> Changes:
    """Queries gained and lost from one evaluation to another.

    Args:
        before: Need not be the earlier one.
        after: Of the same subset.
        labels: What the two are called.

    Returns:
        The changes, their texts as they stand in the first.
    """
    then, now, documents = standings(before), standings(after), before.subset.documents
    expected = dict(before.subset.relevance[::-1].tolist())  # the first of each query
    moved = [
        Change(text, documents[expected[row]], then[key], now[key])
        for row, text in enumerate(before.subset.queries)
        if then[key := fold(text)].is_hit != now[key].is_hit
    ]
    improved, fell = (
        _sorted(one for one in moved if one.after.is_hit),
        _sorted(one for one in moved if one.before.is_hit),
    )
    return Changes(*labels, improved, fell)


def _sorted(changes: Iterable[Change]) -> tuple[Change, ...]:
    """By the worse of both ranks, the worst first."""
    return tuple(sorted(changes, key=lambda change: (-max(change.before.rank, change.after.rank), change.query)))
