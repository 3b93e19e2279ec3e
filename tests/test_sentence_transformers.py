"""The evaluator for sentence-transformers: its numbers, its files, and that training notices nothing."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_models import tiny_bert

needs_sentence_transformers = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed"
)
PAIRS = [{"query": f"tìm phòng quận {row}", "pos": f"phòng trọ quận {row} giá {row + 1} triệu"} for row in range(1, 11)]


def _model(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    tiny_bert(folder)
    return SentenceTransformer(str(folder), device="cpu")


def test_without_sentence_transformers_one_sentence_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['sentence_transformers'] = None\n"
        "try:\n    import embviz_callback.adapters.sentence_transformers\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "EmbvizEvaluator needs sentence-transformers 6 or newer; "
        'install it with: pip install "embviz-callback[sentence-transformers]"\n'
    )


@pytest.mark.slow
@needs_sentence_transformers
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_evaluation_gives_the_callbacks_numbers_and_files(tmp_path: Path) -> None:
    from embviz_callback import evaluate_pairs
    from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator

    model = _model(tmp_path / "encoder")
    evaluator = EmbvizEvaluator(PAIRS, skip_tsne=True, skip_umap=True, on_error="raise")
    found = model.evaluate(evaluator, output_path=str(tmp_path / "out"))
    queries, documents = (model.encode([pair[name] for pair in PAIRS]) for name in ("query", "pos"))
    expected = evaluate_pairs(queries, documents, list(range(len(PAIRS))))
    for name in ("margin", "rank1", "positive_mean", "auc"):
        assert found[f"embviz_{name}"] == pytest.approx(expected[name], abs=1e-5)
    assert evaluator.primary_metric in found
    folder = tmp_path / "out" / "embviz"
    assert evaluator.folder == folder
    (row,) = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert row["metrics"]["margin"] == pytest.approx(found["embviz_margin"])
    assert (folder / "evaluation" / "similarity_heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "evaluation" / "report.md").is_file()
    # A later call goes on with the history in a drawing process of its own.
    again = evaluator(model, str(tmp_path / "out"), epoch=1, steps=4)
    evaluator.finish()
    assert again["embviz_margin"] == pytest.approx(found["embviz_margin"])
    assert (found["embviz_alert"], again["embviz_alert"]) == (0.0, 1.0)
    assert (folder / "epoch_0001_step_4" / "similarity_heatmap.png").is_file()
    assert len((folder / "history.jsonl").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.slow
@needs_sentence_transformers
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_training_notices_nothing(tmp_path: Path) -> None:
    from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator

    model = _model(tmp_path / "encoder").train()
    model[0].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    random = torch.get_rng_state()
    evaluator = EmbvizEvaluator(PAIRS, figures=False, on_error="raise")
    for steps in (5, 10):
        evaluator(model, output_path=str(tmp_path / "out"), epoch=0.5, steps=steps)
    assert torch.equal(torch.get_rng_state(), random)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(part.grad is None for part in model.parameters())
    rows = (tmp_path / "out" / "embviz" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["label"] for row in rows] == ["epoch 0, step 5", "epoch 0, step 10"]
