"""Evaluations as tables that anybody may ask in SQL, and only ask: no file is opened, nothing is changed."""

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.metrics.searches import searches
from embviz_callback.snapshot import Snapshot

Row = tuple[Any, ...]

LONGEST = 10_000_000  # bytes of one value: SQL can ask for a string as large as the memory
_STEPS_BETWEEN_LOOKS = 10_000  # of SQLite's machine, about a millisecond


@dataclass(frozen=True)
class Table:
    """One of the tables.

    Attributes:
        name: In SQL.
        says: What a row is.
        columns: Name to meaning; those of every table of evaluations begin with its label and epoch.
        rows: Of one evaluation.
        is_of_all: The same for every evaluation, so that the last one's rows are all.
    """

    name: str
    says: str
    columns: Mapping[str, str]
    rows: Callable[[Snapshot], Iterator[Row]]
    is_of_all: bool = False


def _evaluations(one: Snapshot) -> Iterator[Row]:
    subset, metrics = one.subset, one.metrics
    counts = (metrics.n_queries, metrics.n_documents, metrics.n_corpus)
    yield (*_which(one), one.step, subset.fingerprint, *counts, one.diagnosis.verdict, one.diagnosis.reason)


def _metrics(one: Snapshot) -> Iterator[Row]:
    for name in one.metrics:
        low, high = one.metrics.intervals.get(name, (math.nan, math.nan))
        yield (*_which(one), name, one.metrics[name], low, high, CATALOGUE[name].unit if name in CATALOGUE else "")


def _ranks(one: Snapshot) -> Iterator[Row]:
    for found in searches(one):
        expected = None if math.isnan(found.score) else found.expected
        search = (found.query, found.rank, found.is_hit, found.score, expected)
        yield (*_which(one), *search, found.first_score, found.first, found.id)


def _top(one: Snapshot) -> Iterator[Row]:
    answers = set(map(tuple, one.subset.relevance.tolist()))
    for row, query in enumerate(one.subset.queries):
        listed = zip(one.similarity.top_documents[row].tolist(), one.similarity.top_scores[row].tolist(), strict=True)
        for place, (document, score) in enumerate(listed, start=1):
            if document >= 0:
                yield (*_which(one), query, place, one.text(document), score, (row, document) in answers)


def _pairs(one: Snapshot) -> Iterator[Row]:
    grades = {(query, document): grade for query, document, grade in one.subset.grades.tolist()}
    for query, document in one.subset.relevance.tolist():
        yield one.subset.queries[query], one.subset.documents[document], grades.get((query, document))


def _columns(one: Snapshot) -> Iterator[Row]:
    for query, columns in zip(one.subset.queries, one.subset.metadata, strict=True):
        for name, value in columns.items():
            yield query, name, value


def _which(one: Snapshot) -> Row:
    return one.label, one.epoch


_WHICH = {"label": "of the evaluation", "epoch": "from 0; null for the untrained model"}
TABLES = (
    Table(
        "evaluations",
        "an evaluation that the run keeps",
        {
            **_WHICH,
            "step": "under which it is logged",
            "fingerprint": "of the subset",
            "n_queries": "that are judged",
            "n_documents": "distinct ones",
            "n_corpus": "further documents that they are ranked among",
            "verdict": "of the diagnosis",
            "reason": "why",
        },
        _evaluations,
    ),
    Table(
        "metrics",
        "a metric of an evaluation",
        {
            **_WHICH,
            "name": "such as mrr",
            "value": "null where it cannot be computed",
            "low": "end of its 95 % interval, null without one",
            "high": "the other end",
            "unit": "cosine, share (0 to 1), sigma, count or score",
        },
        _metrics,
    ),
    Table(
        "ranks",
        "a query at an evaluation",
        {
            **_WHICH,
            "query": "its text",
            "rank": "of its best relevant document, from 1; a tie is its expectation, Inf without a direction",
            "is_hit": "1 if a relevant document came first for sure, else 0",
            "score": "of its best relevant document",
            "expected": "that document",
            "first_score": "of what came first",
            "first": "what came first",
            "id": "of the record",
        },
        _ranks,
    ),
    Table(
        "top",
        "one of the ten best documents of a query at an evaluation",
        {
            **_WHICH,
            "query": "its text",
            "place": "from 1",
            "document": "its text",
            "score": "by which it is ranked",
            "is_relevant": "1 or 0",
        },
        _top,
    ),
    Table(
        "pairs",
        "what answers what",
        {"query": "its text", "document": "that answers it", "grade": "null without grades"},
        _pairs,
        is_of_all=True,
    ),
    Table(
        "columns",
        "a column of a query's metadata",
        {"query": "its text", "name": "of the column", "value": "text or number"},
        _columns,
        is_of_all=True,
    ),
)


@dataclass(frozen=True)
class Answer:
    """What a question gave.

    Attributes:
        columns: Names, all different.
        rows: Values as SQLite has them: int, float, str, bytes or None.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


class Tables:
    """The tables of evaluations, in memory.

    Args:
        snapshots: Of one subset, in the order of training.
    """

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        for table in TABLES:
            columns = ", ".join(f'"{name}"' for name in table.columns)
            self._database.execute(f"create table {table.name} ({columns})")
            marks = ", ".join("?" * len(table.columns))
            for one in snapshots[-1:] if table.is_of_all else snapshots:
                self._database.executemany(f"insert into {table.name} values ({marks})", table.rows(one))
        self._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        self._database.set_authorizer(_only_reading)

    def ask(self, sql: str, *, limit_s: float = 10.0) -> Answer:
        """Asks one question.

        Args:
            sql: One SELECT in SQLite's dialect.
            limit_s: Seconds after which it is given up.

        Returns:
            The answer.

        Raises:
            ValueError: If it is no such question, or takes too long.
        """
        end = time.monotonic() + limit_s
        self._database.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
        try:
            cursor = self._database.execute(sql)
            rows = tuple(cursor)
        except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as error:
            raise ValueError(_complaint(error, limit_s)) from None
        if cursor.description is None:
            raise ValueError("expected one SELECT, found nothing to answer")
        return Answer(_distinct([column[0] for column in cursor.description]), rows)

    def close(self) -> None:
        """Forgets them."""
        self._database.close()


def _only_reading(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
    """SQLite asks for leave before it does anything."""
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if second == "load_extension" else sqlite3.SQLITE_OK
    is_reading = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
    return sqlite3.SQLITE_OK if is_reading else sqlite3.SQLITE_DENY


def _complaint(error: BaseException, limit_s: float) -> str:
    said = " ".join(str(error).split()).rstrip(".")
    if said == "interrupted":
        return f"expected an answer within {limit_s:g} s, found none. Fix: ask for less, or give it longer"
    if "authoriz" in said or "prohibited" in said:
        return "expected one SELECT, found something else than reading. Fix: these tables can only be read"
    there = ", ".join(table.name for table in TABLES)
    return f"expected one SELECT in SQLite's words, found: {said}. Fix: the tables are {there}"


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Two columns of one name would be one in JSON."""
    return tuple(f"{name}_{place + 1}" if name in names[:place] else name for place, name in enumerate(names))
