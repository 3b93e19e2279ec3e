"""What stands beside an evaluation, each as a sentence and a table: in a report, on a page and in a terminal alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.wording import aligned


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
        return aligned([self.head, *self.rows])


@dataclass(frozen=True)
class Context:
    """What a report or a page says beside the evaluations themselves.

    Attributes:
        baseline: Metrics of the untrained model on the same subset; of a report.
        history: Label and metrics of earlier evaluations, oldest first; of a report.
        alerts: Sentences of alerts and of what failed before.
        notes: Sentences for the foot of a page.
        data: What the data check found, as `embviz_callback.drawing.reports.data_section.brief` gives it.
        analysis: What `embviz_callback.drawing.page.page_analysis.analysis_view` gave for one evaluation of a page.
        board: Of `embviz_callback.drawing.reports.comparisons.runs_report.board_of`, for a page of several runs.
        asides: Sections of their own.
    """

    baseline: Metrics | None = None
    history: Sequence[tuple[str, Metrics]] = ()
    alerts: Sequence[str] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, Any] | None = None
    analysis: Mapping[str, Any] | None = None
    board: Mapping[str, Any] | None = None
    asides: Sequence[Aside] = ()


NOTHING = Context()


def asides_report(title: str, asides: Sequence[Aside]) -> str:
    """A report of nothing else.

    Args:
        title: Heading.
        asides: Its sections.

    Returns:
        Markdown; text from the data is text and nothing else.
    """
    return rendered("asides_report", title=title, asides=asides)
