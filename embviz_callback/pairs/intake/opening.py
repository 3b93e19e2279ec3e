"""From a path to the text of a dataset: missing files, compression and encodings."""

import difflib
import gzip
import hashlib
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embviz_callback.pairs.problems import DEFAULT_LIMITS, DataError, DataLimits, show_name, show_names

_CHUNK = 1 << 22
_MB = 1_000_000

GZIP = b"\x1f\x8b"
JSON_LINES, TABLES, PLAIN_TEXT = (".jsonl", ".ndjson"), (".csv", ".tsv"), ".txt"  # as `suffix_of` gives them
_FOREIGN = (
    (
        b"PK\x03\x04",
        "a zip archive or a workbook",
        "unpack it and give the file in it, or save the sheet as CSV (UTF-8)",
    ),
    (b"\xd0\xcf\x11\xe0", "a workbook of an old Excel", "save the sheet as CSV (UTF-8)"),
    (b"BZh", "compressed by bzip2", "unpack it with bunzip2, or compress it by gzip"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it with unxz, or compress it by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it with unzstd, or compress it by gzip"),
    (b"PAR1", "a parquet file", "name it as the data or as the corpus, or export it as JSON Lines"),
    (b"SQLite format 3", "an SQLite database", "export the table as JSON Lines"),
    (b"\x80\x04", "a pickle", "load it where it was written, and write its records as JSON Lines"),
    (b"\x80\x05", "a pickle", "load it where it was written, and write its records as JSON Lines"),
    (b"\x93NUMPY", "an array of numpy", "write its records as JSON Lines; vectors are given by --vectors"),
    (b"\x89HDF", "an HDF5 file", "export the table as JSON Lines"),
    (b"%PDF", "a PDF document", "give the JSON file"),
    (b"\x89PNG", "a PNG picture", "give the JSON file"),
)
# The 32-bit marks come first: UTF-32 little-endian begins with the mark of UTF-16.
_WIDE_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_LFS_POINTER = "version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Opened:
    """The text of a file as it is on disk.

    Attributes:
        text: Decoded and unpacked, without a byte order mark.
        path: As the user gave it.
        sha256: Of the file's bytes, before unpacking, as ``sha256sum`` prints it.
        notes: What was done to the bytes, in words.
    """

    text: str
    path: str
    sha256: str
    notes: tuple[str, ...] = ()


def open_text(path: str | os.PathLike[str], *, is_json: bool = True, limits: DataLimits = DEFAULT_LIMITS) -> Opened:
    """The text of a UTF-8 file, with or without a byte order mark, plain or compressed by gzip.

    Args:
        path: The file; compression is recognised by content, not by its name.
        is_json: Whether a file that begins with ``<`` is refused as a page of HTML.
        limits: Of its size.

    Returns:
        The text and where it came from; a `DataError` says if there is no such file, it cannot
        be read, or it is not UTF-8 text.
    """
    name = show_path(path)
    with readable(Path(path), name):
        raw = _bytes_of(Path(path), name, limits)
        is_packed = raw.startswith(GZIP)
        text = _decode(_unpack(raw, name, limits) if is_packed else raw, name)
    _check_kind(text, name, is_json=is_json)
    notes = ("named .gz, but not compressed",) if name.endswith(".gz") and not is_packed else ()
    return Opened(text, name, hashlib.sha256(raw).hexdigest(), notes)


def suffix_of(name: str) -> str:
    """What a file is by its name, in small letters and compression aside: ``.jsonl`` of ``Data.JSONL.gz``."""
    return Path(name.lower().removesuffix(".gz")).suffix


def show_path(path: str | os.PathLike[str]) -> str:
    """A path on one printable line."""
    text = os.fsdecode(path)
    return text if text.isprintable() else ascii(text)


@contextmanager
def readable(path: Path, name: str) -> Iterator[None]:
    """Says of a file that cannot be read which it is, why, and what to do."""
    try:
        yield
    except DataError:  # a ValueError too, and already says what there is to say
        raise
    except FileNotFoundError:
        raise DataError(f"{name}: there is no such file{_neighbours(path)}") from None
    except PermissionError:
        raise DataError(f"{name}: this user may not read it. Fix: chmod +r, or copy it") from None
    except EOFError:
        raise DataError(f"{name}: the compressed file ends in the middle. Fix: copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: the gzip data are damaged ({error}). Fix: copy or download it again") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{name}: cannot be read ({reason}). Fix: check the path") from None


def _bytes_of(path: Path, name: str, limits: DataLimits) -> bytes:
    _check_readable(path, name)
    with path.open("rb") as file:
        raw = file.read(limits.megabytes * _MB + 1)
    _check_size(len(raw), name, limits)
    return raw


def _check_readable(path: Path, name: str) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise DataError(f"{name}: is a directory{_files_in(path)}")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise DataError(f"{name}: is a device, not a file. Fix: give a JSON file")


def _check_size(n_bytes: int, name: str, limits: DataLimits) -> None:
    if n_bytes > limits.megabytes * _MB:
        expected = f"expected at most {limits.megabytes:,} MB of text, found more"
        raise DataError(f"{name}: {expected}. Fix: give a part of it; {limits.more('megabytes')}")


def _neighbours(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f", nor a directory {show_path(folder)}{_where()}. Fix: check the path"
    close = difflib.get_close_matches(path.name, _names_in(folder), n=3, cutoff=0.5)
    if close:
        return f"{_where()}. Fix: did you mean {' or '.join(map(show_name, close))}?"
    return f"{_where()}. Fix: check the path"


def _where() -> str:
    try:
        return f" (working directory {show_path(Path.cwd())})"
    except OSError:  # the working directory itself can have been deleted
        return ""


def _files_in(folder: Path) -> str:
    names = [name for name in _names_in(folder) if re.search(r"\.(jsonl?|ndjson|csv|tsv|parquet|arrow)(\.gz)?$", name)]
    if not names:
        return " without a JSON file in it. Fix: give a JSON file"
    return f". Fix: give one file in it: {show_names(names, most=3)}"


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError:  # a directory that may not be listed only costs the suggestion
        return []


def _unpack(raw: bytes, name: str, limits: DataLimits) -> bytes:
    parts, n_bytes = [], 0
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        while part := file.read(_CHUNK):
            parts.append(part)
            n_bytes += len(part)
            _check_size(n_bytes, name, limits)
            limits.check_unpacked(n_bytes, len(raw), name)
    return b"".join(parts)


def _decode(raw: bytes, name: str) -> str:
    for mark, kind, fix in _FOREIGN:
        if raw.startswith(mark):
            raise DataError(f"{name}: is {kind}, not text. Fix: {fix}")
    for mark, encoding in _WIDE_MARKS:
        if raw.startswith(mark):
            raise DataError(f"{name}: byte 0 is the mark of {encoding}, not UTF-8. {_convert(name, encoding)}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind the mark.
        offset = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
        raise DataError(_wrong_encoding(raw, offset, name)) from None


def _convert(name: str, encoding: str) -> str:
    # By its suffix a table is known.
    return f"Fix: convert it: iconv -f {encoding} -t UTF-8 {name} > utf8{suffix_of(name)}"


def _wrong_encoding(raw: bytes, offset: int, name: str) -> str:
    where = f"{name}: byte {offset:,} (0x{raw[offset]:02x}) is not UTF-8"
    if raw.count(0) > len(raw) // 8:
        return f"{where}, and every eighth byte or more is zero: it is UTF-16 or binary. {_convert(name, 'UTF-16')}"
    if 0 in raw:
        return f"{where}, and there are zero bytes: it is a binary file. Fix: give a JSON file"
    if len(raw) - offset < 4 and _is_cut_off(raw[offset:]):
        return f"{where}: the file ends inside a character. Fix: copy or download it again"
    lenient = raw.decode("utf-8", errors="replace")
    n_bad = lenient.count("\ufffd")
    # Not character by character: of a gigabyte in a wrong encoding that would take a minute.
    n_foreign = len(lenient) - len(lenient.encode("ascii", errors="ignore"))
    if n_foreign - n_bad > n_bad:
        return f"{where}, while the rest mostly is: it is damaged there. Fix: correct that byte, or get the file again"
    return f"{where}. {_convert(name, _guess(raw))}, if it was saved as {_guess(raw)}"


def _is_cut_off(tail: bytes) -> bool:
    try:
        tail.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def _guess(raw: bytes) -> str:
    # Vietnamese Windows first: its code page is the one these files come in; latin-1 accepts every byte.
    for encoding in ("cp1258", "cp1252"):
        try:
            raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _check_kind(text: str, name: str, *, is_json: bool) -> None:
    start = text[:1000].lstrip("\ufeff \t\r\n")
    if not start and not text.strip("\ufeff \t\r\n"):
        raise DataError(f"{name}: the file is empty. Fix: give a JSON array or JSON Lines")
    if start.startswith(_LFS_POINTER):
        raise DataError(f"{name}: is a git-lfs pointer, not the data. Fix: run git lfs pull")
    if is_json and start.startswith("<"):
        raise DataError(f"{name}: is an HTML or XML page, not JSON. Fix: download the raw file")
    if text.count("\x00", 0, 1000) > min(len(text), 1000) // 8:
        raise DataError(
            f"{name}: byte {text.index(chr(0)):,} is zero, as in UTF-16 or binary. {_convert(name, 'UTF-16')}"
        )
