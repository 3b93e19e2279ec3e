"""Evaluations of a run that stay on disk: the next maps start from the last, and epochs are compared by them."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.files import require_space
from embviz_callback.snapshot import Snapshot, save_snapshot

FOLDER = "snapshots"
MOST = 20  # 500 pairs in 1,024 dimensions take 4 MB, so 80 MB in all
_MOST_BYTES = 1_000_000_000  # for subsets that are much larger
_FEWEST = 3  # the first, the best and the last
_SPARE_BYTES = 50_000_000  # left free on the disk for the checkpoints of the training


@dataclass(frozen=True)
class _Kept:
    path: Path
    fingerprint: str
    step: int
    merit: tuple[float, float]
    n_bytes: int


def kept_folders(folder: Path) -> list[Path]:
    """The kept evaluations of a run in the order of training, whole ones only.

    Args:
        folder: Of the run; may hold nothing yet.

    Returns:
        Folders for `embviz_callback.snapshot.load_snapshot`.
    """
    return sorted(path.parent for path in (folder / FOLDER).glob("[0-9]*/snapshot.json"))


def keep(folder: Path, snapshot: Snapshot, name: str) -> None:
    """Adds an evaluation, then thins the older ones out and drops those of another subset.

    At most 20 stay (fewer of a subset so large that 20 would take more than 1 GB), spread evenly over
    the training: always the first, the last and the one with the highest rank-1.

    Args:
        folder: Of the run.
        snapshot: With its maps.
        name: Of its folder; sorts in the order of training.
    """
    root = folder / FOLDER
    for torn in root.glob(".*"):
        shutil.rmtree(torn)
    unfinished = root / f".{name}"
    unfinished.mkdir(parents=True)
    arrays = (snapshot.embeddings.queries, snapshot.embeddings.documents)
    require_space(unfinished, _SPARE_BYTES + sum(array.nbytes for array in arrays))
    save_snapshot(snapshot, unfinished)
    shutil.rmtree(root / name, ignore_errors=True)
    unfinished.rename(root / name)
    kept = [_read(path) for path in kept_folders(folder)]
    for other in kept:
        if other.fingerprint != snapshot.subset.fingerprint:
            shutil.rmtree(other.path)
    same = [one for one in kept if one.fingerprint == snapshot.subset.fingerprint]
    while len(same) > MOST or (len(same) > _FEWEST and sum(one.n_bytes for one in same) > _MOST_BYTES):
        shutil.rmtree(same.pop(_least_missed(same)).path)


def forget_kept_after(folder: Path, step: int) -> None:
    """Removes evaluations after a step: a run that is resumed from there will make them anew.

    Args:
        folder: Of the run; may hold nothing yet.
        step: Of the checkpoint.
    """
    for path in kept_folders(folder):
        if _read(path).step > step:
            shutil.rmtree(path)


def forget_kept_before(folder: Path, job: Path) -> None:
    """Removes what an earlier run kept in the same folder: all that is older than the first job of this one.

    Args:
        folder: Of the run.
        job: The first one's folder; it may be drawn late, when evaluations of its own run are kept already.
    """
    begun = (job / "job.json").stat().st_mtime_ns
    for path in kept_folders(folder):
        if (path / "snapshot.json").stat().st_mtime_ns < begun:
            shutil.rmtree(path)


def _read(path: Path) -> _Kept:
    facts = json.loads((path / "snapshot.json").read_text(encoding="utf-8"))
    metrics = Metrics.from_dict(facts["metrics"])
    merit = (_or_worst(metrics.rank1), _or_worst(metrics.separation))
    n_bytes = sum(file.stat().st_size for file in path.iterdir())
    return _Kept(path, facts["subset"]["fingerprint"], -1 if facts["step"] is None else facts["step"], merit, n_bytes)


def _or_worst(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _least_missed(kept: Sequence[_Kept]) -> int:
    """Place of the one that leaves the smallest hole; the first, the last and the best are never it."""
    best = max(range(len(kept)), key=lambda place: kept[place].merit)
    free = [place for place in range(1, len(kept) - 1) if place != best]
    return min(free, key=lambda place: kept[place + 1].step - kept[place - 1].step)
