"""The evaluator for sentence-transformers: its numbers, its files, and that training notices nothing."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.tiny_models import tiny_bert

needs_sentence_transformers = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed"
)
PAIRS = [{"query": f"tìm phòng quận {row}", "pos": f"phòng trọ quận {row} giá {row + 1} triệu"} for row in range(1, 11)]


def _model(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    tiny_bert(folder)
    return SentenceTransformer(str(folder), device="cpu")


LOOP = """
import json, sys
sys.modules["sentence_transformers"] = None
import torch
from pathlib import Path
from embviz_callback.adapters import EmbvizEvaluator

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.EmbeddingBag(512, 8)

    def encode(self, texts):
        return self.table(torch.tensor([[ord(letter) % 512 for letter in (text * 9)[:40]] for text in texts]))

pairs = [{"query": f"phòng {row}", "pos": f"nhà {row} quận {row}"} for row in range(12)]
model, other = Model(), Model()
look = EmbvizEvaluator(pairs, output_dir=Path(sys.argv[1], "own"), skip_tsne=True, skip_umap=True, on_error="raise")
look(model, epoch=None)
numbers = look(model, epoch=0, training_loss=0.5)
assert look(model, epoch=1)["embviz_margin"] == numbers["embviz_margin"]
assert look.folder.name == "own"
look(other, epoch=0)
assert look.folder.name == "own-2"
look.finish()
rows = map(json.loads, Path(sys.argv[1], "own", "history.jsonl").open())
losses = [row["standing"]["training_loss"] for row in rows]
assert losses == [None, 0.5, None]
print(sorted(name for name in numbers if "merit" in name))
"""


@pytest.mark.slow
def test_a_plain_loop_needs_no_other_library_and_each_model_has_its_own_history(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", LOOP, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'embviz_merit'" in done.stdout
    for folder, labels in (("own", ["untrained", "epoch 0", "epoch 1"]), ("own-2", ["epoch 0"])):
        lines = (tmp_path / folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["label"] for line in lines] == labels
        assert (tmp_path / folder / "epoch_0000" / "similarity_heatmap.png").is_file()


@pytest.mark.slow
@needs_sentence_transformers
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_two_evaluators_of_one_training_have_keys_and_folders_of_their_own(tmp_path: Path) -> None:
    from sentence_transformers.evaluation import SequentialEvaluator

    from embviz_callback.adapters import EmbvizEvaluator

    made = [EmbvizEvaluator(PAIRS, name=name, figures=False, on_error="raise") for name in ("", "general")]
    found = _model(tmp_path / "encoder").evaluate(SequentialEvaluator(made), output_path=str(tmp_path / "out"))
    assert found["embviz_rank1"] == found["embviz_general_rank1"]
    assert [one.folder for one in made] == [tmp_path / "out" / "embviz", tmp_path / "out" / "embviz_general"]
    assert made[1].primary_metric == "embviz_general_merit"


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


needs_trainer = pytest.mark.skipif(
    None in map(find_spec, ("sentence_transformers", "accelerate", "datasets")),
    reason="the extra sentence-transformers is not installed",
)


@pytest.mark.slow
@needs_trainer
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_real_trainer_calls_it_and_chooses_the_best_model_by_it(tmp_path: Path) -> None:
    from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator
    from tests.tiny_trainers import sentence_trainer

    evaluator = EmbvizEvaluator(PAIRS, figures=False, on_error="raise")
    options = {"load_best_model_at_end": True, "metric_for_best_model": "embviz_margin", "num_train_epochs": 3}
    trainer = sentence_trainer(tmp_path, evaluator=evaluator, **options)
    trainer.train()
    evaluator.finish()
    assert evaluator.folder is not None
    lines = (evaluator.folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    margins = {row["step"]: row["metrics"]["margin"] for row in map(json.loads, lines)}
    assert list(margins) == [3, 6, 9]
    best = max(margins, key=lambda step: margins[step])
    assert trainer.state.best_metric == pytest.approx(margins[best])
    assert trainer.state.best_model_checkpoint == f"{tmp_path / f'checkpoint-{best}'}"
    (events,) = (tmp_path / "runs").iterdir()
    found = EventAccumulator(f"{events}")
    found.Reload()
    assert [scalar.step for scalar in found.Scalars("eval/embviz_margin")] == [3, 6, 9]


@pytest.mark.slow
@needs_trainer
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_an_encode_that_fails_gives_nan_and_one_warning_and_the_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator
    from tests.tiny_trainers import sentence_trainer

    def broken(*_: Any, **__: Any) -> Any:
        raise LookupError("broken on purpose")

    evaluator = EmbvizEvaluator(PAIRS, figures=False)
    options = {"load_best_model_at_end": True, "metric_for_best_model": "embviz_ndcg_at_10"}
    trainer = sentence_trainer(tmp_path, evaluator=evaluator, **options)
    monkeypatch.setattr(type(trainer.model), "encode", broken)
    trainer.train()
    assert trainer.state.global_step == 6
    assert trainer.state.best_model_checkpoint is None
    said = [record.getMessage() for record in caplog.records if record.name == "embviz_callback"]
    assert len(said) == 1
    assert said[0].startswith("embviz: encoding failed (epoch 1, step 3, step 3, rank 0): LookupError: broken on")
    (row,) = [row for row in trainer.state.log_history if row["step"] == 6 and "eval_embviz_rank1" in row]
    assert {name for name, value in row.items() if value != value} >= {"eval_embviz_margin", "eval_embviz_auc"}
    with pytest.raises(LookupError, match="broken on purpose"):
        EmbvizEvaluator(PAIRS, figures=False, on_error="raise")(trainer.model)
