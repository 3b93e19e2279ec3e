"""Of the evaluations of a run the best by the one rule stays on disk, however many there are."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import a_run, a_subset

from embviz_callback.delivery.run import keeping
from embviz_callback.delivery.run.keeping import keep, kept_in, read_kept
from embviz_callback.snapshot import Snapshot


@pytest.fixture(scope="module")
def run() -> list[Snapshot]:
    return a_run(a_subset(), (3.0, 0.3, 0.5, 2.0, 1.5), maps=False)


def kept_after(run: list[Snapshot], folder: Path) -> list[int]:
    for snapshot in run:
        keep(folder, snapshot, f"{snapshot.step:09d}_x")
    return [read_kept(path).step for path in kept_in(folder)]


def test_the_best_by_the_metric_that_decides_stays(
    run: list[Snapshot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST", 3)
    steps = [one.step for one in run]
    assert kept_after(run, tmp_path / "mrr") == [steps[0], steps[1], steps[4]]
    # The rule asks for nothing but what stands for an evaluation: here the second is said to be worse.
    best = run[1].standing
    assert best is not None
    second = replace(run[1], standing=replace(best, value=best.value / 9, pseudo=best.pseudo / 9))
    assert kept_after([run[0], second, *run[2:]], tmp_path / "other") == [steps[0], steps[2], steps[4]]


def test_evaluations_of_an_older_version_are_thinned_out_too(
    run: list[Snapshot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST", 3)
    steps = kept_after([replace(one, standing=None) for one in run], tmp_path)
    assert (len(steps), steps[0], steps[-1]) == (3, run[0].step, run[4].step)


def test_an_evaluation_that_is_done_anew_in_the_same_place_is_read_anew(run: list[Snapshot], tmp_path: Path) -> None:
    for snapshot in run[:2]:
        keep(tmp_path, snapshot, "000000010_x")
        assert read_kept(tmp_path / "000000010_x").step == snapshot.step
