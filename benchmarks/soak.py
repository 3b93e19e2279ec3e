"""Half an hour of tiny epochs with the callback on: memory, open files, threads and processes must stay flat.

    OMP_NUM_THREADS=1 nice -n 19 python -m benchmarks.soak --minutes 30

Epochs of half a second. One callback logs numbers after each of them, another draws all five figures after every
twentieth, a checkpoint with the state of both is saved as often. After each epoch the training process and the drawing
process are looked at. The first fifth is warm-up: imports, numba's compilation, the history in memory (500 rows). Of
the rest, the median of the second half is held against that of the first. Exit status 1 where something grows.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from embviz_callback import EmbeddingVisualizer, MarginAlert
from tests.tiny_training import TinyBiEncoder, pairs, trainer

_PAGE_MIB = 4096 / 2**20
_WARM_UP = 0.2  # share of the samples
_MORE_MEMORY = 0.02  # of the second half over the first, beyond which memory is said to grow
_ENDLESS = 10**9


@dataclass(frozen=True)
class Verdict:
    """How one measured value went on.

    Attributes:
        first: Median of the first half after warm-up.
        second: Median of the second half.
        is_flat: Whether the second is no more than the first, of memory 2 % more.
    """

    first: float
    second: float
    is_flat: bool


def verdicts(samples: Sequence[Mapping[str, float]]) -> dict[str, Verdict]:
    """What a soak has shown, by the name of the value.

    Args:
        samples: In the order of time, each with the same names.

    Returns:
        One verdict for each name.

    Raises:
        ValueError: If there are fewer than 10 samples.
    """
    if len(samples) < 10:
        raise ValueError(f"samples must be at least 10, got {len(samples)}")
    warm = samples[int(len(samples) * _WARM_UP) :]
    middle = len(warm) // 2
    return {name: _verdict(name, warm[:middle], warm[middle:]) for name in samples[0]}


def _verdict(name: str, first: Sequence[Mapping[str, float]], second: Sequence[Mapping[str, float]]) -> Verdict:
    before, after = (median(sample[name] for sample in part) for part in (first, second))
    allowed = before * (1 + _MORE_MEMORY) if name.endswith("MiB") else before
    return Verdict(before, after, is_flat=after <= allowed)


def look_at(pid: int) -> dict[str, float]:
    """Memory, open files and threads of a process, as Linux tells them."""
    place = Path("/proc") / str(pid)
    return {
        "MiB": int((place / "statm").read_text().split()[1]) * _PAGE_MIB,
        "files": len(list((place / "fd").iterdir())),
        "threads": len(list((place / "task").iterdir())),
    }


def children_of(pid: int) -> int:
    """How many processes have it as their parent, dead ones that nobody has waited for included."""
    n_children = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # Behind the name, which may hold blanks and brackets itself: state and parent.
            n_children += status.read_text().rpartition(")")[2].split()[1] == str(pid)
        except OSError:  # it has ended meanwhile
            continue
    return n_children


class Sampler(pl.Callback):
    """Looks at both processes after every epoch, when there are two."""

    def __init__(self, drawn: EmbeddingVisualizer) -> None:
        self.drawn = drawn
        self.samples: list[dict[str, float]] = []
        self.pids: set[int] = set()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds a sample."""
        run = self.drawn._session
        pid = None if run is None or run.worker is None else run.worker.pid
        if pid is None:
            return
        self.pids.add(pid)
        sample = {f"training {name}": value for name, value in look_at(os.getpid()).items()}
        sample |= {f"drawing {name}": value for name, value in look_at(pid).items()}
        self.samples.append(sample | {"children": children_of(os.getpid())})


class Slow(TinyBiEncoder):
    """Takes its time for an epoch, so that drawing keeps up."""

    def __init__(self, epoch_s: float) -> None:
        super().__init__()
        self.epoch_s = epoch_s

    def on_train_epoch_start(self) -> None:
        """Waits."""
        time.sleep(self.epoch_s)


def soak(folder: Path, minutes: float, epoch_s: float, every: int) -> tuple[Sampler, EmbeddingVisualizer, pl.Trainer]:
    """One long training of tiny epochs.

    Args:
        folder: For all that is written.
        minutes: How long.
        epoch_s: Seconds of one epoch, above what it computes.
        every: Epochs from one drawing to the next.

    Returns:
        The samples, the callback that draws, and the trainer.
    """
    drawn = EmbeddingVisualizer(pairs(), every_n_epochs=every, alert=MarginAlert(0.5), name="drawn")
    numbers = EmbeddingVisualizer(pairs(), figures=False, alert=None, name="numbers")
    sampler = Sampler(drawn)
    kept = ModelCheckpoint(folder / "kept", save_last=True, every_n_epochs=every)
    options: dict[str, Any] = {"max_epochs": _ENDLESS, "max_time": {"minutes": minutes}, "enable_checkpointing": True}
    fitted = trainer(folder, drawn, numbers, sampler, kept, **options)
    fitted.fit(Slow(epoch_s))
    return sampler, drawn, fitted


def main() -> int:
    """Soaks, prints the verdicts.

    Returns:
        1 where something grew or the drawing process was ever lost, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--epoch-seconds", type=float, default=0.5)
    parser.add_argument("--every", type=int, default=20, help="epochs from one drawing to the next")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sampler, drawn, fitted = soak(Path(name), options.minutes, options.epoch_seconds, options.every)
        assert drawn.folder is not None
        n_drawn = len(list(drawn.folder.glob("epoch_*/report.md")))
    found = verdicts(sampler.samples)
    print(f"{options.minutes:g} minutes, {fitted.current_epoch} epochs, {n_drawn} of them drawn", end=", ")
    print(f"{len(sampler.samples)} samples, {len(sampler.pids)} drawing process(es)")
    print(f"{'':<18}{'first half':>12}{'second half':>12}")
    for label, verdict in found.items():
        word = "flat" if verdict.is_flat else "GROWS"
        print(f"{label:<18}{verdict.first:>12.1f}{verdict.second:>12.1f}  {word}")
    return int(len(sampler.pids) != 1 or not all(verdict.is_flat for verdict in found.values()))


if __name__ == "__main__":
    sys.exit(main())
