"""What the data check found, in a few lines at the top of a report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from embviz_callback.drawing.reports.markdown import literal, table
from embviz_callback.drawing.wording import counted
from embviz_callback.pairs.check.findings import NOTE, Checkup

_LONGEST = 80  # characters of an example


def brief(checkup: Checkup) -> dict[str, Any]:
    """A checkup with one example of each finding.

    Args:
        checkup: All places.

    Returns:
        Plain JSON, for `data_section`.
    """
    findings = []
    for finding in checkup.findings:
        first = finding.places[0]
        findings.append({
            "kind": finding.kind,
            "level": finding.level,
            "title": finding.title,
            "count": len(finding.places),
            "record": first.record,
            "example": (first.text or first.other)[: 4 * _LONGEST],
        })
    return {"file": checkup.files[0].name, "records": checkup.files[0].records, "findings": findings}


def data_section(data: Mapping[str, Any]) -> Iterator[str]:
    """The section "Data" of a report.

    Args:
        data: What `brief` gave, or an ``error`` in words.

    Yields:
        Lines of markdown; text from the data is inert in it.
    """
    yield "## Data"
    yield ""
    try:
        lines = list(_lines(data))
    # Read from a file that anybody may have changed.
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        lines = list(_failed(f"{type(error).__name__}: {error}"))
    yield from lines


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    if "error" in data:
        yield from _failed(data["error"])
        return
    where = f"{literal(data['file'])} ({counted(data['records'], 'record')})"
    found = [one for one in data["findings"] if one["level"] != NOTE]
    notes = [one for one in data["findings"] if one["level"] == NOTE]
    handled = f"taken care of: {'; '.join(_counted(one) for one in notes)}." if notes else ""
    if not found:
        yield f"Nothing is wrong in {where}" + (f"; {handled}" if handled else ".")
        yield ""
        return
    yield f"In {where}, of which `embviz check` tells every place and how to mend it:"
    yield ""
    yield from table(("level", "count", "finding", "for example"), _rows(found))
    if handled:
        yield handled[0].upper() + handled[1:]
        yield ""


def _failed(reason: str) -> Iterator[str]:
    yield f"The data could not be checked: {literal(reason)}"
    yield ""


def _rows(found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for one in found:
        example = literal(one["example"], _LONGEST) or "(no visible text)"
        level, title = literal(one["level"]), literal(one["title"])
        yield f"**{level}**", f"{one['count']:,}", title, f"record {one['record']:,}: {example}"


def _counted(one: Mapping[str, Any]) -> str:
    return f"{one['count']:,} {literal(one['title'])}"
