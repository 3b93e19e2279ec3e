"""The main job as a user does it: generate, train, TensorBoard, runner; real processes and a real server."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
FIGURES = (
    "tsne_projection",
    "umap_projection",
    "similarity_heatmap",
    "similarity_distribution",
    "top_k_predictions",
)
EPOCHS = 2

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Trained:
    """A finished run of the training script."""

    folder: Path
    run: Path
    output: str

    @property
    def history(self) -> list[dict[str, Any]]:
        lines = (self.run / "embviz" / "history.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def _python(*arguments: str, cwd: Path, expected: int = 0) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=540
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("main_job")
    _python(str(ROOT / "pair_dataset.py"), "generate", "--n", "400", "--seed", "5", "--output", "all.json", cwd=folder)
    split = ("split", "--input", "all.json", "--train", "data/demo-train.json", "--val", "data/demo-val.json")
    _python(str(ROOT / "pair_dataset.py"), *split, cwd=folder)
    done = _python(
        str(ROOT / "train_script.py"),
        "fit",
        f"--config={ROOT / 'configs' / 'demo.yaml'}",
        f"--trainer.max_epochs={EPOCHS}",
        "--model.encoder=char-ngrams-512",
        "--model.dim=32",
        cwd=folder,
    )
    return Trained(folder, folder / "runs" / "demo", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def board(trained: Trained) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ("--logdir", str(trained.folder / "runs"), "--host", "127.0.0.1", "--port", str(port))
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *command, "--samples_per_plugin", "images=100"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}/data/plugin"
    try:
        deadline = time.monotonic() + 90
        while not _is_loaded(address):
            assert time.monotonic() < deadline, "TensorBoard did not load the run"
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def _ask(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=20) as reply:
        return json.loads(reply.read())


def _is_loaded(address: str) -> bool:
    try:
        return len(_ask(f"{address}/images/tags")) > 0 and len(_ask(f"{address}/scalars/tags")) > 0
    except OSError:
        return False


def test_the_server_shows_the_scalars_of_every_epoch(trained: Trained, board: str) -> None:
    tags = _ask(f"{board}/scalars/tags")
    assert {"embviz/margin", "embviz/separation", "embviz/rank1", "embviz/alert"} <= set(tags["demo"])
    where = urllib.parse.urlencode({"run": "demo", "tag": "embviz/margin"})
    points = _ask(f"{board}/scalars/scalars?{where}")
    logged = [row for row in trained.history if row["epoch"] is not None]
    assert [point[1] for point in points] == [row["step"] for row in logged]
    assert [point[2] for point in points] == pytest.approx([row["metrics"]["margin"] for row in logged], abs=1e-6)
    assert len(points) == EPOCHS


def test_the_server_shows_five_images_of_every_epoch_at_the_steps_of_the_scalars(trained: Trained, board: str) -> None:
    tags = _ask(f"{board}/images/tags")["demo/embviz"]
    assert {f"embviz/{name}" for name in FIGURES} <= set(tags)
    steps = [row["step"] for row in trained.history if row["epoch"] is not None]
    for name in FIGURES:
        where = urllib.parse.urlencode({"run": "demo/embviz", "tag": f"embviz/{name}", "sample": 0})
        images = _ask(f"{board}/images/images?{where}")
        assert [image["step"] for image in images] == steps
        with urllib.request.urlopen(f"{board}/images/individualImage?{images[-1]['query']}", timeout=20) as reply:
            assert reply.read(8) == b"\x89PNG\r\n\x1a\n"


def test_the_loss_and_the_metrics_share_their_steps(trained: Trained, board: str) -> None:
    where = urllib.parse.urlencode({"run": "demo", "tag": "train_loss_epoch"})
    losses = _ask(f"{board}/scalars/scalars?{where}")
    assert [point[1] for point in losses] == [row["step"] for row in trained.history if row["epoch"] is not None]


def test_training_prints_a_table_with_a_row_for_every_evaluation(trained: Trained) -> None:
    rows = [line.split() for line in trained.output.splitlines()]
    assert ["margin", "separation", "rank1", "auc", "mrr"] in rows
    assert [row[0] for row in rows if row[:1] in (["untrained"], ["epoch"])] == ["untrained", *["epoch"] * EPOCHS]


def test_the_untrained_model_is_the_baseline_of_the_report(trained: Trained) -> None:
    assert trained.history[0]["label"] == "untrained"
    report = (trained.run / "embviz" / f"epoch_{EPOCHS - 1:04d}" / "report.md").read_text(encoding="utf-8")
    assert f"{trained.history[0]['metrics']['margin']:.4f}" in report


def test_the_runner_repeats_the_logged_metrics_of_the_same_weights(trained: Trained) -> None:
    done = _python(
        str(ROOT / "visualize_embeddings.py"),
        *("--checkpoint", "runs/demo/best_model.pt", "--data", "data/demo-val.json", "--output", "shown", "--json"),
        cwd=trained.folder,
    )
    found = json.loads(done.stdout)
    best = torch.load(trained.run / "best_model.pt", weights_only=True)
    (row,) = [row for row in trained.history if row["epoch"] == best["epoch"]]
    for name in ("margin", "separation", "rank1", "mrr", "auc", "hard_margin", "alignment"):
        assert found[name] == pytest.approx(row["metrics"][name], abs=1e-5), name
    files = {path.name for path in (trained.folder / "shown").iterdir()}
    assert files >= {*(f"{name}.png" for name in FIGURES), "metrics.json", "embeddings.npz", "errors.csv", "report.md"}


def test_the_statistics_stand_at_the_end_of_standard_output(trained: Trained) -> None:
    arguments = ("--checkpoint", "runs/demo/best_model.pt", "--data", "data/demo-val.json", "--output", "plain")
    done = _python(str(ROOT / "visualize_embeddings.py"), *arguments, "--skip-tsne", "--skip-umap", cwd=trained.folder)
    metrics = json.loads((trained.folder / "plain" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert done.stdout.splitlines()[-6:] == [
        "Similarity Statistics:",
        f"   Positive:   {metrics['positive_mean']:.4f} ± {metrics['positive_std']:.4f}",
        f"   Negative:   {metrics['negative_mean']:.4f} ± {metrics['negative_std']:.4f}",
        f"   Margin:     {metrics['margin']:.4f}",
        f"   Separation: {metrics['separation']:.2f}σ",
        f"   Rank-1:     {metrics['rank1']:.1%}",
    ]


def test_a_best_model_without_its_encoder_is_small_and_holds_plain_types(trained: Trained) -> None:
    content = torch.load(trained.run / "best_model.pt", weights_only=True)
    assert set(content) == {"model_state_dict", "config", "epoch", "loss", "metrics"}
    assert set(content["model_state_dict"]) == {"head.linear.weight"}
    assert content["config"]["encoder"] == "char-ngrams-512"
    known = [row for row in trained.history if row["epoch"] is None or row["epoch"] <= content["epoch"]]
    assert content["config"]["chosen"].startswith(f"MRR is {known[-1]['metrics']['mrr']:.3f}, 95 % interval ")
    assert content["config"]["chosen"].endswith(f" for the best of {len(known)} chosen on these queries")


def test_validate_reads_the_checkpoint_of_a_fit(trained: Trained) -> None:
    _python(
        str(ROOT / "train_script.py"),
        "validate",
        f"--config={ROOT / 'configs' / 'demo.yaml'}",
        "--model.encoder=char-ngrams-512",
        "--model.dim=32",
        f"--ckpt_path={trained.run / 'checkpoints' / 'last.ckpt'}",
        cwd=trained.folder,
    )


def test_without_arguments_the_training_script_says_what_it_can_do(tmp_path: Path) -> None:
    done = _python(str(ROOT / "train_script.py"), cwd=tmp_path, expected=2)
    assert "train_script.py fit --config configs/demo.yaml" in done.stderr
