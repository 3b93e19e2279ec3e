"""Rows of files that may be larger than memory, one after the other."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from embviz_callback.pairs.intake.arrow import arrow_rows, kind_of
from embviz_callback.pairs.intake.opening import GZIP, PLAIN_TEXT, TABLES, readable, show_path, suffix_of
from embviz_callback.pairs.intake.tables import table_cells
from embviz_callback.pairs.problems import DEFAULT_LIMITS, DataError, DataLimits

_JSON = json.JSONDecoder(strict=False)  # json.loads would make one for every line
_LONGEST_LINE = 16_000_000


def stream_rows(path: Path, limits: DataLimits = DEFAULT_LIMITS) -> Iterator[Any]:
    """The rows of a JSON Lines, TSV, CSV, Parquet or Arrow file, in bounded memory.

    Args:
        path: The file, plain or compressed by gzip; JSON Lines are known by their suffix or their first byte.
        limits: Of what a compressed file holds; a plain one may have any number of rows.

    Yields:
        JSON values of lines; lists of cells of a table, its line of names among them; objects of a Parquet file.
        A file that cannot be read, is no UTF-8 or holds a line that is no JSON is a `DataError`.
    """
    name = show_path(path)
    with readable(path, name):
        if kind := kind_of(path):
            yield from arrow_rows(path, name, kind, limits, is_streamed=True)
            return
        if suffix_of(name) in (*TABLES, PLAIN_TEXT):
            yield from table_cells(lambda: (line for _, line in _decoded(path, name, limits)), name)
            return
        yield from (_value(line, at, name) for at, line in _decoded(path, name, limits) if line.strip())


def stream_lines(path: Path, limits: DataLimits = DEFAULT_LIMITS) -> Iterator[str]:
    """The lines of a UTF-8 file that are not blank, without their ends; errors as of `stream_rows`."""
    with readable(path, show_path(path)):
        lines = (line.strip("\r\n") for _, line in _decoded(path, show_path(path), limits))
        yield from (line for line in lines if line.strip())


def _raw_lines(path: Path, name: str, limits: DataLimits) -> Iterator[bytes]:
    """Lines as they are, those of a compressed file as long as it holds no more than it may."""
    with path.open("rb") as file:
        is_packed = file.read(2) == GZIP
    n_packed, n_unpacked = path.stat().st_size, 0
    with cast(BinaryIO, gzip.open(path) if is_packed else path.open("rb")) as lines:
        while raw := lines.readline(_LONGEST_LINE):
            n_unpacked += len(raw)
            if is_packed:
                limits.check_unpacked(n_unpacked, n_packed, name)
            yield raw


def _decoded(path: Path, name: str, limits: DataLimits) -> Iterator[tuple[int, str]]:
    """Lines with their ends, and their numbers."""
    for at, raw in enumerate(_raw_lines(path, name, limits), start=1):
        if len(raw) == _LONGEST_LINE:
            expected = f"expected lines of at most {_LONGEST_LINE // 1_000_000} MB, found a longer one, line {at:,}"
            raise DataError(f"{name}: {expected}. Fix: put every record on one line of its own")
        try:
            yield at, raw.decode("utf-8-sig" if at == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}: byte {error.start + 1:,} of line {at:,} (0x{raw[error.start]:02x}) is not UTF-8. "
                "Fix: convert it with iconv, or correct that byte"
            ) from None


def _value(line: str, at: int, name: str) -> Any:
    try:
        return _JSON.decode(line)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "a value that is too large"
        raise DataError(
            f"{name}: no valid JSON ({reason}) at line {at:,}. Fix: put every record on one line of its own"
        ) from None
