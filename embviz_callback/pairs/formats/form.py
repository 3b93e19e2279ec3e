"""What a form of data is to its readers: how it is known, what of it is read, and what a row means in our own terms."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from embviz_callback.pairs.intake.parsing import Broken
from embviz_callback.pairs.problems import DEFAULT_LIMITS, DataError, DataLimits
from embviz_callback.pairs.weight_rule import WeightRule

OURS = ("query", "pos", "hard_neg", "id", "metadata", "prompt", "label")


@dataclass(frozen=True)
class Reading:
    """How data are to be read; without any of it they are recognised.

    Attributes:
        format: Name of the form, such as ``beir``; empty to recognise it.
        fields: Our field names to the columns that hold them, for data of no known form: ``{"query": "q"}``.
        split: Part of a folder or of a `DatasetDict`; empty for validation or dev, then test.
        relevant_from: Least grade, label or score of a relevant document; None for 1 where documents are graded.
        relevant_label: The label of a relevant pair, such as ``entailment`` or ``1``; empty for none.
        skip_bad: Leave records out that have a problem, and count them, instead of refusing the data.
        rule: Weighs hard negatives that bring no weight; None for `default_rule`.
        limits: How much the data may hold.

    Raises:
        DataError: If there is no such field of ours, or both a least grade and a label are given.
    """

    format: str = ""
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    split: str = ""
    relevant_from: float | None = None
    relevant_label: str = ""
    skip_bad: bool = False
    rule: WeightRule | None = field(default=None, hash=False)
    limits: DataLimits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        unknown = [name for name in self.fields if name not in OURS]
        if unknown:
            raise DataError(f"--fields: expected some of {', '.join(OURS)}, found {unknown[0]}. Fix: query=...,pos=...")
        if self.fields and not {"query", "pos"} <= self.fields.keys():
            raise DataError("--fields: expected at least query and pos. Fix: --fields query=COLUMN,pos=COLUMN")
        if self.relevant_label and self.relevant_from is not None:
            raise DataError("--relevant-label: cannot go with --relevant-from. Fix: give one of them")
        if self.relevant_from is not None and not self.relevant_from > 0:
            raise DataError(f"--relevant-from: expected a number above 0, found {self.relevant_from:g}. Fix: 1 or more")

    @property
    def least_grade(self) -> float:
        """From which grade on a judged document is relevant."""
        return 1 if self.relevant_from is None else self.relevant_from


@dataclass(frozen=True)
class Item:
    """One record in our own terms, not yet checked.

    Attributes:
        fields: Values under our names, as they were found.
        called: Ours to theirs, for places in errors, such as ``.hard_neg`` to ``.neg``.
        left_out: Why it is no record though nothing is wrong with it; empty for a record.
        is_relevant: Whether its document answers the query; if not, it is a hard negative of it.
    """

    fields: Mapping[str, Any]
    called: Mapping[str, str] = field(default_factory=dict)
    left_out: str = ""
    is_relevant: bool = True


Row = Mapping[str, Any]
Translate = Callable[[Any, Reading], Iterator[Item | Broken]]


@dataclass(frozen=True)
class Form:
    """A form whose rows are records.

    Attributes:
        name: For ``--format``.
        title: What it is, in a sentence behind "read as".
        is_known_by: Whether rows with these field names are of this form.
        reads: Whether a field of this name is read.
        translate: The records that a row holds, or what is wrong with it where no field of ours can say it.
        takes: Type of its rows.
    """

    name: str
    title: str
    is_known_by: Callable[[frozenset[str]], bool]
    reads: Callable[[str], bool]
    translate: Translate
    takes: type | tuple[type, ...] = Mapping


def among(*names: str) -> Callable[[str], bool]:
    """Whether a name is one of these."""
    return frozenset(names).__contains__


def having(*names: str) -> Callable[[frozenset[str]], bool]:
    """Whether all of these are there."""
    return frozenset(names).issubset


def renaming(name: str, title: str, is_known_by: Callable[[frozenset[str]], bool], /, **theirs: str) -> Form:
    """A form whose rows differ from ours in names only.

    Args:
        name: See `Form`.
        title: See `Form`.
        is_known_by: See `Form`.
        theirs: Names of its fields by ours; a label is read and no field of a record.

    Returns:
        The form; a hard negative may stand alone, without a list.
    """
    called = {f".{ours}": f".{field}" for ours, field in theirs.items()}

    def translate(row: Row, reading: Reading) -> Iterator[Item]:
        fields = filled(**{ours: cell(row, field) for ours, field in theirs.items() if ours != "label"})
        if "metadata" in fields and not isinstance(fields["metadata"], Mapping):
            fields["metadata"] = {theirs["metadata"]: fields["metadata"]}
        yield Item(fields | filled(hard_neg=listed(fields.get("hard_neg"))), called)

    outer = (field.partition(".")[0] for field in theirs.values())
    return Form(name, title, is_known_by, among(*theirs.values(), *outer), translate)


def cell(row: Row, name: str) -> Any:
    """What a row holds under a name, None for nothing.

    Returns:
        Of ``data.query`` what an object of the row holds, of ``hits.text`` what each object of a list does.
    """
    outer, dot, inner = name.partition(".")
    if name in row or not dot:
        return row.get(name)
    held = row.get(outer)
    if isinstance(held, list | tuple):
        found = [cell(one, inner) for one in held if isinstance(one, Mapping)]
        return found if any(one is not None for one in found) else None
    return cell(held, inner) if isinstance(held, Mapping) else None


def listed(value: Any) -> Any:
    """A text as a list of one; all else as it is."""
    return [value] if isinstance(value, str) else value


def each(value: Any, read: Callable[[Any], Any]) -> Any:
    """The list with every element read; what is no list stays for the reader of records to refuse."""
    return [read(one) for one in value] if isinstance(value, list | tuple) else value


def filled(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
