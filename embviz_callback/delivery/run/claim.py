"""A run folder belongs to one training at a time; another one that begins meanwhile gets a folder beside it."""

from contextlib import suppress
from pathlib import Path
from typing import IO

from embviz_callback.delivery.run.run_folder import RunFolder

_LOCK = "in-use"
_held: dict[Path, tuple[IO[bytes] | None, int]] = {}  # by this process: with how many claims


class Claim:
    """What keeps other processes out of a folder, until it is released or this process ends, however it ends.

    Two claims of one process share a folder: the session of a training that ended by an exception may be open yet.

    Args:
        folder: That was got.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_open = True

    def release(self) -> None:
        """Lets others in; only the first call does anything."""
        if not self._is_open:
            return
        self._is_open = False
        lock, n_claims = _held.pop(self.folder, (None, 1))
        if n_claims > 1:
            _held[self.folder] = lock, n_claims - 1
        elif lock is not None:
            lock.close()


def claim_folder(wanted: Path, run_id: str = "") -> Claim:
    """Claims a folder, or the first free one of ``wanted-2``, ``wanted-3``, ...

    Args:
        wanted: Made if it is not there. Where it cannot be written to, nothing is kept out.
        run_id: Of a training that goes on; it gets the folder back that it had, if that is free.

    Returns:
        The claim.
    """
    if run_id and RunFolder(wanted).owner != run_id:
        for other in sorted(wanted.parent.glob(f"{wanted.name}-[0-9]*")):
            if RunFolder(other).owner == run_id and _is_got(other):
                return Claim(other)
    folder, number = wanted, 1
    while not _is_got(folder):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return Claim(folder)


def _is_got(folder: Path) -> bool:
    lock, n_claims = _held.get(folder, (None, 0))
    if not n_claims:
        lock = None
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / _LOCK).open("ab")
        if lock is not None and not _locked(lock):
            lock.close()
            return False
    _held[folder] = lock, n_claims + 1
    return True


def _locked(lock: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        # Of the process and not of the open file: a data loader's worker that outlives a killed training
        # would hold on to the other kind.
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return True
    return True
