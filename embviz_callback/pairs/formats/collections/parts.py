"""The parts of a collection, row by row, under all the names they have, and the records that are joined from them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.form import Item, Reading, filled
from embviz_callback.pairs.formats.identifiers import are_identifiers
from embviz_callback.pairs.formats.labels import are_scores, judges
from embviz_callback.pairs.intake.objects import IN_PYTHON
from embviz_callback.pairs.intake.opening import show_path
from embviz_callback.pairs.intake.streaming import stream_rows
from embviz_callback.pairs.problems import DEFAULT_LIMITS, DataError, DataLimits, Problems, Spot, show
from embviz_callback.pairs.records import text_id, to_grade
from embviz_callback.pairs.texts import clean, is_blank
from embviz_callback.pairs.weight_rule import is_number

_DOCUMENT_IDS = ("_id", "docid", "doc_id", "corpus-id", "corpus_id", "document_id", "psg_id", "passage_id", "pid", "id")
_QUERY_IDS = ("_id", "qid", "query-id", "query_id", "id")
_GRADES = ("score", "grade", "relevance", "rel", "label")
DOCUMENT_TEXTS = (
    *("text", "document_text", "contents", "content", "page_content", "passage", "body", "document"),
    *("abstract", "description"),
)
_QUERY_TEXTS = ("text", "query", "query_text", "question", "title")
DOCUMENT_FIELDS = (*_DOCUMENT_IDS, *DOCUMENT_TEXTS, "title")
# What the cells of a line without names are, by how many there are.
_DOCUMENT_CELLS = {2: ("id", "text"), 3: ("id", "title", "text"), 4: ("id", "url", "title", "text")}
_QUERY_CELLS = {2: ("id", "text")}
_JUDGEMENT_CELLS = {
    3: ("qid", "docid", "score"),
    4: ("qid", "iteration", "docid", "score"),
    6: ("qid", "iteration", "docid", "rank", "score", "tag"),
}
_LOOKED_AT = 100  # lines by which it is told whether spaces part cells
_RUN = (
    "expected judgements, found scores or ranks of a search (a run). "
    "Fix: give the judgements (qrels): a run says what was found, not what is right"
)
HEADERS = frozenset({*_DOCUMENT_IDS, *_QUERY_IDS, *_GRADES, *DOCUMENT_TEXTS, *_QUERY_TEXTS})


@dataclass(frozen=True)
class Query:
    """A query of a collection.

    Attributes:
        row: Its place in the file, from 0.
        id: By which it is judged.
        text: As it was found.
        prompt: As it was found, None without.
        metadata: As it was found, None without.
    """

    row: int
    id: str
    text: Any
    prompt: Any = None
    metadata: Any = None


@dataclass
class Part:
    """One part of a collection, spread over one or more files.

    Attributes:
        paths: Its files, in order.
        limits: Of each file.
        held: Its rows, where they are in Python already.
        n_rows: Rows read so far.
        n_odd: Those of them that are no objects, or lists of so many cells that nobody can tell what they are.
        unread: Names of columns that are not read, as they turned up.
    """

    paths: Sequence[Path]
    limits: DataLimits = DEFAULT_LIMITS
    held: Sequence[Any] = ()
    n_rows: int = 0
    n_odd: int = 0
    unread: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """As an error calls it."""
        return show_path(self.paths[0]) if self.paths else IN_PYTHON

    def rows(self, cells: Mapping[int, Sequence[str]], read: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """Rows as objects, with their places; `cells` names the cells of a file without names."""
        for rows in chain([iter(self.held)], (stream_rows(path, self.limits) for path in self.paths)):
            for row in named_rows(rows, cells):
                if isinstance(row, Mapping):
                    self.unread.update(name for name in row if name not in read)
                else:
                    self.n_odd += 1
                yield self.n_rows, row
                self.n_rows += 1

    def documents(self) -> Iterator[tuple[str | None, Any]]:
        """Identifier, None without, and text of every document, the title before the text."""
        for _, row in self.rows(_DOCUMENT_CELLS, DOCUMENT_FIELDS):
            if isinstance(row, Mapping):
                yield document_id(row), document_text(row)[1]


def named_rows(rows: Iterator[Any], cells: Mapping[int, Sequence[str]]) -> Iterator[Any]:
    """Rows as objects: lists of cells under the names of the first line, or else under those that `cells` gives."""
    first = next(rows, None)
    if not isinstance(first, list):
        yield from () if first is None else chain([first], rows)
        return
    if not _are_names(first):
        rows = _parted(chain([first], rows), has_texts=2 in cells)
        first = next(rows)
    if _are_names(first):
        names = [cell.strip() for cell in first]
        yield from (dict(zip(names, row, strict=False)) for row in rows)
        return
    cells = {1: ("text",)} if len(first) == 1 and 2 in cells else cells  # texts without identifiers
    for row in chain([first], rows):
        known = cells.get(len(row))
        yield dict(zip(known, row, strict=True)) if known else row


def _parted(rows: Iterator[list[str]], *, has_texts: bool) -> Iterator[list[str]]:
    """Rows that spaces part where no tabs do: all cells of a judgement, an identifier from its text."""
    head = list(islice(rows, _LOOKED_AT))
    words = [row[0].split(None, 1) for row in head]
    if has_texts and not (all(len(row) == 2 for row in words) and are_identifiers(*zip(*words, strict=True))):
        return chain(head, rows)
    return (row[0].split(None, 1 if has_texts else -1) if len(row) == 1 else row for row in chain(head, rows))


def _are_names(cells: Sequence[str]) -> bool:
    return any(cell.strip().casefold() in HEADERS for cell in cells)


def document_id(row: Mapping[str, Any]) -> str | None:
    """What names a document, None without."""
    name = text_id(_first(row, _DOCUMENT_IDS))
    return name if isinstance(name, str) else None


def document_text(row: Mapping[str, Any]) -> tuple[str | None, Any]:
    """Which field of a document holds its text, None for none, and the text with the title before it."""
    name = _named(row, DOCUMENT_TEXTS)
    if name is None:
        name = next((one for one in DOCUMENT_TEXTS if one in row), None)
    text, title = None if name is None else row[name], row.get("title")
    if name is None and isinstance(title, str) and _has_longer(row, title):
        return None, None  # the title of a document whose text has a name that nobody knows
    return name, titled(title, "" if text is None else text) if title else text


def _has_longer(row: Mapping[str, Any], title: str) -> bool:
    """Whether another field of a document holds a text of more words than its title."""
    n_words = len(title.split())
    return any(
        isinstance(one, str) and len(one.split()) > max(1, n_words) for name, one in row.items() if name != "title"
    )


def titled(title: Any, text: Any) -> Any:
    """A document with its title: title, a space, text, as BEIR joins them.

    Returns:
        The text as it is, whatever it is, where there is no title.

    Example:
        >>> titled("Hà Nội", "Thủ đô."), titled("", "Thủ đô."), titled("Hà Nội", "")
        ('Hà Nội Thủ đô.', 'Thủ đô.', 'Hà Nội')
    """
    if not isinstance(title, str) or not title.strip() or not isinstance(text, str):
        return text
    return f"{title} {text}".strip()


def as_document(one: Any) -> Any:
    """The text of a document that is an object, or a list with a number; others are for the reader to refuse."""
    if isinstance(one, list | tuple):
        texts = [text for text in one if isinstance(text, str)]
        return texts[0] if len(texts) == 1 and all(is_number(part) for part in one if part is not texts[0]) else one
    if not isinstance(one, Mapping):
        return one
    text = document_text(one)[1]
    return one if text is None else text


def queries_of(part: Part) -> Iterator[Query]:
    """Every query that has an identifier."""
    read = (*_QUERY_IDS, *_QUERY_TEXTS, "instruction", "prompt", "metadata")
    for at, row in part.rows(_QUERY_CELLS, read):
        if not isinstance(row, Mapping):
            continue
        name, text = text_id(_first(row, _QUERY_IDS)), _first(row, _QUERY_TEXTS)
        instruction = row.get("instruction")
        if isinstance(instruction, str) and instruction.strip() and isinstance(text, str):
            text = f"{text} {instruction}"  # as MTEB joins them
        if isinstance(name, str):
            metadata = row.get("metadata")
            yield Query(at, name, text, row.get("prompt"), metadata if isinstance(metadata, Mapping) else None)


def judgements_of(part: Part, problems: Problems) -> dict[str, dict[str, int]]:
    """Per query the grade of every judged document, the highest of several.

    Args:
        part: The file.
        problems: Takes down what is no judgement.

    Returns:
        Grades by query and document.

    Raises:
        DataError: If it is a run of a search.
    """
    judged: dict[str, dict[str, int]] = {}
    query_ids, document_ids = _QUERY_IDS[1:-1], (*_DOCUMENT_IDS[1:-1], "doc", "document")
    read = (*query_ids, *document_ids, *_GRADES, "iteration", "iter")
    for at, row in part.rows(_JUDGEMENT_CELLS, read):
        spot = Spot(problems, at)
        query = text_id(_first(row, query_ids)) if isinstance(row, Mapping) else None
        document = text_id(_first(row, document_ids)) if isinstance(row, Mapping) else None
        if not isinstance(query, str) or not isinstance(document, str):
            fix = "write query, document and grade in each line"
            spot.refuse(expected="identifiers of a query and a document", found=show(row), fix=fix)
            continue
        graded = _named(row, _GRADES) or _named(row, filter(judges, row)) or _other_number(row, read)
        grade = _number(row.get(graded))
        if "rank" in row or (is_number(grade) and grade != round(grade)):
            raise DataError(f"{part.name}: {_RUN}")
        part.unread.discard(graded or "")
        grade = to_grade(grade, spot.at("score"))
        known = judged.setdefault(query, {})
        known[document] = max(grade, known.get(document, grade))
    return judged


def _first(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    name = _named(row, names)
    return None if name is None else row[name]


def _named(row: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """The first of some fields that holds anything."""
    for name in names:  # a generator would take longer than all else that is done with a line of a corpus
        if row.get(name) is not None:
            return name
    return None


def _other_number(row: Mapping[str, Any], known: Sequence[str]) -> str | None:
    """The only further field of a judgement that is a number or a yes or no, whatever it is called."""
    found = [
        name for name, one in row.items() if name not in known and (isinstance(one, bool) or is_number(_number(one)))
    ]
    return found[0] if len(found) == 1 and row[found[0]] is not None else None


def _number(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        # A list of pairs without grades says of each that it is right.
        return 1 if value is None else int(value)
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


@dataclass(frozen=True)
class Collected:
    """The parts of a collection before they are joined.

    Attributes:
        form: Name of its form.
        title: What it is, in a sentence behind "read as".
        queries: All of them.
        documents: All of them; read once, the judged ones are kept.
        corpus: Where all documents lie; empty in Python.
        grades: Per query of the part that is looked at, the grade of each judged document.
        hard: Per query, documents that look like an answer and are none.
        reads: Names of fields that are read, where records name their documents themselves.
    """

    form: str
    title: str
    queries: Iterable[Query]
    documents: Part
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
    if reading.relevant_from is None and are_scores(grades.values() for grades in parts.grades.values()):
        raise DataError(f"{judgements}: {_RUN}; if they are grades, say from which on: --relevant-from X")
    judged = {document for grades in parts.grades.values() for document in grades}
    wanted = judged.union(*parts.hard.values())
    texts: dict[str, str] = {}
    n_documents = repeated = 0
    for name, text in parts.documents.documents():
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
