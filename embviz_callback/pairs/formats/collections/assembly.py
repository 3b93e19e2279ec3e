"""Records from queries, judgements and documents that are joined by identifiers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.collections.parts import Query
from embviz_callback.pairs.formats.form import Item, Reading, filled
from embviz_callback.pairs.texts import clean, is_blank

Entry = tuple[int, Any]


@dataclass(frozen=True)
class Judgements:
    """What is said of which document for which query, by identifiers.

    Attributes:
        grades: Per query, the grade of each judged document.
        hard: Per query, documents that look like an answer and are none.
    """

    grades: Mapping[str, Mapping[str, int]]
    hard: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def documents(self) -> set[str]:
        """All that are named."""
        named = {document for judged in self.grades.values() for document in judged}
        return named.union(*self.hard.values())


@dataclass(frozen=True)
class Assembled:
    """The records of a collection, and what became of its parts.

    Attributes:
        entries: Row of the query and `Item`.
        n_documents: Documents that there are.
        n_pool: Those that are judged.
        missing: Judged documents that there are not, or that are blank.
        repeated: Documents left out because an earlier one with another text has their identifier.
        unasked: Judged queries that there are not.
        unanswered: Queries of which no relevant document is left.
        unjudged: Queries without any judgement.
        is_graded: Whether the grades tell more than relevant or not.
    """

    entries: tuple[Entry, ...]
    n_documents: int
    n_pool: int
    missing: int
    repeated: int
    unasked: int
    unanswered: int
    unjudged: int
    is_graded: bool


def assemble(
    queries: Iterable[Query], judgements: Judgements, documents: Iterable[tuple[str | None, Any]], reading: Reading
) -> Assembled:
    """One record per judged query; documents that nobody judged are only counted.

    Args:
        queries: All of them.
        judgements: Of the part that is looked at.
        documents: All of them; read once, the judged ones are kept.
        reading: From which grade on a document is relevant.

    Returns:
        The records.
    """
    wanted = judgements.documents
    texts: dict[str, str] = {}
    n_documents = repeated = 0
    for name, text in documents:
        n_documents += 1
        # A document that no reader could see is as good as none.
        if name is not None and name in wanted and isinstance(text, str) and not is_blank(clean(text)):
            repeated += texts.setdefault(name, text) != text
    asked, unjudged = [], 0
    for query in queries:
        asked += [query] if query.id in judgements.grades else []
        unjudged += query.id not in judgements.grades
    grades = {grade for judged in judgements.grades.values() for grade in judged.values()}
    is_graded = len(grades) > 1 or min(grades, default=1) < reading.least_grade
    entries = tuple((query.row, _item(query, judgements, texts, reading)) for query in asked)
    kept = tuple((row, item) for row, item in entries if not item.left_out)
    return Assembled(
        entries=kept,
        n_documents=n_documents,
        n_pool=len(texts),
        missing=len(wanted) - len(texts),
        repeated=repeated,
        unasked=len(judgements.grades.keys() - {query.id for query in asked}),
        unanswered=len(entries) - len(kept),
        unjudged=unjudged,
        is_graded=is_graded,
    )


def _item(query: Query, judgements: Judgements, texts: Mapping[str, str], reading: Reading) -> Item:
    judged = {name: grade for name, grade in judgements.grades[query.id].items() if name in texts}
    relevant = [texts[name] for name, grade in judged.items() if grade >= reading.least_grade]
    if not relevant:
        return Item({}, left_out="without a relevant document")
    hard = [texts[name] for name in judgements.hard.get(query.id, ()) if name in texts]
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


def assembled_notes(found: Assembled, reading: Reading, corpus: str) -> Iterator[str]:
    """What a reader of the figures must know of how the records came to be.

    Args:
        found: The records.
        reading: From which grade on a document is relevant.
        corpus: Where all documents lie; empty in Python.

    Yields:
        Sentences.
    """
    if found.is_graded:
        yield f"documents are graded: relevant from {reading.least_grade:g} on; nDCG uses the grades"
    rest = found.n_documents - found.n_pool - found.repeated
    how = f"of {corpus} left out (--corpus auto" if corpus else "left out (the same object as corpus="
    beside = f"; {rest:,} more {how} ranks them too)" if rest > 0 else ""
    yield f"the pool is the {counted(found.n_pool, 'judged document')}{beside}"
    counts = (
        (found.missing, "judged documents that are not there or blank"),
        (found.repeated, "documents with another text under the identifier of an earlier one, left out"),
        (found.unasked, "judged queries that are not there"),
        (found.unanswered, "queries without a relevant document, left out"),
        (found.unjudged, "queries that are not judged here, left out"),
    )
    yield from (f"{what}: {count:,}" for count, what in counts if count)
