"""What a model has seen in training of what it is judged on."""

from collections.abc import Iterator, Sequence

from embviz_callback.pairs.check.findings import Place
from embviz_callback.pairs.check.flaws import words_key
from embviz_callback.pairs.check.raw import View
from embviz_callback.pairs.texts import fold


def leaks(
    train: Sequence[View], validation: Sequence[View], train_name: str, validation_name: str
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
    for view in validation:
        for field, text, kind, other in _of_record(view, known):
            yield kind, Place(validation_name, view.index + 1, field, text, other)


class _Known:
    """Where every training text stands."""

    def __init__(self, train: Sequence[View], name: str) -> None:
        self.name = name
        self.pairs: dict[tuple[str, str], int] = {}
        self.queries: dict[str, int] = {}
        self.documents: dict[str, int] = {}
        self.negatives: dict[str, int] = {}
        self.words: dict[tuple[str, ...], int] = {}
        for view in train:
            self._take(view)

    def _take(self, view: View) -> None:
        query = fold(view.query)
        if query:
            self.queries.setdefault(query, view.index)
            self.words.setdefault(words_key(view.query), view.index)
        for _, text in view.positives:
            self.pairs.setdefault((query, fold(text)), view.index)
            self.documents.setdefault(fold(text), view.index)
            self.words.setdefault(words_key(text), view.index)
        for negative in view.negatives:
            self.negatives.setdefault(fold(negative.text), view.index)

    def where(self, index: int) -> str:
        return f"{self.name} record {index + 1:,}"


def _of_record(view: View, known: _Known) -> Iterator[tuple[str, str, str, str]]:
    query = fold(view.query)
    leaked = False
    for place, text in view.positives:
        pair = known.pairs.get((query, fold(text)))
        if pair is not None:
            leaked = True
            yield place, f"{view.query} -> {text}", "leaked_pair", known.where(pair)
        elif fold(text) in known.documents or fold(text) in known.queries:
            index = known.documents.get(fold(text), known.queries.get(fold(text), 0))
            yield place, text, "leaked_document", known.where(index)
        else:
            yield from _near(place, text, known)
    if not leaked and query and (query in known.queries or query in known.documents):
        index = known.queries.get(query, known.documents.get(query, 0))
        yield ".query", view.query, "leaked_query", known.where(index)
    elif not leaked and query:
        yield from _near(".query", view.query, known)


def _near(place: str, text: str, known: _Known) -> Iterator[tuple[str, str, str, str]]:
    words = words_key(text)
    if words and words in known.words:
        yield place, text, "near_leak", known.where(known.words[words])
    if place != ".query" and fold(text) in known.negatives:
        yield place, text, "seen_as_negative", known.where(known.negatives[fold(text)])
