"""Documents from a file, a folder or an object in Python: the one reader of corpora."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.collections.folders import corpus_files
from embviz_callback.pairs.formats.collections.one_file import is_collection, rows_of_part
from embviz_callback.pairs.formats.collections.parts import DOCUMENT_FIELDS, Part, document_id, document_text
from embviz_callback.pairs.formats.detection import known_form, names_of
from embviz_callback.pairs.formats.form import Item, Reading
from embviz_callback.pairs.formats.identifiers import are_identifiers, may_be_texts
from embviz_callback.pairs.formats.translation import translate, unread_notes
from embviz_callback.pairs.intake.material import file_sha256, is_folder
from embviz_callback.pairs.intake.objects import rows_of
from embviz_callback.pairs.intake.opening import JSON_LINES, PLAIN_TEXT, TABLES, open_text, show_path, suffix_of
from embviz_callback.pairs.intake.parsing import Broken, Expected, Material, parse_items, refuse_odd
from embviz_callback.pairs.intake.streaming import stream_lines, stream_rows
from embviz_callback.pairs.problems import DataError, DataLimits, Problems, Spot, show, show_name
from embviz_callback.pairs.records import Record, to_name, to_positives, to_text
from embviz_callback.pairs.texts import clean, is_blank

_ROWS_ONLY = (*TABLES, ".parquet", ".arrow")
_LONG = 2**23  # bytes of a file whose texts are not held
_PACKED = 4  # times that gzip makes texts smaller
_LOOKED_AT = 1000  # lines of it by which its form is known
_TAG = re.compile(r"<[a-z!?/][^<>]*>", re.IGNORECASE)
_FORM = 'give a list of texts or of {"text": "..."}, or a .txt file with one document a line'


class Candidate(NamedTuple):
    """A text of a corpus, before it is known what is evaluated: a tuple, which is made in half the time.

    Attributes:
        text: Not blank.
        query: What it answers in its own record, empty for a document alone.
        id: Of that record.
        document_id: Of the document.
    """

    text: str
    query: str = ""
    id: str | None = None
    document_id: str | None = None


Documents = Iterable[Candidate]


@dataclass(eq=False)
class ItemStream:
    """The texts of items, such as the lines of a long file, which are read anew each time.

    Attributes:
        items: Gives their places and the items.
        name: As the user gave it.
        skip_bad: Leave items out that have a problem instead of refusing the corpus at the end.
        limits: Of their texts.
        n_items: How many there are, None where only reading tells.
        has_odd: See `Material`.
        remarks: What was left out or replaced when they were last read to their end, one sentence each.
    """

    items: Callable[[], Iterable[tuple[int, Any]]]
    name: str
    skip_bad: bool
    limits: DataLimits
    n_items: int | None = None
    has_odd: bool = False
    remarks: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Candidate]:
        problems = Problems(self.name, self.n_items, limits=self.limits)
        n_read = n_found = skipped = 0
        for at, item in self.items():
            found = _of_line(item, problems, at, has_odd=self.has_odd)
            n_read += 1
            n_found += len(found)
            skipped += not found
            yield from found
        if problems.total and not (self.skip_bad and n_found):
            raise problems.error()
        _refuse_none(n_found, self.name)
        self.remarks = tuple(problems.remarks(skipped, counted(self.n_items or n_read, "item")))


@dataclass(frozen=True, eq=False)
class PartStream:
    """The documents of a collection or of a table.

    Attributes:
        paths: Its files.
        name: As the user gave it.
        limits: Of its texts, and of what it unpacks to.
    """

    paths: tuple[Path, ...]
    name: str
    limits: DataLimits

    def __iter__(self) -> Iterator[Candidate]:
        n_found = 0
        for name, text in Part(self.paths, self.limits).documents():
            if isinstance(text, str) and not is_blank(cleaned := clean(text[: self.limits.characters])):
                n_found += 1
                yield Candidate(cleaned, document_id=name)
        _refuse_none(n_found, self.name)


def _refuse_none(n_found: int, name: str) -> None:
    """Raises a DataError for a corpus without a document."""
    if not n_found:
        raise DataError(f"{name}: expected at least one document, found none. Fix: add documents")


@dataclass(frozen=True)
class CorpusFile:
    """The texts of one source, as they were given.

    Attributes:
        candidates: At least one, in the order given, equal ones included; of a long file read anew each time.
        name: The path as the user gave it, or "corpus" for an object in Python.
        sha256: Of the file as it is on disk, empty for an object or a folder.
        noted: What was recognised, assumed, replaced or not read, one sentence each.
    """

    candidates: Documents
    name: str = "corpus"
    sha256: str = ""
    noted: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """`noted`, and what the last reading of a long file has left out or replaced."""
        return (*self.noted, *(self.candidates.remarks if isinstance(self.candidates, ItemStream) else ()))


def read_corpus(given: Any, reading: Reading | None = None) -> CorpusFile:
    """The texts of a corpus.

    A file is a JSON array or JSON Lines of texts, of documents (``text``, with ``title`` and an identifier where
    there are any: the title stands before the text), or of records of a data set of any form, whose positives are
    taken; or TSV, CSV, Parquet or Arrow; or, named ``.txt``, holds one document a line. A folder is a collection.

    Args:
        given: A path, or the same texts and records handed over in Python.
        reading: How records of a data set are to be read, and which part of a folder.

    Returns:
        At least one text.

    Raises:
        DataError: If it cannot be read, or what it holds is no text, such as markup or identifiers; of a long file as
            it is gone through.
    """
    # The form of the pairs is not that of the corpus.
    reading = replace(reading or Reading(), format="")
    if not isinstance(given, str | os.PathLike):
        return _from_object(given, reading)
    name = show_path(given)
    if is_folder(given):
        paths = tuple(corpus_files(Path(given), reading.split))
        if not paths:
            open_text(given)  # says what may be given instead
        return CorpusFile(PartStream(paths, name, reading.limits), name)
    suffix = suffix_of(name)
    if suffix in _ROWS_ONLY:
        return CorpusFile(PartStream((Path(given),), name, reading.limits), name)
    if _is_long(Path(given)) and (found_long := _long(Path(given), name, reading)) is not None:
        return found_long
    opened = open_text(given, is_json=suffix != PLAIN_TEXT, limits=reading.limits)
    if suffix == PLAIN_TEXT:
        lines = (line.rstrip("\r") for line in opened.text.split("\n"))
        full = [line for line in lines if not is_blank(line)]
        if full and _TAG.fullmatch(full[0].strip()):
            raise DataError(
                f"{name}: expected a document on each line, found {show(full[0])}, which is markup. Fix: {_FORM}"
            )
        return _candidates(
            Material(full, name, name, opened.sha256, notes=opened.notes), replace(reading, skip_bad=False)
        )
    expected = Expected(is_collection, limits=reading.limits, form=_FORM)
    return _candidates(parse_items(opened, expected), reading)


def _is_long(path: Path) -> bool:
    """Whether a file is one of lines and too long to be held; a shorter one is read at once, with all its faults."""
    least = _LONG // _PACKED if path.name.lower().endswith(".gz") else _LONG
    return suffix_of(path.name) in (*JSON_LINES, PLAIN_TEXT) and path.is_file() and path.stat().st_size >= least


def _long(path: Path, name: str, reading: Reading) -> CorpusFile | None:
    """A file of documents or of our records, by its first lines; None for records of another form."""
    is_plain = suffix_of(name) == PLAIN_TEXT
    read = partial(stream_lines if is_plain else stream_rows, path, reading.limits)
    first = list(islice(read(), _LOOKED_AT))
    names = names_of(first)
    if not is_plain and (_are_records(first, names, reading) or any(map(is_collection, first))):
        return None
    stream = ItemStream(lambda: enumerate(read()), name, reading.skip_bad and not is_plain, reading.limits)
    return CorpusFile(stream, name, file_sha256(path), tuple(_document_notes(names)))


def _from_object(given: Any, reading: Reading) -> CorpusFile:
    if isinstance(given, Mapping) and is_collection(given):
        return _candidates(Material([given], "corpus", "corpus"), reading)
    is_splits = isinstance(given, Mapping) and any(hasattr(one, "features") for one in given.values())
    if isinstance(given, bytes) or (isinstance(given, Mapping) and not is_splits) or not isinstance(given, Iterable):
        raise DataError(f"corpus: expected a path or a list of texts, found {show(given)}. Fix: {_FORM}")
    rows, _ = rows_of(given, split=reading.split, limits=reading.limits)
    return _candidates(Material(rows, "corpus", "corpus"), reading)


def _candidates(given: Material, reading: Reading) -> CorpusFile:
    if not given.rows:
        raise DataError(f"{given.name}: expected at least one text, found an empty list. Fix: add documents")
    if is_collection(given.rows[0]):
        corpus = given.rows[0]["corpus"]
        given = replace(given, rows=rows_of_part(corpus, f"{given.name}.corpus"), has_odd=False)
    names = names_of(given.rows)
    entries: Sequence[tuple[int, Any]] = list(enumerate(given.rows))
    notes, has_odd = tuple(_document_notes(names)), given.has_odd
    if _are_records(given.rows, names, reading):
        fields = reading.fields if names.issuperset(reading.fields.values()) else {}
        translated = translate(replace(given, notes=()), replace(reading, fields=fields))
        entries, notes, has_odd = translated.entries, translated.notes, False
    stream = ItemStream(lambda: entries, given.name, reading.skip_bad, reading.limits, len(given.rows), has_odd)
    found = tuple(stream)
    bare = [one for one, row in zip(found, given.rows, strict=False) if one.query or isinstance(row, str)]
    texts, beside = [one.text for one in bare], [one.query for one in bare if one.query]
    if are_identifiers(texts, beside):
        if not may_be_texts(texts, beside):
            expected = f"expected texts, found identifiers such as {show_name(texts[0])}"
            fix = 'give the file or folder in which the texts lie; if they are texts, write {"text": "..."} for each'
            raise DataError(f"{given.name}: {expected}. Fix: {fix}")
        notes += (f"the texts look like identifiers, such as {show_name(texts[0])}, and are read as they are",)
    return CorpusFile(found, given.path, given.sha256, (*given.notes, *notes, *stream.remarks))


def _are_records(items: Sequence[Any], names: frozenset[str], reading: Reading) -> bool:
    """Whether the items are records of another form than ours."""
    if reading.fields and names.issuperset(reading.fields.values()):
        return True
    are_lists = all(isinstance(item, list | tuple) for item in items)
    return are_lists or not (names & {"pos", "text", "document_text"} or known_form(names) is None)


def _of_line(item: Any, problems: Problems, at: int, *, has_odd: bool = False) -> list[Candidate]:
    """What the item at a place holds, nothing if it has a problem."""
    sound = None if has_odd else _sound(item, problems.limits.characters)
    return [sound] if sound else _of_item(item, Spot(problems, at), has_odd=has_odd)


def _sound(item: Any, longest: int) -> Candidate | None:
    """A text or document of which nothing need be said, as of nearly all; None where it takes a closer look."""
    text, name = item, None
    if type(item) is dict and "pos" not in item:
        text, name = document_text(item)[1], document_id(item)
    # Printable is what has nothing to be taken out.
    if isinstance(text, str) and text.isprintable() and len(text) <= longest and not is_blank(text):
        return Candidate(text, document_id=name)
    return None


def _of_item(item: Any, spot: Spot, *, has_odd: bool) -> list[Candidate]:
    """What one item holds, nothing if it has a problem."""
    n_before = spot.problems.total
    if isinstance(item, Broken):
        spot.refuse(expected=item.expected or "a text or a JSON object", found=item.found, fix=item.fix)
    elif isinstance(item, Record):
        return [Candidate(text, item.query, item.id) for text in item.positives]
    elif not (has_odd and refuse_odd(item, spot)):
        if isinstance(item, Item):
            item, spot = item.fields, replace(spot, called=item.called)
        found = _of_object(item, spot) if isinstance(item, Mapping) else [Candidate(to_text(item, spot))]
        if spot.problems.total == n_before:
            return found
    return []


def _of_object(item: Mapping[Any, Any], spot: Spot) -> list[Candidate]:
    if "pos" in item:
        query = "" if item.get("query") is None else to_text(item["query"], spot.at("query"))
        name = to_name(item.get("id"), spot.at("id"))
        return [Candidate(text, query, name) for text in to_positives(item["pos"], spot.at("pos"))]
    field, text = document_text(item)
    if field is not None:
        return [Candidate(to_text(text, spot.at(field)), document_id=document_id(item))]
    fix = "rename the field that holds the document to text"
    spot.refuse(expected="the field text, or pos of a dataset", found=show(item), fix=fix)
    return []


def _document_notes(names: frozenset[str]) -> Iterator[str]:
    """Of items that are documents and not our records."""
    if "pos" in names:
        return
    if "title" in names:
        yield "titles stand before the texts"
    yield from unread_notes(sorted(names - set(DOCUMENT_FIELDS)))
