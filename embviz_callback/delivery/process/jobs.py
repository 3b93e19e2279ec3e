"""Drawings that wait, as folders on disk: they outlive every process."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

CONCLUSION = "conclusion.json"  # in place of an evaluation: what is made when a training has ended
_MOST_DEFERRED = 20  # a job of 500 pairs in 1,024 dimensions takes 4 MB
_ATTEMPTS = "attempts"


class Jobs:
    """Jobs of one run, each a folder that moves from ``pending`` to ``active``.

    One that cannot be done goes to ``failed``, one that has to wait to ``deferred``, one of an
    earlier run to ``abandoned``.
    A move is one rename, so that a job is in exactly one place and whole, whoever dies when.
    Names sort in the order in which jobs are to be done.

    Args:
        root: Made with the first job, readable by its owner only: jobs hold the texts of the data.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, fill: Callable[[Path], None]) -> None:
        """Adds a job; one of the same name that still waits is replaced.

        Args:
            name: A file name.
            fill: Writes the job into a folder that nobody else looks at yet.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self.root / f".{name}.{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir()
            fill(unfinished)
            self._move(unfinished, "pending", name)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def names(self, state: str) -> list[str]:
        """The jobs in one state, first to be done first."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root / state) if entry.is_dir())
        except FileNotFoundError:
            return []

    def evaluations(self, *states: str) -> list[str]:
        """The jobs in some states without the conclusion of a training, first to be done first."""
        found = ((state, name) for state in states for name in self.names(state))
        return sorted(name for state, name in found if not (self.root / state / name / CONCLUSION).exists())

    def claim(self) -> Path | None:
        """Takes the first pending job, which is active from now on.

        Returns:
            Its folder, or None where nothing waits.
        """
        for name in self.names("pending"):
            # Another process may have deferred it between the listing and the move.
            if self._try_move("pending", name, "active"):
                return self.root / "active" / name
        return None

    def done(self, name: str) -> None:
        """Removes an active job."""
        shutil.rmtree(self.root / "active" / name, ignore_errors=True)

    def fail(self, name: str, reason: str) -> None:
        """Sets an active job aside, with a note that says why."""
        if self._try_move("active", name, "failed"):
            (self.root / "failed" / name / "reason.txt").write_text(reason, encoding="utf-8")

    def requeue(self, name: str) -> int:
        """Puts an active job back among the pending ones.

        Returns:
            How often that has been done with it.
        """
        note = self.root / "active" / name / _ATTEMPTS
        attempts = 1 + (len(note.read_bytes()) if note.exists() else 0)
        note.write_bytes(b"x" * attempts)
        self._try_move("active", name, "pending")
        return attempts

    def attempts(self, name: str) -> int:
        """How often an active job has been requeued."""
        note = self.root / "active" / name / _ATTEMPTS
        return len(note.read_bytes()) if note.exists() else 0

    def defer_oldest(self) -> str | None:
        """Moves the first pending job out of the way; at most 20 are kept there.

        Returns:
            Its name, or None where nothing waits any more.
        """
        for name in self.names("pending"):
            if self._try_move("pending", name, "deferred"):
                for oldest in self.names("deferred")[:-_MOST_DEFERRED]:
                    shutil.rmtree(self.root / "deferred" / oldest, ignore_errors=True)
                return name
        return None

    def take_back(self, *states: str) -> None:
        """Makes jobs pending again: put off, given up, or active under a process that is dead.

        Args:
            states: Any of "active", "deferred" and "failed".
        """
        for state in states:
            for name in self.names(state):
                for note in ("reason.txt", _ATTEMPTS) if state == "failed" else ():
                    (self.root / state / name / note).unlink(missing_ok=True)
                self._try_move(state, name, "pending")

    def abandon(self) -> int:
        """Sets aside, as "abandoned", what an earlier training left behind: it is no part of one that begins anew.

        Returns:
            How many of its evaluations had not been drawn.
        """
        n_left = len(self.evaluations("pending", "active", "deferred"))
        if any(self.names(state) for state in ("pending", "active", "deferred", "failed")):
            shutil.rmtree(self.root / "abandoned", ignore_errors=True)
        for state in ("pending", "active", "deferred", "failed"):
            for name in self.names(state):
                self._try_move(state, name, "abandoned")
        return n_left

    @contextmanager
    def served(self) -> Iterator[None]:
        """Waits until no other process does these jobs, and keeps others from them; falls with the process."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.root / "lock").open("a") as lock:
            _try_lock(lock, wait=True)
            yield

    def is_served(self) -> bool:
        """Whether a process does these jobs."""
        try:
            with (self.root / "lock").open("a") as lock:
                return not _try_lock(lock, wait=False)
        except FileNotFoundError:
            return False

    def _try_move(self, source: str, name: str, target: str) -> bool:
        try:
            self._move(self.root / source / name, target, name)
        except FileNotFoundError:
            return False
        return True

    def _move(self, source: Path, target: str, name: str) -> None:
        if not source.is_dir():
            raise FileNotFoundError(source)
        folder = self.root / target
        folder.mkdir(exist_ok=True)
        shutil.rmtree(folder / name, ignore_errors=True)
        source.rename(folder / name)


def _try_lock(lock: TextIO, *, wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
