"""What a training that has ended leaves behind of itself: its analysis, on disk and on its page."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_runs import a_run, a_subset

from embviz_callback import EmbeddingVisualizer
from embviz_callback.delivery.process.publishing import Publisher
from embviz_callback.delivery.run import run_analysis
from embviz_callback.delivery.run.run_analysis import publish_analysis
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
    publish_analysis(folder, SAID)
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
    publish_analysis(folder, SAID)
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
    publish_analysis(folder, SAID)
    assert page_data(folder.path)["analysis"]["n_evaluations"] == 2
    monkeypatch.setattr(run_analysis, "_MOST_QUERIES", 20)
    with pytest.raises(ValueError) as error:
        publish_analysis(folder, SAID)
    assert str(error.value) == f"24 queries are too many to analyse here; embviz analyse --run {tmp_path} does it"


def test_nothing_is_written_of_a_run_that_keeps_nothing(tmp_path: Path) -> None:
    publish_analysis(RunFolder(tmp_path), SAID)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_drawn_late_starts_from_the_one_before_it_in_training(
    run: list[Snapshot], tmp_path: Path
) -> None:
    publisher = Publisher(tmp_path)
    for place in (0, 2):
        publisher._keep(run[place], f"{place}_epoch")
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
