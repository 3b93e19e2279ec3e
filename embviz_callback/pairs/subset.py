"""The fixed subset: which queries are judged, against which documents, chosen once by seed."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from embviz_callback.pairs.records import Judged, Record
from embviz_callback.pairs.relevance import positives_by_query
from embviz_callback.pairs.texts import fold

Rows = NDArray[np.int64]
Columns = Mapping[str, str | float]
_T = TypeVar("_T")

_PAIRS = ("relevance", "hard_pairs", "records")


@dataclass(frozen=True, eq=False)
class Subset:
    """Distinct queries, the pool of documents they are ranked against, and what answers what.

    Texts of equal folds are one row, so that a query is never counted wrong for ranking an
    identical copy of its positive first. Nothing but `records` depends on the order of the file.

    Attributes:
        queries: N distinct query texts.
        documents: M distinct positives and other judged documents, all that are ranked; hard negatives are not
            among them.
        relevance: ``(P, 2)``, sorted distinct pairs (query row, document row).
        hard_negatives: H distinct texts.
        hard_pairs: ``(K, 2)``, sorted distinct pairs (query row, hard negative row), never a text
            equal to one of the query's positives.
        hard_types: Per hard pair, what differs.
        records: ``(R, 2)``, (query row, row of the first positive) of every record of these
            queries, in file order.
        ids: Per query, the id of a record of it, the least if there are several.
        metadata: Per query, the columns of a record of it.
        document_metadata: Per document, the columns of a record that has it as a positive.
        seed: What chose the queries.
        n_available: Distinct queries in the source.
        n_corpus: Further texts that the documents are ranked among.
        corpus_fingerprint: Of these, empty without.
        document_ids: Per document, its identifier in the source, the least if there are several; empty without any.
        grades: ``(G, 3)``, sorted distinct (query row, document row, grade) of everything that was judged; empty where
            grades tell no more than `relevance`.
        prompts: Per query, what stands before it in place of the query prompt of the settings; empty without any.

    Raises:
        ValueError: If lengths disagree, an index is out of range or a query has no document.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    relevance: Rows
    hard_negatives: tuple[str, ...]
    hard_pairs: Rows
    hard_types: tuple[tuple[str, ...], ...]
    records: Rows
    ids: tuple[str | None, ...]
    metadata: tuple[Columns, ...]
    document_metadata: tuple[Columns, ...]
    seed: int
    n_available: int
    n_corpus: int = 0
    corpus_fingerprint: str = ""
    document_ids: tuple[str | None, ...] = ()
    grades: Rows = field(default_factory=lambda: _rows([], width=3))
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_queries, n_documents = len(self.queries), len(self.documents)
        check_rows("relevance", self.relevance, n_queries, n_documents)
        check_rows("records", self.records, n_queries, n_documents)
        check_rows("hard_pairs", self.hard_pairs, n_queries, len(self.hard_negatives))
        check_rows("grades", self.grades, n_queries, n_documents, width=3)
        expected = {
            "ids": n_queries,
            "metadata": n_queries,
            "document_metadata": n_documents,
            "hard_types": len(self.hard_pairs),
        }
        expected |= {"document_ids": n_documents} if self.document_ids else {}
        expected |= {"prompts": n_queries} if self.prompts else {}
        for name, length in expected.items():
            if len(getattr(self, name)) != length:
                raise ValueError(f"{name} must have {length} entries, got {len(getattr(self, name))}")
        check_answered(self.relevance, n_queries)
        if (self.n_corpus > 0) != bool(self.corpus_fingerprint):
            given = f"{self.n_corpus} texts of a corpus", repr(self.corpus_fingerprint)
            raise ValueError(f"{given[0]} do not go with fingerprint {given[1]}")

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of the folded texts, who is relevant or hard to whom, and the corpus.

        Results under equal fingerprints are comparable. Order, spelling variants that fold to the
        same text, metadata and the seed do not enter.
        """
        queries = [fold(text) for text in self.queries]
        documents = [fold(text) for text in self.documents]
        negatives = [fold(text) for text in self.hard_negatives]
        facts: list[list[Any]] = [
            ["relevant", queries[row], documents[column]] for row, column in self.relevance.tolist()
        ]
        facts += [["hard", queries[row], negatives[column]] for row, column in self.hard_pairs.tolist()]
        # What not every data set has: without it, fingerprints are what they were before it could be told.
        facts += [["judged", queries[row], documents[column], grade] for row, column, grade in self.grades.tolist()]
        facts += [["prompt", query, prompt] for query, prompt in zip(queries, self.prompts, strict=False) if prompt]
        facts += [["corpus", self.corpus_fingerprint]] if self.n_corpus else []
        return hashlib.sha256(json.dumps(sorted(facts)).encode()).hexdigest()[:12]

    def as_file(self) -> list[dict[str, Any]]:
        """The subset as a dataset of its own, from which the same subset is chosen again; its corpus is not in it.

        Each record has its own document, and the first one of a query what else answers it.

        Returns:
            A record for each of `records`, as they stand in a file; weights are left to the rule.
        """
        own: list[set[int]] = [set() for _ in self.queries]
        for query, document in self.records.tolist():
            own[query].add(document)
        # Given to all of them, pooled documents would make repeated records and false negatives of distinct pairs.
        further: list[list[int]] = [[] for _ in self.queries]
        for query, document in self.relevance.tolist():
            if document not in own[query]:
                further[query].append(document)
        hard: list[list[dict[str, Any]]] = [[] for _ in self.queries]
        for (query, row), types in zip(self.hard_pairs.tolist(), self.hard_types, strict=True):
            hard[query].append({"text": self.hard_negatives[row], "type": list(types)})
        made = []
        for query, document in self.records.tolist():
            made.append(self._as_record(query, [document, *further[query]], hard[query]))
            further[query] = []
        return made

    def _as_record(self, query: int, rows: list[int], hard: list[dict[str, Any]]) -> dict[str, Any]:
        # The first positive is the record's own: the naive figures depend on it.
        documents = [self.documents[row] for row in rows]
        plain: dict[str, Any] = {"query": self.queries[query], "pos": documents, "hard_neg": hard}
        if self.ids[query] is not None:
            plain["id"] = self.ids[query]
        plain |= {"metadata": dict(self.metadata[query])}
        plain |= {"prompt": self.prompts[query]} if self.prompts and self.prompts[query] else {}
        judged = self._judged_of(query, rows)
        return plain | ({"judged": judged} if judged else {})

    def _judged_of(self, query: int, relevant: list[int]) -> list[dict[str, Any]]:
        """What was judged for a query as it stands in a file, and the identifiers of what answers it."""
        grades = {row: grade for _, row, grade in self.grades[self.grades[:, 0] == query].tolist()}
        names = self.document_ids or (None,) * len(self.documents)
        named = {row: 1 for row in relevant if names[row] is not None}
        return [Judged(self.documents[row], grade, names[row]).as_json() for row, grade in (named | grades).items()]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which `from_json` makes an equal subset in another process."""
        values: dict[str, Any] = {name: getattr(self, name) for name in (*self.__dataclass_fields__, "fingerprint")}
        return {name: one.tolist() if isinstance(one, np.ndarray) else one for name, one in values.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """The subset that `to_json` wrote down.

        Returns:
            A subset of the same fingerprint.

        Raises:
            ValueError: If a field is missing or the fingerprint does not fit the content.
        """
        # Subsets that were written down before there were corpora, or grades, lack these.
        plain = {"n_corpus": 0, "corpus_fingerprint": "", "document_ids": [], "grades": [], "prompts": [], **plain}
        missing = [name for name in (*cls.__dataclass_fields__, "fingerprint") if name not in plain]
        if missing:
            raise ValueError(f"a subset needs {', '.join(missing)}")
        values: dict[str, Any] = {name: plain[name] for name in cls.__dataclass_fields__}
        values |= {name: _rows(values[name]) for name in _PAIRS} | {"grades": _rows(values["grades"], width=3)}
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        subset = cls(**values | {"hard_types": tuple(tuple(types) for types in plain["hard_types"])})
        if subset.fingerprint != plain["fingerprint"]:
            raise ValueError(f"the subset's fingerprint is {subset.fingerprint}, not {plain['fingerprint']} as written")
        return subset


def check_rows(name: str, rows: Rows, *sizes: int, width: int = 2) -> None:
    """Refuses what are no places in two lists.

    Args:
        name: For the error.
        rows: To check.
        sizes: Of the two lists.
        width: 3 where a grade stands behind each pair.

    Raises:
        ValueError: If shape or type are others, or a place does not exist.
    """
    if rows.ndim != 2 or rows.shape[1] != width or rows.dtype != np.int64:
        kind = "pairs" if width == 2 else "triples"
        raise ValueError(f"{name} must be int64 {kind} of shape (n, {width}), got {rows.dtype} {rows.shape}")
    is_bad = ((rows[:, :2] < 0) | (rows[:, :2] >= sizes)).any(axis=1)
    if is_bad.any():
        row = int(is_bad.argmax())
        raise ValueError(f"{name} row {row} is {rows[row, :2].tolist()}, beyond {sizes[0]} x {sizes[1]} rows")


def check_answered(relevance: Rows, n_queries: int) -> None:
    """Refuses relevance that leaves a query without a document.

    Args:
        relevance: Pairs that have been checked.
        n_queries: How many there are.

    Raises:
        ValueError: If there is such a query.
    """
    lonely = np.setdiff1d(np.arange(n_queries), relevance[:, 0])
    if lonely.size:
        raise ValueError(f"every query needs a relevant document, query row {lonely[0]} has none")


def choose_subset(records: Sequence[Record], *, max_samples: int, seed: int) -> Subset:
    """The queries with the lowest hash of seed and text, and everything that belongs to them.

    Independent of the order of the records and of repeated ones; when records are added, a chosen
    query gives way only to new ones that hash lower. A larger `max_samples` starts with the same
    queries. Equal query texts are one query, answered by the positives of all its records and of
    all records that bear the same ids.

    Args:
        records: The whole source.
        max_samples: Most queries to choose, at least 1.
        seed: Chooses which.

    Returns:
        The subset, queries by hash, documents and hard negatives by folded text.

    Raises:
        ValueError: If there is no record or `max_samples` is below 1.
    """
    if not records:
        raise ValueError("records must not be empty")
    if max_samples < 1:
        raise ValueError(f"max_samples must be at least 1, got {max_samples}")
    ordered = sorted({fold(record.query) for record in records}, key=lambda query: (_draw(seed, query), query))
    rows = {query: row for row, query in enumerate(ordered[:max_samples])}
    return _build(records, rows, seed=seed, n_available=len(ordered))


def _draw(seed: int, query: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{query}".encode("utf-8", "surrogatepass")).digest()


def _build(records: Sequence[Record], rows: Mapping[str, int], *, seed: int, n_available: int) -> Subset:
    """The subset of the queries in `rows`: of their records, and of other queries' records of their ids."""
    chosen = [(rows[query], record) for record in records if (query := fold(record.query)) in rows]
    ids = {record.id for _, record in chosen} - {None}
    twins = [record for record in records if record.id in ids and fold(record.query) not in rows]
    related = [*(record for _, record in chosen), *twins]
    positives = {query: texts for query, texts in positives_by_query(related).items() if query in rows}
    judged = [(row, one) for row, record in chosen for one in record.judged]
    answering = (text for texts in positives.values() for text in texts)
    documents = _Table(chain(answering, (one.text for _, one in judged)))
    relevant = {(rows[query], documents.row(text)) for query, texts in positives.items() for text in texts}
    answers = {(rows[query], fold(text)) for query, texts in positives.items() for text in texts}
    hard = [(row, negative) for row, record in chosen for negative in record.hard_negatives]
    hard = [(row, negative) for row, negative in hard if (row, fold(negative.text)) not in answers]
    negatives = _Table(negative.text for _, negative in hard)
    types: dict[tuple[int, int], set[str]] = {}
    for row, negative in hard:
        types.setdefault((row, negatives.row(negative.text)), set()).update(negative.types)
    answered = [(documents.row(text), dict(record.metadata)) for record in related for text in record.positives]
    answered += [(documents.row(one.text), {}) for _, one in judged]
    named = [(documents.row(one.text), one.id) for record in related for one in record.judged if one.id is not None]
    prompts = _least([(row, record.prompt) for row, record in chosen], len(rows), key=lambda text: (not text, text))
    return Subset(
        queries=_least([(row, record.query) for row, record in chosen], len(rows), key=str),
        documents=documents.texts,
        relevance=_rows(sorted(relevant)),
        hard_negatives=negatives.texts,
        hard_pairs=_rows(sorted(types)),
        hard_types=tuple(tuple(sorted(types[pair])) for pair in sorted(types)),
        records=_rows([(row, documents.row(record.positives[0])) for row, record in chosen]),
        ids=_least([(row, record.id) for row, record in chosen], len(rows), key=_last_if_none),
        metadata=_least([(row, dict(record.metadata)) for row, record in chosen], len(rows), key=_last_if_empty),
        document_metadata=_least(answered, len(documents.texts), key=_last_if_empty),
        seed=seed,
        n_available=n_available,
        document_ids=_identifiers(named, len(documents.texts)),
        grades=_grades(relevant, [(row, documents.row(one.text), one.grade) for row, one in judged]),
        prompts=prompts if any(prompts) else (),
    )


def _identifiers(named: Sequence[tuple[int, str]], n_documents: int) -> tuple[str | None, ...]:
    """Per document the least of its identifiers, nothing at all if no document has one."""
    nothing = [(row, None) for row in range(n_documents)]
    return _least([*named, *nothing], n_documents, key=_last_if_none) if named else ()


def _grades(relevant: Collection[tuple[int, int]], judged: Sequence[tuple[int, int, int]]) -> Rows:
    """The highest grade of every judged pair, nothing where it says no more than who is relevant."""
    if not judged:
        return _rows([], width=3)
    # What another record gives as a positive is relevant whatever was judged.
    highest = dict.fromkeys(relevant, 1)
    for row, document, grade in judged:
        highest[row, document] = max(grade, highest.get((row, document), grade))
    if len(set(highest.values())) == 1 and highest.keys() == set(relevant):
        return _rows([], width=3)
    return _rows(sorted((*pair, grade) for pair, grade in highest.items()), width=3)


class _Table:
    """Distinct texts in the order of their folds, each in the least of its spellings."""

    def __init__(self, texts: Iterable[str]) -> None:
        spelling: dict[str, str] = {}
        for text in texts:
            folded = fold(text)
            spelling[folded] = min(text, spelling.get(folded, text))
        self.texts = tuple(spelling[folded] for folded in sorted(spelling))
        self._row = {folded: row for row, folded in enumerate(sorted(spelling))}

    def row(self, text: str) -> int:
        return self._row[fold(text)]


def _least(found: Iterable[tuple[int, _T]], n_rows: int, *, key: Callable[[_T], Any]) -> tuple[_T, ...]:
    """Per row the least of the values found for it: a choice that no order of the file can change."""
    best: dict[int, _T] = {}
    for row, value in found:
        if row not in best or key(value) < key(best[row]):
            best[row] = value
    return tuple(best[row] for row in range(n_rows))


def _last_if_none(name: str | None) -> tuple[bool, str]:
    return (name is None, name or "")


def _last_if_empty(columns: Columns) -> tuple[bool, str]:
    return (not columns, json.dumps(columns, sort_keys=True))


def _rows(pairs: Sequence[Sequence[int]], *, width: int = 2) -> Rows:
    return np.array(pairs, dtype=np.int64).reshape(-1, width)
