"""Epochs of one run compared by what it kept: no model, no data, a real training and the real command."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import pytorch_lightning as pl
from small_runs import a_run, a_subset

from embviz_callback import EmbeddingVisualizer
from embviz_callback.cli import main
from embviz_callback.delivery.run.keeping import MOST
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.snapshot import Snapshot, load_snapshot
from tests.tiny_training import QUIET, TinyBiEncoder, pairs, trainer

ROOT = Path(__file__).resolve().parents[2]

pytestmark = QUIET


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return a_run(a_subset(12), (1.0,), maps=False)[0]


def add(folder: Path, snapshot: Snapshot, step: int, share: float = 0.5) -> None:
    """Keeps an evaluation whose MRR is a share of what it was."""
    was = snapshot.standing
    assert was is not None
    stands = replace(was, value=share * was.value, pseudo=share * was.pseudo)
    RunFolder(folder).keep(replace(snapshot, step=step, epoch=step // 10, standing=stands), f"{step:09d}_epoch")


def steps(folder: Path) -> list[int]:
    return [load_snapshot(path).step or 0 for path in RunFolder(folder).kept]


def test_a_long_run_keeps_twenty_spread_evenly_with_the_first_the_last_and_the_best(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    for step in range(0, 2000, 10):
        add(tmp_path, snapshot, step, share=0.9 if step == 130 else 0.5)
    kept = steps(tmp_path)
    assert len(kept) == MOST
    assert (kept[0], kept[-1]) == (0, 1990)
    assert 130 in kept
    holes = [after - before for before, after in pairwise(kept)]
    assert max(holes) <= 3 * 2000 / MOST
    assert not list((tmp_path / "snapshots").glob(".*"))


def test_a_short_run_keeps_everything_and_a_repeated_evaluation_once(snapshot: Snapshot, tmp_path: Path) -> None:
    for step in (*range(0, 10 * MOST, 10), 50):
        add(tmp_path, snapshot, step)
    assert steps(tmp_path) == list(range(0, 10 * MOST, 10))


def test_what_came_after_the_checkpoint_is_forgotten_and_another_subset_keeps_its_own(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    for step in (0, 10, 20, 30):
        add(tmp_path, snapshot, step)
    RunFolder(tmp_path).forget_after(10)
    assert steps(tmp_path) == [0, 10]
    other = a_run(a_subset(10), (1.0,), maps=False)[0]
    add(tmp_path, other, 20)
    assert steps(tmp_path) == [20]
    RunFolder(tmp_path / "nothing").forget_after(3)


def test_a_new_run_in_the_same_folder_forgets_the_old_one_whatever_the_clock_says(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    folder.belong_to("old", resumed_after=None)
    add(tmp_path, snapshot, 0)
    folder.add_view(snapshot, ())
    later = time.time_ns() + 10**15
    for path in [*tmp_path.rglob("*.json"), *tmp_path.rglob("*.npz")]:
        os.utime(path, ns=(later, later))  # as if the clock had been set back since
    folder.belong_to("new", resumed_after=None)
    assert (folder.kept, folder.views(snapshot.subset.fingerprint)) == ([], ())
    add(tmp_path, snapshot, 10)
    folder.add_view(snapshot, ())
    folder.belong_to("new", resumed_after=None)  # its next evaluation
    assert steps(tmp_path) == [10]
    assert len(folder.views(snapshot.subset.fingerprint)) == 1


def test_a_resumed_run_keeps_its_own_up_to_its_checkpoint(snapshot: Snapshot, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.belong_to("one", resumed_after=None)
    for step in (0, 10, 20):
        add(tmp_path, snapshot, step)
    folder.belong_to("one", resumed_after=10)
    assert steps(tmp_path) == [0, 10]
    add(tmp_path, snapshot, 15)
    folder.belong_to("one", resumed_after=None)  # only the first job after the resume says from where
    assert steps(tmp_path) == [0, 10, 15]


def embviz(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embviz_callback.cli", "compare", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
    )


def fit(folder: Path, epochs: int, checkpoint: Path | None = None) -> EmbeddingVisualizer:
    pl.seed_everything(1, verbose=False)
    callback = EmbeddingVisualizer(pairs(), alert=None, skip_tsne=True, skip_umap=True)
    kept = pl.callbacks.ModelCheckpoint(folder / "kept", save_top_k=-1, filename="{epoch}")
    fitted = trainer(folder, callback, kept, max_epochs=epochs, enable_checkpointing=True)
    fitted.fit(TinyBiEncoder(), ckpt_path=checkpoint, weights_only=None if checkpoint is None else True)
    return callback


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fit(folder, 3)
    return folder


@pytest.mark.slow
def test_epochs_of_a_real_run_are_compared_without_model_and_data(trained: Path, tmp_path: Path) -> None:
    run = f"{trained / 'run'}"  # the folder that TensorBoard shows; the pictures are in embviz below it
    done = embviz("--run", run, "--epochs", "untrained", "0", "2", "--output", f"{tmp_path}", "--skip-umap", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert list(facts["evaluations"]) == ["untrained", "epoch 0", "epoch 2"]
    assert facts == json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    rows = (trained / "run" / "embviz" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    said = {row["label"]: row for row in map(json.loads, rows)}
    assert {facts["fingerprint"]} == {row["fingerprint"] for row in said.values()}
    for label, found in facts["evaluations"].items():
        assert found["metrics"]["rank1"] == pytest.approx(said[label]["metrics"]["rank1"])
        assert found["metrics"]["margin"] == pytest.approx(said[label]["metrics"]["margin"])
    assert {"comparison.md", "comparison.html", "comparison_tsne.png"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_by_default_the_untrained_the_best_and_the_last_are_shown(trained: Path, tmp_path: Path) -> None:
    done = embviz(
        "--run", f"{trained / 'run' / 'embviz'}", "--output", f"{tmp_path}", "--skip-umap", "--skip-tsne", "--json"
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    labels = list(facts["evaluations"])
    assert (labels[0], labels[-1]) == ("untrained", "epoch 2")
    assert facts["best"] in labels
    assert len(labels) <= 3


@pytest.mark.slow
def test_a_run_is_analysed_without_model_and_data(trained: Path, tmp_path: Path) -> None:
    run = trained / "run" / "embviz"
    arguments = ["--skip-umap", "--skip-tsne", "--output", f"{tmp_path}"]
    assert main(["analyse", "--run", f"{trained / 'run'}", "--epoch", "1", *arguments]) == 0
    facts = json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))
    rows = (run / "history.jsonl").read_text(encoding="utf-8").splitlines()
    said = {row["label"]: row for row in map(json.loads, rows)}
    assert facts["label"] == "epoch 1"
    assert facts["metrics"]["metrics"]["rank1"] == pytest.approx(said["epoch 1"]["metrics"]["rank1"])
    assert facts["data"]["files"][0]["name"] == "the evaluated pairs"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '"n_evaluations":3' in page  # the untrained model and the epochs 0 and 1
    assert all(f'"label":"{label}"' in page for label in said)


@pytest.mark.slow
def test_mistakes_about_a_run_are_answered_by_analyse_too(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained / "run" / "embviz"
    for given, answer in (
        (["--run", f"{run}", "--epoch", "7"], f"--epoch: {run} keeps no snapshot of epoch 7; there are: 0, 1, 2"),
        (["--epoch", "1", "--checkpoint", "x.npz"], "--epoch picks an evaluation of a run; give its folder with --run"),
        (["--run", f"{run}", "--data", "x"], "--data has no use with --run, whose evaluations hold their pairs; "
         "leave it out"),
        ([], "give either --checkpoint or --run"),
    ):  # fmt: skip
        assert main(["analyse", *given, "--output", f"{tmp_path}"]) == 2
        assert capsys.readouterr().err == f"embviz analyse: {answer}\n"


@pytest.mark.slow
def test_mistakes_are_answered_in_one_line(trained: Path, tmp_path: Path) -> None:
    folder = trained / "run" / "embviz"
    done = embviz("--run", f"{folder}", "--epochs", "0", "7")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"embviz compare: --epochs: {folder} keeps no snapshot of epoch 7; there are: untrained, 0, 1, 2\n"
    )
    done = embviz("--run", f"{tmp_path}")
    assert done.returncode == 2
    assert done.stderr == (
        f"embviz compare: --run: {tmp_path} keeps no evaluations; give the folder of a run, which holds snapshots/\n"
    )
    shutil.copytree(folder / "snapshots", tmp_path / "snapshots")
    torn = RunFolder(tmp_path).kept[1] / "arrays.npz"
    torn.write_bytes(torn.read_bytes()[:100])
    done = embviz("--run", f"{tmp_path}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"embviz compare: --run: {torn.parent} cannot be read (")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_resumed_run_keeps_what_came_before_and_a_new_one_starts_afresh(tmp_path: Path) -> None:
    folder = fit(tmp_path, 3).folder
    assert folder is not None
    assert [load_snapshot(path).label for path in RunFolder(folder).kept] == [
        "untrained",
        *map("epoch {}".format, range(3)),
    ]
    fit(tmp_path, 2, tmp_path / "kept" / "epoch=0.ckpt")
    assert [load_snapshot(path).label for path in RunFolder(folder).kept] == ["untrained", "epoch 0", "epoch 1"]
    assert _on_the_page(folder) == ["untrained", "epoch 0", "epoch 1"]
    fit(tmp_path, 1)
    assert [load_snapshot(path).label for path in RunFolder(folder).kept] == ["untrained", "epoch 0"]
    assert _on_the_page(folder) == ["untrained", "epoch 0"]


def _on_the_page(folder: Path) -> list[str]:
    text = (folder / "report.html").read_text(encoding="utf-8")
    shown = json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])
    return [str(view["label"]) for view in shown["views"]]
