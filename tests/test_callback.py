"""The callback in a real trainer: what is logged where, when, and under which step."""

import copy
import json
import logging
import math
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from embviz_callback import EmbeddingVisualizer, MarginAlert, evaluate_pairs
from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.verdict.best import merit
from embviz_callback.delivery.alerts.rule import AlertEvent
from embviz_callback.delivery.run.history import History, HistoryRow
from embviz_callback.encoding.isolation import observe
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from tests.tiny_training import QUIET, TinyBiEncoder, pairs, trainer

pytestmark = [pytest.mark.slow, *QUIET]

# As the contract has them, not as the catalogue does.
FIRST = {
    *("margin", "separation", "rank1", "mrr", "recall_at_10", "ndcg_at_10", "auc", "positive_mean", "negative_mean"),
    *("hard_accuracy", "hard_margin", "alert"),
}
DETAILS = {*(name for name, row in CATALOGUE.items() if not row.is_bound), "blocked_s", "overhead", "merit"} - FIRST


def numbers_only(**options: Any) -> EmbeddingVisualizer:
    """Without a drawing process: the trainer's side of things in a fraction of a second."""
    return EmbeddingVisualizer(**({"data": pairs(), "figures": False} | options))


def read_back(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    events.Reload()
    return events


def steps(folder: Path, tag: str) -> list[int]:
    return [scalar.step for scalar in read_back(folder / "run").Scalars(tag)]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def fit(folder: Path, callback: EmbeddingVisualizer, *others: pl.Callback, **options: Any) -> pl.Trainer:
    pl.seed_everything(1, verbose=False)
    fitted = trainer(folder, callback, *others, **options)
    fitted.fit(TinyBiEncoder())
    return fitted


class Finished:
    """One whole run, looked at by many tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.callback = EmbeddingVisualizer(pairs(), alert=MarginAlert(0.9), skip_tsne=True, skip_umap=True)
        self.checkpoint = ModelCheckpoint(
            folder / "kept", monitor="embviz/margin", mode="max", save_top_k=-1, save_last=True
        )
        self.stopping = EarlyStopping("embviz/rank1", mode="max", patience=9)
        self.trainer = fit(
            folder, self.callback, self.stopping, self.checkpoint, max_epochs=3, enable_checkpointing=True
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("run"))


def test_every_metric_of_the_contract_is_logged_at_every_epoch_under_the_step_of_the_loss(run: Finished) -> None:
    assert steps(run.folder, "train_loss") == [3, 7, 11]
    tags = set(read_back(run.folder / "run").Tags()["scalars"])
    wanted = {f"embviz/{name}" for name in FIRST} | {f"embviz_detail/{name}" for name in DETAILS}
    assert {tag for tag in tags if tag.startswith("embviz")} == wanted
    for tag in wanted:
        assert steps(run.folder, tag) == [3, 7, 11], tag
    assert {f"embviz/{name}" for name in FIRST | DETAILS} <= set(run.trainer.callback_metrics)
    assert not [name for name in run.trainer.callback_metrics if name.startswith("embviz_detail")]


def test_pictures_and_text_bear_the_same_steps_in_a_run_of_their_own(run: Finished) -> None:
    events = read_back(run.folder / "run" / "embviz")
    for tag in ("similarity_heatmap", "similarity_distribution", "top_k_predictions"):
        assert [image.step for image in events.Images(f"embviz/{tag}")] == [3, 7, 11]
    assert [text.step for text in events.Tensors("embviz/report/text_summary")] == [3, 7, 11]


def test_the_metrics_are_there_for_checkpoints_and_early_stopping_in_time(run: Finished) -> None:
    logged = {scalar.step: scalar.value for scalar in read_back(run.folder / "run").Scalars("embviz/margin")}
    assert float(run.checkpoint.best_model_score) == max(logged.values())
    assert float(run.stopping.best_score) == max(row["metrics"]["rank1"] for row in rows(run.callback.folder)[1:])
    assert float(run.trainer.callback_metrics["embviz/margin"]) == logged[11]


def test_the_numbers_are_those_of_the_weights_at_the_end_of_the_epoch(run: Finished) -> None:
    module = TinyBiEncoder()
    last = torch.load(run.folder / "kept" / "last.ckpt", weights_only=True)
    module.load_state_dict(last["state_dict"])
    subset = choose_subset(records_from(pairs()), max_samples=500, seed=7)
    with observe(module):
        queries, documents = module.encode(list(subset.queries)), module.encode(list(subset.documents))
    expected = evaluate_pairs(queries, documents, subset.relevance)
    for name in ("margin", "separation", "rank1", "auc"):
        assert float(run.trainer.callback_metrics[f"embviz/{name}"]) == pytest.approx(expected[name], abs=1e-5)


def test_the_untrained_model_is_the_baseline_and_is_not_logged(run: Finished) -> None:
    assert [row["label"] for row in rows(run.callback.folder)] == ["untrained", "epoch 0", "epoch 1", "epoch 2"]
    assert (run.callback.folder / "untrained" / "similarity_heatmap.png").exists()
    assert "| untrained |" in (run.callback.folder / "epoch_0002" / "report.md").read_text()


def test_the_alert_is_logged_and_stands_in_the_report_of_its_epoch(run: Finished) -> None:
    assert {scalar.value for scalar in read_back(run.folder / "run").Scalars("embviz/alert")} == {1.0}
    assert "margin alert at epoch 2" in (run.callback.folder / "epoch_0002" / "report.md").read_text()


def test_f27_the_state_in_a_checkpoint_is_plain(run: Finished) -> None:
    last = torch.load(run.folder / "kept" / "last.ckpt", weights_only=True)
    state = last["callbacks"][run.callback.state_key]
    assert json.loads(json.dumps(state)) == state
    assert [row["label"] for row in state["rows"]] == ["untrained", "epoch 0", "epoch 1", "epoch 2"]


def test_a_failed_drawing_leaves_nothing_behind_but_whole_files(run: Finished) -> None:
    folder = run.callback.folder
    assert folder is not None
    assert {path.name for path in folder.iterdir()} >= {"epoch_0000", "epoch_0001", "epoch_0002", "jobs"}
    assert [path for path in folder.rglob("*") if path.name.startswith(".")] == []
    assert list((folder / "jobs").glob("*/*")) == []


def test_nothing_heavy_is_imported_by_us_into_the_training_process(tmp_path: Path) -> None:
    script = (
        "import sys; from tests.tiny_training import *\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "heavy = {'matplotlib', 'sklearn', 'numba', 'umap', 'openTSNE', 'tensorflow'}\n"
        "def loaded(): return {name.split('.')[0] for name in sys.modules} & heavy\n"
        "trainer(sys.argv[1], max_epochs=1).fit(TinyBiEncoder())\n"
        "before = loaded()  # Lightning's own: torchmetrics imports matplotlib\n"
        "from embviz_callback import EmbeddingVisualizer\n"
        "trainer(sys.argv[1], EmbeddingVisualizer(pairs(), finish_limit_s=0)).fit(TinyBiEncoder())\n"
        "print(sorted(loaded() - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, f"{tmp_path}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"accumulate_grad_batches": 2}, [1, 3]),
        ({"accumulate_grad_batches": 3}, [1, 3]),
        ({"val_check_interval": 0.5}, [3, 7]),
        ({"check_val_every_n_epoch": 2}, [3, 7]),
        ({"overfit_batches": 2}, [1, 3]),
        ({"limit_val_batches": 0}, [3, 7]),
        ({"max_steps": 6, "max_epochs": -1}, [3, 5]),
        ({"num_sanity_val_steps": 0}, [3, 7]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_f23_f24_the_step_is_that_of_the_loss_under_every_setting(
    tmp_path: Path, options: dict[str, Any], expected: list[int]
) -> None:
    fit(tmp_path, numbers_only(), **options)
    assert steps(tmp_path, "train_loss") == steps(tmp_path, "embviz/margin") == expected


def test_f19_every_validation_is_a_record_of_its_own_under_the_step_of_its_loss(tmp_path: Path) -> None:
    callback = numbers_only(when="validation_end")
    fit(tmp_path, callback, val_check_interval=0.5)
    assert steps(tmp_path, "val_loss") == steps(tmp_path, "embviz/margin") == [1, 3, 5, 7]
    assert [(row["epoch"], row["step"]) for row in rows(callback.folder)[1:]] == [(0, 1), (0, 3), (1, 5), (1, 7)]


def test_values_of_a_validation_are_there_for_a_checkpoint_at_its_end(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path / "kept", monitor="embviz/margin", mode="max", save_on_train_epoch_end=False)
    fit(tmp_path, numbers_only(when="validation_end"), checkpoint, enable_checkpointing=True)
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_every_nth_epoch_and_the_last_are_evaluated_and_monitors_find_the_last_value(tmp_path: Path) -> None:
    stopping = EarlyStopping("embviz/margin", mode="max", patience=9)
    fit(tmp_path, numbers_only(every_n_epochs=2), stopping, max_epochs=5)
    assert steps(tmp_path, "embviz/margin") == [7, 15, 19]
    assert stopping.wait_count + 1 <= 5


def test_a_run_that_is_stopped_early_is_evaluated_where_it_ended(tmp_path: Path) -> None:
    stopping = EarlyStopping("train_loss", mode="max", patience=1)
    fit(tmp_path, numbers_only(every_n_epochs=50), stopping, max_epochs=50)
    assert steps(tmp_path, "embviz/margin") == steps(tmp_path, "train_loss")[-1:]


def test_the_baseline_is_logged_at_step_0_when_asked(tmp_path: Path) -> None:
    fit(tmp_path, numbers_only(log_baseline=True))
    assert steps(tmp_path, "embviz/margin") == [0, 3, 7]


def test_an_early_stopping_that_looks_before_the_first_evaluation_finds_the_baseline(tmp_path: Path) -> None:
    stopping = EarlyStopping("embviz/margin", mode="max", patience=99)
    fit(tmp_path, numbers_only(), stopping, val_check_interval=0.5)
    assert math.isfinite(float(stopping.best_score))


def test_f25_a_resumed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    kept = ModelCheckpoint(tmp_path / "kept", save_last=True)
    first = numbers_only(alert=MarginAlert(0.9, patience=1))
    fit(tmp_path, first, kept, enable_checkpointing=True)
    second = numbers_only(alert=MarginAlert(0.9, patience=1))
    pl.seed_everything(2, verbose=False)
    resumed = trainer(tmp_path, second, max_epochs=4)
    resumed.fit(TinyBiEncoder(), ckpt_path=tmp_path / "kept" / "last.ckpt", weights_only=True)
    found = rows(second.folder)
    assert [row["label"] for row in found] == ["untrained", "epoch 0", "epoch 1", "epoch 2", "epoch 3"]
    assert [row["step"] for row in found] == [0, 3, 7, 11, 15]
    assert [row["alert"] for row in found] == [False, False, True, True, True]
    assert len({row["fingerprint"] for row in found}) == 1
    assert steps(tmp_path, "embviz/margin") == [3, 7, 11, 15]
    # What each query contributed came along in the checkpoint, and the loss of each epoch.
    run = second.memory.history.run("mrr")
    assert [one.label for one in run] == [row["label"] for row in found]
    assert [one.value for one in run] == pytest.approx([float(one.pseudo.mean()) for one in run], abs=1e-6)
    assert [math.isnan(one.training_loss) for one in run] == [True, False, False, False, False]
    assert merit(run, "mrr") == run[-1].merit


def test_a_run_resumed_from_an_earlier_checkpoint_counts_nothing_twice(tmp_path: Path) -> None:
    kept = ModelCheckpoint(tmp_path / "kept", save_top_k=-1, filename="{epoch}")
    fit(tmp_path, numbers_only(), kept, enable_checkpointing=True, max_epochs=3)
    second = numbers_only()
    resumed = trainer(tmp_path, second, max_epochs=3)
    resumed.fit(TinyBiEncoder(), ckpt_path=tmp_path / "kept" / "epoch=0.ckpt", weights_only=True)
    assert [row["step"] for row in rows(second.folder)] == [0, 3, 7, 11]


def test_f26_a_resumed_run_with_another_subset_says_so_and_begins_a_new_history(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = ModelCheckpoint(tmp_path / "kept", save_last=True)
    fit(tmp_path, numbers_only(), kept, enable_checkpointing=True)
    second = numbers_only(data=pairs(12))
    trainer(tmp_path, second, max_epochs=3).fit(
        TinyBiEncoder(), ckpt_path=tmp_path / "kept" / "last.ckpt", weights_only=True
    )
    assert "metrics are not comparable: a new history begins, without a baseline" in caplog.text
    assert [row["label"] for row in rows(second.folder)] == ["epoch 2"]
    assert len(list(second.folder.glob("history-*.jsonl"))) == 1


def test_f26_a_resumed_run_that_encodes_in_another_way_says_so_and_begins_a_new_history(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = ModelCheckpoint(tmp_path / "kept", save_last=True)
    fit(tmp_path, numbers_only(alert=None), kept, enable_checkpointing=True)
    for given, labels in (
        ({"query_prompt": "query: "}, ["epoch 2"]),
        ({}, ["untrained", "epoch 0", "epoch 1", "epoch 2"]),
    ):
        caplog.clear()
        second = numbers_only(alert=None, **given)
        trainer(tmp_path, second, max_epochs=3).fit(
            TinyBiEncoder(), ckpt_path=tmp_path / "kept" / "last.ckpt", weights_only=True
        )
        assert [row.label for row in second.memory.history.rows] == labels
        assert caplog.messages == [
            "embviz: texts are encoded or ranked in another way (query_prompt 'query: ', was None), so that metrics "
            "are not comparable: a new history begins, without a baseline; resume with the same prompts and similarity "
            "to go on with the old one"
        ] * bool(given)


def test_f28_a_checkpoint_can_be_resumed_without_the_callback(tmp_path: Path) -> None:
    kept = ModelCheckpoint(tmp_path / "kept", save_last=True)
    fit(tmp_path, numbers_only(), kept, enable_checkpointing=True)
    trainer(tmp_path, max_epochs=3).fit(TinyBiEncoder(), ckpt_path=tmp_path / "kept" / "last.ckpt", weights_only=True)


def test_f29_two_callbacks_with_names_keep_apart(tmp_path: Path) -> None:
    one, other = numbers_only(), numbers_only(data=pairs(12), name="short list")
    fit(tmp_path, one, other)
    assert one.state_key != other.state_key
    assert one.folder != other.folder
    assert len(rows(one.folder)) == len(rows(other.folder)) == 3
    assert steps(tmp_path, f"{other.prefix}/margin") == steps(tmp_path, "embviz/margin") == [3, 7]
    assert rows(one.folder)[0]["fingerprint"] != rows(other.folder)[0]["fingerprint"]


class Copier(pl.Callback):
    """Copies another callback at every hook it can."""

    def __init__(self, callback: EmbeddingVisualizer) -> None:
        self.callback = callback
        self.copies: list[EmbeddingVisualizer] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.copies.append(pickle.loads(pickle.dumps(self.callback)))
        self.copies.append(copy.deepcopy(self.callback))

    on_train_start = on_fit_end = on_train_epoch_end


def test_f30_it_can_be_pickled_and_copied_before_during_and_after_a_fit(tmp_path: Path) -> None:
    callback = numbers_only(figures=True, finish_limit_s=0)
    pickle.loads(pickle.dumps(callback))
    copier = Copier(callback)
    fit(tmp_path, callback, copier)
    assert len(copier.copies) == 8
    assert not any({"log", "log_dict"} & set(vars(made)) for made in copier.copies)  # they hold model and trainer
    again = copier.copies[-1]
    again.plan = replace(again.plan, figures=False)
    fit(tmp_path / "again", again)
    assert len(rows(again.folder)) == 3


def test_f31_it_has_no_attribute_that_the_trainer_overwrites() -> None:
    assert not {"log", "log_dict"} & set(dir(numbers_only()))


def test_f32_one_object_serves_two_trainers_one_after_the_other(tmp_path: Path) -> None:
    callback = numbers_only()
    fit(tmp_path / "one", callback)
    first = rows(callback.folder)
    fit(tmp_path / "two", callback)
    assert [row["metrics"] for row in rows(callback.folder)] == [row["metrics"] for row in first]
    fitted = trainer(tmp_path / "three", callback)
    module = TinyBiEncoder()
    fitted.validate(module, verbose=False)
    assert not (tmp_path / "three" / "run" / "embviz").exists()
    fitted.fit(module)
    fitted.fit_loop.max_epochs = 3
    fitted.fit(module)
    assert [row["step"] for row in rows(callback.folder)] == [0, 3, 7, 11]


def test_an_evaluation_that_is_repeated_replaces_its_row() -> None:
    history, metrics = History(), evaluate_pairs(np.eye(2), np.eye(2), [0, 1], draws=0)
    for epoch, step, label in ((None, 0, "untrained"), (0, 3, "first"), (0, 3, "again"), (1, 7, "next")):
        history.add(HistoryRow(label, epoch, step, "f", metrics))
    assert [row.label for row in history.rows] == ["untrained", "again", "next"]


def test_a_second_run_into_the_same_folder_keeps_the_history_of_the_first(tmp_path: Path) -> None:
    fit(tmp_path, numbers_only())
    callback = numbers_only()
    fit(tmp_path, callback, max_epochs=1)
    assert len(rows(callback.folder)) == 2
    assert len((callback.folder / "history-1.jsonl").read_text().splitlines()) == 3


def test_several_loggers_each_get_the_scalars_and_the_first_folder_the_files(tmp_path: Path) -> None:
    callback = numbers_only()
    tables = CSVLogger(tmp_path, name="table", version="")
    fit(tmp_path, callback, logger=[tables, trainer(tmp_path).logger])
    assert callback.folder == tmp_path / "table" / "embviz"
    assert "embviz/margin" in (tmp_path / "table" / "metrics.csv").read_text().splitlines()[0]
    assert steps(tmp_path, "embviz/margin") == [3, 7]


def test_without_a_logger_the_files_go_to_the_default_folder_or_to_the_one_given(tmp_path: Path) -> None:
    callback = numbers_only()
    fit(tmp_path, callback, logger=False)
    assert callback.folder == tmp_path / "embviz"
    callback = numbers_only(output_dir=tmp_path / "mine")
    fit(tmp_path, callback)
    assert callback.folder == tmp_path / "mine"
    assert len(rows(tmp_path / "mine")) == 3


def test_the_data_module_is_asked_when_no_data_is_given(tmp_path: Path) -> None:
    class Module(pl.LightningDataModule):
        def validation_pairs(self) -> list[dict[str, Any]]:
            return pairs(12)

        def train_dataloader(self) -> Any:
            return TinyBiEncoder().train_dataloader()

    callback = EmbeddingVisualizer(figures=False)
    trainer(tmp_path, callback, max_epochs=1, limit_val_batches=0).fit(TinyBiEncoder(), datamodule=Module())
    assert rows(callback.folder)[0]["n_queries"] == 12


def test_the_alert_speaks_once_per_evaluation_and_calls_the_users_function(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[AlertEvent] = []
    fit(tmp_path, numbers_only(alert=MarginAlert(1.9, on_alert=told.append)))
    warned = [record for record in caplog.records if record.name == "embviz_callback"]
    assert [record.levelno for record in warned] == [logging.WARNING] * 2
    assert [event.epoch for event in told] == [0, 1]
    assert warned[0].getMessage() == f"embviz: {told[0].message}"


def test_a_recovery_is_one_notice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Improving(TinyBiEncoder):
        """Bad at first by construction: one vector for all texts, until epoch 1."""

        def encode(self, texts: list[str]) -> torch.Tensor:
            found = super().encode(texts)
            return found if self.current_epoch else torch.ones_like(found)

    caplog.set_level(logging.INFO, logger="embviz_callback")
    callback = numbers_only(alert=MarginAlert(-1.5))
    trainer(tmp_path, callback, max_epochs=2).fit(Improving())
    said = [record.getMessage() for record in caplog.records if record.name == "embviz_callback"]
    assert ["collapsed" in text for text in said] == [True, False]
    assert said[1].startswith("embviz: margin recovered at epoch 1: margin ")


def test_the_alert_stops_training_when_asked_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="embviz_callback"):
        fitted = fit(tmp_path, numbers_only(alert=MarginAlert(1.9, patience=1, stop_training=True)), max_epochs=9)
    assert fitted.current_epoch == 2
    said = "embviz: the training is asked to end, since an alert with stop_training=True fires"
    assert caplog.messages.count(said) == 1


def test_without_an_alert_there_is_no_alert_scalar(tmp_path: Path) -> None:
    fitted = fit(tmp_path, numbers_only(alert=None))
    assert "embviz/alert" not in fitted.callback_metrics


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"max_sample": 3}, TypeError, "EmbeddingVisualizer has no option 'max_sample'; did you mean 'max_samples'?"),
        ({"max_samples": 0}, ValueError, "max_samples must be between 1 and 1000000, got 0"),
        ({"when": "test_end"}, ValueError, "when must be 'train_epoch_end' or 'validation_end', got 'test_end'"),
        ({"on_error": "ignore"}, ValueError, "on_error must be 'warn' or 'raise', got 'ignore'"),
        ({"queue_limit": 0}, ValueError, "queue_limit must be at least 1, got 0"),
        (
            {"alert": 0.25},
            TypeError,
            "alert must be a MarginAlert, a RegressionAlert, a list of them or None, got float",
        ),
        ({"data": 3}, TypeError, "data must be a path, a list of pairs or None, got int"),
        ({"output_dir": __file__}, ValueError, f"output_dir must be a folder, {__file__} is a file"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_at_once(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        EmbeddingVisualizer(**options)
    assert str(error.value) == message


class Hidden(TinyBiEncoder):
    """Encodes by a name that nobody knows."""

    encode = None  # type: ignore[assignment]

    def embed(self, texts: list[str]) -> torch.Tensor:
        return TinyBiEncoder.encode(self, texts)


class Asked(Hidden):
    encode_query = encode_document = Hidden.embed


@pytest.mark.parametrize(
    ("module", "encode"),
    [(Hidden, Hidden.embed), (Hidden, (Hidden.embed, Hidden.embed)), (Asked, None)],
    ids=["a function", "a pair", "a module with encode_query and encode_document"],
)
def test_a_module_is_encoded_by_what_is_given_or_by_its_own_two_ways(
    tmp_path: Path, module: type[TinyBiEncoder], encode: Any
) -> None:
    plain = numbers_only()
    fit(tmp_path / "plain", plain, max_epochs=1)
    callback = numbers_only(encode=encode, on_error="raise")
    pl.seed_everything(1, verbose=False)
    trainer(tmp_path / "given", callback, max_epochs=1).fit(module())
    assert [row["metrics"] for row in rows(callback.folder)] == [row["metrics"] for row in rows(plain.folder)]


def test_what_is_missing_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    class Mute(TinyBiEncoder):
        encode = None  # type: ignore[assignment]

    with pytest.raises(TypeError) as error:
        trainer(tmp_path, numbers_only()).fit(Mute())
    assert str(error.value) == (
        "Mute has no method encode(texts); give encode=, a function that takes the model and a list of texts and "
        "returns a tensor of shape (len(texts), dim), or what embviz_callback.text_encoder makes of a tokenizer"
    )
    with pytest.raises(ValueError) as missing:
        trainer(tmp_path, EmbeddingVisualizer()).fit(TinyBiEncoder())
    assert str(missing.value) == (
        "EmbeddingVisualizer has no data; give it the path of a file or a list of pairs, "
        "or give the trainer a data module with validation_pairs()"
    )
    with pytest.raises(ValueError, match=r"nowhere\.json"):
        trainer(tmp_path, EmbeddingVisualizer("nowhere.json")).fit(TinyBiEncoder())


def test_it_can_be_configured_from_yaml(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "trainer:\n  logger: false\n  max_epochs: 1\n  callbacks:\n"
        "  - class_path: embviz_callback.EmbeddingVisualizer\n"
        "    init_args: {data: pairs.json, max_samples: 5, alert: {threshold: 0.1, patience: 2}, skip_umap: true}\n"
    )
    script = (
        "import sys; from pytorch_lightning.cli import LightningCLI; from tests.tiny_training import TinyBiEncoder\n"
        "cli = LightningCLI(TinyBiEncoder, run=False, args=['--config', sys.argv[1]])\n"
        "found = cli.trainer.callbacks[0]\n"
        "print(found.settings.max_samples, found.settings.skip_umap, found.alert.threshold, found.alert.patience)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, f"{tmp_path / 'config.yaml'}"], capture_output=True, text=True)
    assert done.stdout == "5 True 0.1 2\n", done.stderr[-2000:]
