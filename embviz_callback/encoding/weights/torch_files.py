"""What ``torch.save`` wrote, with the place of each storage's bytes in the file; nothing of it is run."""

import io
import mmap
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from embviz_callback.encoding.weights.archives import ArchiveError, Record, records_of
from embviz_callback.encoding.weights.complaints import CheckpointError, asks_for_code, short
from embviz_callback.encoding.weights.pickle_reader import AttackError, PickleError, Reading, read_pickle

Places = Mapping[str, Record]


def read_torch_file(path: Path, *, is_zip: bool) -> tuple[Reading, Places]:
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


def bytes_of(path: Path, record: Record) -> bytearray:
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


def _read_zip(path: Path) -> tuple[Reading, Places]:
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


def _read_legacy(path: Path) -> tuple[Reading, Places]:
    """Five pickles (magic number, version, machine, content, keys), then each storage behind its length."""
    # Mapped, since a file that is asked for 2^60 bytes first makes room for them.
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as file:
        for _ in range(3):
            read_pickle(file)
        reading = read_pickle(file)
        keys = read_pickle(file).value
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise PickleError("no list of storages")
        places: dict[str, Record] = {}
        for key in keys:
            storage = reading.storages.get(key)
            length = int.from_bytes(file.read(8), "little")
            if storage is None or storage.n_bytes != length * storage.dtype.itemsize:
                raise PickleError(f"storage {key} of {length} elements")
            places[key] = Record(key, file.tell(), storage.n_bytes, 0)
            if file.tell() + storage.n_bytes > len(file):
                raise PickleError(f"storage {key} ends behind the file's end")
            file.seek(storage.n_bytes, os.SEEK_CUR)
    return reading, places


def _check_storages(reading: Reading, places: Places) -> None:
    for key, storage in reading.storages.items():
        found = places[key].n_bytes if key in places else 0
        if found != storage.n_bytes:
            raise PickleError(f"storage {key} has {found} bytes, not {storage.n_bytes}")
