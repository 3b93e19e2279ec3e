"""Every example runs as it stands, on a tiny model made on the spot."""

import ast
import json
import runpy
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

from embviz_callback.demo.rental_pairs import generate_pairs
from tests.doc_blocks import as_installed
from tests.tiny_models import tiny_bert

EXAMPLES = Path(__file__).parents[1] / "examples"
needs_trainer = pytest.mark.skipif(
    None in map(find_spec, ("sentence_transformers", "accelerate", "datasets")),
    reason="the extra sentence-transformers is not installed",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "first"),
    [
        pytest.param("sentence_transformer", "epoch_0001", marks=needs_trainer),
        pytest.param("transformers_trainer", "epoch_0001", marks=needs_trainer),
        pytest.param("lightning_module", "epoch_0000"),
        pytest.param("plain_loop", "epoch_0000"),
    ],
)
def test_an_example_trains_and_leaves_figures_and_report(
    tmp_path: Path, script: str, first: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", f"{tiny_bert(tmp_path / 'encoder')}", "--output", f"{tmp_path / 'run'}"]
    arguments += ["--epochs", "1", "--batch-size", "8", "--skip-umap"]
    arguments += _own_files(tmp_path) if script == "transformers_trainer" else ["--pairs", "24"]
    copies = _own_copy(tmp_path)
    program = f"{copies / script}.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(copies)
    monkeypatch.delitem(sys.modules, "rental_data", raising=False)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    # In this process, which has imported the trainers already; the drawing process is one of its own as ever.
    with warnings.catch_warnings(action="ignore"):
        runpy.run_path(program, run_name="__main__")
    report = Path(capsys.readouterr().out.splitlines()[-1].rpartition("report: ")[2])
    assert report.is_file()
    assert (report.parent / first / "tsne_projection.png").read_bytes().startswith(b"\x89PNG")
    labels = [json.loads(line)["label"] for line in (report.parent / "history.jsonl").read_text().splitlines()]
    assert labels == ["untrained", first.replace("_000", " ")]


def _own_copy(folder: Path) -> Path:
    copies = shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    script = copies / "sentence_transformer.py"
    script.write_text(as_installed(script.read_text(encoding="utf-8")), encoding="utf-8")
    return copies


def _own_files(folder: Path) -> list[str]:
    """As a user gives them, here with several positives and hard negatives."""
    items = [dict(item, pos=[item["pos"], f"{item['pos']}, mới"]) for item in generate_pairs(32, seed=5)]
    for name, part in (("train", items[:24]), ("val", items[24:])):
        (folder / f"{name}.json").write_text(json.dumps(part, ensure_ascii=False), encoding="utf-8")
    return ["--data", f"{folder / 'train.json'}", "--val", f"{folder / 'val.json'}"]


def test_lightning_users_write_at_most_ten_lines_around_their_module() -> None:
    tree = ast.parse((EXAMPLES / "lightning_module.py").read_text(encoding="utf-8"))
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert main.end_lineno is not None
    assert main.end_lineno - main.lineno <= 10
