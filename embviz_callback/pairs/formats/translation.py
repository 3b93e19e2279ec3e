"""From rows of any form to records in our own terms, and what was recognised, left out and left unread."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.collections.parts import DOCUMENT_FIELDS, as_document, document_id
from embviz_callback.pairs.formats.detection import form_of, names_of
from embviz_callback.pairs.formats.form import Form, Item, Reading, cell
from embviz_callback.pairs.formats.identifiers import places_of_identifiers
from embviz_callback.pairs.formats.labels import (
    ALL_LABELS,
    column_called,
    hidden_label,
    is_label,
    is_undecided,
    label_columns,
    says_relevant,
    settled,
)
from embviz_callback.pairs.formats.rows.anchor_columns import CLASSIFIED, COLUMNS, QUERIES, is_negative
from embviz_callback.pairs.formats.rows.labelled_lists import LABELLED_LISTS
from embviz_callback.pairs.formats.rows.native import NATIVE
from embviz_callback.pairs.formats.rows.swift import RESPONSES
from embviz_callback.pairs.intake.opening import JSON_LINES, suffix_of
from embviz_callback.pairs.intake.parsing import Broken, Material
from embviz_callback.pairs.intake.tables import list_in
from embviz_callback.pairs.problems import DataError, show_name, show_names
from embviz_callback.pairs.records import Record, text_id
from embviz_callback.pairs.texts import is_blank
from embviz_callback.pairs.weight_rule import is_number

Entry = tuple[int, Any]
_DOCUMENTS = ("pos", "hard_neg")
_OF_DOCUMENTS = (*DOCUMENT_FIELDS, "type", "weight", "grade")
_BARE = ("fields", COLUMNS.name, NATIVE.name, RESPONSES.name)  # forms of a query and a document
_NEVER_LABELS = ("metadata", "judged", "prompt", "id")


@dataclass(frozen=True)
class Translation:
    """Records of a source before they are checked.

    Attributes:
        source: The rows as they were found, and where.
        entries: Row and `Item`; or a `Record` that passes as it is, or whatever else stands there and is no record.
        form: Name of the form that was recognised.
        notes: What was recognised, assumed, left out and left unread, one sentence each.
        unread: Names of columns that were not read.
        split: Which part of the source this is, empty where it has no parts.
        corpus: Where all documents of the source lie, empty where it has none.
    """

    source: Material
    entries: tuple[Entry, ...]
    form: str
    notes: tuple[str, ...]
    unread: tuple[str, ...] = ()
    split: str = ""
    corpus: str = ""


def translate(material: Material, reading: Reading, split: str = "") -> Translation:
    """The records that some rows hold, as far as they can be told without checking them.

    Args:
        material: The rows.
        reading: How they are to be read.
        split: Which of them, by their column ``split``; empty for all.

    Returns:
        The records.

    Raises:
        DataError: If there is no row, no form fits, or a label does not say what it means.
    """
    rows = material.rows
    if not rows:
        raise DataError(f"{material.name}: expected at least one record, found an empty list. Fix: add pairs")
    form, rows = _lone_list(material, form_of(rows, reading, material.name))
    names = names_of(rows)
    column = None if form is LABELLED_LISTS else _label(rows, names, form, reading)
    try:
        found = list(_translated(rows, form, reading, split))
        beside = {field: _names_in_lists(found, field) for field in _DOCUMENTS}
        entries = [(at, _read(item, rows[at], beside, column, reading)) for at, item in found]
    except DataError as error:
        raise DataError(f"{material.name}: {error}") from None
    if column is not None:
        entries = list(settled(entries))
    left_out = Counter(item.left_out for _, item in entries if isinstance(item, Item) and item.left_out)
    read = (column, "split" if split else column)
    unread = tuple(sorted(name for name in names if not form.reads(name) and name not in read))
    return Translation(
        replace(material, rows=rows),
        entries=tuple((row, item) for row, item in entries if not (isinstance(item, Item) and item.left_out)),
        form=form.name,
        notes=(
            *material.notes,
            *((f"read the rows whose split is {split!r}",) if split else ()),
            *_notes(form, column, left_out, unread),
            *(f"identifiers beside the texts of {field} are not read" for field, places in beside.items() if places),
            *_unread_within(found),
        ),
        unread=unread,
        split=split,
    )


def _lone_list(material: Material, form: Form) -> tuple[Form, Sequence[Any]]:
    """A file of one line that is a list of texts is one record, not a list of texts."""
    rows = material.rows
    is_lone = len(rows) in (2, 3) and all(isinstance(row, str) for row in rows)
    if is_lone and suffix_of(material.path) in JSON_LINES:
        listed = [list(rows)]
        return form_of(listed, Reading(), material.name), listed
    return form, rows


def _label(rows: Sequence[Any], names: frozenset[str], form: Form, reading: Reading) -> str | None:
    """The column that says which pairs are relevant, None without."""
    # Of a row with negatives it is known that its positive is one.
    has_negatives = "hard_neg" in names or "hard_neg" in reading.fields or any(map(is_negative, names))
    is_bare = form.name in _BARE and not has_negatives
    others = names.difference(reading.fields.values(), _NEVER_LABELS)
    is_classified = any(name.casefold() in CLASSIFIED for name in names)
    query = reading.fields.get("query") or column_called(sorted(names), QUERIES) or ""

    def values_of(column: str) -> list[tuple[str, Any]]:
        found = ((cell(row, query), cell(row, column)) for row in rows if isinstance(row, Mapping))
        return [(asked if isinstance(asked, str) else "", value) for asked, value in found if value is not None]

    said = reading.fields.get("label")
    for column in [said] if said else label_columns(others, is_bare_pair=is_bare):
        values = values_of(column)
        if column != said and column.casefold() not in ALL_LABELS:  # pos_scores are one for each positive
            values = [(asked, value) for asked, value in values if not isinstance(value, list | Mapping)]
        if values and is_label(column, values, reading, is_classified=is_classified):
            return column
    unread = [name for name in others if is_bare and not form.reads(name)]
    return hidden_label({name: values_of(name) for name in unread}, is_classified=is_classified)


def _translated(rows: Sequence[Any], form: Form, reading: Reading, split: str) -> Iterator[Entry]:
    """What the form makes of each row, and rows that are not of its kind."""
    for at, row in enumerate(rows):
        if split and row["split"] != split:
            continue
        is_read = isinstance(row, form.takes) and not isinstance(row, Record | Broken)
        yield from ((at, item) for item in (form.translate(row, reading) if is_read else [row]))


def _read(item: Any, row: Any, beside: Mapping[str, Collection[int]], column: str | None, reading: Reading) -> Any:
    """An item in plain texts, as its label judges it."""
    if not isinstance(item, Item):
        return item
    plain = _plain(item, beside)
    if column is None or item.left_out or not isinstance(row, Mapping):
        return plain
    return _labelled(plain, row, column, reading)


def _names_in_lists(entries: Iterable[Entry], field: str) -> Collection[int]:
    """Where identifiers stand in documents that are ``[id, text]``, or that stand one after the other as such."""
    given = [item.fields.get(field) for _, item in entries if isinstance(item, Item)]
    lists = [one for one in given if isinstance(one, list | tuple) and one]
    inner = [one for documents in lists for one in documents if isinstance(one, list | tuple)]
    if not inner and all(len(one) % 2 == 0 for one in lists):
        inner = [one[at : at + 2] for one in lists for at in range(0, len(one), 2)]
    return places_of_identifiers(inner)


def _unread_within(entries: Iterable[Entry]) -> Iterator[str]:
    """What of documents that are objects or lists is not read, if anything."""
    given = [item.fields.get(field) for _, item in entries if isinstance(item, Item) for field in _DOCUMENTS]
    documents = [one for listed in given if isinstance(listed, list | tuple) for one in listed]
    names = {str(name) for one in documents if isinstance(one, Mapping) for name in one} - {*_OF_DOCUMENTS}
    if names:
        yield f"fields of documents that are not read: {show_names(sorted(names))}"
    if any(isinstance(one, list | tuple) and any(map(is_number, one)) for one in documents):
        yield "numbers beside the texts of documents are not read"


def _unpacked(documents: Any) -> Any:
    """Documents of which one may be a list that was written as a text."""
    if isinstance(documents, str):
        return list_in(documents)
    if not isinstance(documents, list) or not any(isinstance(one, str) and one.startswith("[") for one in documents):
        return documents
    read = [list_in(one) if isinstance(one, str) else one for one in documents]
    return [
        one for held, given in zip(read, documents, strict=True) for one in (held if held is not given else [given])
    ]


def _without_names(documents: Any, names: Collection[int]) -> Any:
    """Documents without the identifiers between them or in each of them."""
    if not names or not isinstance(documents, list | tuple):
        return documents
    if not any(isinstance(one, list | tuple) for one in documents):
        return [one for at, one in enumerate(documents) if at % 2 not in names]
    return [_without_name(one, names) if isinstance(one, list | tuple) else one for one in documents]


def _without_name(cells: Sequence[Any], names: Collection[int]) -> Any:
    texts = [one for at, one in enumerate(cells) if at not in names]
    return texts[0] if len(texts) == 1 else texts


def _plain(item: Item, names: Mapping[str, Collection[int]]) -> Item:
    """With an identifier that is a text, and documents that stand as objects or lists as their texts."""
    found: dict[str, Any] = {}
    for field in _DOCUMENTS:
        given = item.fields.get(field)
        plain = _without_names(_unpacked(given), names[field])
        found |= {} if plain is given else {field: plain}
    given, hard = ({**item.fields, **found}.get(field) for field in _DOCUMENTS)
    if isinstance(item.fields.get("id"), int | float):
        found["id"] = text_id(item.fields["id"])
    given = [given] if isinstance(given, Mapping) else given
    if isinstance(given, list | tuple) and any(isinstance(one, Mapping | list | tuple) for one in given):
        found["pos"] = [as_document(one) for one in given]
        named = [{"text": as_document(one), "grade": 1, "id": document_id(one)} for one in given if _has_id(one)]
        found |= {"judged": named} if named and not item.fields.get("judged") else {}
    if isinstance(hard, list | tuple) and any(isinstance(one, Mapping | list | tuple) for one in hard):
        found["hard_neg"] = [_hard_negative(one) for one in hard]
    return replace(item, fields={**item.fields, **found}) if found else item


def _has_id(one: Any) -> bool:
    """Whether a document can be named: what has no text is refused as a positive."""
    if not isinstance(one, Mapping) or is_blank(document_id(one) or ""):
        return False
    return isinstance(as_document(one), str) and not is_blank(as_document(one))


def _hard_negative(one: Any) -> Any:
    """With all that stands in it: what differs, how much it weighs, and what is misspelt."""
    if not isinstance(one, Mapping):
        return as_document(one)
    is_ours = "text" in one and not one.get("title")
    return one if is_ours or as_document(one) is one else {**one, "text": as_document(one)}


def _labelled(item: Item, row: Mapping[str, Any], column: str, reading: Reading) -> Item:
    value = cell(row, column)
    while isinstance(value, list) and len(value) == 1:  # as tools for annotation write what one person chose
        value = value[0]
    if value is None:
        return Item({}, left_out=f"without a {column}")
    if is_undecided(value, reading):
        return Item({}, left_out=f"whose {column} decides nothing ({show_name(str(value))})")
    return replace(item, is_relevant=says_relevant(value, column, reading))


def _notes(form: Form, column: str | None, left_out: Mapping[str, int], unread: Sequence[str]) -> Iterator[str]:
    if form is not NATIVE:
        yield f"read as {form.title}"
    if column is not None:
        yield f"{show_name(column)} says which pairs are relevant; the others are hard negatives of their query"
    for why, count in left_out.items():
        yield f"{counted(count, 'record')} {why} left out"
    yield from unread_notes(unread)


def unread_notes(names: Sequence[str]) -> Iterator[str]:
    """That there are columns that are not read, if there are."""
    if names:
        yield f"columns that are not read: {show_names(names)}"
