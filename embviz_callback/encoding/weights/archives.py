"""Where the records of a zip archive lie, for archives that no two readers can understand differently."""

import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from embviz_callback.encoding.weights.complaints import SAFE_AGAIN

_LOCAL = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_WIDE_END = struct.Struct("<4sQ2H2L4Q")
_MOST_DIRECTORY_BYTES = 20_000_000  # some 200,000 records; each takes a kilobyte once it is listed


class ArchiveError(ValueError):
    """An archive that is no honest torch.save; the text follows the name of the file."""


@dataclass(frozen=True)
class Record:
    """One file of an archive.

    Attributes:
        name: Within the archive.
        start: Its first byte in the archive.
        n_bytes: Its length.
        checksum: CRC-32; 0 where none was computed.
    """

    name: str
    start: int
    n_bytes: int
    checksum: int


def records_of(path: Path) -> dict[str, Record]:
    """The records of an archive that ``torch.save`` could have written.

    Args:
        path: A zip archive.

    Returns:
        Each by its name.

    Raises:
        ArchiveError: If anything in it is compressed, twice there, overlaps, or is told differently in two places.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        told = _directory_told(file, size)
        with zipfile.ZipFile(file) as archive:
            entries, start = archive.infolist(), archive.start_dir
        if any(Path(entry.filename).name == "constants.pkl" for entry in entries):
            raise ArchiveError(f"is a TorchScript program, which would have to be run; {SAFE_AGAIN}")
        declared = sum(entry.file_size for entry in entries)
        # torch.save never compresses, so that a record cannot be larger than the file.
        if declared > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ArchiveError(f"declares {declared} bytes of content in a file of {size} bytes; {_NOT_TORCHS}")
        if told != (len(entries), start) or len({entry.filename for entry in entries}) < len(entries):
            raise ArchiveError(_TWO_READERS)
        return _located(file, sorted(entries, key=lambda entry: entry.header_offset), start)


_NOT_TORCHS = "torch.save does not write such files, do not trust it"
_TWO_READERS = f"lists its records in two ways, which two programs would read differently; {_NOT_TORCHS}"


def _directory_told(file: BinaryIO, size: int) -> tuple[int, int]:
    """How many records the directory has and where it begins, by each summary at the file's very end."""
    if size < _END.size:
        raise zipfile.BadZipFile("File is not a zip file")
    file.seek(size - _END.size)
    magic, disk, _, *narrow, comment = _END.unpack(file.read(_END.size))
    tail = size - _END.size
    wide = _wide_summary(file, tail)
    if wide is not None:
        tail -= _LOCATOR.size + _WIDE_END.size
    _, n_records, length, start = wide or narrow
    # What does not fit into the narrow summary is written there as all ones.
    limits = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    agree = wide is None or all(a in (b, limit) for a, b, limit in zip(narrow, wide, limits, strict=True))
    if magic != b"PK\x05\x06":
        raise zipfile.BadZipFile("File is not a zip file")
    if disk or comment or not agree or start + length != tail or length > _MOST_DIRECTORY_BYTES:
        raise ArchiveError(_TWO_READERS)
    return n_records, start


def _wide_summary(file: BinaryIO, tail: int) -> tuple[int, ...] | None:
    """The summary in 64 bits that may stand before the narrow one."""
    if tail < _LOCATOR.size + _WIDE_END.size:
        return None
    file.seek(tail - _LOCATOR.size - _WIDE_END.size)
    found = _WIDE_END.unpack(file.read(_WIDE_END.size))
    locator = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if locator[0] != b"PK\x06\x07":
        return None
    if found[0] != b"PK\x06\x06" or locator[2] != tail - _LOCATOR.size - _WIDE_END.size:
        raise ArchiveError(_TWO_READERS)
    return tuple(found[6:])


def _located(file: BinaryIO, entries: list[zipfile.ZipInfo], end: int) -> dict[str, Record]:
    """Compares each entry of the directory with what stands before its bytes."""
    found: dict[str, Record] = {}
    free_from = 0
    for entry in entries:
        file.seek(entry.header_offset)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size:
            raise ArchiveError(_TWO_READERS)
        magic, _, _, method, _, _, _, packed, size, n_name, n_extra = _LOCAL.unpack(header)
        name = file.read(n_name).decode("utf-8", "replace")
        start = entry.header_offset + _LOCAL.size + n_name + n_extra
        # Written before the bytes, the sizes may be left open (0) or be told in 64 bits elsewhere (all ones).
        sizes = {packed, size} - {0, 0xFFFFFFFF, entry.file_size}
        if magic != b"PK\x03\x04" or method or name != entry.filename or sizes or entry.header_offset < free_from:
            raise ArchiveError(_TWO_READERS)
        free_from = start + entry.file_size
        found[name] = Record(name, start, entry.file_size, entry.CRC)
    if free_from > end or (entries and entries[0].header_offset):
        raise ArchiveError(_TWO_READERS)
    return found
