"""Pairs from a file, a folder or an object in Python: the one reader of them."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.collections.folders import translate_folder
from embviz_callback.pairs.formats.collections.one_file import is_collection, translate_rows
from embviz_callback.pairs.formats.detection import KNOWN_NAMES, is_whole
from embviz_callback.pairs.formats.form import Item, Reading
from embviz_callback.pairs.formats.identifiers import refuse_identifiers
from embviz_callback.pairs.formats.remarks import quality_notes
from embviz_callback.pairs.formats.translation import Translation
from embviz_callback.pairs.intake.material import is_folder, read_file, take_object
from embviz_callback.pairs.intake.objects import IN_PYTHON
from embviz_callback.pairs.intake.parsing import Broken, Expected, refuse_odd
from embviz_callback.pairs.problems import ENOUGH_PROBLEMS, DataError, DataLimits, Problems, Spot, show
from embviz_callback.pairs.records import HardNegative, Record, to_record
from embviz_callback.pairs.weight_rule import WeightRule, default_rule

__all__ = ["DataError", "DataLimits", "HardNegative", "PairFile", "Reading", "Record", "read_pairs", "records_from"]


@dataclass(frozen=True)
class PairFile:
    """The pairs of one source and what there is to say about it.

    Attributes:
        records: At least one, in their order.
        path: As the user gave it, or how many rows an object in Python has.
        sha256: Of the file as it is on disk; of the names and hashes of several; empty for an object.
        skipped: Records left out because something was wrong with them.
        notes: What was recognised, assumed, replaced, not read or looks odd, one sentence each.
        form: Name of the form that was recognised, such as ``beir``.
        unread: Names of columns that were not read.
        split: Which part of the source this is, empty where it has no parts.
        corpus: Where all documents of the source lie, for ``--corpus auto``; empty where it has no others.
        relevant_from: The least grade of a relevant document, where documents are graded.

    Raises:
        ValueError: If there is no record.
    """

    records: tuple[Record, ...]
    path: str
    sha256: str = ""
    skipped: int = 0
    notes: tuple[str, ...] = ()
    form: str = "native"
    unread: tuple[str, ...] = ()
    split: str = ""
    corpus: str = ""
    relevant_from: float = 1

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("records must not be empty")

    @property
    def facts(self) -> dict[str, Any]:
        """Where an evaluation of them comes from, plain JSON."""
        in_python = not self.sha256 and self.path == IN_PYTHON
        facts: dict[str, Any] = {
            "data": f"{counted(len(self.records), 'pair')} from Python" if in_python else self.path
        }
        facts |= {"data_sha256": self.sha256, "skipped_records": self.skipped} if self.sha256 else {}
        facts |= {"data_form": self.form} if self.form != "native" else {}
        facts |= {"data_split": self.split} if self.split else {}
        return facts | ({"relevant_from": self.relevant_from} if self.is_graded else {})

    @property
    def is_graded(self) -> bool:
        """Whether documents have grades that tell more than relevant or not."""
        grades = {one.grade for record in self.records for one in record.judged}
        return len(grades) > 1 or min(grades, default=self.relevant_from) < self.relevant_from


def read_pairs(given: Any, reading: Reading | None = None) -> PairFile:
    """The pairs of a file or folder of any known form, or of an object in Python.

    The form is recognised by the names of fields and files (docs/data.md lists the forms). An object that
    holds the list under ``data``, ``records``, ``pairs``, ``examples``, ``train``, ``validation`` or ``test``
    is unwrapped. What is not read is named in the notes.

    Args:
        given: A path; or a list or another iterable of records, a pandas DataFrame, a `Dataset` or `DatasetDict`.
        reading: Overrules what is recognised, and says what cannot be.

    Returns:
        Records, skipped count and notes.

    Raises:
        DataError: If the source cannot be read, no record is usable, or (unless it may be skipped) any has a problem.
    """
    reading = reading or Reading()
    found = find_records(given, reading)
    source = found.source
    made, problems = _check(found, reading)
    records = tuple(record for record in made if record is not None)
    if problems.total and not (reading.skip_bad and records):
        raise problems.error()
    if not records:
        raise DataError(f"{source.name}: no record has a relevant document ({'; '.join(found.notes)}). {_NO_RELEVANT}")
    skipped = len(made) - len(records)
    in_python = f"{counted(len(source.rows), 'pair')} from Python"
    return PairFile(
        records=records,
        path=source.path if isinstance(given, str | os.PathLike) else in_python,
        sha256=source.sha256,
        skipped=skipped,
        notes=(*found.notes, *problems.remarks(skipped, counted(len(made), "record")), *quality_notes(records)),
        form=found.form,
        unread=found.unread,
        split=found.split,
        corpus=found.corpus,
        relevant_from=reading.least_grade,
    )


_NO_RELEVANT = "Fix: check the labels, or lower --relevant-from"


def find_records(given: Any, reading: Reading) -> Translation:
    """What `read_pairs` will check: records of a source in our own terms.

    Args:
        given: As for `read_pairs`.
        reading: How it is to be read.

    Returns:
        At least one row; a `DataError` says what cannot be read.
    """
    found = _translated(given, reading)
    if reading.format:
        return found
    form = "native" if reading.fields else found.form
    return replace(found, notes=(*found.notes, *refuse_identifiers(found.entries, found.source.name, form)))


def _translated(given: Any, reading: Reading) -> Translation:
    is_path = isinstance(given, str | os.PathLike)
    if is_path and is_folder(given):
        return translate_folder(Path(given), reading)
    known = KNOWN_NAMES | {name.casefold() for name in reading.fields.values()}
    expected = Expected(_is_by_itself, known, reading.split, reading.limits)
    return translate_rows((read_file if is_path else take_object)(given, expected), reading)


def _is_by_itself(value: Mapping[str, Any]) -> bool:
    return is_collection(value) or is_whole(value)


def records_from(items: Iterable[Mapping[str, Any] | Record]) -> tuple[Record, ...]:
    """Records from rows of any known form, handed over in Python.

    Args:
        items: Mappings, or records that pass as they are.

    Returns:
        The records, in order.

    Raises:
        DataError: If `items` is no list of records, or any has a problem.
    """
    if isinstance(items, str | os.PathLike):
        raise DataError(f"pairs: expected a list of records, found {show(items)}. Fix: use read_pairs for a file")
    return read_pairs(items).records


def _check(found: Translation, reading: Reading) -> tuple[list[Record | None], Problems]:
    """A record per entry, None where there was a problem; fewer where the source is refused anyhow."""
    rows = found.source.rows
    problems = Problems(found.source.name, n_records=len(rows), limits=reading.limits)
    chosen = reading.rule or default_rule()
    odd: dict[int, bool] = {}
    made = []
    for row, item in found.entries:
        # A row of several records is looked through once.
        if found.source.has_odd and row not in odd and not isinstance(item, Broken):
            odd[row] = refuse_odd(rows[row], Spot(problems, row))
        made.append(None if odd.get(row) else to_checked(item, Spot(problems, row), chosen))
        if problems.total >= ENOUGH_PROBLEMS and not reading.skip_bad:
            problems.is_cut_short = len(made) < len(found.entries)
            break
    return made, problems


def to_checked(item: Any, spot: Spot, rule: WeightRule) -> Record | None:
    """The record that an entry of a `Translation` is; what is wrong with it is taken down."""
    if isinstance(item, Broken):
        spot.refuse(expected=item.expected or "a JSON object", found=item.found, fix=item.fix)
        return None
    if isinstance(item, Item):
        return to_record(item.fields, replace(spot, called=item.called), rule)
    return to_record(item, spot, rule)
