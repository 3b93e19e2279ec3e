"""Records from queries, judgements and documents that are joined by identifiers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.collections.parts import Query
from embviz_callback.pairs.formats.form import Item, Reading, filled
from embviz_callback.pairs.problems import DataError
from embviz_callback.pairs.texts import clean, is_blank


@dataclass(frozen=True)
class Collected:
    """The parts of a collection before they are joined.

    Attributes:
        form: Name of its form.
        title: What it is, in a sentence behind "read as".
        queries: All of them.
        documents: Identifier and text of all of them; read once, the judged ones are kept.
        corpus: Where all documents lie; empty in Python.
        grades: Per query of the part that is looked at, the grade of each judged document.
        hard: Per query, documents that look like an answer and are none.
        reads: Names of fields that are read, where records name their documents themselves.
    """

    form: str
    title: str
    queries: Iterable[Query]
    documents: Iterable[tuple[str | None, Any]]
    corpus: str
    grades: Mapping[str, Mapping[str, int]]
    hard: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reads: frozenset[str] = frozenset()


def assemble(
    parts: Collected, reading: Reading, source: str, judgements: str
) -> tuple[tuple[tuple[int, Item], ...], tuple[str, ...]]:
    """One record per judged query; documents that nobody judged are only counted.

    Args:
        parts: What is joined.
        reading: From which grade on a document is relevant.
        source: Its name, for the error.
        judgements: Where the judgements stand, likewise.

    Returns:
        Row of the query and `Item` of at least one record; and what a reader of the figures must know of how they came
        to be, one sentence each.

    Raises:
        DataError: If there is no query with a relevant document.
    """
    judged = {document for grades in parts.grades.values() for document in grades}
    wanted = judged.union(*parts.hard.values())
    texts: dict[str, str] = {}
    n_documents = repeated = 0
    for name, text in parts.documents:
        n_documents += 1
        # A document that no reader could see is as good as none.
        if name is not None and name in wanted and isinstance(text, str) and not is_blank(clean(text)):
            repeated += texts.setdefault(name, text) != text
    asked, unjudged = [], 0
    for query in parts.queries:
        asked += [query] if query.id in parts.grades else []
        unjudged += query.id not in parts.grades
    entries = [(query.row, _item(query, parts, texts, reading)) for query in asked]
    kept = tuple((row, item) for row, item in entries if not item.left_out)
    missing, unasked = len(wanted) - len(texts), len(parts.grades.keys() - {query.id for query in asked})
    if not kept:
        raise DataError(f"{source}: {_none_found(reading, missing, unasked, judgements)}")
    counts = {
        "judged documents that are not there or blank": missing,
        "documents with another text under the identifier of an earlier one, left out": repeated,
        "judged queries that are not there": unasked,
        "queries without a relevant document, left out": len(entries) - len(kept),
        "queries that are not judged here, left out": unjudged,
    }
    about = _notes(parts, reading, len(texts), n_documents - len(texts) - repeated)
    notes = (*about, *(f"{what}: {count:,}" for what, count in counts.items() if count))
    return kept, notes


def _none_found(reading: Reading, missing: int, unasked: int, judgements: str) -> str:
    expected = f"expected a query with a document of grade {reading.least_grade:g} or more, found none"
    if not unasked and not missing:
        return f"{expected} in {judgements}. Fix: lower --relevant-from"
    return (
        f"{expected}; not there are {unasked:,} of the judged queries and {missing:,} of the documents. "
        f"Fix: check that {judgements} uses their identifiers"
    )


def _item(query: Query, parts: Collected, texts: Mapping[str, str], reading: Reading) -> Item:
    judged = {name: grade for name, grade in parts.grades[query.id].items() if name in texts}
    relevant = [texts[name] for name, grade in judged.items() if grade >= reading.least_grade]
    if not relevant:
        return Item({}, left_out="without a relevant document")
    hard = [texts[name] for name in parts.hard.get(query.id, ()) if name in texts]
    fields = filled(
        id=query.id,
        query="" if query.text is None else query.text,
        pos=relevant,
        hard_neg=hard or None,
        prompt=query.prompt,
        metadata=query.metadata,
        judged=[{"text": texts[name], "grade": grade, "id": name} for name, grade in judged.items()],
    )
    return Item(fields, {".query": ".text", ".id": "._id"})


def _notes(parts: Collected, reading: Reading, n_pool: int, rest: int) -> Iterator[str]:
    yield f"read as {parts.title}"
    grades = {grade for judged in parts.grades.values() for grade in judged.values()}
    if len(grades) > 1 or min(grades, default=1) < reading.least_grade:
        yield f"documents are graded: relevant from {reading.least_grade:g} on; nDCG uses the grades"
    how = f"of {parts.corpus} left out (--corpus auto" if parts.corpus else "left out (the same object as corpus="
    beside = f"; {rest:,} more {how} ranks them too)" if rest > 0 else ""
    yield f"the pool is the {counted(n_pool, 'judged document')}{beside}"
