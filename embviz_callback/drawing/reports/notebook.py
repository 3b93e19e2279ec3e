"""The numbers of an evaluation or a comparison as a notebook shows them: one small table."""

from collections.abc import Iterable, Sequence
from html import escape

from embviz_callback.analysis.compare.comparison import Comparison
from embviz_callback.analysis.metrics.catalogue import CATALOGUE, HEADLINE, shown
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.verdict.checklist import band
from embviz_callback.drawing.reports.comparison_report import metrics_rows, sentences
from embviz_callback.drawing.wording import UNKNOWN, interval, measured
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot


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
