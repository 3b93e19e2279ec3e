"""Pairs from a file or from a list in Python: the one reader of the format."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embviz_callback.pairs.formats.remarks import quality_notes
from embviz_callback.pairs.intake.opening import open_text
from embviz_callback.pairs.intake.parsing import Broken, parse_items, refuse_odd
from embviz_callback.pairs.problems import DataError, Problems, Spot, show
from embviz_callback.pairs.records import HardNegative, Record, to_record
from embviz_callback.pairs.weights import WeightRule, default_rule

__all__ = ["DataError", "HardNegative", "PairFile", "Record", "read_pairs", "records_from"]


@dataclass(frozen=True)
class PairFile:
    """The pairs of one file and what there is to say about it.

    Attributes:
        records: At least one, in file order.
        path: As the user gave it.
        sha256: Of the file as it is on disk.
        skipped: Records left out because something was wrong with them.
        notes: What was assumed, replaced or looks odd, one sentence each.

    Raises:
        ValueError: If there is no record.
    """

    records: tuple[Record, ...]
    path: str
    sha256: str
    skipped: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("records must not be empty")


def read_pairs(path: str | os.PathLike[str], *, rule: WeightRule | None = None, skip_bad: bool = False) -> PairFile:
    """The pairs of a JSON array or of JSON Lines, UTF-8, plain or compressed by gzip.

    JSON Lines are known by suffix (``.jsonl``, ``.ndjson``) or by content. An object that holds the
    list under ``data``, ``records``, ``pairs``, ``examples``, ``train``, ``validation`` or ``test`` is
    unwrapped. Columns of the user's own are let through and ignored.

    Args:
        path: The file.
        rule: Weighs hard negatives that bring no weight; the default is `default_rule`.
        skip_bad: Leave records out that have a problem, and count them, instead of refusing the file.

    Returns:
        Records, skipped count and notes.

    Raises:
        DataError: If the file cannot be read, no record is usable, or (unless `skip_bad`) any has a problem.
    """
    opened = open_text(path)
    parsed = parse_items(opened.text, opened.path)
    if not parsed.items:
        raise DataError(f"{parsed.name}: expected at least one record, found an empty list. Fix: add pairs")
    records, problems = _check(parsed.items, parsed.name, rule, has_odd=parsed.has_odd)
    if problems.total and not (skip_bad and records):
        raise problems.error()
    skipped = len(parsed.items) - len(records)
    notes = [*opened.notes, *parsed.notes, *_notes(problems, skipped), *quality_notes(records)]
    return PairFile(records, opened.path, opened.sha256, skipped, tuple(notes))


def records_from(
    items: Iterable[Mapping[str, Any] | Record], *, rule: WeightRule | None = None, skip_bad: bool = False
) -> tuple[Record, ...]:
    """Records from objects of the same form as in a file, handed over in Python.

    Args:
        items: Mappings, or records that pass as they are.
        rule: Weighs hard negatives that bring no weight.
        skip_bad: Leave items out that have a problem.

    Returns:
        The records, in order.

    Raises:
        DataError: If `items` is no list of records, none is usable, or (unless `skip_bad`) any has a problem.
    """
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise DataError(f"pairs: expected a list of records, found {show(items)}. Fix: use read_pairs for a file")
    given = list(items)
    if not given:
        raise DataError("pairs: expected at least one record, found an empty list. Fix: add pairs")
    records, problems = _check(given, "pairs", rule, has_odd=False)
    if problems.total and not (skip_bad and records):
        raise problems.error()
    return records


def _check(
    items: Sequence[Any], name: str, rule: WeightRule | None, *, has_odd: bool
) -> tuple[tuple[Record, ...], Problems]:
    problems = Problems(name, n_records=len(items))
    chosen = rule or default_rule()
    found = (_one(item, Spot(problems, index), chosen, has_odd=has_odd) for index, item in enumerate(items))
    return tuple(record for record in found if record is not None), problems


def _one(item: Any, spot: Spot, rule: WeightRule, *, has_odd: bool) -> Record | None:
    if isinstance(item, Broken):
        spot.refuse(expected="a JSON object", found=item.found, fix=item.fix)
        return None
    if has_odd and refuse_odd(item, spot):
        return None
    return to_record(item, spot, rule)


def _notes(problems: Problems, skipped: int) -> list[str]:
    notes = []
    if skipped:
        notes.append(
            f"{skipped:,} of {problems.n_records:,} records left out, the first because of {problems.lines[0]}"
        )
    if problems.replaced:
        notes.append(f"{problems.replaced:,} characters that cannot be shown were replaced by U+FFFD")
    return notes
