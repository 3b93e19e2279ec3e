"""What goes wrong: each miss, the commonest confusions, near misses and documents that crowd in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.resampling import or_least, told
from embviz_callback.analysis.scan import Similarity, pool_text
from embviz_callback.analysis.why.columns import Columns, Row, Value, is_number
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import fold

NEAR = 0.02
_SAME_NUMBER = 0.02  # shares below which two prices are one price


@dataclass(frozen=True)
class Miss:
    """A query whose best document is wrong.

    Attributes:
        query: Its row.
        expected: Row of its best positive, -1 without a usable one.
        rank: Expected rank of that one, infinite without.
        first: Row of the pool that came first, of a document or of the corpus; -1 if nothing could be ranked.
        expected_score: Similarity of the best positive.
        first_score: Similarity of the document that came first.
        differs: Columns in which the two documents differ; none for a text of the corpus, which has none.
    """

    query: int
    expected: int
    rank: float
    first: int
    expected_score: float
    first_score: float
    differs: tuple[str, ...]

    @property
    def gap(self) -> float:
        """By how much the wrong one won."""
        return self.first_score - self.expected_score

    @property
    def is_near(self) -> bool:
        """Whether it lost by at most 0.02."""
        return self.gap <= NEAR


@dataclass(frozen=True)
class Crowder:
    """A document that comes first for queries it does not answer.

    Attributes:
        document: Its row of the pool.
        wrong_firsts: For how many queries.
        own: How many queries it answers.
    """

    document: int
    wrong_firsts: int
    own: int


@dataclass(frozen=True)
class Errors:
    """All misses and what they have in common.

    Attributes:
        n_queries: Queries judged.
        misses: Worst gap first.
        confusions: (column, misses in which the two documents differ there, misses in which both
            have it), commonest first. One miss may differ in several columns.
        lone_confusions: (column, misses in which the documents differ there and nowhere else).
        crowders: Documents that come first wrongly for at least two queries, worst first.
        corpus_texts: Row of the pool to text, for rows of a corpus among these.
    """

    n_queries: int
    misses: tuple[Miss, ...]
    confusions: tuple[tuple[str, int, int], ...]
    lone_confusions: tuple[tuple[str, int], ...]
    crowders: tuple[Crowder, ...]
    corpus_texts: Mapping[int, str] = field(default_factory=dict)

    @property
    def near_misses(self) -> tuple[Miss, ...]:
        """Those that lost by at most 0.02, nearest first."""
        return tuple(sorted((miss for miss in self.misses if miss.is_near), key=lambda miss: miss.gap))

    def sentences(self) -> tuple[str, ...]:
        """The confusions in words: "price: 38 of 92"."""
        return tuple(f"{column}: {count} of {total}" for column, count, total in self.confusions)

    def as_dict(self, subset: Subset, columns: Columns) -> dict[str, Any]:
        """Plain JSON with the texts that the rows stand for."""
        return {
            "n_queries": self.n_queries,
            "n_misses": len(self.misses),
            "n_near_misses": len(self.near_misses),
            "confusions": [dict(zip(("column", "differ", "of"), one, strict=True)) for one in self.confusions],
            "lone_confusions": [dict(zip(("column", "misses"), one, strict=True)) for one in self.lone_confusions],
            "crowders": [
                {"document": self.text(subset, one.document), **told(one, "wrong_firsts", "answers=own")}
                for one in self.crowders
            ],
            "misses": [self._plain_miss(miss, subset, columns) for miss in self.misses],
        }

    def text(self, subset: Subset, row: int) -> str:
        """Of a row that a miss or a crowder names."""
        return pool_text(subset, self.corpus_texts, row)

    def _plain_miss(self, miss: Miss, subset: Subset, columns: Columns) -> dict[str, Any]:
        expected, first = (columns.documents[row] if miss.differs else {} for row in (miss.expected, miss.first))
        names = ("query", "expected", "rank", "first", "expected_score", "first_score", "gap", "near=is_near")
        return told(miss, *names) | {
            "query": subset.queries[miss.query],
            "expected": subset.documents[miss.expected] if miss.expected >= 0 else None,
            "first": self.text(subset, miss.first) if miss.first >= 0 else None,
            "differs": {name: [expected[name], first[name]] for name in miss.differs},
        }


def errors_of(
    embeddings: Embeddings,
    similarity: Similarity,
    columns: Columns,
    *,
    corpus_texts: Mapping[int, str] | None = None,
) -> Errors:
    """Every query whose first document is not surely relevant.

    A tie for the first place is a miss, named with the first of the tied documents that is not
    relevant. Columns in which both documents have a value are compared: numbers differ beyond
    2 %, names as sets.

    Args:
        embeddings: The subset's vectors.
        similarity: Their scan.
        columns: One row per text.
        corpus_texts: Row of the pool to text, where the documents were ranked among a corpus.

    Returns:
        The misses and their statistics.
    """
    misses = []
    differ, both, lone = Counter[str](), Counter[str](), Counter[str]()
    for query in np.flatnonzero(~similarity.is_hit).tolist():
        expected, first = int(similarity.best_positive_row[query]), int(similarity.came_first[query])
        is_known = expected >= 0 and 0 <= first < len(columns.documents)
        own, other = (columns.documents[row] if is_known else {} for row in (expected, first))
        differs, rank = differing(own, other), float(similarity.rank[query])
        scores = float(similarity.best_positive[query]), float(similarity.first_score[query])
        misses.append(Miss(query, expected, rank, first, *scores, differs))
        differ.update(differs)
        both.update(own.keys() & other.keys())
        lone.update(differs if len(differs) == 1 else ())
    return Errors(
        n_queries=len(embeddings.queries),
        misses=tuple(sorted(misses, key=lambda miss: (or_least(-miss.gap), miss.query))),
        confusions=tuple((name, count, both[name]) for name, count in _commonest(differ)),
        lone_confusions=tuple(_commonest(lone)),
        crowders=_crowders(misses, embeddings),
        corpus_texts=corpus_texts or {},
    )


def _commonest(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def differing(one: Row, other: Row) -> tuple[str, ...]:
    """Columns that both rows have and in which they differ, in the order of the first.

    Returns:
        Their names.

    Example:
        >>> differing({"price": 5.0, "area": 20.0}, {"price": 7.0, "area": 20.0, "floor": 1.0})
        ('price',)
    """
    return tuple(name for name, value in one.items() if name in other and not is_same(value, other[name]))


def is_same(one: Value, other: Value) -> bool:
    """Whether two values of a column are equal to a reader."""
    if is_number(one) and is_number(other):
        larger = max(abs(float(one)), abs(float(other)))  # type: ignore[arg-type]
        return abs(float(one) - float(other)) <= _SAME_NUMBER * larger  # type: ignore[arg-type]
    if isinstance(one, tuple) and isinstance(other, tuple):
        return {fold(name) for name in one} == {fold(name) for name in other}
    return fold(str(one)) == fold(str(other))


def _crowders(misses: Sequence[Miss], embeddings: Embeddings) -> tuple[Crowder, ...]:
    counts = Counter(miss.first for miss in misses if miss.first >= 0)
    own = Counter(embeddings.relevance[:, 1].tolist())
    found = [Crowder(row, count, own[row]) for row, count in counts.items() if count > 1]
    return tuple(sorted(found, key=lambda one: (-one.wrong_firsts, one.document)))
