"""Where a run writes: asked of the trainer's loggers, without a word between the ranks."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from embviz_callback.files import safe_name
from embviz_callback.pairs.texts import beginning

_REMOTE = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class Places:
    """Where one run writes.

    Attributes:
        folder: Figures, report, history and jobs; None writes nothing (another rank, a trial run).
        events: Folder of the TensorBoard file with pictures and text.
        prefix: What stands before the slash in every tag.
        rank: Of this process.
        is_trial: Nothing of it is to leave the process (``fast_dev_run``).
        address: Where the files are copied to, such as ``s3://bucket/run/embviz``; None where they stay.
    """

    folder: Path | None
    events: Path | None
    prefix: str = "embviz"
    rank: int = 0
    is_trial: bool = False
    address: str | None = None

    def moved_to(self, folder: Path) -> Self:
        """The same with another folder; events that lay in the old one go along."""
        events = folder if self.events == self.folder else self.events
        beside = "" if self.folder is None else folder.name.removeprefix(self.folder.name)
        return replace(self, folder=folder, events=events, address=self.address and f"{self.address}{beside}")

    def of_set(self, name: str) -> Self:
        """Those of a further set: a folder within this one, which is copied along with it."""
        folder, events = (None if path is None else path / name for path in (self.folder, self.events))
        return replace(self, folder=folder, events=events, prefix=f"{self.prefix}/{name}", address=None)


def as_output_dir(given: str | os.PathLike[str] | None) -> str | Path | None:
    """What a user gives as ``output_dir``: a path, or the address of a place far away, which a path would spoil."""
    if given is None or _REMOTE.match(os.fspath(given)):
        return None if given is None else os.fspath(given)
    return Path(given)


def check_output_dir(given: str | os.PathLike[str]) -> None:
    """Refuses what can be no folder, before anything is trained.

    Args:
        given: As the user gave it.

    Raises:
        ValueError: If it is a file, or no name that a disk can hold.
    """
    try:
        is_file = Path(given).is_file()
    except OSError as error:
        raise ValueError(f"output_dir must be a folder, {beginning(os.fspath(given), 60)}: {error.strerror}") from None
    if is_file:
        raise ValueError(f"output_dir must be a folder, {os.fspath(given)} is a file")


def landing(wanted: str | Path) -> tuple[Path, str | None]:
    """Where files for a place are written, and the address they are copied to; None for a place on this machine."""
    if _REMOTE.match(f"{wanted}"):
        # A name of its own for each, and the same one when the training is resumed.
        return Path("embviz_runs", safe_name(f"{wanted}")), f"{wanted}".rstrip("/")
    return Path(wanted), None


def find_places(trainer: Any, output_dir: str | Path | None, prefix: str) -> Places:
    """Where the main rank writes; every other rank writes nothing.

    `trainer.log_dir` is not asked: it is a broadcast, on which a lone rank would wait for ever.

    Args:
        trainer: A Lightning trainer.
        output_dir: The user's wish, or None.
        prefix: Of the tags, also the name of the folder.

    Returns:
        Absolute paths, so that a user's change of directory does not matter.
    """
    if not trainer.is_global_zero or trainer.fast_dev_run:
        return Places(None, None, prefix, trainer.global_rank, is_trial=bool(trainer.fast_dev_run))
    home = f"{trainer.default_root_dir}"
    logged = next(filter(None, (_log_folder(logger, home) for logger in trainer.loggers)), None)
    root, _ = landing(home if logged is None else logged)
    return places_in(output_dir, home if logged is None else logged, None if logged is None else root, prefix)


def places_in(output_dir: str | Path | None, home: str, logged: Path | None, prefix: str) -> Places:
    """Where the main rank writes.

    Args:
        output_dir: The user's wish, or None.
        home: Where files go without one.
        logged: The folder of the trainer's TensorBoard file; None without.
        prefix: See `find_places`.

    Returns:
        Absolute paths.
    """
    inner = prefix if output_dir is None or prefix != "embviz" else ""
    own, address = landing(home if output_dir is None else output_dir)
    folder = own / inner
    events = folder if logged is None else logged / prefix
    address = address and f"{address}/{inner}".rstrip("/")
    return Places(folder.absolute(), events.absolute(), prefix, 0, address=address)


def _log_folder(logger: Any, home: str) -> str | None:
    """The folder of one run of a logger; None where the logger does not tell its runs apart."""
    if (own := getattr(logger, "log_dir", None)) is not None:
        return f"{own}"
    shared = getattr(logger, "save_dir", None)
    number = logger.version
    if shared is None:
        # On a server only. Two runs in one folder would wait for each other's drawings.
        return f"{home}/{logger.name}/{number}" if number and isinstance(number, str) else None
    return f"{shared}/{logger.name}/{number if isinstance(number, str) else f'version_{number}'}"
