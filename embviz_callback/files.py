"""Files that are either whole or not there."""

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

Json = TypeVar("Json")

_LONGEST_NAME = 80
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes a file under another name and renames it, so that nobody ever sees half of it.

    Args:
        path: The final name; its folder is made if it is not there.
        content: Text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def to_json(content: Any) -> str:
    """Strict JSON, indented, with a line end."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def read_json(path: Path) -> Any:
    """What a JSON file holds; an OSError or ValueError says that there is none, or that it is no JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def edition(path: Path) -> tuple[int, int, int]:
    """Tells a file from the one that was written in its place."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def with_leaves(value: Json, change: Callable[[Any], Any]) -> Json:
    """Plain JSON in which every value that holds no others is changed.

    Args:
        value: Mappings, lists and tuples of values.
        change: Takes a value and gives what stands in its place.

    Returns:
        Dictionaries and lists of new values.
    """
    made: Any = value
    if isinstance(value, Mapping):
        made = {name: with_leaves(one, change) for name, one in value.items()}
    elif isinstance(value, list | tuple):
        made = [with_leaves(one, change) for one in value]
    else:
        made = change(value)
    return cast("Json", made)


def without_nan(value: Json) -> Json:
    """Plain JSON with null for every number that is not finite."""
    return with_leaves(value, lambda one: None if isinstance(one, float) and not math.isfinite(one) else one)


def read_facts(path: Path) -> Mapping[str, Any]:
    """What the object in a JSON file says; nothing where there is none, or it is damaged."""
    try:
        found = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Adds one JSON object as a line, in a single write.

    Args:
        path: A JSON Lines file; it and its folder are made if they are not there.
        row: Plain JSON values.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(row, ensure_ascii=False) + "\n"
    with path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        # A run that was killed or met a full disk may have left half a line.
        torn = end > 0 and file.read(1) != b"\n"
        file.write(("\n" + line if torn else line).encode("utf-8", "replace"))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replaces a JSON Lines file."""
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON Lines file, without a last line that a killed run left half-written.

    Args:
        path: Need not exist.

    Yields:
        One object per line.
    """
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def cache_home() -> Path:
    """A folder for what may be lost; a container has users without a home, and homes that cannot be written to.

    Returns:
        ``$XDG_CACHE_HOME``, else ``.cache`` in the user's home, else a folder of this user's own among the temporary
        files.
    """
    if (home := user_cache()) is not None:
        return home
    user = os.getuid() if hasattr(os, "getuid") else 0
    own = Path(tempfile.gettempdir()) / f"embviz-cache-{user}"
    own.mkdir(mode=0o700, exist_ok=True)
    # What numba keeps is code: nobody else may have put it there.
    is_own = not own.is_symlink() and own.stat().st_uid == user and not own.stat().st_mode & 0o022
    return own if is_own or os.name != "posix" else Path(tempfile.mkdtemp(prefix="embviz-cache-"))


def user_cache() -> Path | None:
    """The user's folder for what may be lost; None where there is no home, or none that can be written to."""
    wanted = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111  # never raises
    return wanted if wanted.is_absolute() and _can_be_written(wanted) else None


def _can_be_written(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that is there, can be written to."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return there.is_dir() and os.access(there, os.W_OK)


def safe_name(text: str) -> str:
    """A file name that cannot leave its folder, whatever the text is.

    Args:
        text: Anything, a label of the user's or a text from the data.

    Returns:
        At most 80 of the characters A-Z, a-z, 0-9, dot, underscore and hyphen, not beginning with
        a dot. A text that had to be changed gets a hash, so that two texts never share a name.

    Example:
        >>> safe_name("epoch_0003")
        'epoch_0003'
        >>> safe_name("../etc/passwd")
        'etc_passwd-7fef78f5'
    """
    slug = _NOT_IN_NAMES.sub("_", text).strip("._")[:_LONGEST_NAME]
    if slug and slug == text:
        return slug
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{slug[: _LONGEST_NAME - 9] or 'unnamed'}-{digest}"


def require_space(folder: Path, n_bytes: int) -> None:
    """Refuses to begin a write that would fill the disk.

    Args:
        folder: Where the write goes; must exist.
        n_bytes: What it needs.

    Raises:
        OSError: If less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise OSError(f"{folder} has {free / 1e6:.0f} MB free and {n_bytes / 1e6:.0f} MB are needed; free some space")


def free_name(path: Path) -> Path:
    """The path with the first number behind its stem that is not taken: ``history-1.jsonl``."""
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(1))
    return next(other for other in numbered if not other.exists())
