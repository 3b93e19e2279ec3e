"""Rows from a file or an object, before their form is known."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embviz_callback.pairs.intake.arrow import arrow_rows, kind_of
from embviz_callback.pairs.intake.objects import IN_PYTHON, rows_of
from embviz_callback.pairs.intake.opening import TABLES, open_text, show_path, suffix_of
from embviz_callback.pairs.intake.parsing import Expected, Material, parse_items
from embviz_callback.pairs.intake.tables import table_rows


def read_file(path: str | os.PathLike[str], expected: Expected) -> Material:
    """The rows of a JSON, JSON Lines, CSV, TSV, Parquet or Arrow file; a `DataError` says what cannot be read."""
    name, limits = show_path(path), expected.limits
    if kind := kind_of(Path(path)):
        return Material(list(arrow_rows(Path(path), name, kind, limits)), name, name, file_sha256(Path(path)))
    opened = open_text(path, limits=limits)
    if suffix_of(name) not in TABLES:
        return parse_items(opened, expected)
    rows, notes = table_rows(opened.text, name, expected.known)
    limits.check_records(len(rows), name)
    return Material(rows, name, name, opened.sha256, notes=(*opened.notes, *notes))


def take_object(given: Any, expected: Expected) -> Material:
    """The rows of an object in Python, see `rows_of`; a `DataError` says if it holds none, or has no end."""
    if isinstance(given, Mapping) and expected.is_whole(given):
        return Material([given], IN_PYTHON, IN_PYTHON)
    rows, name = rows_of(given, split=expected.split, limits=expected.limits)
    return Material(rows, name, name)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a folder; False for what can be no path."""
    return os.path.isdir(path)  # noqa: PTH112 - that of Path raises where no path can be so


def file_sha256(path: Path) -> str:
    """Of the file's bytes, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
