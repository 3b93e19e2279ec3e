"""Runs whose logger writes to a store far away."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from embviz_callback import EmbeddingVisualizer
from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator
from embviz_callback.adapters.transformers import EmbvizTrainerCallback
from embviz_callback.delivery.places import find_places
from embviz_callback.delivery.run import mirror
from embviz_callback.delivery.run.mirror import Mirror
from embviz_callback.files import safe_name
from tests.tiny_training import QUIET, TinyBiEncoder, pairs, trainer

fsspec = pytest.importorskip("fsspec")
pytestmark = QUIET


def asked(log_dir: Any, root: str = "/data", output_dir: Path | None = None) -> Any:
    loggers = [] if log_dir is None else [SimpleNamespace(log_dir=log_dir)]
    told = SimpleNamespace(
        is_global_zero=True, fast_dev_run=False, global_rank=0, default_root_dir=root, loggers=loggers
    )
    return find_places(told, output_dir, "embviz")


@pytest.mark.parametrize("address", ["s3://bucket/run", "gs://b/c/", "memory://run", "abfss://c@a.net/x"])
def test_a_place_far_away_is_written_to_from_here(address: str) -> None:
    for places in (asked(address), asked(None, address)):
        assert places.address == f"{address.rstrip('/')}/embviz"
        assert places.folder.parts[-3] == "embviz_runs"
        assert not any(":" in part for part in places.folder.parts)
        assert places.events == places.folder
    assert asked("s3://bucket/other").folder != asked("s3://bucket/run").folder


@pytest.mark.parametrize("near", ["/data/run", "relative/run", "C:/data"])
def test_a_place_on_this_machine_is_none_of_these(near: str) -> None:
    assert asked(near).address is None
    assert asked(near).folder == (Path(near) / "embviz").absolute()
    assert asked("s3://b/c", output_dir=Path("/here")).address is None


def test_an_output_dir_far_away_is_written_to_from_here_under_every_trainer() -> None:
    lightning = EmbeddingVisualizer(pairs(), output_dir="memory://far/run/")
    evaluator = EmbvizEvaluator(pairs(), output_dir="memory://far/run/")
    trainers = EmbvizTrainerCallback(pairs(), output_dir="memory://far/run/")
    args = SimpleNamespace(process_index=0, output_dir="/data")
    for places in (asked(None, output_dir=lightning.given.output_dir), evaluator._places(None), trainers._places(args)):
        assert places.address == "memory://far/run"
        assert places.folder == (Path("embviz_runs") / safe_name("memory://far/run/")).absolute()


def test_an_output_dir_that_no_disk_can_hold_is_refused_before_training() -> None:
    with pytest.raises(ValueError) as error:
        EmbeddingVisualizer(pairs(), output_dir="x" * 300)
    assert str(error.value) == f"output_dir must be a folder, {'x' * 59}…: File name too long"


def test_only_what_has_changed_is_copied_again(tmp_path: Path) -> None:
    (tmp_path / "epoch_0001").mkdir()
    (tmp_path / "epoch_0001" / "report.md").write_text("one")
    (tmp_path / "jobs" / "pending").mkdir(parents=True)
    (tmp_path / "jobs" / "pending" / "job.json").write_text("{}")
    (tmp_path / "in-use").write_text("")
    store = fsspec.filesystem("memory")
    far = Mirror(tmp_path, "memory://only-changed")
    far.copy()
    assert store.find("/only-changed") == ["/only-changed/epoch_0001/report.md"]
    store.rm("/only-changed/epoch_0001/report.md")
    (tmp_path / "page.html").write_text("two")
    far.copy()
    assert store.find("/only-changed") == ["/only-changed/page.html"]


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [True, False])
def test_a_training_with_its_root_far_away_is_copied_there_and_says_so(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    can_copy = is_there and mirror.has_fsspec()
    monkeypatch.setattr(mirror, "has_fsspec", lambda: can_copy)
    name = f"root-{is_there}"
    callback, n_rows = EmbeddingVisualizer(pairs(), figures=False), []
    copy = Mirror.copy

    def counted(far: Mirror) -> None:
        n_rows.append(len((far.folder / "history.jsonl").read_text().splitlines()))
        copy(far)

    monkeypatch.setattr(Mirror, "copy", counted)
    with caplog.at_level(logging.INFO):
        trainer(tmp_path, callback, max_epochs=1, logger=False, default_root_dir=f"memory://{name}").fit(
            TinyBiEncoder()
        )
    assert callback.folder is not None
    assert (callback.folder / "history.jsonl").exists()
    assert callback.folder.is_relative_to(tmp_path / "embviz_runs")
    far = fsspec.filesystem("memory").find(f"/{name}")
    assert (f"/{name}/embviz/history.jsonl" in far) == is_there
    assert n_rows == ([1, 2, 2] if is_there else [])  # at each evaluation and at the end
    ending = "and copied there" if is_there else "and stay there, without fsspec"
    said = f"embviz: memory://{name}/embviz is not on this machine; files are written into {callback.folder} {ending}"
    assert [line for line in caplog.messages if "not on this machine" in line] == [said]
    assert not list(tmp_path.glob("memory*"))
