"""Evaluations of a run that stay on disk: the next maps start from the last, and epochs are compared by them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from embviz_callback.analysis.verdict.best import Candidate, best_of
from embviz_callback.files import edition, read_json, require_space
from embviz_callback.snapshot import SNAPSHOT, Snapshot, save_snapshot

MOST = 20  # 500 pairs in 1,024 dimensions take 4 MB, so 80 MB in all
_MOST_BYTES = 1_000_000_000  # for subsets that are much larger
_FEWEST = 3  # the first, the best and the last
_SPARE_BYTES = 50_000_000  # left free on the disk for the checkpoints of the training


@dataclass(frozen=True)
class Kept:
    """One of them, as far as it must be known to thin them out.

    Attributes:
        path: Its folder.
        fingerprint: Of the subset.
        step: Of the training; -1 outside one.
        standing: As a candidate for the best; None where an older version wrote it.
        n_bytes: What it takes.
    """

    path: Path
    fingerprint: str
    step: int
    standing: Candidate | None
    n_bytes: int


def kept_in(root: Path) -> list[Path]:
    """Folders for `embviz_callback.snapshot.load_snapshot` in the order of training, whole ones only."""
    return sorted(path.parent for path in root.glob(f"[0-9]*/{SNAPSHOT}"))


def keep(root: Path, snapshot: Snapshot, name: str) -> None:
    """Adds an evaluation, then thins the older ones out and drops those of another subset.

    At most 20 stay (fewer of a subset so large that 20 would take more than 1 GB), spread evenly over
    the training: always the first, the last and the best by the rule of `embviz compare`.

    Args:
        root: Holds them.
        snapshot: With its maps.
        name: Of its folder; sorts in the order of training.
    """
    for torn in root.glob(".*"):
        shutil.rmtree(torn)
    unfinished = root / f".{name}"
    unfinished.mkdir(parents=True)
    arrays = (snapshot.embeddings.queries, snapshot.embeddings.documents)
    require_space(unfinished, _SPARE_BYTES + sum(array.nbytes for array in arrays))
    save_snapshot(snapshot, unfinished)
    shutil.rmtree(root / name, ignore_errors=True)
    unfinished.rename(root / name)
    kept = [read_kept(path) for path in kept_in(root)]
    for other in kept:
        if other.fingerprint != snapshot.subset.fingerprint:
            shutil.rmtree(other.path)
    same = [one for one in kept if one.fingerprint == snapshot.subset.fingerprint]
    while len(same) > MOST or (len(same) > _FEWEST and sum(one.n_bytes for one in same) > _MOST_BYTES):
        best = _best(same)
        shutil.rmtree(same.pop(least_missed([one.step for one in same], best)).path)


def read_kept(path: Path) -> Kept:
    """What `keep` wants to know of one of them."""
    return _read_once(path, edition(path / SNAPSHOT))


@lru_cache(maxsize=2 * MOST)  # its texts alone are 200 kB
def _read_once(path: Path, _edition: tuple[int, int, int]) -> Kept:
    facts = read_json(path / SNAPSHOT)
    standing = None if facts.get("standing") is None else Candidate.from_json(facts["standing"])
    n_bytes = sum(file.stat().st_size for file in path.iterdir())
    return Kept(path, facts["subset"]["fingerprint"], -1 if facts["step"] is None else facts["step"], standing, n_bytes)


def _best(kept: Sequence[Kept]) -> int:
    """Place of the best by the metric that decided last; that of the last where nobody stands for it."""
    known = [(place, one.standing) for place, one in enumerate(kept) if one.standing is not None]
    metric = known[-1][1].metric if known else ""
    same = [(place, standing) for place, standing in known if standing.metric == metric]
    return same[best_of([standing for _, standing in same], metric)][0] if same else len(kept) - 1


def least_missed(steps: Sequence[int], best: int) -> int:
    """Place of the evaluation that leaves the smallest hole in a training.

    Args:
        steps: Of three or more evaluations, ascending.
        best: Place of the best of them.

    Returns:
        A place, never that of the first, the last or the best.
    """
    free = [place for place in range(1, len(steps) - 1) if place != best]
    return min(free, key=lambda place: steps[place + 1] - steps[place - 1])
