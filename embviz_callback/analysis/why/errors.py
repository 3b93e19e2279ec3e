"""What goes wrong: each miss, the commonest confusions, near misses and documents that crowd in."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from embviz_callback.analysis.metrics.numbers import Evaluated
from embviz_callback.analysis.metrics.resampling import or_least, told
from embviz_callback.analysis.metrics.searches import Search, searches
from embviz_callback.analysis.scan import pool_text
from embviz_callback.analysis.why.columns import Columns, Row, Value
from embviz_callback.pairs.check.disagreement import agree

NEAR = 0.02
_SAME_NUMBER = 0.02  # shares below which two prices are one price


@dataclass(frozen=True)
class Miss:
    """A query whose best document is wrong.

    Attributes:
        search: What it found.
        differs: Columns in which the expected document and the one that came first differ, with both values; none for
            a text of the corpus, which has no columns.
    """

    search: Search
    differs: Mapping[str, tuple[Value, Value]]

    @property
    def gap(self) -> float:
        """By how much the wrong one won."""
        return self.search.first_score - self.search.score

    @property
    def is_near(self) -> bool:
        """Whether it lost by at most 0.02."""
        return self.gap <= NEAR

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; where nothing could be ranked, nothing was expected."""
        found = told(self.search, "query", "expected", "rank", "first", "expected_score=score", "first_score")
        expected = None if math.isnan(self.search.score) else self.search.expected
        return found | {"expected": expected, **told(self, "gap", "near=is_near", "differs")}


@dataclass(frozen=True)
class Crowder:
    """A document that comes first for queries it does not answer.

    Attributes:
        document: Its text.
        wrong_firsts: For how many queries.
        own: How many queries it answers.
    """

    document: str
    wrong_firsts: int
    own: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return told(self, "document", "wrong_firsts", "answers=own")


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
    """

    n_queries: int
    misses: tuple[Miss, ...]
    confusions: tuple[tuple[str, int, int], ...]
    lone_confusions: tuple[tuple[str, int], ...]
    crowders: tuple[Crowder, ...]

    @property
    def near_misses(self) -> tuple[Miss, ...]:
        """Those that lost by at most 0.02, nearest first."""
        return tuple(sorted((miss for miss in self.misses if miss.is_near), key=lambda miss: miss.gap))

    def sentences(self) -> tuple[str, ...]:
        """The confusions in words: "price: 38 of 92"."""
        return tuple(f"{column}: {count} of {total}" for column, count, total in self.confusions)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "n_queries": self.n_queries,
            "n_misses": len(self.misses),
            "n_near_misses": len(self.near_misses),
            "confusions": [dict(zip(("column", "differ", "of"), one, strict=True)) for one in self.confusions],
            "lone_confusions": [dict(zip(("column", "misses"), one, strict=True)) for one in self.lone_confusions],
            **told(self, "crowders", "misses"),
        }


def errors_of(one: Evaluated, columns: Columns) -> Errors:
    """Every query whose first document is not surely relevant.

    A tie for the first place is a miss, named with the first of the tied documents that is not
    relevant. Columns in which both documents have a value are compared: numbers differ beyond
    2 %, names as sets.

    Args:
        one: The evaluation.
        columns: One row per text.

    Returns:
        The misses and their statistics.
    """
    misses = []
    differ, both, lone = Counter[str](), Counter[str](), Counter[str]()
    for search in searches(one):
        if search.is_hit:
            continue
        expected, first = (rows[search.row] for rows in (one.similarity.best_positive_row, one.similarity.came_first))
        is_known = expected >= 0 and 0 <= first < len(columns.documents)
        own, other = (columns.documents[row] if is_known else {} for row in (expected, first))
        differs = tuple(differing(own, other))
        misses.append(Miss(search, {name: (own[name], other[name]) for name in differs}))
        differ.update(differs)
        both.update(own.keys() & other.keys())
        lone.update(differs if len(differs) == 1 else ())
    return Errors(
        n_queries=len(one.subset.queries),
        misses=tuple(sorted(misses, key=lambda miss: or_least(-miss.gap))),
        confusions=tuple((name, count, both[name]) for name, count in _commonest(differ)),
        lone_confusions=tuple(_commonest(lone)),
        crowders=_crowders(one),
    )


def _commonest(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def differing(one: Row, other: Row) -> Iterator[str]:
    """Columns that both rows have and in which they differ, in the order of the first.

    Yields:
        Their names, each looked for when it is asked for.

    Example:
        >>> next(differing({"price": 5.0, "area": 20.0}, {"price": 7.0, "area": 20.0, "floor": 1.0}))
        'price'
    """
    for name, value in one.items():
        if name in other and not agree(value, other[name], _SAME_NUMBER):
            yield name


def _crowders(one: Evaluated) -> tuple[Crowder, ...]:
    firsts = one.similarity.came_first[~one.similarity.is_hit & (one.similarity.came_first >= 0)]
    counts, own = Counter(firsts.tolist()), Counter(one.subset.relevance[:, 1].tolist())
    several = sorted((-count, row) for row, count in counts.items() if count > 1)
    return tuple(Crowder(pool_text(one.subset, one.corpus_texts, row), -count, own[row]) for count, row in several)
