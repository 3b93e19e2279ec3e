"""The folder of several trainings held against each other: tables, figures and a page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from embviz_callback.analysis.compare.comparison import deciding_metric, in_order_of
from embviz_callback.analysis.compare.runs import Leaderboard, Training, leaderboard
from embviz_callback.analysis.verdict.best import candidate
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.page.page import page
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.drawing.reports.comparisons.runs_report import board_of, runs_report
from embviz_callback.files import to_json, without_nan, write_atomically
from embviz_callback.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class KeptRun:
    """What one run keeps.

    Attributes:
        label: Tells it from the others.
        snapshots: Its evaluations in the order of training, at least one.
    """

    label: str
    snapshots: tuple[Snapshot, ...]

    @property
    def hparams(self) -> Mapping[str, Any]:
        """Of its training."""
        return self.snapshots[-1].provenance.hparams


@dataclass(frozen=True, eq=False)
class RunsCompared:
    """Runs held against each other.

    Attributes:
        board: What was found.
        labels: Of the runs, in the order given.
        best: The best evaluation of each, named after its run.
        stands_by: What each of them is called within its run.
    """

    board: Leaderboard
    labels: tuple[str, ...]
    best: tuple[Snapshot, ...]
    stands_by: tuple[str, ...]

    @property
    def told(self) -> dict[str, Any]:
        """The leaderboard as report, page and terminal show it."""
        return board_of(self.board, self.labels, self.stands_by)


def compare_runs(
    runs: Sequence[KeptRun], *, metric: str = "", settings: Sequence[tuple[str, tuple[int, ...]]] = ()
) -> RunsCompared:
    """Finds which run has reached most.

    Args:
        runs: Two or more.
        metric: By which; empty for the one that fits the data.
        settings: As for `leaderboard`.

    Returns:
        What was found; a ValueError says if the evaluations are not of one subset, or there is no such metric.
    """
    first = runs[0].snapshots[0]
    for run in runs:
        _check_comparable(run, runs[0].label, first)
    decides = deciding_metric(first, metric)
    trainings = [
        Training(
            run.label, tuple(candidate(in_order_of(first, one), decides) for one in run.snapshots), dict(run.hparams)
        )
        for run in runs
    ]
    options = first.settings
    board = leaderboard(trainings, decides, settings=settings, draws=options.bootstrap_draws, seed=options.seed)
    place = {run: best for entry in board.entries for run, best in zip(entry.runs, entry.best, strict=True)}
    shown = [run.snapshots[place.get(at, -1)] for at, run in enumerate(runs)]
    # Its epoch would stand for the run on the page's charts.
    best = tuple(
        replace(one, label=f"{run.label}, {one.label}", epoch=None) for run, one in zip(runs, shown, strict=True)
    )
    return RunsCompared(board, tuple(run.label for run in runs), best, tuple(one.label for one in shown))


def _check_comparable(run: KeptRun, other: str, first: Snapshot) -> None:
    for one in run.snapshots:
        if one.subset.fingerprint != first.subset.fingerprint:
            raise ValueError(
                f"only runs on one subset can be compared: {other} is of {first.subset.fingerprint}, {run.label} of"
                f" {one.subset.fingerprint}; use the same data, max_samples, seed and corpus"
            )
        if one.subset.queries != first.subset.queries or one.subset.documents != first.subset.documents:
            raise ValueError(f"{run.label} holds the texts of {other} in another order; train both with the same seed")


def write_runs(compared: RunsCompared, output: Path, *, maps: Sequence[str]) -> None:
    """Writes ``runs.md``, ``runs.json`` and ``runs.html``.

    Args:
        compared: What was found.
        output: Folder; made if it is not there.
        maps: Keys of those that the page shows, of those that were drawn in training.
    """
    shown = [one.with_maps({key: made for key, made in one.maps.items() if key in maps}) for one in compared.best]
    context = Context(board=compared.told)
    made = page(list(map(epoch_view, shown)), shown[0].subset, context, title=f"{len(shown)} runs")
    write_atomically(output / "runs.html", made)
    write_atomically(output / "runs.json", to_json(runs_json(compared)))
    report = runs_report(compared.told, compared.best[0], len(compared.labels), compared.board.metric)
    write_atomically(output / "runs.md", report)


def runs_json(compared: RunsCompared) -> dict[str, Any]:
    """Everything that was found, as plain JSON; what cannot be judged is null."""
    board = compared.board
    facts = {
        "fingerprint": compared.best[0].subset.fingerprint,
        "metric": board.metric,
        "n_groups": board.n_groups,
        "leader": board.entries[0].label,
        "entries": [asdict(entry) | {"runs": [compared.labels[run] for run in entry.runs]} for entry in board.entries],
        "hparams": {name: dict(zip(compared.labels, found, strict=True)) for name, found in board.differing.items()},
        "evaluations": {
            label: {"label": one.label, **one.metrics.as_dict()}
            for label, one in zip(compared.labels, compared.best, strict=True)
        },
    }
    return without_nan(facts)
