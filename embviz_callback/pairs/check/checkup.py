"""The data check: everything that is wrong or odd in a file of pairs, and between two of them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embviz_callback.grammar import agreeing, counted
from embviz_callback.pairs.check.disagreement import Extract, disagreements, idle_types
from embviz_callback.pairs.check.findings import NOTE, SUSPECT, WRONG, Checkup, FileFacts, Finding, expected_collisions
from embviz_callback.pairs.check.raw import Hit, Place, RawPairs, RawRecord, answers_of, raw_records, record_key
from embviz_callback.pairs.flaws import BLANK, NOT_NFC, flaws, words_key
from embviz_callback.pairs.problems import show_name
from embviz_callback.pairs.texts import fold, is_blank
from embviz_callback.pairs.weight_rule import WeightRule, default_rule

_Known = dict[tuple[str, Any], RawRecord]  # by a text and the part that it plays, the first record
_MOST_CUT_OFF = 60  # characters of what is not read that are shown
_DROP = "embviz check --fix drops them"
_DROP_LEAKS = "embviz check --val ... --fix OUT --drop-leaks drops them there"
# Of each level: kind, title as `agreeing` takes it, how to mend it; what --fix mends says so.
_FINDINGS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    WRONG: {
        "unreadable": ("record[s] cannot be used", "correct the field that is named, or let --fix drop them"),
        "misnamed_field": ("field[s] [are|is] called otherwise than [they are|it is] read", "rename them; --fix does"),
        BLANK: ("text[s] [are|is] blank", f"write the text; {_DROP} (the record, if its query or only positive)"),
        "placeholder": (
            "text[s] [are placeholders|is a placeholder] that nobody filled in",
            f"write the text; {_DROP}",
        ),
        "contradiction": ("hard negative[s] equal[|s] a positive of [their|its] query", _DROP),
        "leaked_pair": ("validation pair[s] stand[|s] in the training file", _DROP_LEAKS),
        "leaked_query": (
            "validation [queries stand|query stands] in the training file with another positive",
            _DROP_LEAKS,
        ),
        "leaked_document": (
            "validation document[s] stand[|s] in the training file as [positives|a positive]",
            _DROP_LEAKS,
        ),
    },
    SUSPECT: {
        "near_leak": (
            "validation text[s] differ[|s] from a training text in accents, punctuation or word order only",
            "look at them; split by listing and not by line",
        ),
        "near_contradiction": (
            "hard negative[s] [have|has] the very words of a positive of [their|its] query",
            "they differ in accents, punctuation or word order only: drop them by hand",
        ),
        "damaged": ("text[s] [have|has] lost characters (U+FFFD)", "get the file again, in UTF-8"),
        NOT_NFC: ("text[s] [are|is] not in Unicode NFC", "embviz check --fix composes them"),
        "zero_width": ("text[s] [have|has] zero-width characters", "embviz check --fix removes them"),
        "control_character": ("text[s] [have|has] control characters", "embviz check --fix removes them"),
        "one_word": ("text[s] [are|is] a single word", "write what is sought or offered, or drop them"),
        "duplicate_record": ("record[s] repeat[|s] another one entirely", "embviz check --fix merges them"),
        "repeated_hard_negative": (
            "hard negative[s] stand[|s] twice in [their|its] record",
            "embviz check --fix merges them",
        ),
        "own_answer": ("[queries equal their|query equals its] own positive", "they teach nothing: drop them by hand"),
        "unknown_type": (
            "hard negative[s] [have|has] a type that the weight rule does not know",
            "add it to base_weights, or rename it; until then it weighs as 'other'",
        ),
        "too_long": ("text[s] [are|is] longer than the model reads", "shorten them, or raise max_length"),
        "disagreement": (
            "[queries state another value than their|query states another value than its] positive",
            "correct the query, or pair it anew",
        ),
        "idle_type": (
            "hard negative[s] [do|does] not differ from the positive in what [their|its] type names",
            "correct the type or the text: such a negative may be a right answer",
        ),
    },
    NOTE: {
        "seen_as_negative": (
            "validation document[s] stand[|s] in the training file as [hard negatives|a hard negative]",
            "known texts, though never as an answer; split by listing if that matters",
        ),
        "unread_field": ("field[s] [are|is] not read", "none if they are your own; else --fields query=...,pos=..."),
        "no_type": ("hard negative[s] [have|has] no type", "they count as 'other'"),
        "no_weight": ("hard negative[s] [have|has] no weight, or 0", "the weight rule fills it; --fix writes it down"),
        "same_query": ("record[s] ask[|s] what another record asks", "their positives are pooled"),
        "same_document": (
            "record[s] answer[|s] with the document of another query",
            "never counted against each other here",
        ),
        "other_spelling": ("text[s] differ[|s] from an equal one in case or white space", "taken for one text"),
    },
}
# kind: level, title, how to mend it
KINDS: Mapping[str, tuple[str, str, str]] = {
    kind: (level, title, fix) for level, kinds in _FINDINGS.items() for kind, (title, fix) in kinds.items()
}


# Per text its length in tokens, and how many of its characters a model reads.
Reach = Callable[[Sequence[str]], Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class Demands:
    """What to check beyond the texts themselves.

    Attributes:
        batch_size: Pairs in a training batch.
        rule: Which types of hard negative are known.
        extract: Reads columns from a text, for statements that disagree.
        compare: Columns in which a query must not contradict its positive; None for all.
        tolerance: Relative difference of two numbers that still agree.
        reach: How far the model reads.
    """

    batch_size: int = 128
    rule: WeightRule | None = None
    extract: Extract | None = None
    compare: Collection[str] | None = None
    tolerance: float = 0.25
    reach: Reach | None = None


def check(train: RawPairs, validation: RawPairs | None = None, demands: Demands | None = None) -> Checkup:
    """Every finding in one file, or in a training file and its validation file.

    Args:
        train: The file.
        validation: What is held out, if leaks are to be looked for.
        demands: Batch size, weight rule, columns, model.

    Returns:
        The checkup.
    """
    demands = demands or Demands()
    sources = [train] if validation is None else [train, validation]
    seen = [raw_records(source) for source in sources]
    hits: list[Hit] = []
    for source, of_source in zip(sources, seen, strict=True):
        hits += _names(source, of_source)
        hits += _in_file(of_source, demands)
    if validation is not None:
        hits += _leaks(*seen)
    return Checkup(
        files=tuple(_facts(source, of_source) for source, of_source in zip(sources, seen, strict=True)),
        findings=_findings(hits),
        collisions=expected_collisions(seen[0], batch_size=demands.batch_size),
        notes=tuple(f"{source.name}: {note}" for source in sources for note in source.notes),
    )


def _findings(hits: Iterable[Hit]) -> tuple[Finding, ...]:
    places: dict[str, list[Place]] = {}
    for kind, place in hits:
        places.setdefault(kind, []).append(place)
    found, levels = [], list(_FINDINGS)
    for kind, where in places.items():
        level, title, fix = KINDS[kind]
        found.append(Finding(kind, level, agreeing(len(where), title), fix, tuple(where)))
    return tuple(sorted(found, key=lambda one: (levels.index(one.level), -len(one.places), one.kind)))


def _facts(source: RawPairs, seen: Sequence[RawRecord]) -> FileFacts:
    return FileFacts(
        name=source.name,
        sha256=source.sha256,
        records=len(seen),
        usable=sum(raw.is_usable for raw in seen),
        queries=len({fold(raw.query) for raw in seen if raw.query}),
        documents=len({fold(text) for raw in seen for _, text in raw.positives}),
        hard_negatives=len({fold(negative.text) for raw in seen for negative in raw.negatives}),
    )


def _names(source: RawPairs, seen: Sequence[RawRecord]) -> Iterator[Hit]:
    """Each name that is not read once, with what it probably stands for."""
    records: dict[tuple[str, str], list[int]] = {}
    for raw in seen:
        for ours, theirs in raw.misnamed.items():
            records.setdefault((ours, theirs), []).append(raw.index)
    for (ours, theirs), rows in records.items():
        other = f"probably {ours}, in {len(rows):,} of {counted(len(seen), 'record')}"
        yield "misnamed_field", Place(source.name, rows[0] + 1, f".{show_name(theirs)}", "", other)
    named = {theirs for _, theirs in records}
    for name in source.unread:
        if name not in named:
            yield "unread_field", Place(source.name, 1, f".{show_name(name)}")


def _in_file(seen: Sequence[RawRecord], demands: Demands) -> Iterator[Hit]:
    rule = demands.rule or default_rule()
    answers = answers_of(seen)
    for raw in seen:
        yield from _text_hits(raw)
        yield from _negative_hits(raw, answers, rule)
        if raw.query and fold(raw.query) in {fold(text) for _, text in raw.positives}:
            yield raw.hit("own_answer", ".query", raw.query)
    yield from _repeats(seen)
    if demands.reach is not None:
        yield from _too_long(seen, demands.reach)
    if demands.extract is not None:
        yield from disagreements(seen, demands.extract, demands.compare, demands.tolerance)
        yield from idle_types(seen, demands.extract)


def _text_hits(raw: RawRecord) -> Iterator[Hit]:
    found = [(place, text, flaw) for place, text in raw.texts for flaw in flaws(text)]
    for place, text, flaw in found:
        yield raw.hit(flaw, place, text)
    # The reader refuses a blank text as well: one finding is enough.
    if raw.complaint and all(flaw != BLANK for _, _, flaw in found):
        yield raw.hit("unreadable", "", "", raw.complaint)


def _negative_hits(raw: RawRecord, answers: Mapping[str, set[str]], rule: WeightRule) -> Iterator[Hit]:
    here = {fold(text) for _, text in raw.positives if not is_blank(text)}
    own = answers.get(fold(raw.query), set()) | here
    near = {words_key(text) for text in own}
    first: dict[str, str] = {}
    for place, text, types, weight in raw.negatives:
        folded = fold(text)
        if folded in own:
            where = "of this record" if folded in here else "of another record"
            yield raw.hit("contradiction", place, text, f"a positive {where} of the query")
        elif words_key(text) in near:
            yield raw.hit("near_contradiction", place, text)
        if folded in first:
            yield raw.hit("repeated_hard_negative", place, text, f"also {first[folded]}")
        first.setdefault(folded, place)
        for name in types:
            if fold(name) not in rule.base:
                yield raw.hit("unknown_type", f"{place}.type", name)
        if not types:
            yield raw.hit("no_type", place, text)
        if weight is None or weight == 0:
            found = "no weight" if weight is None else "weight 0"
            yield raw.hit("no_weight", f"{place}.weight", text, found)


def _repeats(seen: Sequence[RawRecord]) -> Iterator[Hit]:
    yield from _again(seen, "duplicate_record", record_key)
    yield from _again(seen, "same_query", lambda raw: fold(raw.query) if raw.query else None)
    asked: dict[str, tuple[int, str]] = {}
    for raw in seen:
        for place, text in raw.positives:
            index, query = asked.setdefault(fold(text), (raw.index, fold(raw.query)))
            if query != fold(raw.query):
                yield raw.hit("same_document", place, text, f"as record {index + 1:,}")
    spelling: dict[str, str] = {}
    for raw in seen:
        for place, text in raw.texts:
            known = spelling.setdefault(fold(text), text)
            if known != text and not set(flaws(text)) & {NOT_NFC, BLANK}:
                yield raw.hit("other_spelling", place, text, f"elsewhere {known!r}")


def _again(seen: Sequence[RawRecord], kind: str, key: Callable[[RawRecord], Any]) -> Iterator[Hit]:
    first: dict[Any, int] = {}
    for raw in seen:
        value = key(raw)
        if value is None:
            continue
        if value in first:
            yield raw.hit(kind, ".query", raw.query, f"as record {first[value] + 1:,}")
        first.setdefault(value, raw.index)


def _too_long(seen: Sequence[RawRecord], reach: Reach) -> Iterator[Hit]:
    rows = [(raw, place, text) for raw in seen for place, text in raw.texts]
    distinct = list(dict.fromkeys(text for _, _, text in rows))
    measured = dict(zip(distinct, reach(distinct), strict=True))
    for raw, place, text in rows:
        n_tokens, n_read = measured[text]
        if n_read < len(text):
            lost = text[n_read:]
            shown = lost if len(lost) <= _MOST_CUT_OFF else f"{lost[:_MOST_CUT_OFF]}…"
            yield raw.hit("too_long", place, text, f"{n_tokens:,} tokens; cut off: {shown!r}")


def _leaks(train: Sequence[RawRecord], validation: Sequence[RawRecord]) -> Iterator[Hit]:
    """Validation texts that stand in the training file, by how much that gives away.

    A pair whose query and document stand in one training record is named once, as a pair. Texts
    that play the other part (a validation query that is a training document) count as well.

    Args:
        train: Training records.
        validation: Held-out records.

    Yields:
        Kind of leak and the place in the validation file.
    """
    known = _first_records(train)
    for raw in validation:
        for kind, field, text, seen in _of_record(raw, known):
            yield raw.hit(kind, field, text, f"{seen.file} record {seen.index + 1:,}")


def _first_records(train: Sequence[RawRecord]) -> _Known:
    """The first training record of every text, by the part that the text plays in it."""
    known: _Known = {}
    for raw in train:
        query = fold(raw.query)
        keys: list[tuple[str, Any]] = [("query", query), ("words", words_key(raw.query))] if query else []
        for _, text in raw.positives:
            keys += [("pair", (query, fold(text))), ("document", fold(text)), ("words", words_key(text))]
        keys += [("negative", fold(negative.text)) for negative in raw.negatives]
        for key in keys:
            known.setdefault(key, raw)
    return known


def _of_record(raw: RawRecord, known: _Known) -> Iterator[tuple[str, str, str, RawRecord]]:
    query, is_leaked = fold(raw.query), False
    for place, text in raw.positives:
        folded = fold(text)
        if pair := known.get(("pair", (query, folded))):
            is_leaked = True
            yield "leaked_pair", place, f"{raw.query} -> {text}", pair
        elif seen := known.get(("document", folded)) or known.get(("query", folded)):
            yield "leaked_document", place, text, seen
        else:
            yield from _near(place, text, known)
            if negative := known.get(("negative", folded)):
                yield "seen_as_negative", place, text, negative
    if is_leaked or not query:
        return
    if seen := known.get(("query", query)) or known.get(("document", query)):
        yield "leaked_query", ".query", raw.query, seen
    else:
        yield from _near(".query", raw.query, known)


def _near(place: str, text: str, known: _Known) -> Iterator[tuple[str, str, str, RawRecord]]:
    words = words_key(text)
    if words and (seen := known.get(("words", words))):
        yield "near_leak", place, text, seen
