"""What a model has seen in training of what it is judged on."""

from collections.abc import Iterator, Sequence

from embviz_callback.pairs.check.findings import Place
from embviz_callback.pairs.check.raw import RawRecord
from embviz_callback.pairs.flaws import words_key
from embviz_callback.pairs.texts import fold


def leaks(
    train: Sequence[RawRecord], validation: Sequence[RawRecord], train_name: str, validation_name: str
) -> Iterator[tuple[str, Place]]:
    """Validation texts that stand in the training file, by how much that gives away.

    A pair whose query and document stand in one training record is named once, as a pair. Texts
    that play the other part (a validation query that is a training document) count as well.

    Args:
        train: Training records.
        validation: Held-out records.
        train_name: For the places.
        validation_name: For the places.

    Yields:
        Kind of leak and the place in the validation file.
    """
    known = _Known(train, train_name)
    for raw in validation:
        for field, text, kind, other in _of_record(raw, known):
            yield kind, Place(validation_name, raw.index + 1, field, text, other)


class _Known:
    """Where every training text stands."""

    def __init__(self, train: Sequence[RawRecord], name: str) -> None:
        self.name = name
        self.pairs: dict[tuple[str, str], int] = {}
        self.queries: dict[str, int] = {}
        self.documents: dict[str, int] = {}
        self.negatives: dict[str, int] = {}
        self.words: dict[tuple[str, ...], int] = {}
        for raw in train:
            self._take(raw)

    def _take(self, raw: RawRecord) -> None:
        query = fold(raw.query)
        if query:
            self.queries.setdefault(query, raw.index)
            self.words.setdefault(words_key(raw.query), raw.index)
        for _, text in raw.positives:
            self.pairs.setdefault((query, fold(text)), raw.index)
            self.documents.setdefault(fold(text), raw.index)
            self.words.setdefault(words_key(text), raw.index)
        for negative in raw.negatives:
            self.negatives.setdefault(fold(negative.text), raw.index)

    def where(self, index: int) -> str:
        return f"{self.name} record {index + 1:,}"


def _of_record(raw: RawRecord, known: _Known) -> Iterator[tuple[str, str, str, str]]:
    query = fold(raw.query)
    leaked = False
    for place, text in raw.positives:
        pair = known.pairs.get((query, fold(text)))
        if pair is not None:
            leaked = True
            yield place, f"{raw.query} -> {text}", "leaked_pair", known.where(pair)
        elif fold(text) in known.documents or fold(text) in known.queries:
            index = known.documents.get(fold(text), known.queries.get(fold(text), 0))
            yield place, text, "leaked_document", known.where(index)
        else:
            yield from _near(place, text, known)
    if not leaked and query and (query in known.queries or query in known.documents):
        index = known.queries.get(query, known.documents.get(query, 0))
        yield ".query", raw.query, "leaked_query", known.where(index)
    elif not leaked and query:
        yield from _near(".query", raw.query, known)


def _near(place: str, text: str, known: _Known) -> Iterator[tuple[str, str, str, str]]:
    words = words_key(text)
    if words and words in known.words:
        yield place, text, "near_leak", known.where(known.words[words])
    if place != ".query" and fold(text) in known.negatives:
        yield place, text, "seen_as_negative", known.where(known.negatives[fold(text)])
