"""Rows of docs/faults.md that no other file tests: what goes wrong costs a warning, never the training."""

import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.strategies import SingleDeviceStrategy
from pytorch_lightning.tuner import Tuner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from embviz_callback import EmbeddingVisualizer, MarginAlert
from embviz_callback import callback as callback_module
from embviz_callback.delivery.alerts.alarms import Alarms
from embviz_callback.delivery.process.handovers import Job, write_job
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.publishing import Publisher
from embviz_callback.delivery.process.training_side import Worker
from embviz_callback.delivery.run.history import History
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.delivery.timing import Budget
from embviz_callback.encoding import encode as encode_module
from embviz_callback.evaluator import Evaluator, Moment
from embviz_callback.evaluator import evaluator as evaluator_module
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.session import Session
from embviz_callback.settings import Settings
from tests.test_training_unchanged import digest
from tests.tiny_models import one_way
from tests.tiny_training import QUIET, TinyBiEncoder, ema, pairs, trainer

pytestmark = [pytest.mark.slow, *QUIET]

BARE = {"skip_tsne": True, "skip_umap": True}


def numbers_only(**options: Any) -> EmbeddingVisualizer:
    return EmbeddingVisualizer(**({"data": pairs(), "figures": False} | options))


def fit(folder: Path, *callbacks: pl.Callback, module: TinyBiEncoder | None = None, **options: Any) -> pl.Trainer:
    pl.seed_everything(1, verbose=False)
    fitted = trainer(folder, *callbacks, **options)
    fitted.fit(module or TinyBiEncoder())
    return fitted


def rows(callback: EmbeddingVisualizer, name: str = "history.jsonl") -> list[dict[str, Any]]:
    assert callback.folder is not None
    return [json.loads(line) for line in (callback.folder / name).read_text().splitlines()]


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "embviz_callback" and record.levelno >= logging.WARNING
    ]


def names(folder: Path | None, place: str) -> set[str]:
    assert folder is not None
    return {path.name for path in (folder / place).iterdir()}


def raises(*_: Any, **__: Any) -> Any:
    raise LookupError("broken on purpose")


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of the same training without the callback."""
    return digest(fit(tmp_path_factory.mktemp("plain")).lightning_module.state_dict())


@pytest.mark.parametrize(
    ("owner", "stage", "words"),
    [
        (encode_module, "encode_subset", "encoding failed"),
        (evaluator_module, "take_snapshot", "evaluation failed"),
        (callback_module, "circumstances", "evaluation failed"),
        (callback_module, "find_places", "finding a folder failed"),
        (Alarms, "judge", "alert failed"),
        (Session, "_record", "history failed"),
        (Session, "_hand_over", "hand-over to drawing failed"),
        (callback_module, "log_scalars", "logging failed"),
        (Worker, "start", "drawing process failed"),
        (Worker, "poll", "hand-over to drawing failed"),
        (Worker, "submit", "hand-over to drawing failed"),
        (Worker, "finish", "drawing process failed"),
        (Worker, "stop", "drawing process failed"),
        (History, "open_file", "history file failed"),
        (History, "add", "history failed"),
    ],
)
def test_f01_whatever_stage_raises_training_goes_on_with_one_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    without: str,
    owner: Any,
    stage: str,
    words: str,
) -> None:
    monkeypatch.setattr(owner, stage, raises)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # no process: this is about our side
    callback = EmbeddingVisualizer(pairs(), alert=None, finish_limit_s=0)
    fitted = fit(tmp_path, callback)
    assert digest(fitted.lightning_module.state_dict()) == without
    assert fitted.current_epoch == 2
    first = [text for text in ours(caplog) if "LookupError" in text]
    assert 1 <= len(first) <= 2  # a process that cannot be polled is met in two stages
    assert words in "\n".join(first)
    assert "LookupError: broken on purpose; skipped: " in first[0]
    if stage != "find_places":
        noted = [row for row in rows(callback, "events.jsonl") if row["kind"] == "LookupError"]
        assert noted
        assert "Traceback" in noted[0]["details"]


def test_f01_whoever_wants_it_strict_gets_the_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator_module, "take_snapshot", raises)
    with pytest.raises(LookupError, match="broken on purpose"):
        fit(tmp_path, numbers_only(on_error="raise"))


def test_r7_what_fails_three_times_in_a_row_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def counted(*_: Any, **__: Any) -> Any:
        calls.append(1)
        raise LookupError("broken on purpose")

    monkeypatch.setattr(encode_module, "encode_subset", counted)
    fit(tmp_path, numbers_only(), max_epochs=6)
    assert len(calls) == 3
    assert ours(caplog)[-1] == "embviz: encoding failed 3 times in a row and is not tried again in this run"


def test_r7_no_traceback_keeps_the_tensors_of_a_failed_evaluation_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gc
    import weakref

    kept: list[Any] = []

    def holds_a_tensor(self: TinyBiEncoder, texts: list[str]) -> torch.Tensor:
        large = torch.zeros(1000)
        kept.append(weakref.ref(large))
        raise RuntimeError(f"broken with {large.shape}")

    monkeypatch.setattr(TinyBiEncoder, "encode", holds_a_tensor)
    fit(tmp_path, numbers_only())
    gc.collect()
    assert kept
    assert [reference() for reference in kept] == [None] * len(kept)


def test_f02_a_checkpoint_is_saved_when_our_state_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Memory, "to_json", raises)
    callback = numbers_only(alert=None)
    fit(tmp_path, callback, ModelCheckpoint(tmp_path / "kept", save_last=True), enable_checkpointing=True)
    saved = torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)
    assert callback.state_key not in saved["callbacks"]
    assert len([text for text in ours(caplog) if "LookupError" in text]) == 1
    assert ours(caplog)[0].startswith("embviz: state failed (epoch 0, rank 0): LookupError: broken on purpose")


def test_f02_a_state_that_cannot_be_read_is_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    callback = numbers_only()
    callback.load_state_dict({"rows": "nonsense"})
    assert len(ours(caplog)) == 1


class Broken(TinyBiEncoder):
    def on_train_epoch_end(self) -> None:
        raise KeyError("the user's own")


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_f03_an_exception_of_the_users_stays_the_one_they_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_error: str
) -> None:
    monkeypatch.setattr(Worker, "finish", raises)
    monkeypatch.setattr(Worker, "stop", raises)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(KeyError, match="the user's own"):
        fit(tmp_path, EmbeddingVisualizer(pairs(), on_error=on_error), module=Broken())


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_f13_the_evaluation_runs_under_the_trainers_precision(tmp_path: Path, precision: str) -> None:
    types: list[torch.dtype] = []

    class Asking(TinyBiEncoder):
        def encode(self, texts: list[str]) -> torch.Tensor:
            types.append(torch.nn.functional.linear(torch.ones(1, 32), torch.ones(1, 32)).dtype)
            return super().encode(texts)

    callback = numbers_only(on_error="raise")
    fit(tmp_path, callback, module=Asking(), precision=precision)
    assert set(types) == {torch.float64 if precision == "64-true" else torch.bfloat16}
    assert len(rows(callback)) == 3


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo's own
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
def test_f14_a_compiled_module_is_evaluated_without_compiling_it_anew(tmp_path: Path) -> None:
    graphs: list[int] = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append(1)
        return graph.forward

    counts, weights = [], []
    for callbacks in ((), (numbers_only(on_error="raise"),)):
        torch._dynamo.reset()
        graphs.clear()
        pl.seed_everything(1, verbose=False)
        module = TinyBiEncoder()
        module.head = torch.compile(module.head, backend=count)
        fit(tmp_path, *callbacks, module=module)
        counts.append(len(graphs))
        weights.append(digest(module.state_dict()))
    assert counts[0] == counts[1] > 0
    assert weights[0] == weights[1]


def test_f16_forward_hooks_of_the_user_run_and_get_tensors_without_gradients(tmp_path: Path) -> None:
    seen: list[bool] = []
    module = TinyBiEncoder()
    module.head.register_forward_hook(lambda part, given, made: seen.append(made.requires_grad))
    fit(tmp_path, numbers_only(), module=module, limit_val_batches=0)
    assert seen.count(False) > 0
    assert seen.count(True) == 2 * 4


@pytest.mark.parametrize("is_first", [True, False])
def test_f17_live_weights_are_seen_on_either_side_of_an_averaging_callback(tmp_path: Path, is_first: bool) -> None:
    callback, averaging = numbers_only(on_error="raise"), ema()
    plain = numbers_only(on_error="raise")
    fit(tmp_path / "plain", plain)
    callbacks = (callback, averaging) if is_first else (averaging, callback)
    fit(tmp_path / "averaged", *callbacks)
    *during, end = rows(callback)
    assert [row["metrics"] for row in during] == [row["metrics"] for row in rows(plain)]
    assert end["label"] == "end of training"
    assert end["metrics"] != during[-1]["metrics"]  # of the averaged weights, which the module then holds


def test_f18_a_sanity_check_logs_nothing(tmp_path: Path) -> None:
    callback = numbers_only(when="validation_end")
    fit(tmp_path, callback, num_sanity_val_steps=2)
    assert [row["step"] for row in rows(callback)] == [0, 3, 7]
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("embviz/margin")] == [3, 7]


def test_f20_without_validation_everything_is_evaluated_all_the_same(tmp_path: Path) -> None:
    class Unvalidated(TinyBiEncoder):
        val_dataloader = pl.LightningModule.val_dataloader
        validation_step = pl.LightningModule.validation_step

    callback = numbers_only()
    fit(tmp_path, callback, module=Unvalidated())
    assert len(rows(callback)) == 3


def test_f21_fast_dev_run_is_one_small_pass_without_files(tmp_path: Path) -> None:
    callback = EmbeddingVisualizer(pairs())
    fitted = fit(tmp_path, callback, fast_dev_run=True)
    assert float(fitted.callback_metrics["embviz/margin"]) == pytest.approx(0, abs=2)
    assert callback.folder is None
    assert list(tmp_path.iterdir()) == []


def test_f21_a_barebones_run_is_left_in_peace(tmp_path: Path) -> None:
    callback = numbers_only()
    pl.Trainer(barebones=True, accelerator="cpu", max_epochs=1, callbacks=[callback]).fit(TinyBiEncoder())
    assert callback.folder is None


def test_f22_training_that_stops_within_an_epoch_is_recorded_with_its_step(tmp_path: Path) -> None:
    callback = numbers_only()
    fit(tmp_path, callback, max_steps=6, max_epochs=-1)
    assert [(row["label"], row["step"]) for row in rows(callback)] == [
        ("untrained", 0),
        ("epoch 0", 3),
        ("epoch 1, step 5", 5),
    ]


def test_f22_a_training_whose_time_is_over_is_evaluated_where_it_ended(tmp_path: Path) -> None:
    callback = numbers_only(every_n_epochs=10**6)
    fitted = fit(tmp_path, callback, max_time={"seconds": 1}, max_epochs=-1)
    assert [row["step"] for row in rows(callback)] == [0, fitted.global_step - 1]


@pytest.mark.parametrize("options", [{"max_epochs": 0}, {"max_time": {"seconds": 0}}, {"limit_train_batches": 0}])
def test_f22_a_fit_that_trains_next_to_nothing_ends_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    callback = numbers_only(on_error="raise")
    fitted = fit(tmp_path, callback, **options)
    assert (fitted.global_step, callback.memory.history.rows, ours(caplog)) == (0, [], [])
    assert callback.folder is None
    assert not (tmp_path / "run" / "embviz").exists()


def test_f33_a_learning_rate_finder_leaves_no_record(tmp_path: Path) -> None:
    callback = numbers_only()
    tuned = trainer(tmp_path, callback, max_epochs=1)
    Tuner(tuned).lr_find(TinyBiEncoder(), num_training=4, max_lr=1e-3)
    assert callback.folder is None
    assert not (tmp_path / "run" / "embviz").exists()


class FSDPStrategy(SingleDeviceStrategy):
    """Bears the name of a strategy that shards the weights."""


def short_of_memory(limit: int) -> Callable[..., torch.Tensor]:
    whole = TinyBiEncoder.encode

    def encode(self: TinyBiEncoder, texts: list[str]) -> torch.Tensor:
        if len(texts) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, texts)

    return encode


def test_f54_when_memory_runs_out_the_batch_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = numbers_only(alert=None)
    fit(tmp_path / "plain", plain)
    monkeypatch.setattr(TinyBiEncoder, "encode", short_of_memory(5))
    callback = numbers_only(alert=None)
    fit(tmp_path, callback)
    assert rows(callback)[-1]["metrics"]["margin"] == pytest.approx(rows(plain)[-1]["metrics"]["margin"], abs=1e-6)
    assert ours(caplog) == [
        "embviz: memory ran out, encoding went on with 16 texts at a time; a smaller batch_size avoids the retry"
    ]


def test_f38_f54_sharded_weights_get_no_lone_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, without: str
) -> None:
    monkeypatch.setattr(TinyBiEncoder, "encode", short_of_memory(5))
    fitted = fit(tmp_path, numbers_only(alert=None), strategy=FSDPStrategy(device=torch.device("cpu")))
    assert digest(fitted.lightning_module.state_dict()) == without
    assert (
        "memory ran out on a batch of 32 texts, which is not halved here; give a smaller batch_size" in ours(caplog)[0]
    )


def spoiled(change: Callable[[torch.Tensor], torch.Tensor]) -> TinyBiEncoder:
    class Spoiled(TinyBiEncoder):
        def encode(self, texts: list[str]) -> torch.Tensor:
            return change(super().encode(texts))

    return Spoiled()


def nan_in_first_row(found: torch.Tensor) -> torch.Tensor:
    found = found.clone()
    found[0] = torch.nan
    return found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (nan_in_first_row, "embeddings are not finite"),
        (lambda found: found * torch.nan, "cannot judge, margin n/a"),
        (lambda found: found * 0, "cannot judge, margin n/a"),
        (lambda found: found * 0 + 1, "the embeddings collapsed"),
    ],
    ids=["f55 some nan", "f55 all nan", "f56 all zero", "f57 collapse"],
)
def test_f55_f56_f57_sick_embeddings_are_an_alarm_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Any, words: str
) -> None:
    maps = {} if words == "the embeddings collapsed" else BARE
    callback = EmbeddingVisualizer(pairs(), alert=MarginAlert(-2.0), finish_limit_s=90, **maps)
    fitted = fit(tmp_path, callback, module=spoiled(change), max_epochs=1)
    assert len(ours(caplog)) == 1
    assert words in ours(caplog)[0]
    assert float(fitted.callback_metrics["embviz/alert"]) == 1
    assert float(fitted.callback_metrics["embviz/rank1"]) != 1
    assert "report.md" in names(callback.folder, "epoch_0000")


def published(folder: Path, items: list[dict[str, Any]], **options: Any) -> tuple[list[str], set[str]]:
    """What the drawing process makes of pairs, in this process."""
    settings = Settings(bootstrap_draws=100, **options)
    subset = choose_subset(records_from(items), max_samples=500, seed=7)
    module = TinyBiEncoder()
    shown = Evaluator(subset, settings).look(one_way(module.encode, module=module), Moment(0, 1))
    jobs = Jobs(folder / "jobs")
    jobs.put("000000002_epoch_0000", partial(write_job, shown, Job("epoch_0000", events=f"{folder / 'events'}")))
    job = jobs.claim()
    assert job is not None
    n_threads = torch.get_num_threads()
    try:
        return Publisher(folder).publish(job).faults, names(folder, "epoch_0000")
    finally:
        torch.set_num_threads(n_threads)  # umap changes it for the whole process, and with it the last bits of torch


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_f58_few_pairs_are_drawn_or_said_to_be_too_few(tmp_path: Path, n: int) -> None:
    faults, files = published(tmp_path, pairs(n), skip_umap=n == 3)  # UMAP's first fit costs ten seconds
    assert faults == []
    assert len(files) == 6 - (n == 3)


def test_f58_no_pair_at_all_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        fit(tmp_path, numbers_only(data=[]))
    assert str(error.value) == "pairs: expected at least one record, found an empty list. Fix: add pairs"


HOSTILE = [
    *(r"$\frac{$", "\ud800 lone", "nul \x00 here", "trọ " * 5000, "🏠🏠 家 บ้าน"),
    *("<script>alert(1)</script>", "| a | `b` ![x](http://x)"),
]


def test_f61_hostile_texts_are_drawn_and_reported(tmp_path: Path) -> None:
    items = [{"query": f"{text} {row}", "pos": f"document {row} {text}"} for row, text in enumerate(HOSTILE * 2)]
    faults, files = published(tmp_path, items, **BARE)
    assert faults == []
    assert "top_k_predictions.png" in files
    report = (tmp_path / "epoch_0000" / "report.md").read_text()
    assert "<script>" not in report
    assert "](http:" not in report


def test_f52_what_one_evaluation_adds_to_the_event_file_is_bounded(tmp_path: Path) -> None:
    published(tmp_path, pairs(), skip_umap=True)
    (events,) = (tmp_path / "events").iterdir()
    assert events.stat().st_size < 1_500_000  # 200 epochs stay below 300 MB; UMAP's map is no larger than t-SNE's


class FailingLogger(CSVLogger):
    """A logger that fails like one whose server is gone."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if any(name.startswith("embviz") for name in metrics):
            raise ConnectionError("no server")


def test_f53_each_logger_gets_what_it_can_take_and_one_that_raises_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, without: str
) -> None:
    loggers: list[Logger] = [
        FailingLogger(tmp_path, name="failing", version=""),
        CSVLogger(tmp_path, name="table", version=""),
        TensorBoardLogger(tmp_path, name="board", version=""),
    ]
    fitted = fit(tmp_path, numbers_only(alert=None), logger=loggers)
    assert digest(fitted.lightning_module.state_dict()) == without
    assert "embviz/margin" in (tmp_path / "table" / "metrics.csv").read_text()
    assert len(ours(caplog)) == 1
    assert "logging to FailingLogger failed (step 3, rank 0): ConnectionError: no server" in ours(caplog)[0]


class Doing(pl.Callback):
    """Does something to the run's folder at the start of epoch 1."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            self.act()


def remove(folder: Path) -> None:
    # The drawing process may be writing a file there at this very moment.
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def replace_by_file(folder: Path) -> None:
    while not folder.is_file():
        remove(folder)
        with suppress(IsADirectoryError):
            folder.write_text("in the way")


@pytest.mark.parametrize("harm", [remove, replace_by_file])
def test_f51_a_folder_that_goes_away_costs_figures_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, without: str, harm: Callable[[Path], None]
) -> None:
    mine = tmp_path / "mine"
    callback = EmbeddingVisualizer(pairs(), alert=None, output_dir=mine, finish_limit_s=60, **BARE)
    fitted = fit(tmp_path, callback, Doing(partial(harm, mine)))
    assert digest(fitted.lightning_module.state_dict()) == without
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("embviz/margin")] == [3, 7]
    assert len(ours(caplog)) == len(set(ours(caplog))) <= 6
    run = callback._session
    assert run is not None
    assert run.worker is not None
    assert run.worker.pid is None  # no drawing process outlives the fit, whatever failed before


FULL_DISK = """
import resource, sys, warnings
warnings.simplefilter("ignore")
from tests.tiny_training import *
from embviz_callback import EmbeddingVisualizer
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
fitted = trainer(sys.argv[1], EmbeddingVisualizer(pairs(), alert=None, finish_limit_s=20), logger=False)
fitted.fit(TinyBiEncoder())
print(fitted.current_epoch, float(fitted.callback_metrics["embviz/margin"]))
"""


def test_f50_a_disk_that_takes_no_more_costs_figures_only(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, f"{tmp_path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[0] == "2"
    assert done.stderr.count("hand-over to drawing failed (") == 1
    assert "File too large" in done.stderr


def test_f45_f62_f63_nothing_of_the_process_is_touched_and_nothing_forks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "nowhere")  # a name at which the import of matplotlib itself fails
    fit(tmp_path / "warm")  # what Lightning itself changes, it changes here
    forks: list[int] = []
    monkeypatch.setattr(os, "fork", lambda: forks.append(1))
    before = surroundings()
    callback = EmbeddingVisualizer(pairs(), alert=None, finish_limit_s=90, **BARE)
    fit(tmp_path, callback)
    assert surroundings() == before
    assert forks == []
    assert callback.folder is not None
    assert "similarity_heatmap.png" in names(callback.folder, "epoch_0001")


def surroundings() -> dict[str, Any]:
    return {
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "path": list(sys.path),
        "warnings": list(warnings.filters),
        "handlers": list(logging.getLogger().handlers) + list(logging.getLogger("embviz_callback").handlers),
        "level": logging.getLogger("embviz_callback").level,
        "threads": threading.active_count(),
        "signals": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)},
        "excepthook": sys.excepthook,
        "limits": resource.getrlimit(resource.RLIMIT_AS),
        "flags": (torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "nice": os.nice(0),
    }


UNGUARDED = """
import sys, warnings
warnings.simplefilter("ignore")
from tests.tiny_training import *
from embviz_callback import EmbeddingVisualizer
print("the script runs", flush=True)
trainer(sys.argv[1], EmbeddingVisualizer(pairs(), alert=None, skip_tsne=True, skip_umap=True)).fit(TinyBiEncoder())
"""


def test_f46_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, f"{script}", f"{tmp_path}"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert (done.returncode, done.stdout) == (0, "the script runs\n"), done.stderr[-2000:]
    assert (tmp_path / "run" / "embviz" / "epoch_0001" / "report.md").exists()


ENDLESS = """
import signal, sys, time, warnings
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in whatever a shell starts in the background
warnings.simplefilter("ignore")
from tests.tiny_training import *
from embviz_callback import EmbeddingVisualizer
class Slow(TinyBiEncoder):
    def on_train_epoch_end(self):
        if self.current_epoch == 2: print("training", flush=True)
    def on_train_batch_start(self, batch, batch_idx): time.sleep(0.02)
callbacks = [] if sys.argv[2] == "without" else [EmbeddingVisualizer(pairs(), alert=None, grace_s=0.5)]
# Without TensorBoard, whose writer can hang by itself when Ctrl-C meets it holding its queue.
trainer(sys.argv[1], *callbacks, max_epochs=100000, logger=False).fit(Slow())
"""


def test_f47_f48_an_interrupted_run_ends_as_it_would_without_us_and_leaves_its_drawings_on_disk(tmp_path: Path) -> None:
    numbers, words = (signal.SIGINT, signal.SIGTERM), ("without", "with")
    started = {
        (number, word): subprocess.Popen(
            [sys.executable, "-c", ENDLESS, f"{tmp_path / word / number.name}", word],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for number in numbers
        for word in words
    }
    try:
        for (number, _), process in started.items():
            assert process.stdout is not None
            assert process.stdout.readline() == "training\n"
            os.killpg(process.pid, number)  # the whole group, as a terminal does it
        said = {key: process.communicate(timeout=120)[1] for key, process in started.items()}
    finally:
        for process in started.values():
            process.kill()  # does nothing to one that has ended
    for number in numbers:
        assert started[number, "with"].returncode == started[number, "without"].returncode
        command = f" with: {sys.executable} -m embviz_callback.delivery.process.drawing_process"
        assert command in said[number, "with"]
        jobs = tmp_path / "with" / number.name / "embviz" / "jobs"
        assert list(jobs.glob("pending/*/job.json")) + list(jobs.glob("active/*/job.json"))
    # Ctrl-C in a terminal goes to the whole group, to which the drawing process must not belong.
    log = (tmp_path / "with" / "SIGINT" / "embviz" / "worker.log").read_text()
    assert "KeyboardInterrupt" not in log


def test_f64_the_hook_only_encodes_measures_and_writes_one_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = set(sys.modules)
    callback = EmbeddingVisualizer(pairs(), alert=None, finish_limit_s=0)
    fitted = fit(tmp_path, callback)
    assert not {name.split(".")[0] for name in set(sys.modules) - before} & {"sklearn", "umap", "numba", "openTSNE"}
    assert 0 < float(fitted.callback_metrics["embviz/overhead"]) < 1
    assert float(fitted.callback_metrics["embviz/blocked_s"]) > 0
    assert callback.folder is not None
    jobs = sorted((callback.folder / "jobs" / "pending").iterdir())
    # The last is the conclusion of the training, which no hook of an evaluation writes.
    assert [len(list(job.iterdir())) for job in jobs] == [3, 3, 3, 1]


def test_f64_an_evaluation_above_the_budget_thins_itself_out_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Epochs of a few milliseconds: an evaluation costs more than a millionth of any of them.
    callback = EmbeddingVisualizer(pairs(), alert=None, figures=False, overhead_limit=1e-6)
    fitted = fit(tmp_path, callback, max_epochs=4)
    seen = rows(callback)
    assert [row["epoch"] for row in seen] == [None, 3]  # the last epoch is never left out
    assert float(fitted.callback_metrics["embviz/margin"]) == pytest.approx(seen[-1]["metrics"]["margin"])
    said = [record.message for record in caplog.records if "overhead_limit" in record.message]
    assert len(said) == 1
    assert said[0].startswith("embviz: evaluating every epoch would take ")
    assert "(first: epoch 0)" in said[0]


def test_f64_an_evaluation_that_fails_counts_against_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fails(*_given: Any, **_options: Any) -> Any:
        calls.append(1)
        raises()

    monkeypatch.setattr(encode_module, "encode_subset", fails)
    fit(tmp_path, EmbeddingVisualizer(pairs(), alert=None, figures=False, overhead_limit=1e-6), max_epochs=4)
    assert len(calls) == 2  # the untrained model and the last epoch


def test_a_budget_compares_what_evaluations_would_take_with_the_time_since_training_began() -> None:
    budget = Budget(0.1)
    budget.begin(100.0)
    assert budget.affords(100.0 + 1e-6)  # nothing is known of the cost
    budget.spend(1.0)
    assert budget.share(118.0) == pytest.approx(2 / 19)
    assert not budget.affords(118.0)
    assert budget.affords(119.5)
    with pytest.raises(ValueError) as error:
        Budget(1.0)
    assert str(error.value) == "overhead_limit must be at least 0 and below 1, got 1.0"


def test_a_monitor_does_not_die_of_an_evaluation_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encode_module.encode_subset
    calls: list[int] = []

    def fails_second(*given: Any, **options: Any) -> Any:
        calls.append(1)
        return raises() if len(calls) == 2 else whole(*given, **options)

    monkeypatch.setattr(encode_module, "encode_subset", fails_second)
    stopping = EarlyStopping("embviz/margin", mode="max", patience=9)
    callback = numbers_only()
    fitted = fit(tmp_path, callback, stopping, max_epochs=3)
    assert fitted.current_epoch == 3
    assert [row["label"] for row in rows(callback)] == ["untrained", "epoch 1", "epoch 2"]


def test_a_callable_of_the_users_that_raises_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fitted = fit(tmp_path, numbers_only(alert=MarginAlert(1.9, on_alert=raises)))
    assert float(fitted.callback_metrics["embviz/alert"]) == 1
    assert len([text for text in ours(caplog) if "on_alert failed" in text]) == 1


def test_a_data_file_that_breaks_in_mid_run_does_not_matter(tmp_path: Path) -> None:
    data = tmp_path / "val.json"
    data.write_text(json.dumps(pairs()))
    callback = numbers_only(data=f"{data}")
    fit(tmp_path, callback, Doing(lambda: data.write_text("[{")))
    assert len(rows(callback)) == 3
