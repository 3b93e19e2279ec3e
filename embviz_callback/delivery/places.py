"""Where a run writes: asked of the trainer's loggers, without a word between the ranks."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Places:
    """Where one run writes.

    Attributes:
        folder: Figures, report, history and jobs; None writes nothing (another rank, a trial run).
        events: Folder of the TensorBoard file with pictures and text.
        prefix: What stands before the slash in every tag.
        rank: Of this process.
        is_trial: Nothing of it is to leave the process (``fast_dev_run``).
    """

    folder: Path | None
    events: Path | None
    prefix: str = "embviz"
    rank: int = 0
    is_trial: bool = False

    def moved_to(self, folder: Path) -> Self:
        """The same with another folder; events that lay in the old one go along."""
        return replace(self, folder=folder, events=folder if self.events == self.folder else self.events)


def find_places(trainer: Any, output_dir: Path | None, prefix: str) -> Places:
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
    home = Path(trainer.default_root_dir)
    logged = next(filter(None, (_log_folder(logger, home) for logger in trainer.loggers)), None)
    root = home if logged is None else logged
    folder = root / prefix
    if output_dir is not None:
        folder = output_dir if prefix == "embviz" else output_dir / prefix
    return Places(folder.absolute(), (folder if logged is None else root / prefix).absolute(), prefix, 0)


def _log_folder(logger: Any, home: Path) -> Path | None:
    """The folder of one run of a logger; None where the logger does not tell its runs apart."""
    if (own := getattr(logger, "log_dir", None)) is not None:
        return Path(own)
    shared = getattr(logger, "save_dir", None)
    number = logger.version
    if shared is None:
        # On a server only. Two runs in one folder would wait for each other's drawings.
        return home / f"{logger.name}" / number if number and isinstance(number, str) else None
    return Path(shared, f"{logger.name}", number if isinstance(number, str) else f"version_{number}")
