"""Documents of a corpus one after the other, as often as they are asked for, without the file in memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from embviz_callback.pairs.formats.collections.parts import Part, documents_of
from embviz_callback.pairs.intake.streaming import stream_lines, stream_rows
from embviz_callback.pairs.problems import DEFAULT_LIMITS, DataError, DataLimits, Problems
from embviz_callback.pairs.texts import clean, is_blank


class Candidate(NamedTuple):
    """A text of a corpus, before it is known what is evaluated: a tuple, which is made in half the time.

    Attributes:
        text: Not blank.
        query: What it answers in its own record, empty for a document alone.
        id: Of that record.
        document_id: Of the document.
    """

    text: str
    query: str = ""
    id: str | None = None
    document_id: str | None = None


ReadItem = Callable[[Any, Problems, int], list[Candidate]]


@dataclass(eq=False)
class LineStream:
    """The texts of a long file of JSON Lines or of one document a line.

    Attributes:
        path: The file.
        name: As the user gave it.
        read_item: What one line holds, nothing if something is wrong with it; it gets the line's number, from 0.
        is_plain: Whether lines are documents and not JSON.
        skip_bad: Leave items out that have a problem instead of refusing the corpus at the end.
        limits: Of its texts, and of what it unpacks to.
        problems: Of the last time it was read.
        skipped: Items left out then.
    """

    path: Path
    name: str
    read_item: ReadItem
    is_plain: bool
    skip_bad: bool
    limits: DataLimits = DEFAULT_LIMITS
    problems: Problems = field(init=False)
    skipped: int = 0

    def __post_init__(self) -> None:
        self.problems = Problems(self.name, limits=self.limits)

    def __iter__(self) -> Iterator[Candidate]:
        self.problems, self.skipped, n_found = Problems(self.name, limits=self.limits), 0, 0
        at = -1
        for at, item in enumerate((stream_lines if self.is_plain else stream_rows)(self.path, self.limits)):
            found = self.read_item(item, self.problems, at)
            self.skipped += not found
            n_found += len(found)
            yield from found
        self.problems.n_records = at + 1
        if self.problems.total and not (self.skip_bad and n_found):
            raise self.problems.error()
        refuse_none(n_found, self.name)


@dataclass(frozen=True, eq=False)
class PartStream:
    """The documents of a collection or of a table.

    Attributes:
        paths: Its files.
        name: As the user gave it.
        limits: Of its texts, and of what it unpacks to.
    """

    paths: tuple[Path, ...]
    name: str
    limits: DataLimits = DEFAULT_LIMITS

    def __iter__(self) -> Iterator[Candidate]:
        n_found = 0
        for name, text in documents_of(Part(self.paths, self.limits)):
            if isinstance(text, str) and not is_blank(cleaned := clean(text[: self.limits.characters])):
                n_found += 1
                yield Candidate(cleaned, document_id=name)
        refuse_none(n_found, self.name)


Documents = Iterable[Candidate]


def refuse_none(n_found: int, name: str) -> None:
    """Raises a DataError for a corpus without a document."""
    if not n_found:
        raise DataError(f"{name}: expected at least one document, found none. Fix: add documents")
