"""A run whose logger writes to a store far away: its files are made here and copied there."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from embviz_callback.delivery.guarding import say

_NOT_COPIED = ("in-use", "jobs", "snapshots")  # what only the drawing of this run needs


def has_fsspec() -> bool:
    """Whether anything can be copied."""
    return find_spec("fsspec") is not None


def opened_mirror(folder: Path, address: str) -> "Mirror | None":
    """The mirror of a run whose logger writes elsewhere, and says where its files are; None where nothing is copied."""
    if not has_fsspec():
        say(f"{address} is not on this machine; files are written into {folder} and stay there, without fsspec")
        return None
    say(f"{address} is not on this machine; files are written into {folder} and copied there")
    return Mirror(folder, address)


class Mirror:
    """Copies what is new of a folder.

    Args:
        folder: Here.
        address: There, such as ``s3://bucket/run``; any store that fsspec knows.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address
        self._copied: dict[Path, tuple[int, int]] = {}

    def copy(self) -> None:
        """Copies what has come or changed since the last time; whoever fails is tried again the next time."""
        fsspec: Any = import_module("fsspec")  # late and by name: only such a run needs it
        store, root = fsspec.core.url_to_fs(self.address)
        for path in sorted(self.folder.rglob("*")):
            if self._is_new(path):
                self._put(store, path, f"{root.rstrip('/')}/{path.relative_to(self.folder).as_posix()}")

    def _is_new(self, path: Path) -> bool:
        within = path.relative_to(self.folder)
        is_shown = not {*within.parts} & {*_NOT_COPIED} and not any(part.startswith(".") for part in within.parts)
        return is_shown and path.is_file() and self._copied.get(path) != _state(path)

    def _put(self, store: Any, path: Path, there: str) -> None:
        state = _state(path)
        store.makedirs(there.rpartition("/")[0], exist_ok=True)
        store.put_file(f"{path}", there)
        self._copied[path] = state


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
