"""What lies in one file or one object, before its form is known: rows."""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embviz_callback.pairs.intake.arrow import arrow_rows, kind_of
from embviz_callback.pairs.intake.objects import IN_PYTHON, rows_of
from embviz_callback.pairs.intake.opening import open_text, show_path
from embviz_callback.pairs.intake.parsing import IsWhole, parse_items
from embviz_callback.pairs.intake.tables import TABLE, table_rows
from embviz_callback.pairs.problems import DEFAULT_LIMITS, DataLimits

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Material:
    """Rows as they were found.

    Attributes:
        rows: JSON values, or what they are in Python.
        name: The source with the way to the rows in it, for errors.
        path: As the user gave it, "pairs" for an object in Python.
        sha256: Of the file as it is on disk, empty for an object.
        has_odd: Whether a value is one that JSON allows and a data set must not hold.
        notes: What was unwrapped or assumed, in words.
        around: What stands beside the rows in the file.
    """

    rows: Sequence[Any]
    name: str
    path: str
    sha256: str = ""
    has_odd: bool = False
    notes: tuple[str, ...] = ()
    around: Mapping[str, Any] = field(default_factory=dict)


def read_file(
    path: str | os.PathLike[str],
    *,
    is_whole: IsWhole,
    known: Collection[str],
    split: str = "",
    limits: DataLimits = DEFAULT_LIMITS,
) -> Material:
    """The rows of a JSON, JSON Lines, CSV, TSV, Parquet or Arrow file.

    Args:
        path: The file.
        is_whole: Whether a JSON object is a data set by itself.
        known: Names by which the first line of a TSV file is known for one of names, and the records of an object.
        split: Which of several lists in a JSON object.
        limits: Of its size and its rows.

    Returns:
        The rows; a `DataError` says what cannot be read.
    """
    name = show_path(path)
    kind = kind_of(_head(path))
    if kind:
        return Material(list(arrow_rows(Path(path), name, kind, limits)), name, name, file_sha256(Path(path)))
    opened = open_text(path, limits=limits)
    if TABLE.search(name):
        rows, notes = table_rows(opened.text, name, known)
        limits.check_records(len(rows), name)
        return Material(rows, name, name, opened.sha256, notes=(*opened.notes, *notes))
    parsed = parse_items(opened.text, name, is_whole=is_whole, known=known, split=split, limits=limits)
    notes = (*opened.notes, *parsed.notes)
    return Material(parsed.items, parsed.name, name, opened.sha256, parsed.has_odd, notes, parsed.around)


def take_object(given: Any, *, is_whole: IsWhole, split: str, limits: DataLimits = DEFAULT_LIMITS) -> Material:
    """The rows of an object in Python.

    Args:
        given: See `rows_of`.
        is_whole: Whether a mapping is a data set by itself.
        split: Which part of it.
        limits: Of its rows; what never ends is refused too.

    Returns:
        The rows; a `DataError` says if it holds none.
    """
    if isinstance(given, Mapping) and is_whole(given):
        return Material([given], IN_PYTHON, IN_PYTHON)
    rows, name = rows_of(given, split=split, limits=limits)
    return Material(rows, name, name)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a folder; False for what can be no path."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def file_sha256(path: Path) -> str:
    """Of the file's bytes, as ``sha256sum`` prints it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _head(path: str | os.PathLike[str]) -> bytes:
    """The first bytes, none of what is no plain file: `open_text` says why it cannot be read."""
    try:
        if not Path(path).is_file():
            return b""
        with Path(path).open("rb") as file:
            return file.read(8)
    except (OSError, ValueError):
        return b""
