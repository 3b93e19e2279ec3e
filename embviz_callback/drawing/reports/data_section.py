"""What the data check found, in a few lines at the top of a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embviz_callback.pairs.check.findings import NOTE, Checkup

_LONGEST = 320  # characters of an example that are kept


@dataclass(frozen=True)
class Found:
    """One kind of thing that was found.

    Attributes:
        level: "wrong", "suspect" or "note".
        title: What it is, in words.
        count: Places.
        record: The first place's.
        example: What stands there.
    """

    level: str
    title: str
    count: int
    record: int
    example: str


@dataclass(frozen=True)
class DataSection:
    """What the template ``data_section`` prints.

    Attributes:
        file: What was checked.
        records: Its size.
        found: What is wrong or suspect.
        notes: What is taken care of.
        error: Why nothing was checked; empty where it was.
    """

    file: str = ""
    records: int = 0
    found: tuple[Found, ...] = ()
    notes: tuple[Found, ...] = ()
    error: str = ""


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
            "example": (first.text or first.other)[:_LONGEST],
        })
    return {"file": checkup.files[0].name, "records": checkup.files[0].records, "findings": findings}


def data_section(data: Mapping[str, Any]) -> DataSection:
    """What a report says of its data.

    Args:
        data: What `brief` gave, or an ``error`` in words.

    Returns:
        The values of the section; an error for what cannot be read.
    """
    # Read from a file that anybody may have changed.
    try:
        return DataSection(error=str(data["error"])) if "error" in data else _section(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return DataSection(error=f"{type(error).__name__}: {error}")


def _section(data: Mapping[str, Any]) -> DataSection:
    every = [
        Found(str(one["level"]), str(one["title"]), int(one["count"]), int(one["record"]), str(one["example"]))
        for one in data["findings"]
    ]
    found = tuple(one for one in every if one.level != NOTE)
    return DataSection(str(data["file"]), int(data["records"]), found, tuple(one for one in every if one.level == NOTE))
