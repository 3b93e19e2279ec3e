"""The folder of one run: the only place that knows what a run leaves on disk, and what it must forget."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from embviz_callback.analysis.verdict.checklist import Check
from embviz_callback.delivery.run.data_check import data_check_once
from embviz_callback.delivery.run.keeping import keep, kept_in, least_missed, read_kept
from embviz_callback.drawing.page.epoch_view import View, epoch_view
from embviz_callback.drawing.page.page import best_view, page
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.files import edition, read_facts, read_json, safe_name, write_atomically
from embviz_callback.grammar import counted
from embviz_callback.pairs.subset import Subset
from embviz_callback.snapshot import Snapshot

PAGE = "report.html"
_SNAPSHOTS = "snapshots"
_VIEWS = "page-data"
_ANALYSIS = f"{_VIEWS}/analysis/last.json"  # one folder deeper than the views
_LEFT_OUT = f"{_VIEWS}/left-out/count.json"
MOST_VIEWS = 50  # on the page: the thousandth evaluation of a training must not cost more than the fiftieth
_OWNER = "run.json"  # whose evaluations these are


@dataclass(frozen=True)
class RunFolder:
    """What one run has on disk: kept evaluations, the data of its page, the page, the analysis of its end.

    Attributes:
        path: The folder, which need not exist yet.
    """

    path: Path

    @property
    def title(self) -> str:
        """Of its page."""
        folder, of_set = self.path.resolve(), ""
        if folder.parent.name.startswith("embviz"):  # that of a further set lies within the first one's
            folder, of_set = folder.parent, f", {folder.name}"
        name = f"{folder.parent.name}{of_set}"
        return name[:1].upper() + name[1:] if name.lower().startswith("run") else f"Run {name}"

    @property
    def kept(self) -> list[Path]:
        """Folders of the kept evaluations, in the order of training."""
        return kept_in(self.path / _SNAPSHOTS)

    def keep(self, snapshot: Snapshot, name: str) -> None:
        """Keeps an evaluation, and thins out the others; see `embviz_callback.delivery.run.keeping.keep`."""
        keep(self.path / _SNAPSHOTS, snapshot, name)

    def data_check(self, snapshot: Snapshot) -> dict[str, Any]:
        """What is wrong with the data, looked at once."""
        return data_check_once(self.path, snapshot)

    def add_view(self, snapshot: Snapshot, checks: Sequence[Check]) -> None:
        """Notes what the page shows of an evaluation, and thins the older ones out to 50.

        Always the first, the last and the best stay; the others are spread evenly over the training.
        """
        view = epoch_view(snapshot, checks=checks)
        name = f"{_place(snapshot.epoch, snapshot.step)}_{safe_name(snapshot.label)}.json"
        write_atomically(self.path / _VIEWS / name, _text(view.to_json()))
        there = self._noted(view.fingerprint)
        while len(there) > MOST_VIEWS:
            steps = [-1 if one.step is None else one.step for _, one in there]
            best = best_view([one for _, one in there], snapshot.subset)
            there.pop(least_missed(steps, best))[0].unlink()
            write_atomically(self.path / _LEFT_OUT, _text({"step": view.step, "count": self.n_left_out + 1}))

    @property
    def n_left_out(self) -> int:
        """Evaluations that the page once showed."""
        count = read_facts(self.path / _LEFT_OUT).get("count")
        return count if isinstance(count, int) else 0

    def views(self, fingerprint: str) -> tuple[View, ...]:
        """What the page shows of each evaluation of one subset, in the order of training."""
        return tuple(view for _, view in self._noted(fingerprint))

    def _noted(self, fingerprint: str) -> list[tuple[Path, View]]:
        found = [(path, _view_in(path, edition(path))) for path in sorted((self.path / _VIEWS).glob("*.json"))]
        return [(path, view) for path, view in found if view.fingerprint == fingerprint]

    def add_analysis(self, view: Mapping[str, Any]) -> None:
        """Notes what the page shows of the analysis of the last evaluation."""
        write_atomically(self.path / _ANALYSIS, _text(view))

    def write_page(self, snapshot: Snapshot, said: Context) -> tuple[View, ...]:
        """Writes the page from what lies here.

        Args:
            snapshot: The last evaluation; those of its subset are shown.
            said: What else stands on it.

        Returns:
            The views that the page shows.
        """
        subset = snapshot.subset
        views, n_left_out = self.views(subset.fingerprint), self.n_left_out
        left_out = f"{counted(n_left_out, 'evaluation')} between those shown here are in history.jsonl alone"
        context = replace(
            said,
            notes=[*([left_out] if n_left_out else []), *said.notes],
            data=self.data_check(snapshot),
            analysis=self._analysis_of(subset),
        )
        write_atomically(self.path / PAGE, page(views, subset, context, title=self.title))
        return views

    def belong_to(self, run_id: str, *, resumed_after: int | None) -> None:
        """Makes the folder that of a training: what another one left, or what came after its checkpoint, is forgotten.

        Time stamps decide nothing here: a clock may be set back between two trainings.

        Args:
            run_id: Of the training; "" for one of a version that gave none.
            resumed_after: Step of the checkpoint that it went on from; None where it did not, or has said so before.
        """
        owner = self.owner
        if resumed_after is not None:
            self.forget_after(resumed_after)
        elif owner != run_id:
            for name in (_VIEWS, _SNAPSHOTS):
                shutil.rmtree(self.path / name, ignore_errors=True)
        if owner != run_id:
            write_atomically(self.path / _OWNER, json.dumps({"run_id": run_id}))

    def forget_after(self, step: int) -> None:
        """Removes what came after a step: a training that is resumed from there will say it anew.

        The page and the kept evaluations lose it; the figures in epoch folders stay until they are drawn anew.

        Args:
            step: Of the checkpoint.
        """
        for path in (self.path / _VIEWS).rglob("*.json"):
            written = read_json(path)["step"]
            if written is not None and written > step:
                path.unlink()
        for path in self.kept:
            if read_kept(path).step > step:
                shutil.rmtree(path)

    @property
    def owner(self) -> str | None:
        """Id of the training whose evaluations these are; None where nothing tells."""
        run_id = read_facts(self.path / _OWNER).get("run_id")
        return None if run_id is None else str(run_id)

    def _analysis_of(self, subset: Subset) -> Mapping[str, Any] | None:
        found = read_facts(self.path / _ANALYSIS)
        return found if found.get("fingerprint") == subset.fingerprint else None


def run_folders(given: Path) -> list[RunFolder]:
    """The run folders with kept evaluations at a path or right below it."""
    return [folder for folder in map(RunFolder, [given, *sorted(given.glob("embviz*/"))]) if folder.kept]


@lru_cache(maxsize=MOST_VIEWS + 1)
def _view_in(path: Path, _edition: tuple[int, int, int]) -> View:
    """Read once in a process: with every evaluation the page is written anew of all."""
    return View.from_json(read_json(path))


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _place(epoch: int | None, step: int | None) -> str:
    """Sorts by training, what lies outside it first; repeated evaluations share a name."""
    return f"{-1 if epoch is None else epoch:+07d}_{-1 if step is None else step:+010d}".replace("-", "!")
