"""What came of every query, in texts: for errors, tables, reports and comparisons alike."""

from collections.abc import Iterator
from dataclasses import dataclass

from embviz_callback.analysis.metrics.numbers import Evaluated
from embviz_callback.analysis.scan import pool_text


@dataclass(frozen=True)
class Search:
    """One query and what it found.

    Attributes:
        row: Of the query.
        query: Its text.
        expected: Its best relevant document; where none could be ranked, the first that it has.
        rank: Expected rank of that one, from 1; infinite where none could be ranked.
        score: Its similarity, NaN likewise.
        first: What came first; None if nothing could be ranked.
        first_score: The similarity of that one, NaN likewise.
        id: Of the record; None without one.
    """

    row: int
    query: str
    expected: str
    rank: float
    score: float
    first: str | None
    first_score: float
    id: str | None

    @property
    def is_hit(self) -> bool:
        """Whether a relevant document surely came first."""
        return self.rank == 1


def searches(one: Evaluated) -> Iterator[Search]:
    """What came of each query of an evaluation, in its order."""
    subset, found = one.subset, one.similarity
    stated = dict(subset.relevance[::-1].tolist())  # the first of each query
    for row, query in enumerate(subset.queries):
        best, first = int(found.best_positive_row[row]), int(found.came_first[row])
        yield Search(
            row=row,
            query=query,
            expected=subset.documents[best if best >= 0 else stated[row]],
            rank=float(found.rank[row]),
            score=float(found.best_positive[row]),
            first=None if first < 0 else pool_text(subset, one.corpus_texts, first),
            first_score=float(found.first_score[row]),
            id=subset.ids[row],
        )


def missed(one: Evaluated) -> list[Search]:
    """Those whose first document is not surely relevant, the farthest off first."""
    return sorted((search for search in searches(one) if not search.is_hit), key=lambda search: -search.rank)
