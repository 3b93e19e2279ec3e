"""Records as they stand in a file, before the reader refuses or mends anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from embviz_callback.pairs.field_names import meant_fields
from embviz_callback.pairs.formats.form import Item, Reading
from embviz_callback.pairs.formats.reading import find_records, to_checked
from embviz_callback.pairs.intake.parsing import refuse_odd
from embviz_callback.pairs.problems import Problems, Spot
from embviz_callback.pairs.records import Record
from embviz_callback.pairs.relevance import pooled
from embviz_callback.pairs.texts import clean, fold, is_blank
from embviz_callback.pairs.weight_rule import default_rule


@dataclass(frozen=True)
class RawPairs:
    """The items of one file.

    Attributes:
        name: What the user calls it.
        items: One JSON value per record, unchecked.
        sha256: Of the file's bytes; empty for pairs handed over in Python.
        notes: What was recognised, assumed and left unread.
        unread: Names of columns that are not read.
    """

    name: str
    items: tuple[Any, ...]
    sha256: str = ""
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where something was found.

    Attributes:
        file: Name of the file.
        record: Number of the record, from 1.
        field: The way from the record to the value, such as ``.hard_neg[2]``.
        text: What stands there.
        other: What it clashes with, in words; empty if it stands alone.
    """

    file: str
    record: int
    field: str = ""
    text: str = ""
    other: str = ""


Hit = tuple[str, Place]  # the kind of finding that a place belongs to


class Negative(NamedTuple):
    """One hard negative as it stands in the file.

    Attributes:
        place: The way to it from the record, such as ``.hard_neg[2]``.
        text: As written.
        types: As written, empty where nobody said.
        weight: The value as written, None without one.
    """

    place: str
    text: str
    types: tuple[str, ...]
    weight: Any


@dataclass(frozen=True)
class RawRecord:
    """One record, as far as it can be understood; what is broken in it is left out.

    Attributes:
        file: Name of its file.
        index: From 0.
        query: As written; empty if it is blank or no text.
        positives: (place, text).
        negatives: Hard negatives with a text.
        id: As written, if it is a text.
        texts: Every (place, text) of the record, blank ones included.
        complaint: The reader's first problem with the record, names of fields aside; empty without.
        fields: What the item holds, under our names; what is no record as it is.
        misnamed: Fields that the reader refuses by their name alone: theirs by ours.
    """

    file: str
    index: int
    query: str
    positives: tuple[tuple[str, str], ...]
    negatives: tuple[Negative, ...]
    id: str | None
    texts: tuple[tuple[str, str], ...]
    complaint: str
    fields: Any
    misnamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_usable(self) -> bool:
        """Whether the reader takes the record."""
        return not self.complaint and not self.misnamed

    def hit(self, kind: str, field: str, text: str, other: str = "") -> Hit:
        """A place of this record, as one of some kind of finding."""
        return kind, Place(self.file, self.index + 1, field, text, other)


def read_raw(given: Any, reading: Reading | None = None) -> RawPairs:
    """The items of a source of pairs in our own terms, unchecked.

    Args:
        given: As for `read_pairs`.
        reading: How it is to be read.

    Returns:
        At least one item; a `DataError` says if the source cannot be read or is of no known form.
    """
    found = find_records(given, reading or Reading())
    name, sha256 = found.source.name, found.source.sha256
    return RawPairs(name, tuple(item for _, item in found.entries), sha256, found.notes, found.unread)


def raw_records(source: RawPairs) -> tuple[RawRecord, ...]:
    """Every item as far as it can be understood, in order.

    Returns:
        One per item, whatever the item is.
    """
    return tuple(raw_record(item, source.name, index) for index, item in enumerate(source.items))


def answers_of(records: Sequence[RawRecord]) -> dict[str, set[str]]:
    """Folded positives of each folded query, over all its records and all records of their ids."""
    given = ((raw, [fold(text) for _, text in raw.positives if not is_blank(text)]) for raw in records)
    return pooled((fold(raw.query), raw.id, positives) for raw, positives in given)


def record_key(raw: RawRecord) -> tuple[Any, ...] | None:
    """What makes two records the same one: query, positives, hard negatives with type and weight.

    Args:
        raw: The record.

    Returns:
        Something to compare; None for a record without query or positive, which is no copy of any.
    """
    if not raw.query or not raw.positives:
        return None
    negatives = {(fold(one.text), tuple(sorted(map(fold, one.types))), str(one.weight)) for one in raw.negatives}
    positives = frozenset(fold(text) for _, text in raw.positives)
    return (fold(raw.query), positives, frozenset(negatives), raw.id)


def raw_record(item: Any, name: str = "", index: int = 0) -> RawRecord:
    """One item as far as it can be understood."""
    fields, misnamed = _in_our_terms(item)
    complaint = _complaint(name, index, item, fields)
    if not isinstance(fields, Mapping):
        return RawRecord(name, index, "", (), (), None, (), complaint, fields)
    query, given, hard = fields.get("query"), fields.get("pos"), fields.get("hard_neg")
    listed = enumerate(given) if isinstance(given, list | tuple) else ()
    positives = [(f".pos[{at}]", text) for at, text in listed] or [(".pos", given)]
    answers = tuple((place, text) for place, text in positives if isinstance(text, str))
    found = [_negative(at, one) for at, one in enumerate(hard)] if isinstance(hard, list | tuple) else []
    negatives = tuple(one for one in found if one is not None)
    asked = ((".query", query),) if isinstance(query, str) else ()
    return RawRecord(
        file=name,
        index=index,
        query=query if isinstance(query, str) and not is_blank(query) else "",
        positives=answers,
        negatives=negatives,
        id=fields["id"] if isinstance(fields.get("id"), str) else None,
        texts=(*asked, *answers, *((one.place, one.text) for one in negatives)),
        complaint=complaint,
        fields=fields,
        misnamed=misnamed,
    )


def _in_our_terms(item: Any) -> tuple[Any, dict[str, str]]:
    """What an item holds with misspelt field names put right, and theirs by ours; what is no record as it is."""
    fields = item.as_json() if isinstance(item, Record) else item.fields if isinstance(item, Item) else item
    if not isinstance(fields, Mapping):
        return fields, {}
    meant = meant_fields([name for name in fields if isinstance(name, str)])
    ours = {theirs: name for name, theirs in meant.items()}
    return ({ours.get(name, name): value for name, value in fields.items()} if meant else fields), meant


def _negative(at: int, value: Any) -> Negative | None:
    place = f".hard_neg[{at}]"
    if isinstance(value, str):
        return Negative(place, value, (), None)
    if not isinstance(value, Mapping) or not isinstance(value.get("text"), str):
        return None
    given = value.get("type")
    listed = given if isinstance(given, list | tuple) else [given]
    names = [name for name in listed if isinstance(name, str)]
    weight = value.get("weight")
    return Negative(place, value["text"], tuple(clean(name) for name in names if not is_blank(clean(name))), weight)


def _complaint(name: str, index: int, item: Any, fields: Any) -> str:
    spot = Spot(Problems(name), index)
    if not refuse_odd(fields, spot):
        to_checked(replace(item, fields=fields) if isinstance(item, Item) else fields, spot, default_rule())
    return spot.problems.lines[0] if spot.problems.lines else ""
