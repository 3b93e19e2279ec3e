"""Thousands of tiny epochs, killed in the middle and resumed: what an evaluation costs and leaves must not grow.

    OMP_NUM_THREADS=1 nice -n 19 python -m benchmarks.soak --epochs 5000

One callback logs numbers after each epoch, another draws all five figures after every fortieth, a checkpoint with the
state of both is saved as often. At half of the epochs the training is killed (SIGKILL) and another process goes on from
the last checkpoint. As often as it is drawn, the training process and the drawing process are looked at. The first two
fifths of either training are warm-up (imports, numba's compilation), and the history in memory (500 rows) and the page
(50 evaluations) are full when the second begins. Exit status 1 where the median of its second half is above that of
its first, or a drawing process was lost.
"""

import argparse
import json
import os
import signal
import subprocess
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
from embviz_callback.files import append_row, read_rows
from tests.tiny_training import TinyBiEncoder, pairs, trainer

_PAGE_MIB = 4096 / 2**20
_TICKS = os.sysconf("SC_CLK_TCK")
_WARM_UP = 0.4  # share of the samples
# Of the second half over the first, beyond which it is said to grow; counts may not grow at all, and
# processor time depends on what else the machine does.
_MORE = {"MiB": 0.02, "kB": 0.02, "ms": 0.25}
_SAMPLES = "samples.jsonl"
_NUMBERS = {"figures": False, "alert": None, "bootstrap_draws": 100, "name": "numbers"}


@dataclass(frozen=True)
class Verdict:
    """How one measured value went on.

    Attributes:
        first: Median of the first half after warm-up.
        second: Median of the second half.
        is_flat: Whether the second is no more than the first; of memory, sizes and times not much more.
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
        ValueError: If there are fewer than 4 samples.
    """
    if len(samples) < 4:
        raise ValueError(f"samples must be at least 4, got {len(samples)}")
    warm = samples[int(len(samples) * _WARM_UP) :]
    middle = len(warm) // 2
    halves = [
        {name: median(one[name] for one in part) for name in samples[0]} for part in (warm[:middle], warm[middle:])
    ]
    return {name: _verdict(name, *(half[name] for half in halves)) for name in samples[0]}


def _verdict(name: str, before: float, after: float) -> Verdict:
    unit = name.rpartition(" ")[2]
    return Verdict(before, after, is_flat=after <= before * (1 + _MORE.get(unit, 0.0)))


def look_at(pid: int) -> dict[str, float]:
    """Memory, open files and threads of a process, as Linux tells them."""
    place = Path("/proc") / str(pid)
    return {
        "MiB": int((place / "statm").read_text().split()[1]) * _PAGE_MIB,
        "files": len(list((place / "fd").iterdir())),
        "threads": len(list((place / "task").iterdir())),
    }


def work_of(pid: int) -> float:
    """Milliseconds of the processor that a process has had."""
    words = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(words[11]) + int(words[12])) / _TICKS


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


class Slow(TinyBiEncoder):
    """Takes its time for an epoch, so that drawing keeps up."""

    def __init__(self, epoch_s: float) -> None:
        super().__init__()
        self.epoch_s = epoch_s

    def on_train_epoch_start(self) -> None:
        """Waits."""
        time.sleep(self.epoch_s)


class Timed(EmbeddingVisualizer):
    """Notes what its own hook costs of the processor."""

    hook_ms: list[float]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates."""
        begun = time.process_time()
        super().on_train_epoch_end(trainer, pl_module)
        self.hook_ms = [*getattr(self, "hook_ms", []), 1000 * (time.process_time() - begun)]


class Sampler(pl.Callback):
    """Looks at both processes as often as something is drawn."""

    def __init__(self, numbers: Timed, drawn: EmbeddingVisualizer, folder: Path, every: int) -> None:
        self.numbers, self.drawn, self.folder, self.every = numbers, drawn, folder, every
        self._work: dict[int, float] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds a sample, once there is a drawing process."""
        session = self.drawn._session
        pid = None if session is None or session.worker is None else session.worker.pid
        if pid is None or (trainer.current_epoch + 1) % self.every:
            return
        assert self.drawn.folder is not None
        page, work = self.drawn.folder / "report.html", work_of(pid)
        sample = {f"training {name}": value for name, value in look_at(os.getpid()).items()}
        sample |= {f"drawing {name}": value for name, value in look_at(pid).items()}
        sample |= {
            "children": children_of(os.getpid()),
            "an evaluation, ms": median(self.numbers.hook_ms),
            "a drawing, ms": work - self._work.get(pid, 0.0),
            "page, kB": page.stat().st_size / 1000 if page.exists() else 0.0,
            "state, kB": len(json.dumps(self.numbers.state_dict())) / 1000,
        }
        self._work[pid], self.numbers.hook_ms = work, []
        append_row(self.folder / _SAMPLES, {"epoch": trainer.current_epoch, "pid": pid, "sample": sample})


def train(folder: Path, epochs: int, every: int, epoch_s: float) -> None:
    """Trains up to an epoch, from the last checkpoint if there is one."""
    numbers = Timed(pairs(), **_NUMBERS)
    drawn = EmbeddingVisualizer(pairs(), every_n_epochs=every, alert=MarginAlert(0.5), name="drawn")
    kept = ModelCheckpoint(folder / "kept", save_last=True, every_n_epochs=every)
    sampler = Sampler(numbers, drawn, folder, every)
    options: dict[str, Any] = {"max_epochs": epochs, "enable_checkpointing": True, "log_every_n_steps": 100}
    last = folder / "kept" / "last.ckpt"
    fitted = trainer(folder, drawn, numbers, sampler, kept, **options)
    fitted.fit(Slow(epoch_s), ckpt_path=last if last.exists() else None)


def samples_in(folder: Path) -> list[dict[str, Any]]:
    """What was written down so far."""
    return [row for row in read_rows(folder / _SAMPLES) if isinstance(row, dict)]


def run(folder: Path, options: argparse.Namespace, *, killed_at: int | None) -> list[dict[str, Any]]:
    """One training in a process of its own.

    Args:
        folder: For all that is written.
        options: Of the command.
        killed_at: Epoch after which it is killed; None to let it end.

    Returns:
        Its samples.
    """
    before = len(samples_in(folder))
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.soak", "--here", f"{folder}"]
    numbers = {"--epochs": options.epochs, "--every": options.every, "--epoch-seconds": options.epoch_seconds}
    child = subprocess.Popen([*command, *(f"{word}" for pair in numbers.items() for word in pair)])
    while child.poll() is None:
        time.sleep(0.2)
        rows = samples_in(folder)[before:]
        if killed_at is not None and rows and rows[-1]["epoch"] >= killed_at:
            child.send_signal(signal.SIGKILL)
    child.wait()
    if child.returncode != (0 if killed_at is None else -signal.SIGKILL):
        raise SystemExit(f"the training ended with {child.returncode}")
    return samples_in(folder)[before:]


def main() -> int:
    """Soaks, prints the verdicts.

    Returns:
        1 where something grew or a drawing process was ever lost, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5000)
    parser.add_argument("--every", type=int, default=40, help="epochs from one drawing to the next")
    parser.add_argument("--epoch-seconds", type=float, default=0.1, help="of waiting")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here is not None:
        train(options.here, options.epochs, options.every, options.epoch_seconds)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        killed = run(folder, options, killed_at=options.epochs // 2 - 1)
        resumed = run(folder, options, killed_at=None)
        n_drawn = len(list((folder / "run").glob("*drawn*/epoch_*/report.md")))
    print(
        f"{options.epochs} epochs, killed after epoch {killed[-1]['epoch']}, resumed to {resumed[-1]['epoch']}",
        end=", ",
    )
    print(f"{n_drawn} evaluations drawn, {len(killed)} and {len(resumed)} samples")
    found = [verdicts([row["sample"] for row in rows]) for rows in (killed, resumed)]
    _print_table(*found)
    is_flat = all(verdict.is_flat for verdict in found[1].values())
    n_processes = [len({row["pid"] for row in rows}) for rows in (killed, resumed)]
    return int(n_processes != [1, 1] or not is_flat)


def _print_table(killed: Mapping[str, Verdict], resumed: Mapping[str, Verdict]) -> None:
    print(f"| {'':<18} | killed, first half | second half | resumed, first half | second half | |\n|{'---|' * 6}")
    for label, late in resumed.items():
        values = (killed[label].first, killed[label].second, late.first, late.second)
        cells = " | ".join(f"{value:.1f}" for value in values)
        print(f"| {label:<18} | {cells} | {'flat' if late.is_flat else 'GROWS'} |")


if __name__ == "__main__":
    sys.exit(main())
