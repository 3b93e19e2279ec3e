"""What a model has seen in training of what it is judged on."""

from collections.abc import Iterator, Sequence

from embviz_callback.pairs.check.raw import Hit, RawRecord
from embviz_callback.pairs.flaws import words_key
from embviz_callback.pairs.texts import fold


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
    known = _Known(train)
    for raw in validation:
        for kind, field, text, seen in _of_record(raw, known):
            yield raw.hit(kind, field, text, f"{seen.file} record {seen.index + 1:,}")


class _Known:
    """The first training record of every text."""

    def __init__(self, train: Sequence[RawRecord]) -> None:
        self.pairs: dict[tuple[str, str], RawRecord] = {}
        self.queries: dict[str, RawRecord] = {}
        self.documents: dict[str, RawRecord] = {}
        self.negatives: dict[str, RawRecord] = {}
        self.words: dict[tuple[str, ...], RawRecord] = {}
        for raw in train:
            self._take(raw)

    def _take(self, raw: RawRecord) -> None:
        query = fold(raw.query)
        if query:
            self.queries.setdefault(query, raw)
            self.words.setdefault(words_key(raw.query), raw)
        for _, text in raw.positives:
            self.pairs.setdefault((query, fold(text)), raw)
            self.documents.setdefault(fold(text), raw)
            self.words.setdefault(words_key(text), raw)
        for negative in raw.negatives:
            self.negatives.setdefault(fold(negative.text), raw)


def _of_record(raw: RawRecord, known: _Known) -> Iterator[tuple[str, str, str, RawRecord]]:
    query, is_leaked = fold(raw.query), False
    for place, text in raw.positives:
        folded = fold(text)
        if pair := known.pairs.get((query, folded)):
            is_leaked = True
            yield "leaked_pair", place, f"{raw.query} -> {text}", pair
        elif seen := known.documents.get(folded) or known.queries.get(folded):
            yield "leaked_document", place, text, seen
        else:
            yield from _near(place, text, known)
            if negative := known.negatives.get(folded):
                yield "seen_as_negative", place, text, negative
    if is_leaked or not query:
        return
    if seen := known.queries.get(query) or known.documents.get(query):
        yield "leaked_query", ".query", raw.query, seen
    else:
        yield from _near(".query", raw.query, known)


def _near(place: str, text: str, known: _Known) -> Iterator[tuple[str, str, str, RawRecord]]:
    words = words_key(text)
    if words and words in known.words:
        yield "near_leak", place, text, known.words[words]
