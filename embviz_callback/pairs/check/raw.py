"""Records as they stand in a file, before the reader refuses or mends anything."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embviz_callback.pairs.formats.form import Item, Reading
from embviz_callback.pairs.formats.reading import find_records
from embviz_callback.pairs.intake.parsing import Broken, odd_values
from embviz_callback.pairs.problems import Problems, Spot
from embviz_callback.pairs.records import Record, meant_fields, to_record
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
class Negative:
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
        index: From 0.
        query: As written; empty if it is blank or no text.
        positives: (place, text).
        negatives: Hard negatives with a text.
        id: As written, if it is a text.
        texts: Every (place, text) of the record, blank ones included.
        complaint: The reader's first problem with the record, names of fields aside; empty without.
        misnamed: Fields that the reader refuses by their name alone: theirs by ours.
    """

    index: int
    query: str
    positives: tuple[tuple[str, str], ...]
    negatives: tuple[Negative, ...]
    id: str | None
    texts: tuple[tuple[str, str], ...]
    complaint: str
    misnamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_usable(self) -> bool:
        """Whether the reader takes the record."""
        return not self.complaint and not self.misnamed


def read_raw(given: Any, reading: Reading | None = None) -> RawPairs:
    """The items of a source of pairs in our own terms, unchecked.

    Args:
        given: As for `read_pairs`.
        reading: How it is to be read.

    Returns:
        At least one item; a `DataError` says if the source cannot be read or is of no known form.
    """
    found = find_records(given, reading or Reading())
    return RawPairs(found.name, tuple(item for _, item in found.entries), found.sha256, found.notes, found.unread)


def fields_of(item: Any) -> Any:
    """What an item holds in our own terms; what is no record is given back as it is."""
    if isinstance(item, Record):
        return item.as_json()
    return item.fields if isinstance(item, Item) else item


def renamed(item: Any) -> tuple[Any, dict[str, str]]:
    """An item with misspelt field names put right, and theirs by ours."""
    fields = fields_of(item)
    if not isinstance(fields, Mapping):
        return fields, {}
    meant = meant_fields([name for name in fields if isinstance(name, str)])
    theirs = {name: ours for ours, name in meant.items()}
    return ({theirs.get(name, name): value for name, value in fields.items()} if meant else fields), meant


def raw_records(source: RawPairs) -> tuple[RawRecord, ...]:
    """Every item as far as it can be understood, in order.

    Returns:
        One per item, whatever the item is.
    """
    return tuple(_raw_record(source.name, index, item) for index, item in enumerate(source.items))


def answers_of(records: Sequence[RawRecord]) -> dict[str, set[str]]:
    """Folded positives of each folded query, over all its records and all records of their ids."""
    by_id: dict[str, set[str]] = {}
    for raw in records:
        if raw.id is not None:
            by_id.setdefault(raw.id, set()).update(_own(raw))
    answers: dict[str, set[str]] = {}
    for raw in records:
        if raw.query:
            own = _own(raw) if raw.id is None else by_id[raw.id]
            answers.setdefault(fold(raw.query), set()).update(own)
    return answers


def record_key(raw: RawRecord) -> tuple[Any, ...] | None:
    """What makes two records the same one: query, positives, hard negatives with type and weight.

    Args:
        raw: The record.

    Returns:
        Something to compare; None for a record without query or positive, which is no copy of any.
    """
    if not raw.query or not raw.positives:
        return None
    negatives = Counter((fold(one.text), tuple(sorted(map(fold, one.types))), str(one.weight)) for one in raw.negatives)
    positives = frozenset(fold(text) for _, text in raw.positives)
    return (fold(raw.query), positives, frozenset(negatives), raw.id)


def _own(raw: RawRecord) -> set[str]:
    return {fold(text) for _, text in raw.positives if not is_blank(text)}


def _raw_record(name: str, index: int, item: Any) -> RawRecord:
    fields, misnamed = renamed(item)
    complaint = _complaint(name, index, item, fields)
    if not isinstance(fields, Mapping):
        return RawRecord(index, "", (), (), None, (), complaint)
    item = fields
    query, given, hard = item.get("query"), item.get("pos"), item.get("hard_neg")
    listed = enumerate(given) if isinstance(given, list | tuple) else ()
    positives = [(f".pos[{at}]", text) for at, text in listed] or [(".pos", given)]
    answers = tuple((place, text) for place, text in positives if isinstance(text, str))
    found = [_negative(at, one) for at, one in enumerate(hard)] if isinstance(hard, list | tuple) else []
    negatives = tuple(one for one in found if one is not None)
    asked = ((".query", query),) if isinstance(query, str) else ()
    return RawRecord(
        index=index,
        query=query if isinstance(query, str) and not is_blank(query) else "",
        positives=answers,
        negatives=negatives,
        id=item["id"] if isinstance(item.get("id"), str) else None,
        texts=(*asked, *answers, *((one.place, one.text) for one in negatives)),
        complaint=complaint,
        misnamed=misnamed,
    )


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
    problems = Problems(name)
    spot = Spot(problems, index, called=item.called if isinstance(item, Item) else {})
    if isinstance(item, Broken):
        spot.refuse(expected="a JSON object", found=item.found, fix=item.fix)
    elif isinstance(item, Item) and item.fault is not None:
        spot.refuse(expected=item.fault[0], found=item.fault[1], fix=item.fault[2])
    for place, expected, found, fix in odd_values(fields):
        Spot(problems, index, place).refuse(expected=expected, found=found, fix=fix)
    if not problems.total:
        to_record(fields, spot, default_rule())
    return problems.lines[0] if problems.lines else ""
