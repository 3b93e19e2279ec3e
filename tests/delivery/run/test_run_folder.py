"""What a run is called, whose its folder is, and how its page begins."""

import json
from pathlib import Path

import pytest
from small_runs import a_run, a_subset

from embviz_callback.delivery.run.run_folder import PageNotes, RunFolder, run_folders


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
    folder.write_page(snapshot, PageNotes())
    text = (folder.path / "report.html").read_text(encoding="utf-8")
    assert json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])["title"] == "Run"


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
