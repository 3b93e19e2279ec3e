"""Tables of text: CSV and TSV, with or without a line of names."""

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from embviz_callback.pairs.problems import DataError, show_name

TABLE = re.compile(r"\.(csv|tsv)(\.gz)?$", re.IGNORECASE)
_LONGEST_CELL = 1 << 27


def table_rows(text: str, name: str, known: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a CSV or TSV file by the names in its first line.

    A file of two or three tab-separated columns whose first line holds no known name has none: its columns are
    a query, a document that answers it and one that does not.

    Args:
        text: The whole file.
        name: Its path, for the separator and for errors.
        known: Names of which the first line of a TSV file holds at least one, if it is a line of names.

    Returns:
        One object per row; an empty cell is left out, a cell that holds a JSON list is a list.

    Raises:
        DataError: If a row has more cells than there are names, or a name stands twice.
    """
    is_tsv = ".tsv" in name.lower()[-7:]
    rows = list(_rows(text, name, is_tsv=is_tsv))
    if not rows:
        return []
    names, first = [cell.strip() for cell in rows[0]], 1
    if is_tsv and not any(cell.casefold() in known for cell in names) and len(names) in (2, 3):
        names, first = ["query", "positive", "negative"][: len(names)], 0
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise DataError(
            f"{name}: expected every name once in the first line, found {show_name(twice)} twice. Fix: rename one"
        )
    return [_row(names, cells, at, name) for at, cells in enumerate(rows[first:], start=first + 1)]


def _rows(text: str, name: str, *, is_tsv: bool) -> Iterator[list[str]]:
    if is_tsv:  # a quote in a TSV file is a quote
        yield from (line.rstrip("\r").split("\t") for line in text.split("\n") if line.strip("\r"))
        return
    csv.field_size_limit(_LONGEST_CELL)
    try:
        # A NUL ends a line to this module; the reader of texts replaces it.
        file = io.StringIO(text.replace("\0", "\ufffd"), newline="")
        first = text[: text.find("\n")] if "\n" in text else text
        # Spreadsheets write semicolons where the comma stands in numbers.
        delimiter = ";" if first.count(";") > first.count(",") else ","
        yield from (row for row in csv.reader(file, delimiter=delimiter) if row)
    except csv.Error as error:
        raise DataError(f"{name}: no valid CSV ({error}). Fix: write it with a CSV writer") from None


def _row(names: Sequence[str], cells: Sequence[str], at: int, name: str) -> dict[str, Any]:
    if len(cells) > len(names):
        separator = "tabs" if ".tsv" in name.lower()[-7:] else "commas"
        raise DataError(
            f"{name}: expected {len(names)} cells as in its first line, found {len(cells)} in row {at:,}. "
            f"Fix: quote or replace {separator} inside a text"
        )
    return {column: _cell(cell) for column, cell in zip(names, cells, strict=False) if cell}


def _cell(cell: str) -> Any:
    """Lists stand in a table as JSON."""
    if not (cell.startswith('["') and cell.endswith('"]')):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def columns_of(lines: Iterable[str]) -> Iterator[list[str]]:
    """The cells of tab- or space-separated lines, such as judgements of TREC."""
    for line in lines:
        bare = line.strip("\r\n")
        if bare.strip():
            yield bare.split("\t") if "\t" in bare else bare.split()
