"""The mended file: what can be put right without knowing what was meant, and a list of what was done."""

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from embviz_callback.pairs.check.raw import RawPairs, RawRecord, answers_of, raw_records, record_key, renamed
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

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


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
    for raw, item in zip(raw_records(source), source.items, strict=True):
        for ours, theirs in raw.misnamed.items():
            bench.note(raw.index, f".{theirs}", "misnamed_field", f"field renamed to {ours}")
        _take(bench, raw, renamed(item)[0])
    for index, item in bench.items:
        _mend_texts(bench, index, item)
    _drop_negatives(bench)
    _merge_copies(bench)
    _fill_weights(bench, rule or default_rule())
    _drop_held_out(bench, {fold(text) for text in held_out})
    return Mended(
        tuple(item for _, item in bench.items), tuple(sorted(bench.changes, key=lambda change: change.record))
    )


def _take(bench: _Bench, raw: RawRecord, item: Any) -> None:
    """Puts a usable record on the bench, without its blank and placeholder texts."""
    unusable = {place for place, text in raw.texts if is_blank(clean(text)) or is_placeholder(text)}
    positives = [place for place, _ in raw.positives]
    if not isinstance(item, Mapping) or ".query" in unusable or (positives and unusable.issuperset(positives)):
        kind = "unreadable" if not unusable else _flaw(raw, unusable)
        bench.note(raw.index, "", kind, f"record dropped: {_reason(raw, unusable)}")
        return
    kept = copy.deepcopy(dict(item))
    for place, text in raw.texts:
        if place in unusable:
            bench.note(raw.index, place, _flaw(raw, {place}), f"text dropped: {text!r}")
    if isinstance(kept["pos"], list | tuple) if "pos" in kept else False:
        kept["pos"] = [text for at, text in enumerate(kept["pos"]) if f".pos[{at}]" not in unusable]
    if isinstance(kept.get("hard_neg"), list | tuple):
        kept["hard_neg"] = [one for at, one in enumerate(kept["hard_neg"]) if f".hard_neg[{at}]" not in unusable]
    complaint = raw_records(RawPairs("record", (kept,)))[0].complaint
    if complaint:
        bench.note(raw.index, "", "unreadable", f"record dropped: {complaint}")
        return
    bench.items.append((raw.index, kept))


def _flaw(raw: RawRecord, unusable: Collection[str]) -> str:
    text = next(text for place, text in raw.texts if place in unusable)
    return "blank" if is_blank(clean(text)) else "placeholder"


def _reason(raw: RawRecord, unusable: Collection[str]) -> str:
    if not unusable:
        return raw.complaint
    place, text = next((place, text) for place, text in raw.texts if place in unusable)
    return f"{place} is {text!r}"


def _mend_texts(bench: _Bench, index: int, item: dict[str, Any]) -> None:
    raw = raw_records(RawPairs("", (item,)))[0]
    for place, text in raw.texts:
        better = mended(text)
        if better != text:
            bench.note(index, place, "text", f"composed, freed of invisible characters: {text!r} became {better!r}")
    _replace_texts(item)


def _replace_texts(item: dict[str, Any]) -> None:
    item["query"] = mended(item["query"])
    positives = item["pos"]
    item["pos"] = mended(positives) if isinstance(positives, str) else [mended(text) for text in positives]
    if not item.get("hard_neg"):
        return
    item["hard_neg"] = [
        mended(one) if isinstance(one, str) else {**one, "text": mended(one["text"])} for one in item["hard_neg"]
    ]


def _drop_negatives(bench: _Bench) -> None:
    seen = raw_records(RawPairs("", tuple(item for _, item in bench.items)))
    answers = answers_of(seen)
    for (index, item), raw in zip(bench.items, seen, strict=True):
        unwanted: set[str] = set()
        known = {fold(text) for _, text in raw.positives} | answers[fold(raw.query)]
        first: set[str] = set()
        for negative in raw.negatives:
            kind = "contradiction" if fold(negative.text) in known else ""
            kind = kind or ("repeated_hard_negative" if fold(negative.text) in first else "")
            first.add(fold(negative.text))
            if kind:
                unwanted.add(negative.place)
                bench.note(index, negative.place, kind, f"hard negative dropped: {negative.text!r}")
        if unwanted:
            item["hard_neg"] = [one for at, one in enumerate(item["hard_neg"]) if f".hard_neg[{at}]" not in unwanted]


def _merge_copies(bench: _Bench) -> None:
    seen = raw_records(RawPairs("", tuple(item for _, item in bench.items)))
    first: dict[Any, int] = {}
    kept = []
    for (index, item), raw in zip(bench.items, seen, strict=True):
        key = record_key(raw)
        if key in first:
            bench.note(index, "", "duplicate_record", f"record dropped: it repeats record {first[key] + 1:,}")
            continue
        first[key] = index
        kept.append((index, item))
    bench.items = kept


def _fill_weights(bench: _Bench, rule: WeightRule) -> None:
    for index, item in bench.items:
        raw = raw_records(RawPairs("", (item,)))[0]
        filled = list(item["hard_neg"]) if item.get("hard_neg") else []
        for at, negative in enumerate(raw.negatives):
            if negative.weight is not None and negative.weight != 0:
                continue
            weight = rule.weight(negative.types)
            given = filled[at] if isinstance(filled[at], Mapping) else {"text": negative.text}
            filled[at] = {**given, "weight": weight}
            bench.note(index, f"{negative.place}.weight", "no_weight", f"weight {weight:g} by rule")
        if filled:
            item["hard_neg"] = filled


def _drop_held_out(bench: _Bench, held_out: Collection[str]) -> None:
    kept = []
    for index, item in bench.items:
        raw = raw_records(RawPairs("", (item,)))[0]
        leaked = [text for text in (raw.query, *(text for _, text in raw.positives)) if fold(text) in held_out]
        if leaked:
            bench.note(index, "", "leak", f"record dropped: held out for validation: {leaked[0]!r}")
        else:
            kept.append((index, item))
    bench.items = kept
