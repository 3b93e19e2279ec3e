"""What a run is called, whose its folder is, and how its page begins."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from small_runs import a_run, a_subset

from embviz_callback.delivery.run.run_folder import MOST_VIEWS, RunFolder, run_folders
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.snapshot import Snapshot


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("run", "Run"),
        ("run-3", "Run-3"),
        ("RUN", "RUN"),
        ("version_0", "Run version_0"),
        ("tìm phòng", "Run tìm phòng"),
    ],
)
def test_the_title_names_the_run_and_never_says_run_run(tmp_path: Path, name: str, title: str) -> None:
    folder = RunFolder(tmp_path / name / "embviz")
    assert folder.title == title
    assert "run run" not in folder.title.lower()


def test_the_page_bears_the_title(tmp_path: Path) -> None:
    folder, snapshot = RunFolder(tmp_path / "run" / "embviz"), a_run(a_subset(8), (1.0,), maps=False)[0]
    folder.add_view(snapshot, ())
    folder.write_page(snapshot, Context())
    assert page_of(folder)["title"] == "Run"


def long_training(n: int) -> list[Snapshot]:
    """Evaluations of which the thirteenth is the best."""
    first, best = a_run(a_subset(8), (3.0, 0.05), maps=False)
    return [
        replace(best if at == 12 else first, epoch=at, step=10 * at, label=f"epoch {at}") for at in range(n)
    ]  # fmt: skip


def page_of(folder: RunFolder) -> dict[str, Any]:
    text = (folder.path / "report.html").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])
    return content


def test_the_page_of_a_long_training_shows_fifty_evaluations_spread_over_it(tmp_path: Path) -> None:
    folder, training = RunFolder(tmp_path), long_training(130)
    for snapshot in training:
        folder.add_view(snapshot, ())
    views = folder.write_page(training[-1], Context(notes=["something else"]))
    steps = [view.step for view in views]
    assert len(steps) == MOST_VIEWS == 50
    assert {0, 120, 1290} < set(steps)
    assert max(after - before for before, after in pairwise(steps)) <= 80  # on the average 26
    assert page_of(folder)["notes"] == [
        "80 evaluations between those shown here are in history.jsonl alone",
        "something else",
    ]
    assert len(list((tmp_path / "page-data").glob("*.json"))) == 50


def test_a_training_that_goes_on_from_a_checkpoint_forgets_what_was_left_out_after_it(tmp_path: Path) -> None:
    folder, training = RunFolder(tmp_path), long_training(60)
    for snapshot in training:
        folder.add_view(snapshot, ())
    assert folder.n_left_out == 10
    folder.forget_after(300)
    assert folder.n_left_out == 0
    assert all(view.step <= 300 for view in folder.views(training[0].subset.fingerprint))


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"run_id": ', '"words"'])
def test_a_torn_note_of_the_owner_is_nobodys_folder_and_is_written_anew(tmp_path: Path, torn: str) -> None:
    folder, snapshot = RunFolder(tmp_path), a_run(a_subset(8), (1.0,), maps=False)[0]
    folder.keep(snapshot, "000000001_epoch")
    (tmp_path / "run.json").write_text(torn, encoding="utf-8")
    folder.belong_to("mine", resumed_after=None)
    assert folder.kept == []
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {"run_id": "mine"}


def test_runs_are_found_in_a_folder_and_right_below_it(tmp_path: Path) -> None:
    snapshot = a_run(a_subset(8), (1.0,), maps=False)[0]
    for name in ("embviz", "embviz_b", "elsewhere"):
        RunFolder(tmp_path / name).keep(snapshot, "000000001_epoch")
    assert [one.path.name for one in run_folders(tmp_path)] == ["embviz", "embviz_b"]
    assert [one.path for one in run_folders(tmp_path / "elsewhere")] == [tmp_path / "elsewhere"]


def test_the_view_of_an_evaluation_that_is_done_anew_is_read_anew(tmp_path: Path) -> None:
    folder, (first, second) = RunFolder(tmp_path), a_run(a_subset(8), (3.0, 0.05), maps=False)
    margins = []
    for snapshot in (first, replace(second, label=first.label, epoch=first.epoch, step=first.step)):
        folder.add_view(snapshot, ())
        (view,) = folder.views(snapshot.subset.fingerprint)
        margins.append(view.content["metrics"]["margin"])
    assert margins == [first.metrics.margin, second.metrics.margin]
