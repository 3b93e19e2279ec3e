"""`embviz export`: what sentence-transformers and the runner make of an exported checkpoint."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from embviz_callback.cli import main
from embviz_callback.encoding.checkpoints.loading import load_checkpoint
from tests.tiny_models import TEXTS, tiny_bert, tiny_model, tiny_xlm_roberta, vectors, weights_of

LONG = "Cho thuê phòng trọ 25 m2 quận 10 giá 5 triệu có máy lạnh wc riêng " * 10
needs_sentence_transformers = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed"
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoders") / "bert")


def _checkpoint(path: Path, encoder: Path, *, layer_norm: Any = False, dim_out: int = 8, **config: Any) -> Path:
    model = tiny_model(encoder, layer_norm=layer_norm, dim_out=dim_out)
    settings = {"encoder": str(encoder), "max_length": 32, **config}
    torch.save({"model_state_dict": weights_of(model), "epoch": 3, "config": settings}, path)
    return path


def _export(checkpoint: Path, output: Path, *more: str) -> int:
    return main(["export", "--checkpoint", str(checkpoint), "--output", str(output), *more])


@pytest.mark.slow
@needs_sentence_transformers
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("architecture", [tiny_bert, tiny_xlm_roberta])
@pytest.mark.parametrize(
    ("layer_norm", "pooling"),
    [(False, "lasttoken"), ("after", "cls"), ("before", "mean")],
    ids=["plain", "after", "before"],
)
def test_sentence_transformers_gives_the_same_vectors(
    tmp_path: Path, architecture: Any, layer_norm: Any, pooling: str
) -> None:
    from sentence_transformers import SentenceTransformer

    path = _checkpoint(
        tmp_path / "a.pt",
        architecture(tmp_path / "encoder"),
        layer_norm=layer_norm,
        pooling=pooling,
        query_prompt="tìm ",
    )
    assert _export(path, tmp_path / "st") == 0
    ours = load_checkpoint(path).model
    theirs = SentenceTransformer(str(tmp_path / "st"), device="cpu")
    texts = [*TEXTS, LONG]
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(theirs.encode(texts)), ours.encode(texts), atol=1e-5)
        asked = ours.encode([f"tìm {text}" for text in texts])
    assert torch.allclose(torch.from_numpy(theirs.encode_query(texts)), asked, atol=1e-5)
    again = load_checkpoint(tmp_path / "st")
    assert torch.allclose(vectors(again.model), vectors(ours), atol=1e-6)
    assert (again.config["query_prompt"], again.config["max_length"]) == ("tìm ", 32)


def _pairs(path: Path) -> Path:
    rows = [
        {"query": f"tìm phòng quận {row}", "pos": f"phòng trọ quận {row} giá {row + 1} triệu"} for row in range(1, 11)
    ]
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def _evaluated(checkpoint: Path, data: Path, output: Path) -> dict[str, Any]:
    given = ["--checkpoint", str(checkpoint), "--data", str(data), "--output", str(output)]
    assert main([*given, "--skip-umap", "--no-cache"]) == 0
    content: dict[str, Any] = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.slow
def test_the_runner_measures_the_same_and_the_card_says_it(tmp_path: Path, encoder: Path) -> None:
    data = _pairs(tmp_path / "val.json")
    path = _checkpoint(tmp_path / "best_model.pt", encoder, chosen="MRR is 0.900, for the best of 4")
    before = _evaluated(path, data, tmp_path / "before")
    assert _export(path, tmp_path / "st", "--metrics", str(tmp_path / "before" / "metrics.json")) == 0
    after = _evaluated(tmp_path / "st", data, tmp_path / "after")
    assert after["fingerprint"] == before["fingerprint"]
    assert after["metrics"] == pytest.approx(before["metrics"], abs=1e-5)
    card = (tmp_path / "st" / "README.md").read_text(encoding="utf-8")
    low, high = before["intervals"]["margin"]
    assert f"| margin | {before['metrics']['margin']:.4f} | {low:.4f} to {high:.4f} |" in card
    assert f"| rank1 | {before['metrics']['rank1']:.4f} |" in card
    assert all(check["name"].replace("_", r"\_") in card for check in before["checklist"])
    for row in (
        "| Base encoder | bert |",
        "| Dimensions | 8 |",
        "| Pooling | mean |",
        "| Epoch | 3 |",
        "| Chosen | MRR is 0.900,",
    ):
        assert row in card
    assert "model = SentenceTransformer('st')" in card
    assert "| ndcg_at_10 |" in card
    assert "![Map of the evaluation's embeddings, t-SNE](tsne_projection.png)" in card
    drawn = (tmp_path / "before" / "tsne_projection.png").read_bytes()
    assert (tmp_path / "st" / "tsne_projection.png").read_bytes() == drawn


def test_a_card_takes_no_figures_of_another_checkpoint(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _checkpoint(tmp_path / "a.pt", encoder)
    sha256 = load_checkpoint(path).origin.sha256
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps({"metrics": {"margin": 0.9}, "provenance": {"checkpoint_sha256": "f" * 64}}))
    assert _export(path, tmp_path / "st", "--metrics", str(metrics)) == 2
    assert capsys.readouterr().err.endswith(
        f"embviz export: --metrics {metrics} was measured on another file than {path} "
        f"(SHA-256 ffffffffffff, not {sha256[:12]}); evaluate this checkpoint first\n"
    )
    assert not (tmp_path / "st").exists()
    metrics.write_text(json.dumps({"metrics": {"margin": 0.9}}))
    assert _export(path, tmp_path / "st", "--metrics", str(metrics)) == 0
    said = f"{metrics} does not say on which checkpoint it was measured; the card takes your word\n"
    assert said in capsys.readouterr().err


def test_exporting_needs_no_sentence_transformers_and_leaves_no_other_file(tmp_path: Path, encoder: Path) -> None:
    path = _checkpoint(tmp_path / "a.pt", encoder)
    (tmp_path / "st").mkdir()
    arguments = ["export", "--checkpoint", str(path), "--output", str(tmp_path / "st")]
    start = f"from embviz_callback.cli import main; sys.exit(main({arguments!r}))"
    program = f"import sys; sys.modules['sentence_transformers'] = None; {start}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'st'}\n")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.pt", "st"]
    assert {"modules.json", "config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {
        entry.name for entry in (tmp_path / "st").iterdir()
    }
    modules = json.loads((tmp_path / "st" / "modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Pooling", "2_Dense", "3_Normalize"]
    assert (tmp_path / "st" / "2_Dense" / "model.safetensors").is_file()


def test_a_directory_with_something_in_it_is_left_alone(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "st").mkdir()
    (tmp_path / "st" / "mine.txt").write_text("mine")
    path = _checkpoint(tmp_path / "a.pt", encoder)
    capsys.readouterr()
    assert _export(path, tmp_path / "st") == 2
    expected = f"embviz export: --output {tmp_path / 'st'} is not empty; give a new directory\n"
    assert capsys.readouterr().err == expected
    assert [entry.name for entry in (tmp_path / "st").iterdir()] == ["mine.txt"]


def test_the_built_in_encoder_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pt"
    torch.save(
        {"model_state_dict": {"head.linear.weight": torch.eye(8, 64)}, "config": {"encoder": "char-ngrams-64"}}, path
    )
    assert _export(path, tmp_path / "st") == 2
    assert capsys.readouterr().err == (
        f"embviz export: {path} has the built-in encoder 'char-ngrams-64', which sentence-transformers does not have; "
        "export a checkpoint whose encoder is a transformers model\n"
    )
    assert not (tmp_path / "st").exists()


def test_an_exported_directory_is_not_exported_again(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _export(_checkpoint(tmp_path / "a.pt", encoder), tmp_path / "st") == 0
    capsys.readouterr()
    assert _export(tmp_path / "st", tmp_path / "again") == 2
    assert capsys.readouterr().err == (
        f"embviz export: {tmp_path / 'st'} is a sentence-transformers directory already; copy it\n"
    )


def test_a_metrics_file_of_another_kind_is_refused(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.json").write_text("[]")
    path = _checkpoint(tmp_path / "a.pt", encoder)
    capsys.readouterr()
    assert _export(path, tmp_path / "st", "--metrics", str(tmp_path / "m.json")) == 2
    assert capsys.readouterr().err == (
        f"embviz export: --metrics {tmp_path / 'm.json'} has no metrics; give the metrics.json of an evaluation\n"
    )


def test_what_is_said_of_head_and_precision_is_obeyed(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mlp.pt"
    torch.save({"head.0.weight": torch.ones(8, 16), "head.2.weight": torch.ones(8, 8)}, path)
    assert _export(path, tmp_path / "st", "--encoder", str(encoder), "--head-activation", "ReLU") == 2
    expected = f"embviz export: {path} has a head of its own, Stack; a linear head can be exported\n"
    assert capsys.readouterr().err == expected
    assert _export(_checkpoint(tmp_path / "a.pt", encoder), tmp_path / "half", "--dtype", "bfloat16") == 0
    assert {part.dtype for part in load_file(tmp_path / "half" / "model.safetensors").values()} == {torch.bfloat16}
