"""What stands beside an evaluation, each as a sentence and a table: in a report, on a page and in a terminal alike."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from embviz_callback.drawing.reports.markdown import rendered


@dataclass(frozen=True)
class Aside:
    """A section of its own.

    Attributes:
        title: Heading.
        sentence: What came of it, without a full stop.
        head: Titles of the columns.
        rows: Cells.
        notes: What a reader of the table must know, one sentence each, without a full stop.
    """

    title: str
    sentence: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The table for a terminal."""
        table = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]

    def to_json(self) -> Mapping[str, Any]:
        """For the page."""
        return asdict(self)


def asides_report(title: str, asides: Sequence[Aside]) -> str:
    """A report of nothing else.

    Args:
        title: Heading.
        asides: Its sections.

    Returns:
        Markdown; text from the data is text and nothing else.
    """
    return rendered("asides_report", title=title, asides=asides)
