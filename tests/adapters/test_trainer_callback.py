"""The callback for the trainers of transformers and sentence-transformers: the numbers, and an unchanged training."""

import json
import logging
import os
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from embviz_callback import MarginAlert, evaluate_pairs
from embviz_callback.delivery.tags import scalar_tag
from tests.test_training_unchanged import digest

needs_trainer = pytest.mark.skipif(
    None in map(find_spec, ("sentence_transformers", "accelerate", "datasets")),
    reason="the extra sentence-transformers is not installed",
)
pytestmark = [
    pytest.mark.slow,
    needs_trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
NAMES = (
    "margin",
    "separation",
    "rank1",
    "mrr",
    "ndcg_at_10",
    "auc",
    "hard_margin",
    "alert",
    "blocked_s",
    "overhead",
    "merit",
)


def callback(**options: Any) -> Any:
    """Without a drawing process."""
    from embviz_callback.adapters.transformers import EmbvizTrainerCallback
    from tests.tiny_trainers import PAIRS

    return EmbvizTrainerCallback(**({"data": PAIRS, "figures": False} | options))


def fit(
    folder: Path, visualizer: Any = None, *others: Any, kind: str = "plain", resume: Any = None, **options: Any
) -> Any:
    from tests import tiny_trainers

    trainer = getattr(tiny_trainers, f"{kind}_trainer")(folder, *others, **options)
    if visualizer is not None:
        visualizer.attach(trainer)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def read_back(folder: Path) -> EventAccumulator:
    events = EventAccumulator(f"{folder}", size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    events.Reload()
    return events


def logged(folder: Path) -> Path:
    (found,) = (folder / "runs").iterdir()
    return found


def rows(folder: Path | None) -> list[dict[str, Any]]:
    assert folder is not None
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "embviz_callback" and record.levelno >= logging.WARNING
    ]


class Finished:
    """One whole training of a SentenceTransformer, looked at by many tests."""

    def __init__(self, folder: Path) -> None:
        from transformers import EarlyStoppingCallback

        self.folder = folder
        self.callback = callback(figures=True, alert=MarginAlert(0.9), skip_tsne=True, skip_umap=True, on_error="raise")
        self.stopping = EarlyStoppingCallback(9)
        self.trainer = fit(
            *(folder, self.callback, self.stopping),
            kind="sentence",
            num_train_epochs=3,
            load_best_model_at_end=True,
            metric_for_best_model="embviz/margin",
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("run"))


def test_scalars_stand_in_tensorboard_under_the_callbacks_names_and_the_step_of_the_loss(run: Finished) -> None:
    events = read_back(logged(run.folder))
    assert [scalar.step for scalar in events.Scalars("train/loss")] == [3, 6, 9]
    for name in NAMES:
        assert [scalar.step for scalar in events.Scalars(scalar_tag("embviz", name))] == [3, 6, 9], name
    assert not [tag for tag in events.Tags()["scalars"] if "train/embviz" in tag]


def test_pictures_and_text_bear_the_same_steps_in_a_run_of_their_own(run: Finished) -> None:
    events = read_back(logged(run.folder) / "embviz")
    for tag in ("similarity_heatmap", "similarity_distribution", "top_k_predictions"):
        assert [image.step for image in events.Images(f"embviz/{tag}")] == [3, 6, 9]
    assert [text.step for text in events.Tensors("embviz/report/text_summary")] == [3, 6, 9]


def test_the_files_are_those_of_the_callback(run: Finished) -> None:
    folder = run.callback.folder
    assert folder == run.folder / "embviz"
    assert [(row["label"], row["step"]) for row in rows(folder)] == [
        *(("untrained", 0), ("epoch 1", 3), ("epoch 2", 6), ("epoch 3", 9)),
    ]
    for place in ("untrained", "epoch_0001", "epoch_0002", "epoch_0003"):
        names = {path.name for path in (folder / place).iterdir()}
        assert names >= {"report.md", "similarity_heatmap.png", "similarity_distribution.png", "top_k_predictions.png"}
    assert "margin alert at epoch 3" in (folder / "epoch_0003" / "report.md").read_text(encoding="utf-8")
    assert "| untrained |" in (folder / "epoch_0003" / "report.md").read_text(encoding="utf-8")


def test_the_best_checkpoint_is_chosen_by_the_margin_and_early_stopping_sees_it(run: Finished) -> None:
    margins = {row["step"]: row["metrics"]["margin"] for row in rows(run.callback.folder)[1:]}
    best = max(margins, key=lambda step: margins[step])
    assert run.trainer.state.best_metric == pytest.approx(margins[best])
    assert run.trainer.state.best_model_checkpoint == f"{run.folder / f'checkpoint-{best}'}"
    assert run.stopping.early_stopping_patience_counter == 0  # the margin rose in every epoch


def test_the_log_history_holds_every_number(run: Finished) -> None:
    found = [row for row in run.trainer.state.log_history if "embviz/margin" in row]
    assert [(row["epoch"], row["step"]) for row in found] == [(1.0, 3), (2.0, 6), (3.0, 9)]
    assert found[-1]["embviz/margin"] == rows(run.callback.folder)[-1]["metrics"]["margin"]


def test_the_numbers_are_those_of_the_checkpoint_of_the_epoch(run: Finished) -> None:
    from sentence_transformers import SentenceTransformer

    from tests.tiny_trainers import PAIRS

    model = SentenceTransformer(f"{run.folder / 'checkpoint-6'}", device="cpu")
    queries, documents = (model.encode([pair[name] for pair in PAIRS]) for name in ("query", "pos"))
    expected = evaluate_pairs(queries, documents, list(range(len(PAIRS))))
    found = rows(run.callback.folder)[2]["metrics"]
    for name in ("margin", "separation", "rank1", "auc"):
        assert found[name] == pytest.approx(expected[name], abs=1e-5)


def test_the_state_of_every_checkpoint_holds_the_history_so_far(run: Finished) -> None:
    state = json.loads((run.folder / "checkpoint-6" / "trainer_state.json").read_text(encoding="utf-8"))
    kept = state["stateful_callbacks"]["embviz"]
    assert [row["label"] for row in kept["rows"]] == ["untrained", "epoch 1", "epoch 2"]
    # The trainer logs an epoch's loss after the epoch has been looked at: the next look knows it.
    assert [row["standing"]["training_loss"] is None for row in kept["rows"]] == [True, True, False]


def everything(trainer: Any) -> dict[str, str]:
    """What a training leaves behind, by name."""
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    parts = {
        "weights": trainer.model.state_dict(),
        "optimiser": trainer.optimizer.state_dict(),
        "losses": losses,
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "torch": torch.get_rng_state(),
        "modes": [part.training for part in trainer.model.modules()],
        "threads": torch.get_num_threads(),
        "step": trainer.state.global_step,
    }
    return {name: digest(part) for name, part in parts.items()}


@pytest.mark.parametrize(
    ("kind", "options", "settings"),
    [
        ("plain", {}, {}),
        ("plain", {"gradient_accumulation_steps": 2, "eval_strategy": "steps", "eval_steps": 1}, {"when": "evaluate"}),
        ("plain", {"bf16": True, "save_strategy": "no"}, {"log_baseline": True}),
        ("sentence", {"save_strategy": "no"}, {"batch_size": 5}),
    ],
    ids=str,
)
def test_training_is_the_same_to_the_bit(
    tmp_path: Path, kind: str, options: dict[str, Any], settings: dict[str, Any]
) -> None:
    visualizer = callback(on_error="raise", **settings)
    watched = everything(fit(tmp_path / "with", visualizer, kind=kind, **options))
    assert watched == everything(fit(tmp_path / "without", kind=kind, **options))
    assert len(rows(visualizer.folder)) > 2


def test_what_a_model_makes_on_its_first_call_can_be_trained_with(tmp_path: Path) -> None:
    from tests import tiny_trainers

    class Lazy(torch.nn.Module):
        """Keeps a tensor of its first call, which is that of the untrained model."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))
            self.kept: torch.Tensor | None = None

        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            found = features["sentence_embedding"]
            self.kept = torch.ones(found.shape[1]) if self.kept is None else self.kept
            return features | {"sentence_embedding": found * (self.scale * self.kept)}

    trainer = tiny_trainers.sentence_trainer(tmp_path, save_strategy="no", report_to=[])
    trainer.model.add_module("2", Lazy())
    visualizer = callback(on_error="raise").attach(trainer)
    trainer.train()
    assert len(rows(visualizer.folder)) == 3


def test_the_evaluation_runs_under_the_trainers_precision(tmp_path: Path) -> None:
    seen: list[bool] = []

    def encode(model: Any, texts: list[str]) -> torch.Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return model.encode(texts)

    fit(tmp_path, callback(encode=encode), bf16=True, save_strategy="no")
    assert set(seen) == {True}
    fit(tmp_path, callback(encode=encode), save_strategy="no")
    assert set(seen) == {True, False}


def broken(model: Any, texts: list[str]) -> Any:
    model.train()
    torch.rand(7)
    raise LookupError("broken on purpose")


def test_an_encode_that_fails_costs_one_warning_and_leaves_the_training_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    visualizer = callback(encode=broken, alert=None)
    options = {"load_best_model_at_end": True, "metric_for_best_model": "embviz/ndcg_at_10"}
    trainer = fit(tmp_path / "with", visualizer, **options)
    assert everything(trainer) == everything(fit(tmp_path / "without"))
    assert len(ours(caplog)) == 2
    assert ours(caplog)[0].startswith(
        "embviz: encoding failed (untrained, step 0, rank 0): LookupError: broken on purpose; skipped: metrics and"
    )
    assert ours(caplog)[1] == "embviz: encoding failed 3 times in a row and is not tried again in this run"
    assert trainer.state.best_model_checkpoint is None


def test_whoever_wants_it_strict_gets_the_exception(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="broken on purpose"):
        fit(tmp_path, callback(encode=broken, on_error="raise"))


@pytest.mark.parametrize("restore", [False, True])
def test_a_resumed_training_goes_on_with_history_and_alert(tmp_path: Path, restore: bool) -> None:
    rule = MarginAlert(1.9, patience=1)
    fit(tmp_path, callback(alert=rule))
    second = callback(alert=rule)
    options = {"num_train_epochs": 4, "restore_callback_states_from_checkpoint": restore}
    fit(tmp_path, second, resume=f"{tmp_path / 'checkpoint-3'}", **options)
    found = rows(second.folder)
    assert [row["label"] for row in found] == ["untrained", "epoch 1", "epoch 2", "epoch 3", "epoch 4"]
    assert [row["step"] for row in found] == [0, 3, 6, 9, 12]
    assert [row["alert"] for row in found] == [False, False, True, True, True]


def test_a_checkpoint_without_the_callback_is_resumed_with_it_and_the_other_way_round(tmp_path: Path) -> None:
    fit(tmp_path)
    second = callback()
    fit(tmp_path, second, num_train_epochs=3, resume=True)
    assert [row["label"] for row in rows(second.folder)] == ["epoch 3"]
    trainer = fit(tmp_path, num_train_epochs=4, resume=True)
    assert trainer.state.global_step == 12


def test_evaluations_of_the_trainer_within_an_epoch_are_records_of_their_own(tmp_path: Path) -> None:
    visualizer = callback(when="evaluate")
    options = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "no", "logging_steps": 1}
    trainer = fit(tmp_path, visualizer, **options, max_steps=5)
    assert [row["label"] for row in rows(visualizer.folder)] == [
        *("untrained", "epoch 0, step 2", "epoch 1, step 4", "epoch 1, step 5"),
    ]
    assert [scalar.step for scalar in read_back(logged(tmp_path)).Scalars("embviz/margin")] == [2, 4, 5]
    before = rows(visualizer.folder)
    trainer.evaluate()  # outside of a training: none of ours
    assert rows(visualizer.folder) == before


def test_only_the_best_is_saved_when_asked(tmp_path: Path) -> None:
    visualizer = callback()
    fit(tmp_path, visualizer, num_train_epochs=3, save_strategy="best", metric_for_best_model="embviz/margin")
    margins = [row["metrics"]["margin"] for row in rows(visualizer.folder)[1:]]
    rises = [3 * (at + 1) for at, margin in enumerate(margins) if margin > max([-1.0, *margins[:at]])]
    assert sorted(int(path.name.rpartition("-")[2]) for path in tmp_path.glob("checkpoint-*")) == rises


def test_a_search_that_adds_up_all_metrics_gets_none_of_ours(tmp_path: Path) -> None:
    from tests import tiny_trainers

    visualizer, metrics = callback(), {"eval_loss": 1.0}
    trainer = tiny_trainers.plain_trainer(tmp_path, save_strategy="no", report_to=[])
    visualizer.attach(trainer)
    visualizer.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
    trainer.state.is_hyper_param_search = True
    visualizer.on_evaluate(trainer.args, trainer.state, trainer.control, model=trainer.model, metrics=metrics)
    assert metrics == {"eval_loss": 1.0}
    trainer.args.metric_for_best_model = "embviz/margin"
    visualizer.on_evaluate(trainer.args, trainer.state, trainer.control, model=trainer.model, metrics=metrics)
    assert metrics["eval_embviz/margin"] == rows(visualizer.folder)[0]["metrics"]["margin"]


def test_every_nth_epoch_and_the_last_are_evaluated(tmp_path: Path) -> None:
    visualizer = callback(every_n_epochs=2)
    fit(tmp_path, visualizer, num_train_epochs=3, save_strategy="no")
    assert [row["step"] for row in rows(visualizer.folder)] == [0, 6, 9]


def test_the_alert_stops_the_training_when_asked(tmp_path: Path) -> None:
    rule = MarginAlert(1.9, patience=1, stop_training=True)
    trainer = fit(tmp_path, callback(alert=rule), num_train_epochs=9, save_strategy="no")
    assert trainer.state.global_step == 6


def test_a_callback_that_is_not_attached_says_what_does_not_get_the_scalars(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    visualizer = callback(alert=None)
    trainer = fit(tmp_path / "alone", None, visualizer, save_strategy="no")
    assert ours(caplog) == [
        "embviz: scalars reach the log history only; EmbvizTrainerCallback(...).attach(trainer) sends them to "
        "tensorboard too"
    ]
    assert len([row for row in trainer.state.log_history if "embviz/margin" in row]) == 2
    assert len(rows(visualizer.folder)) == 3
    fit(tmp_path / "attached", visualizer, visualizer, save_strategy="no")
    assert len(rows(visualizer.folder)) == 3
    assert len(read_back(logged(tmp_path / "attached")).Scalars("embviz/margin")) == 2
    assert len(ours(caplog)) == 1


def test_other_trackers_are_told_and_one_that_raises_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers.integrations.integration_utils import CometCallback, TrackioCallback

    told: list[dict[str, float]] = []

    class Recording(CometCallback):
        def __init__(self) -> None:
            pass

        def setup(self, *_: Any, **__: Any) -> None:
            pass

        on_train_begin = on_train_end = on_predict = on_save = setup  # type: ignore[assignment]

        def on_log(self, args: Any, state: Any, control: Any, model: Any = None, logs: Any = None, **_: Any) -> None:
            told.append(logs)

    class Raising(TrackioCallback):
        def __init__(self) -> None:
            pass

        on_train_begin = on_train_end = on_predict = on_save = Recording.setup  # type: ignore[assignment]

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "embviz/margin" in logs:
                raise LookupError("broken on purpose")

    fit(tmp_path, callback(alert=None), Raising(), Recording(), save_strategy="no")
    assert len([logs for logs in told if "embviz/margin" in logs]) == 2
    assert ours(caplog) == [
        "embviz: logging to Raising failed (step 3, rank 0): LookupError: broken on purpose; skipped: the scalars"
    ]


def test_what_cannot_be_meant_is_refused_before_training(tmp_path: Path) -> None:
    class Mute(torch.nn.Linear):
        pass

    with pytest.raises(TypeError) as mute:
        fit(tmp_path, callback(), model=Mute(2, 2))
    assert str(mute.value) == (
        "Mute has no method encode(texts); give encode=, a function that takes the model and a list of texts and "
        "returns a tensor of shape (len(texts), dim), or what embviz_callback.text_encoder makes of a tokenizer"
    )
    with pytest.raises(ValueError) as when:
        callback(when="train_epoch_end")
    assert str(when.value) == "when must be 'epoch_end' or 'evaluate', got 'train_epoch_end'"
    with pytest.raises(ValueError) as option:
        callback(max_sample=3)
    assert str(option.value) == "there is no option 'max_sample'; did you mean 'max_samples'?"


def test_two_callbacks_with_names_keep_apart(tmp_path: Path) -> None:
    from tests import tiny_trainers

    trainer = tiny_trainers.plain_trainer(tmp_path, save_strategy="no")
    one, other = callback().attach(trainer), callback(name="short list", max_samples=5).attach(trainer)
    trainer.train()
    assert one.folder != other.folder
    assert [len(rows(each.folder)) for each in (one, other)] == [3, 3]
    assert rows(one.folder)[0]["fingerprint"] != rows(other.folder)[0]["fingerprint"]
    events = read_back(logged(tmp_path))
    for tag in ("embviz/margin", f"{other.prefix}/margin"):
        assert [scalar.step for scalar in events.Scalars(tag)] == [3, 6]


def test_figures_are_warned_of_where_they_would_be_uploaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from tests import tiny_trainers

    trainer = tiny_trainers.plain_trainer(tmp_path, save_strategy="no", report_to=[])
    trainer.args.push_to_hub = True  # asked of the Hub only when the trainer is made
    visualizer = callback(alert=None).attach(trainer)
    visualizer.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
    assert ours(caplog) == [
        "embviz: push_to_hub uploads output_dir, and with it figures and texts of your validation data; "
        "give EmbvizTrainerCallback an output_dir elsewhere"
    ]


@pytest.mark.parametrize(
    ("given", "looks", "mend"),
    [
        ({}, "every 2 steps", {"when": "evaluate"}),
        ({"when": "evaluate", "every_n_epochs": 2}, "in epochs that are left out", {"every_n_epochs": 1}),
    ],
)
def test_a_best_model_that_is_chosen_by_the_numbers_of_earlier_weights_is_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, given: dict[str, Any], looks: str, mend: dict[str, Any]
) -> None:
    steps = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "no", "metric_for_best_model": "embviz/margin"}
    fit(tmp_path / "late", callback(alert=None, **given), **steps)
    ((name, value),) = mend.items()
    told = f'"{value}"' if isinstance(value, str) else value
    assert ours(caplog) == [
        f"embviz: the trainer looks at embviz/margin {looks}, when it is still that of earlier weights; "
        f"give EmbvizTrainerCallback {name}={told}"
    ]
    trainer = fit(tmp_path / "mended", visualizer := callback(alert=None, **given | mend), **steps)
    assert len(ours(caplog)) == 1
    judged = {row["step"]: row["eval_embviz/margin"] for row in trainer.state.log_history if "eval_loss" in row}
    found = {row["step"]: row["metrics"]["margin"] for row in rows(visualizer.folder)[1:]}
    assert judged == pytest.approx({step: found[step] for step in judged})


DYING = """
import sys, warnings; warnings.simplefilter("ignore")
from pathlib import Path
from transformers import TrainerCallback
from tests.adapters.test_trainer_callback import callback
from tests.tiny_trainers import plain_trainer

class Dying(TrainerCallback):
    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 4:
            raise KeyError("the user's own")

trainer = plain_trainer(Path(sys.argv[1]), Dying(), save_strategy="no", report_to=[])
callback(figures=True, grace_s=0.0, on_error="raise").attach(trainer)
trainer.train()
"""


def test_an_exception_of_the_users_ends_the_program_as_without_us_and_leaves_the_drawings_on_disk(
    tmp_path: Path,
) -> None:
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[2]}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DYING, f"{tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 1
    error, last = done.stderr.splitlines()[-2:]
    assert error == 'KeyError: "the user\'s own"'
    assert last.endswith(f"-m embviz_callback.delivery.process.drawing_process {tmp_path / 'embviz'}")
    assert list((tmp_path / "embviz" / "jobs").glob("*/*_epoch_0001"))


WANDB = """
import sys, warnings; warnings.simplefilter("ignore")
from pathlib import Path
import wandb
from embviz_callback import MarginAlert
from tests.adapters.test_trainer_callback import callback
from tests.tiny_trainers import plain_trainer
from tests.wandb_file import read_wandb

folder = Path(sys.argv[1])
trainer = plain_trainer(folder, save_strategy="no", report_to=["wandb"])
callback(figures=True, skip_tsne=True, skip_umap=True, alert=MarginAlert(1.9), on_error="raise").attach(trainer)
trainer.train()
wandb.finish()
rows, alerts = read_wandb(folder)
margins = [row["train/global_step"] for row in rows if "embviz/margin" in row]
pictures = [row["train/global_step"] for row in rows if "embviz/similarity_heatmap" in row]
print(margins, pictures, len(alerts), alerts[0][0][:20])
"""


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_gets_scalars_figures_and_alerts_under_their_own_names(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[2]}", "OMP_NUM_THREADS": "1"}
    environment |= {"WANDB_MODE": "offline", "WANDB_DIR": f"{tmp_path}", "WANDB_SILENT": "true"}
    command = [sys.executable, "-c", WANDB, f"{tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "[3, 6] [3, 6] 1 embviz: margin alert"


RANKS = """
import json, os, sys, time, warnings; warnings.simplefilter("ignore")
from pathlib import Path
from embviz_callback import MarginAlert
from tests.adapters.test_trainer_callback import callback
from tests.test_training_unchanged import digest
from tests.tiny_trainers import plain_trainer

def encode(model, texts):
    calls.append(len(texts))
    if os.environ["RANK"] == "1" and len(calls) == 2:
        raise LookupError("broken on purpose")
    return model.encode(texts)

calls, folder = [], Path(sys.argv[1])
trainer = plain_trainer(folder, ddp_backend="gloo", save_strategy="no", report_to=[], num_train_epochs=9)
rule = MarginAlert(1.9, patience=1, stop_training=True)
visualizer = callback(encode=encode, batch_size=100, alert=rule).attach(trainer)
trainer.train()
rows = [row["embviz/margin"] for row in trainer.state.log_history if "embviz/margin" in row]
told = {"calls": len(calls), "margins": rows, "folder": f"{visualizer.folder}"}
told |= {"weights": digest(trainer.model.state_dict()), "step": trainer.state.global_step}
(folder / f"rank{os.environ['RANK']}.json").write_text(json.dumps(told))
# gloo's thread lets go of a tensor after its collective is done; a process that ends before that aborts (torch 2.13).
time.sleep(1)
"""


@pytest.mark.ddp
def test_every_rank_encodes_the_main_rank_writes_and_all_stop_together_after_a_fault_on_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(RANKS, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}", "OMP_NUM_THREADS": "1"}
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", f"{tmp_path / 'train.py'}", f"{tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one, other = (json.loads((tmp_path / f"rank{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1))
    assert one["calls"] == other["calls"] == 3
    assert one["weights"] == other["weights"]
    assert one["step"] == other["step"] == 4  # by the alert of the main rank; the other has seen one evaluation less
    assert len(one["margins"]) == 2
    assert other["margins"] == one["margins"][1:]
    assert (one["folder"], other["folder"]) == (f"{tmp_path / 'embviz'}", "None")
    assert len(rows(tmp_path / "embviz")) == 3


def test_several_sets_stand_among_the_metrics_each_under_its_name(tmp_path: Path) -> None:
    from tests.tiny_trainers import PAIRS

    visualizer = callback(data=None, sets={"own": PAIRS, "other": PAIRS[:8]}, on_error="raise", bootstrap_draws=100)
    trainer = fit(tmp_path, visualizer, num_train_epochs=1)
    found = next(row for row in reversed(trainer.state.log_history) if "embviz/margin" in row)
    assert found["embviz/own/margin"] == found["embviz/margin"]
    assert found["embviz/other/margin"] != found["embviz/margin"]
    assert [row["label"] for row in rows(visualizer.folder / "other")] == ["untrained", "epoch 1"]
