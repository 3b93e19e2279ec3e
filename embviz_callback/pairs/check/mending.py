"""The mended file: what can be put right without knowing what was meant, and a list of what was done."""

import copy
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embviz_callback.pairs.check.raw import RawPairs, RawRecord, answers_of, raw_record, raw_records, record_key
from embviz_callback.pairs.flaws import is_placeholder, mended
from embviz_callback.pairs.texts import clean, fold, is_blank
from embviz_callback.pairs.weight_rule import WeightRule, default_rule


@dataclass(frozen=True)
class Change:
    """One thing that was done.

    Attributes:
        record: Number of the record in the file as it was, from 1.
        field: The way from that record to the value.
        kind: The finding it mends, such as ``not_nfc``.
        what: What was done, in words.
    """

    record: int
    field: str
    kind: str
    what: str


@dataclass(frozen=True)
class Mended:
    """The records that are left, and how they came to be so.

    Attributes:
        items: Plain JSON objects with all fields of the user's own.
        changes: In file order.
    """

    items: tuple[Any, ...]
    changes: tuple[Change, ...]


@dataclass
class _Bench:
    """The records under repair, with their numbers in the file."""

    items: list[tuple[int, dict[str, Any]]]
    changes: list[Change]

    def note(self, index: int, field: str, kind: str, what: str) -> None:
        self.changes.append(Change(index + 1, field, kind, what))

    def drop(self, kind: str, why: Callable[[int, RawRecord], str]) -> None:
        """Takes the records away for which there is a reason."""
        kept = []
        for index, item in self.items:
            if reason := why(index, raw_record(item)):
                self.note(index, "", kind, f"record dropped: {reason}")
            else:
                kept.append((index, item))
        self.items = kept


def mend(source: RawPairs, *, rule: WeightRule | None = None, held_out: Iterable[str] = ()) -> Mended:
    """The records of a file without what can be mended.

    In this order: misspelt field names are put right; records that the reader refuses or whose query
    or every positive is blank or a placeholder are dropped; texts are composed to NFC and lose zero-width and control
    characters; hard negatives that are blank, placeholders, repeated in their record or equal to
    a positive of their query (in any of its records) are dropped; records that repeat another
    one entirely are merged; missing weights are filled by the rule; records with a held-out text
    are dropped.

    Args:
        source: The file; it is not changed.
        rule: Fills weights.
        held_out: Texts of the validation file: queries and positives that must not be trained on.

    Returns:
        New items and the list of changes.
    """
    bench = _Bench([], [])
    for raw in raw_records(source):
        for ours, theirs in raw.misnamed.items():
            bench.note(raw.index, f".{theirs}", "misnamed_field", f"field renamed to {ours}")
        _take(bench, raw)
    _mend_texts(bench)
    _drop_negatives(bench)
    first: dict[Any, int] = {}
    bench.drop("duplicate_record", lambda index, raw: _repeated(index, first.setdefault(record_key(raw), index)))
    _fill_weights(bench, rule or default_rule())
    unwanted = {fold(text) for text in held_out}
    bench.drop("leak", lambda index, raw: _leaked(raw, unwanted))
    changes = sorted(bench.changes, key=lambda change: change.record)
    return Mended(tuple(item for _, item in bench.items), tuple(changes))


def _take(bench: _Bench, raw: RawRecord) -> None:
    """Puts a usable record on the bench, without its blank and placeholder texts."""
    unusable = {place: text for place, text in raw.texts if is_blank(clean(text)) or is_placeholder(text)}
    positives = {place for place, _ in raw.positives}
    if not isinstance(raw.fields, Mapping) or ".query" in unusable or (positives and positives <= unusable.keys()):
        place, text = next(iter(unusable.items()), ("", ""))
        kind, reason = (_flaw(text), f"{place} is {text!r}") if unusable else ("unreadable", raw.complaint)
        bench.note(raw.index, "", kind, f"record dropped: {reason}")
        return
    kept = copy.deepcopy(dict(raw.fields))
    for place, text in unusable.items():
        bench.note(raw.index, place, _flaw(text), f"text dropped: {text!r}")
    for name in ("pos", "hard_neg"):
        _drop_places(kept, name, unusable)
    if complaint := raw_record(kept, "record").complaint:
        bench.note(raw.index, "", "unreadable", f"record dropped: {complaint}")
        return
    bench.items.append((raw.index, kept))


def _flaw(text: str) -> str:
    return "blank" if is_blank(clean(text)) else "placeholder"


def _drop_places(item: dict[str, Any], name: str, unwanted: Collection[str]) -> None:
    if isinstance(item.get(name), list | tuple):
        item[name] = [one for at, one in enumerate(item[name]) if f".{name}[{at}]" not in unwanted]


def _mend_texts(bench: _Bench) -> None:
    for index, item in bench.items:
        for place, text in raw_record(item).texts:
            better = mended(text)
            if better != text:
                what = f"composed, freed of invisible characters: {text!r} became {better!r}"
                bench.note(index, place, "text", what)
        for name in ("query", "pos", "hard_neg"):
            if item.get(name):
                item[name] = _with_mended(item[name])


def _with_mended(value: Any) -> Any:
    """The texts of a field mended: one, several, or those of hard negatives."""
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, Mapping):
        return {**value, "text": mended(value["text"])}
    return [_with_mended(one) for one in value]


def _drop_negatives(bench: _Bench) -> None:
    seen = [raw_record(item) for _, item in bench.items]
    answers = answers_of(seen)
    for (index, item), raw in zip(bench.items, seen, strict=True):
        unwanted: set[str] = set()
        known = {fold(text) for _, text in raw.positives} | answers[fold(raw.query)]
        first: set[str] = set()
        for negative in raw.negatives:
            folded = fold(negative.text)
            kind = "contradiction" if folded in known else "repeated_hard_negative" if folded in first else ""
            first.add(folded)
            if kind:
                unwanted.add(negative.place)
                bench.note(index, negative.place, kind, f"hard negative dropped: {negative.text!r}")
        _drop_places(item, "hard_neg", unwanted)


def _repeated(index: int, first: int) -> str:
    return "" if first == index else f"it repeats record {first + 1:,}"


def _fill_weights(bench: _Bench, rule: WeightRule) -> None:
    for index, item in bench.items:
        for at, negative in enumerate(raw_record(item).negatives):
            if negative.weight:
                continue
            weight, given = rule.weight(negative.types), item["hard_neg"][at]
            item["hard_neg"][at] = {**(given if isinstance(given, Mapping) else {"text": given}), "weight": weight}
            bench.note(index, f"{negative.place}.weight", "no_weight", f"weight {weight:g} by rule")


def _leaked(raw: RawRecord, held_out: Collection[str]) -> str:
    leaked = [text for text in (raw.query, *(text for _, text in raw.positives)) if fold(text) in held_out]
    return f"held out for validation: {leaked[0]!r}" if leaked else ""
