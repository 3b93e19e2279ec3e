"""What a run that was visualised keeps of its evaluations, as commands take it with ``--run``."""

import argparse
import zipfile
from collections.abc import Sequence
from pathlib import Path

from embviz_callback.analysis.compare.comparison import compare
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.looking import as_usage_error
from embviz_callback.delivery.run.run_folder import RunFolder, run_folders
from embviz_callback.snapshot import Snapshot, load_snapshot


def run_at(path: str) -> RunFolder:
    """The folder that a run's pictures are in; the run's own, one above it, will do.

    Args:
        path: Of either.

    Returns:
        The folder that holds ``snapshots``.

    Raises:
        UsageError: If there is none, or there are several.
    """
    given = Path(path).expanduser()
    found = run_folders(given)
    if not found:
        raise UsageError(f"--run: {given} keeps no evaluations; give the folder of a run, which holds snapshots/")
    if found[0].path != given and len(found) > 1:
        raise UsageError(f"--run: {given} holds several; give one of {', '.join(str(one.path) for one in found)}")
    return found[0]


def kept_snapshots(run: RunFolder) -> list[Snapshot]:
    """What a run keeps of its evaluations, in the order of training.

    Args:
        run: Its folder.

    Returns:
        Snapshots with the maps that were drawn.

    Raises:
        UsageError: If one cannot be read.
    """
    snapshots = []
    for path in run.kept:
        try:
            snapshots.append(load_snapshot(path))
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise UsageError(f"--run: {path} cannot be read ({error}); move it away to compare the others") from None
    return sorted(snapshots, key=lambda one: (-1 if one.epoch is None else one.epoch, one.step or 0))


def first_best_last(snapshots: Sequence[Snapshot], metric: str = "") -> list[int]:
    """Places of the untrained model (or the first that is kept), the best by the rule of a comparison, and the last.

    Args:
        snapshots: Of one run, in the order of training; a UsageError says that their subsets differ.
        metric: By which the best is chosen; by default as the run chose.

    Returns:
        In their order, none twice; with the one that the last has fallen from, where that is another than the best.
    """
    if len(snapshots) < 2:
        return list(range(len(snapshots)))
    settings = snapshots[-1].settings
    chosen = metric or settings.metric
    with as_usage_error(ValueError):
        found = compare(snapshots, metric=chosen, draws=settings.bootstrap_draws, seed=settings.seed)
    peak = set() if found.fall is None else {found.fall.peak}
    return sorted({0, found.best.place, len(snapshots) - 1} | peak)


def refuse_beside_run(options: argparse.Namespace) -> None:
    """Says that an option has no use beside ``--run``.

    Raises:
        UsageError: If one was given.
    """
    why = {"corpus": "whose evaluations hold what they were ranked among", "data": "whose evaluations hold their pairs"}
    for name, reason in why.items():
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} has no use with --run, {reason}; leave it out")
