"""What ``torch.save`` wrote, with the place of each storage's bytes in the file; nothing of it is run.

Of zip archives those are read that no two readers can understand differently.
"""

import io
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from embviz_callback.encoding.weights.complaints import SAFE_AGAIN, CheckpointError, asks_for_code, short
from embviz_callback.encoding.weights.pickle_reader import AttackError, PickleError, Unpickled, read_pickle

_NOT_TORCHS = "torch.save does not write such files, do not trust it"
_TWO_READERS = f"lists its records in two ways, which two programs would read differently; {_NOT_TORCHS}"
_LOCAL = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_WIDE_END = struct.Struct("<4sQ2H2L4Q")
_MOST_DIRECTORY_BYTES = 20_000_000  # some 200,000 records; each takes a kilobyte once it is listed


class ArchiveError(ValueError):
    """An archive that is no honest torch.save; the text follows the name of the file."""


@dataclass(frozen=True)
class Extent:
    """Where something lies in a file.

    Attributes:
        name: Within the file.
        start: Its first byte.
        n_bytes: Its length.
        checksum: CRC-32; 0 where none was computed.
    """

    name: str
    start: int
    n_bytes: int
    checksum: int


Places = Mapping[str, Extent]


def records_of(path: Path) -> dict[str, Extent]:
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


def _located(file: BinaryIO, entries: list[zipfile.ZipInfo], end: int) -> dict[str, Extent]:
    """Compares each entry of the directory with what stands before its bytes."""
    found: dict[str, Extent] = {}
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
        found[name] = Extent(name, start, entry.file_size, entry.CRC)
    if free_from > end or (entries and entries[0].header_offset):
        raise ArchiveError(_TWO_READERS)
    return found


def read_torch_file(path: Path, *, is_zip: bool) -> tuple[Unpickled, Places]:
    """The objects of a file and where its numbers lie.

    Args:
        path: The file.
        is_zip: False for the form of before PyTorch 1.6.

    Returns:
        What was saved, and by the key of each storage its bytes.

    Raises:
        CheckpointError: If it is damaged, no file of ``torch.save``, or made to attack.
    """
    try:
        reading, places = _read_zip(path) if is_zip else _read_legacy(path)
        _check_storages(reading, places)
    except CheckpointError:
        raise
    except AttackError as error:
        raise CheckpointError(asks_for_code(path, [str(error)])) from None
    except ArchiveError as error:
        raise CheckpointError(f"{path} {error}") from None
    except (PickleError, zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is cut short or damaged ({short(str(error))}, {path.stat().st_size} bytes); "
            "copy or download it again"
        ) from None
    return reading, places


def bytes_of(path: Path, record: Extent) -> bytearray:
    """The bytes of a record.

    Args:
        path: The file.
        record: Where in it.

    Returns:
        A buffer of their own.

    Raises:
        CheckpointError: If they do not have the checksum that was noted.
    """
    found = bytearray(record.n_bytes)
    with path.open("rb") as file:
        file.seek(record.start)
        n_read = file.readinto(found)
    if n_read < record.n_bytes or (record.checksum and zlib.crc32(found) != record.checksum):
        raise CheckpointError(
            f"{path} is damaged: the checksum of its record {short(record.name)!r} is wrong; copy or download it again"
        )
    return found


def _read_zip(path: Path) -> tuple[Unpickled, Places]:
    records = records_of(path)
    pickle = next((name for name in records if name.endswith("data.pkl")), None)
    if pickle is None:
        names = short(", ".join([*records][:3]))
        raise CheckpointError(f"{path} is a zip archive of {names}, not of torch.save; unpack it")
    root = pickle.removesuffix("data.pkl")
    order = records.get(f"{root}byteorder")
    if order is not None and bytes_of(path, order) != b"little":
        raise CheckpointError(f"{path} was saved on a machine of another byte order; save it as safetensors there")
    inside = f"{root}data/"
    places = {name.removeprefix(inside): record for name, record in records.items() if name.startswith(inside)}
    return read_pickle(io.BytesIO(bytes_of(path, records[pickle]))), places


def _read_legacy(path: Path) -> tuple[Unpickled, Places]:
    """Five pickles (magic number, version, machine, content, keys), then each storage behind its length."""
    # Mapped, since a file that is asked for 2^60 bytes first makes room for them.
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as file:
        for _ in range(3):
            read_pickle(file)
        reading = read_pickle(file)
        keys = read_pickle(file).value
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise PickleError("no list of storages")
        places: dict[str, Extent] = {}
        for key in keys:
            storage = reading.storages.get(key)
            length = int.from_bytes(file.read(8), "little")
            if storage is None or storage.n_bytes != length * storage.dtype.itemsize:
                raise PickleError(f"storage {key} of {length} elements")
            places[key] = Extent(key, file.tell(), storage.n_bytes, 0)
            if file.tell() + storage.n_bytes > len(file):
                raise PickleError(f"storage {key} ends behind the file's end")
            file.seek(storage.n_bytes, os.SEEK_CUR)
    return reading, places


def _check_storages(reading: Unpickled, places: Places) -> None:
    for key, storage in reading.storages.items():
        found = places[key].n_bytes if key in places else 0
        if found != storage.n_bytes:
            raise PickleError(f"storage {key} has {found} bytes, not {storage.n_bytes}")
