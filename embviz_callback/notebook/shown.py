"""What a notebook shows of a result: a table, figures that wait until they are asked for, a page in a frame."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from embviz_callback.analysis.compare.comparison import Comparison
from embviz_callback.analysis.metrics.catalogue import CATALOGUE, HEADLINE, shown
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.verdict.checklist import band
from embviz_callback.drawing.figures.png import to_png
from embviz_callback.drawing.reports.comparisons.comparison_report import metrics_rows, sentences
from embviz_callback.drawing.wording import UNKNOWN, interval, measured
from embviz_callback.files import write_atomically
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, which a notebook shows.

    Attributes:
        figure: Of matplotlib.
    """

    figure: Figure

    @cached_property
    def png(self) -> bytes:
        """As a file."""
        return to_png(self.figure)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the PNG."""
        write_atomically(Path(path), self.png)

    def _repr_png_(self) -> bytes:
        return self.png


class Pictures(Mapping[str, Picture]):
    """Figures by name, each drawn when it is first asked for.

    Args:
        drawers: Name to what draws it.
    """

    def __init__(self, drawers: Mapping[str, Callable[[], Figure]]) -> None:
        self._drawers = drawers
        self._drawn: dict[str, Picture] = {}

    def __getitem__(self, name: str) -> Picture:
        if name not in self._drawn:
            self._drawn[name] = Picture(self._drawers[name]())
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawers)

    def __len__(self) -> int:
        return len(self._drawers)

    def __repr__(self) -> str:
        return f"figures {', '.join(self._drawers)}"


class Page(str):
    """HTML that needs no network; a notebook shows it in a frame of its own."""

    __slots__ = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it."""
        write_atomically(Path(path), self)

    def _repr_html_(self) -> str:
        frame = 'width="100%" height="800" sandbox="allow-scripts"'
        return f'<iframe {frame} srcdoc="{escape(self)}"></iframe>'


def numbers_html(snapshot: Snapshot) -> str:
    """What is looked at first of one evaluation, with intervals, and what it says together.

    Args:
        snapshot: The evaluation.

    Returns:
        HTML without script or style; text from the data is text and nothing else.
    """
    metrics, subset = snapshot.metrics, snapshot.subset
    rows = [_numbers(metrics, name) for name in shown(HEADLINE) if name in metrics]
    about = f"{counted(metrics.n_queries, 'query')}, {counted(metrics.n_documents, 'document')}"
    told = f"{snapshot.diagnosis.verdict}: {snapshot.diagnosis.reason}"
    head = (snapshot.label, "value", "95 % interval", "band")
    return _told(_table(head, rows), [told, f"{about}, subset {subset.fingerprint}"])


def _numbers(metrics: Metrics, name: str) -> tuple[str, ...]:
    row = CATALOGUE[name]
    ends = interval(metrics, name, None)
    judged = band(name, metrics[name]) if row.bands else ""
    return row.label, measured(metrics[name], name), "" if ends == UNKNOWN else ends, judged


def comparison_html(comparison: Comparison) -> str:
    """The numbers side by side, and which is best.

    Args:
        comparison: What was found.

    Returns:
        As `numbers_html`.
    """
    rows = [(CATALOGUE[name].label, *cells) for name, cells in metrics_rows(comparison)]
    return _told(_table(("", *comparison.labels), rows), sentences(comparison))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _row(kind: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def _told(table: str, told: Iterable[str]) -> str:
    return table + "".join(f"<p>{escape(sentence)}</p>" for sentence in told)
