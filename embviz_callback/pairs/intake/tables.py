"""Tables: CSV and TSV, with or without a line of names, and what programs write of one as JSON."""

import ast
import csv
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from embviz_callback.pairs.intake.opening import suffix_of
from embviz_callback.pairs.intake.quoting import are_around_cells
from embviz_callback.pairs.problems import DataError, show, show_name

NAMES_ABOVE = "or, if the first line is a record, put a line of names above it (query, positive, negative)"
_NO_NAMES = "the first line is read as a record (--fields query=...,pos=..., if it holds names)"
_SAID_SEPARATOR = re.compile(r"sep=(\S)\r?\n")  # Excel asks for this line
_NOTHING = ("", r"\N")  # the latter in dumps of databases
_PRINTED_ARRAY = re.compile(r"""\[(?P<quote>['"]).*?(?P=quote)\s+['"]""")


def table_rows(text: str, name: str, known: Collection[str]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The rows of a CSV or TSV file by the names in its first line.

    A file of two or three tab-separated columns whose first line holds no known name has none: its columns are
    a query, a document that answers it and one that does not.

    Args:
        text: The whole file.
        name: Its path, for the separator and for errors.
        known: Names of which the first line of a TSV file holds at least one, if it is a line of names.

    Returns:
        One object per row; an empty cell is left out, a cell that holds a list is one. And what was assumed.

    Raises:
        DataError: If a row has more cells than there are names, or a name stands twice.
    """
    is_tsv = suffix_of(name) == ".tsv"
    ends = "\n" if is_tsv else ""  # in CSV a carriage return alone ends a line too
    rows = list(table_cells(lambda: io.StringIO(text, newline=ends), name))
    if not rows:
        return [], ()
    names, first = [cell.strip() for cell in rows[0]], 1
    notes: tuple[str, ...] = ()
    if is_tsv and not any(cell.casefold() in known for cell in names) and len(names) in (2, 3):
        names, first = ["query", "positive", "negative"][: len(names)], 0
        notes = (_NO_NAMES,)
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise DataError(
            f"{name}: expected every name once in the first line, found {show_name(twice)} twice. "
            f"Fix: rename one; {NAMES_ABOVE}"
        )
    return [_row(names, cells, at, name) for at, cells in enumerate(rows[first:], start=first + 1)], notes


def table_cells(read: Callable[[], Iterator[str]], name: str) -> Iterator[list[str]]:
    """The cells of the lines of a table, row by row.

    Cells of CSV are parted by what the first line has most of. Whether quotes stand around cells or are texts is
    told by the whole table (see `are_around_cells`), which is gone through twice for that if it has any.

    Args:
        read: Gives its lines with their ends, each time anew.
        name: Of the file, for errors.

    Yields:
        Rows that have cells.

    Raises:
        DataError: If it is no CSV.
    """
    is_csv = suffix_of(name) == ".csv"
    separator, n_said = _separator(next(read(), "")) if is_csv else ("\t", 0)
    lines: Iterator[str] = islice(read(), n_said, None)
    for line in lines:
        if '"' in line:
            lines = chain([line], lines)
            break
        if line.strip("\r\n"):
            yield line.rstrip("\r\n").split(separator)
    else:
        return
    if not are_around_cells(islice(read(), n_said, None), separator, is_usual=is_csv):
        yield from (line.rstrip("\r\n").split(separator) for line in lines if line.strip("\r\n"))
        return
    # A NUL ends a line to this module; the reader of texts replaces it.
    without_nul = (line.replace("\0", "\ufffd") for line in lines)
    try:
        yield from (row for row in csv.reader(without_nul, delimiter=separator, strict=True) if row)
    except csv.Error as error:
        raise DataError(f"{name}: no valid CSV ({error}). Fix: write it with a CSV writer") from None


def _separator(first: str) -> tuple[str, int]:
    """What parts the cells of CSV by its first line, and how many lines say so."""
    said = _SAID_SEPARATOR.match(first)
    # Spreadsheets write semicolons where the comma stands in numbers.
    return (said[1], 1) if said else (max(",;\t|", key=first.count), 0)


def _row(names: Sequence[str], cells: Sequence[str], at: int, name: str) -> dict[str, Any]:
    if len(cells) > len(names):
        separator = "tabs" if suffix_of(name) == ".tsv" else "commas"
        raise DataError(
            f"{name}: expected {len(names)} cells as in its first line, found {len(cells)} in row {at:,}. "
            f"Fix: quote or replace {separator} inside a text"
        )
    given = ((column, cell) for column, cell in zip(names, cells, strict=False) if cell not in _NOTHING)
    try:
        return {column: list_in(cell) for column, cell in given}
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def list_in(cell: str) -> Any:
    """The list of texts or objects that a cell holds as JSON, or as Python prints it; any other cell as it is.

    Returns:
        The list or the cell.

    Raises:
        DataError: If it is an array as numpy prints it.
    """
    if not (cell.startswith("[") and cell.endswith("]")):
        return cell
    if _PRINTED_ARRAY.match(cell):
        raise DataError(
            f"expected lists as JSON writes them, found an array as numpy prints it, {show(cell)}. "
            "Fix: write the column with json.dumps, or save the table as Parquet"
        )
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        # What else stands in brackets is a text.
        if isinstance(found, list) and all(isinstance(one, str | dict) for one in found):
            return found
    return cell


def rows_of_columns(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of an object of columns of one length, as ``DataFrame.to_json()`` and ``Dataset.to_dict()`` write it.

    Returns:
        A row per key or place of its columns, a null left out; None for any other object.

    Example:
        >>> rows_of_columns({"query": {"0": "a", "1": "b"}, "pos": {"0": "c", "1": "d"}})
        [{'query': 'a', 'pos': 'c'}, {'query': 'b', 'pos': 'd'}]
    """
    columns = list(value.values())
    if len(columns) < 2 or not columns[0]:
        return None
    if all(isinstance(column, Mapping) and column.keys() == columns[0].keys() for column in columns):
        places = list(columns[0])
    elif all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        places = list(range(len(columns[0])))
    else:
        return None
    rows = ({name: column[place] for name, column in value.items()} for place in places)
    return [{name: cell for name, cell in row.items() if cell is not None} for row in rows]


def rows_of_cells(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of ``to_json(orient="split")`` and of tables of W&B, None for any other object."""
    names, rows = value.get("columns"), value.get("data")
    if not (isinstance(names, list) and isinstance(rows, list) and all(isinstance(name, str) for name in names)):
        return None
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    return [{name: cell for name, cell in zip(names, row, strict=True) if cell is not None} for row in rows]
