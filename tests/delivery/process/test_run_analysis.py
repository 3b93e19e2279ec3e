"""What a training that has ended leaves behind of itself: its analysis, on disk and on its page."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from small_runs import a_run, a_subset

from embviz_callback import EmbeddingVisualizer
from embviz_callback.delivery.process import publishing, run_analysis
from embviz_callback.delivery.process.handovers import Job, write_job
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.publishing import Publisher
from embviz_callback.delivery.process.run_analysis import analyse_run
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.pairs.problems import DataError
from embviz_callback.snapshot import Snapshot
from tests.tiny_training import QUIET, TinyBiEncoder, pairs, trainer

pytestmark = QUIET
SAID = Context(alerts=["epoch 1: the alert was firing"], notes=["a fault"])


@pytest.fixture(scope="module")
def run() -> list[Snapshot]:
    return a_run(a_subset(24), (2.0, 1.0, 0.5))


def kept(path: Path, run: list[Snapshot]) -> RunFolder:
    folder = RunFolder(path)
    for snapshot in run:
        folder.keep(snapshot, f"{snapshot.step:09d}_epoch_{snapshot.epoch:04d}")
        folder.add_view(snapshot, ())
        folder.write_page(snapshot, Context())
    return folder


def page_data(folder: Path) -> dict[str, Any]:
    text = (folder / "report.html").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])
    return found


def test_the_last_evaluation_is_analysed_with_what_lasted_over_the_run(run: list[Snapshot], tmp_path: Path) -> None:
    folder = kept(tmp_path, run)
    analyse_run(folder)
    folder.write_page(run[2], SAID)
    facts = json.loads((folder.path / "analysis.json").read_text(encoding="utf-8"))
    assert facts["label"] == "epoch 2"
    assert {one["column"] for one in facts["groups"]} == {"quận", "area"}
    assert "## Errors" in (folder.path / "analysis.md").read_text(encoding="utf-8")
    shown = page_data(folder.path)
    assert (shown["analysis"]["label"], shown["analysis"]["n_evaluations"]) == ("epoch 2", 3)
    assert shown["alerts"] == SAID.alerts
    assert "a fault" in shown["notes"]
    assert shown["data_check"]["file"] == "the evaluated pairs"


def test_the_page_keeps_the_analysis_until_the_run_goes_on_from_before_it(run: list[Snapshot], tmp_path: Path) -> None:
    folder = kept(tmp_path, run)
    analyse_run(folder)
    folder.write_page(run[2], Context())
    assert page_data(folder.path)["analysis"] is not None
    assert run[1].step is not None
    folder.forget_after(run[1].step)
    folder.write_page(run[1], Context())
    assert page_data(folder.path)["analysis"] is None
    assert not list((folder.path / "page-data" / "analysis").iterdir())


def test_a_subset_too_large_to_analyse_here_is_left_to_the_command(
    run: list[Snapshot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = kept(tmp_path, run)
    monkeypatch.setattr(run_analysis, "_MOST_QUERIES", 50)
    analyse_run(folder)
    folder.write_page(run[2], Context())
    assert page_data(folder.path)["analysis"]["n_evaluations"] == 2
    monkeypatch.setattr(run_analysis, "_MOST_QUERIES", 20)
    with pytest.raises(ValueError) as error:
        analyse_run(folder)
    assert str(error.value) == f"24 queries are too many to analyse here; embviz analyse --run {tmp_path} does it"


def test_nothing_is_written_of_a_run_that_keeps_nothing(tmp_path: Path) -> None:
    analyse_run(RunFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []


def waiting(path: Path, run: list[Snapshot]) -> Jobs:
    """A run whose training has ended with all its evaluations undrawn."""
    jobs = Jobs(path / "jobs")
    for snapshot in run:
        name = f"epoch_{snapshot.epoch:04d}"
        jobs.put(f"{snapshot.step:09d}_{name}", partial(write_job, snapshot, Job(place=name, run_id="a")))
    jobs.put("last", partial(write_job, None, Job(said=tuple(SAID.alerts))))
    return jobs


def test_evaluations_that_are_not_drawn_yet_are_analysed_with_those_that_are(
    run: list[Snapshot], tmp_path: Path
) -> None:
    folder, jobs = kept(tmp_path, run[:1]), waiting(tmp_path, run[1:])
    assert jobs.claim() is not None
    analyse_run(folder)
    folder.write_page(run[0], SAID)
    shown = page_data(tmp_path)["analysis"]
    assert (shown["label"], shown["n_evaluations"]) == ("epoch 2", 3)


@pytest.mark.slow
@pytest.mark.parametrize("fails", [False, True])
def test_the_analysis_is_made_beside_the_last_drawings_and_at_the_end_where_that_fails(
    run: list[Snapshot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    made_here: list[RunFolder] = []
    monkeypatch.setattr(run_analysis, "analyse_run", made_here.append)
    if fails:
        monkeypatch.setattr(publishing, "_ANALYSIS", "embviz_callback.no_such_module")
    jobs, publisher = waiting(tmp_path, run), Publisher(tmp_path)
    while (job := jobs.claim()) is not None:
        assert publisher.publish(job).faults == []
        jobs.done(job.name)
    assert made_here == [RunFolder(tmp_path)] * fails
    assert (tmp_path / "analysis.md").exists() is not fails
    shown = page_data(tmp_path)
    assert shown["alerts"] == SAID.alerts
    assert (shown["analysis"] is None) is fails


@pytest.mark.parametrize(("n_waiting", "has_ended"), [(1, True), (2, False)])
def test_a_process_for_the_analysis_is_started_only_where_it_saves_time(
    run: list[Snapshot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_waiting: int, *, has_ended: bool
) -> None:
    jobs = waiting(tmp_path, run[:n_waiting])
    if not has_ended:
        shutil.rmtree(jobs.root / "pending" / "last")
    monkeypatch.setattr(publishing.subprocess, "Popen", lambda *given, **more: pytest.fail("a process was started"))
    beside = publishing._AnalysisBeside(RunFolder(tmp_path))
    beside.begin()
    assert not beside.is_made()


def test_the_process_of_the_analysis_ends_with_the_one_that_started_it(run: list[Snapshot], tmp_path: Path) -> None:
    kept(tmp_path, run)
    command = [sys.executable, "-m", "embviz_callback.delivery.process.run_analysis", f"{tmp_path}"]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)  # ended at once
    assert found.returncode == 1
    assert not (tmp_path / "analysis.md").exists()


def test_an_evaluation_drawn_late_starts_from_the_one_before_it_in_training(
    run: list[Snapshot], tmp_path: Path
) -> None:
    publisher = Publisher(tmp_path)
    for place in (0, 2):
        publisher._run.keep(run[place], f"{place}_epoch")
        publisher._last = f"{place}_epoch", run[place]
    for name, expected in (("1_epoch", "epoch 0"), ("3_epoch", "epoch 2"), ("2_epoch", "epoch 0")):
        found = publisher._previous(run[1], name)
        assert found is not None
        assert found.label == expected
    assert publisher._previous(run[1], "0_epoch") is None


def test_a_wrong_name_of_a_function_is_found_before_the_training() -> None:
    with pytest.raises(DataError) as error:
        EmbeddingVisualizer(pairs(), features="examples.rental_features:no_such_function")
    assert str(error.value) == (
        "'examples.rental_features:no_such_function': 'examples.rental_features' has no function 'no_such_function'. "
        "Fix: check the name"
    )


@pytest.mark.slow
def test_a_training_ends_with_its_analysis_by_the_users_own_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_streets.py").write_text(
        "def read(text):\n    return {'street': next((word for word in ('oak', 'elm') if word in text), 'other')}\n",
        encoding="utf-8",
    )
    made = EmbeddingVisualizer(pairs(), skip_umap=True, features="my_streets:read")
    trainer(tmp_path, made, max_epochs=2).fit(TinyBiEncoder())
    folder = made.folder
    assert folder is not None
    assert page_data(folder)["analysis"]["label"] == "epoch 1"
    assert "street" in page_data(folder)["columns"]
    assert not list(folder.glob("projector*"))
    assert (folder / "tsne_filmstrip.png").exists()  # the last evaluation draws it, though the conclusion still waits
    assert [path.name.partition("_")[2] for path in RunFolder(folder).kept] == ["untrained", "epoch_0000", "epoch_0001"]
