"""What a model has seen in training of what it is judged on."""

from collections.abc import Iterator, Sequence
from typing import Any

from embviz_callback.pairs.check.raw import Hit, RawRecord
from embviz_callback.pairs.flaws import words_key
from embviz_callback.pairs.texts import fold

Known = dict[tuple[str, Any], RawRecord]


def leaks(train: Sequence[RawRecord], validation: Sequence[RawRecord]) -> Iterator[Hit]:
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


def _first_records(train: Sequence[RawRecord]) -> Known:
    """The first training record of every text, by the part that the text plays in it."""
    known: Known = {}
    for raw in train:
        query = fold(raw.query)
        keys: list[tuple[str, Any]] = [("query", query), ("words", words_key(raw.query))] if query else []
        for _, text in raw.positives:
            keys += [("pair", (query, fold(text))), ("document", fold(text)), ("words", words_key(text))]
        keys += [("negative", fold(negative.text)) for negative in raw.negatives]
        for key in keys:
            known.setdefault(key, raw)
    return known


def _of_record(raw: RawRecord, known: Known) -> Iterator[tuple[str, str, str, RawRecord]]:
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


def _near(place: str, text: str, known: Known) -> Iterator[tuple[str, str, str, RawRecord]]:
    words = words_key(text)
    if words and (seen := known.get(("words", words))):
        yield "near_leak", place, text, seen
