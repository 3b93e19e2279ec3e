"""What breaks callbacks beyond the list of known faults: found by trying to break this one."""

import io
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import BatchSizeFinder, EarlyStopping, LearningRateFinder
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from embviz_callback import EmbeddingVisualizer
from embviz_callback.analysis.maps.projections import Skipped, project
from embviz_callback.delivery import guarding
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.process import drawing_process, drawings
from embviz_callback.delivery.process.drawings import _wait_for
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.training_side import Limits, Worker
from tests.analysis.maps.test_projections import clustered, without_libraries
from tests.test_training_unchanged import digest
from tests.tiny_training import QUIET, TinyBiEncoder, pairs, trainer

pytestmark = [pytest.mark.slow, *QUIET]

HOME = Path(__file__).resolve().parent.parent


class Adjustable(TinyBiEncoder):
    """With what the finders change."""

    def __init__(self) -> None:
        super().__init__()
        self.lr, self.batch_size = 0.01, 4


class Panic(BaseException):
    """As a library in Rust panics: no Exception."""


class SpeechlessError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise AttributeError("nothing")


class Failing(TinyBiEncoder):
    """Whose `encode` raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def encode(self, texts: list[str]) -> Tensor:
        raise self.error


def weights_after(folder: Path, make: Callable[[], TinyBiEncoder], *callbacks: pl.Callback, **options: Any) -> str:
    pl.seed_everything(1, verbose=False)
    module, fitted = make(), trainer(folder, *callbacks, max_epochs=2, **options)
    fitted.fit(module)
    assert fitted.current_epoch == 2
    return digest(module.state_dict())


def numbers_only() -> EmbeddingVisualizer:
    return EmbeddingVisualizer(pairs(), figures=False)


@pytest.mark.parametrize("finder", [LearningRateFinder, BatchSizeFinder])
def test_after_lightnings_finders_the_untrained_model_is_still_the_baseline(
    finder: type[pl.Callback], tmp_path: Path
) -> None:
    options = {"num_training_steps": 3} if finder is LearningRateFinder else {"max_trials": 1}
    watching, stopping = numbers_only(), EarlyStopping("embviz/margin", mode="max", patience=10)
    fitted = trainer(tmp_path, finder(**options), watching, stopping, max_epochs=3, val_check_interval=0.5)
    fitted.fit(Adjustable())
    assert fitted.current_epoch == 3
    assert watching.folder is not None
    history = (watching.folder / "history.jsonl").read_text().splitlines()
    labels = [json.loads(line)["label"] for line in history]
    assert labels == ["untrained", "epoch 0", "epoch 1", "epoch 2"]


def test_a_finder_in_the_second_training_of_one_callback_does_not_bring_the_first_ones_history(tmp_path: Path) -> None:
    watching = numbers_only()
    trainer(tmp_path / "first", watching, max_epochs=2).fit(Adjustable())
    finder = LearningRateFinder(num_training_steps=3)
    trainer(tmp_path / "second", finder, watching, max_epochs=1).fit(Adjustable())
    assert watching.folder is not None
    history = (watching.folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in history] == ["untrained", "epoch 0"]


@pytest.mark.parametrize(
    "error",
    [
        Panic("capacity overflow"),
        SpeechlessError(),
        UnicodeEncodeError("ascii", "ü", 0, 1, "x"),
        SystemExit(3),
        GeneratorExit(),
    ],
)
def test_whatever_encode_raises_the_training_is_the_same(error: BaseException, tmp_path: Path) -> None:
    alone = weights_after(tmp_path / "alone", TinyBiEncoder)
    assert weights_after(tmp_path / "with", partial(Failing, error), numbers_only()) == alone


class Lazy(TinyBiEncoder):
    """With a layer that draws its weights when it is first called."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(16, bias=False)


def test_a_lazy_layer_is_first_called_by_the_training(tmp_path: Path) -> None:
    watching = numbers_only()
    alone = weights_after(tmp_path / "alone", Lazy, limit_val_batches=0)
    assert weights_after(tmp_path / "with", Lazy, watching, limit_val_batches=0) == alone
    assert watching.folder is not None
    history = (watching.folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in history] == ["epoch 0", "epoch 1"]


def test_a_handler_of_the_users_that_raises_does_not_end_the_training(tmp_path: Path) -> None:
    class Strict(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no warnings here")

    log, strict = logging.getLogger("embviz_callback"), Strict()
    log.addHandler(strict)
    try:
        weights_after(tmp_path, partial(Failing, ValueError("broken")), numbers_only())
    finally:
        log.removeHandler(strict)


def test_a_fault_that_cannot_be_written_down_is_said_all_the_same() -> None:
    def note(row: object) -> None:
        raise UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range")

    guard = Guard(on_error="warn", note=note)
    assert guard.attempt("encoding", lambda: 1 / 0, where="epoch 0", skipped="all") is None
    assert guard.faults == [
        "encoding failed (epoch 0, rank 0): ZeroDivisionError: division by zero; skipped: all",
    ]


def handler_that_exits(number: int, frame: object) -> None:
    raise SystemExit(143)


def by_signal() -> None:
    before = signal.signal(signal.SIGUSR1, handler_that_exits)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(1)
    finally:
        handlers.append(before)


handlers: list[Any] = []


@pytest.mark.parametrize("end", [KeyboardInterrupt, SIGTERMException, by_signal])
def test_an_end_that_somebody_wants_passes(end: Any) -> None:
    def act() -> None:
        found = end()
        if isinstance(found, BaseException):
            raise found

    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            Guard(on_error="warn", note=lambda row: None).attempt("encoding", act, where="epoch 0", skipped="all")
    finally:
        if handlers:
            signal.signal(signal.SIGUSR1, handlers.pop())


class Elusive(TinyBiEncoder):
    """Whose way to encode goes away, or raises when it is looked up."""

    error: BaseException | None = None

    @property
    def encode(self) -> Any:  # type: ignore[override]
        if self.error is not None:
            raise self.error
        return super().encode


class Lost(pl.Callback):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.error = self.error  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("error", "from_the_start"),
    # An AttributeError from the start is a module without encode, which is refused before training.
    [
        (AttributeError("gone"), False),
        *((error, is_first) for error in (ValueError("not yet"), SystemExit(3)) for is_first in (False, True)),
    ],
)
def test_a_way_to_encode_that_cannot_be_looked_up_costs_a_warning(
    error: BaseException, from_the_start: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> TinyBiEncoder:
        made = Elusive()
        made.error = error if from_the_start else None
        return made

    alone = weights_after(tmp_path / "alone", TinyBiEncoder)
    assert weights_after(tmp_path / "with", make, Lost(error), numbers_only()) == alone
    assert any("encoding failed" in message for message in caplog.messages)


class Wakeful(TinyBiEncoder):
    def encode(self, texts: list[str]) -> Tensor:
        self.train()
        return super().encode(texts)


def test_an_encode_that_puts_itself_into_training_mode_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights_after(tmp_path, partial(Wakeful, dropout=0.0), numbers_only())
    assert [message for message in caplog.messages if "training mode" in message] == [
        "embviz: encode put 5 modules into training mode (first: Wakeful), so that dropout may have been on in what "
        "was measured; take train() out of encode, eval mode is set and put back for it"
    ]


class OwnOptimiser(TinyBiEncoder):
    """Steps an optimiser that Lightning does not drive, and therefore does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        optimiser = self.optimizers(use_pl_optimizer=False)
        optimiser.zero_grad()
        loss = super().training_step(batch, batch_idx)
        loss.backward()
        optimiser.step()
        return loss


def labels_in(callback: EmbeddingVisualizer) -> list[str]:
    assert callback.folder is not None
    return [json.loads(line)["label"] for line in (callback.folder / "history.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("module", [OwnOptimiser, TinyBiEncoder])
def test_a_trainer_that_counts_no_steps_has_trained_all_the_same(module: type[TinyBiEncoder], tmp_path: Path) -> None:
    callback, made = EmbeddingVisualizer(pairs(), figures=False, every_n_epochs=2), module()
    fitted = trainer(tmp_path, callback, max_epochs=2)
    fitted.fit(made)
    assert labels_in(callback) == ["untrained", "epoch 1"]
    baseline = callback.memory.history.baseline
    fitted.fit_loop.max_epochs = 5
    fitted.fit(made)
    assert labels_in(callback) == ["untrained", "epoch 1", "epoch 3", "epoch 4"]
    assert callback.memory.history.baseline == baseline


def test_what_a_training_without_counted_steps_ends_with_is_looked_at(tmp_path: Path) -> None:
    callback = EmbeddingVisualizer(pairs(), figures=False, when="validation_end", every_n_epochs=5)
    trainer(tmp_path, callback, max_epochs=2, limit_val_batches=0).fit(OwnOptimiser())
    assert labels_in(callback) == ["untrained", "epoch 1, step 7"]


HOLD = """
import pathlib, sys, time
from embviz_callback.delivery.run.claim import claim_folder
claim_folder(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(300)
"""


def test_a_second_training_in_one_folder_gets_one_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    wanted = tmp_path / "run" / "embviz"
    other = subprocess.Popen([sys.executable, "-c", HOLD, f"{wanted}"], cwd=HOME, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    other.stdout.readline()
    try:
        callback = numbers_only()
        with caplog.at_level(logging.INFO):
            trainer(tmp_path, callback, max_epochs=1).fit(TinyBiEncoder())
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert callback.folder == wanted.with_name("embviz-2")
    assert labels_in(callback) == ["untrained", "epoch 0"]
    said = [line for line in caplog.messages if "another training" in line]
    assert said == [f"embviz: another training is writing into {wanted}; this one writes into {callback.folder}"]
    again = numbers_only()
    trainer(tmp_path, again, max_epochs=1).fit(TinyBiEncoder())
    assert again.folder == wanted


def test_what_an_earlier_run_left_undrawn_is_not_drawn_into_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"skip_tsne": True, "skip_umap": True, "output_dir": tmp_path / "figures"}
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_can_go_on", lambda self: False)
        trainer(tmp_path, EmbeddingVisualizer(pairs(), **options), max_epochs=3).fit(TinyBiEncoder())
    (jobs,) = (path for path in (tmp_path / "figures").rglob("jobs"))
    assert (jobs / "pending" / "000000003_epoch_0002").exists() or len(Jobs(jobs).names("pending")) >= 4
    trainer(tmp_path, EmbeddingVisualizer(pairs(), **options), max_epochs=1).fit(TinyBiEncoder())
    views = [json.loads(path.read_text())["label"] for path in jobs.parent.glob("page-data/*.json")]
    assert sorted(views) == ["epoch 0", "untrained"]
    assert not (jobs.parent / "epoch_0002").exists()
    assert len(Jobs(jobs).names("abandoned")) >= 4
    assert "# Why does it fail: epoch 0" in (jobs.parent / "analysis.md").read_text()


def test_jobs_that_another_process_is_doing_are_left_to_it(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    assert not jobs.is_served()
    jobs.put("1", lambda folder: None)
    with jobs.served():
        other = Jobs(jobs.root)
        assert other.is_served()
        drawings.set_aside_earlier(other)
        assert jobs.names("pending") == ["1"]
    drawings.set_aside_earlier(jobs)
    assert (jobs.names("pending"), jobs.names("abandoned")) == ([], ["1"])


def test_the_command_that_finishes_the_drawings_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "my runs; $HOME"
    command = Worker(folder, limits=Limits(), report=lambda kind, message: None).how_to_finish
    words = shlex.split(command)
    assert words == [sys.executable, "-m", "embviz_callback.delivery.process.drawing_process", f"{folder}"]
    (folder / "jobs").mkdir(parents=True)
    assert subprocess.run(command, shell=True, cwd=HOME, check=False).returncode == 0


def test_drawings_that_failed_are_not_called_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = EmbeddingVisualizer(pairs(), skip_tsne=True, skip_umap=True)

    class Spoil(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            assert callback.folder is not None
            pending = callback.folder / "jobs" / "pending"
            for job in pending.iterdir():
                (job / "job.json").write_text("{")

    with pytest.MonkeyPatch.context() as patch:
        started = Worker.start
        patch.setattr(Worker, "start", lambda self: None)
        training = trainer(tmp_path, callback, Spoil(), max_epochs=1, limit_val_batches=0)
        patch.setattr(Spoil, "on_train_epoch_start", lambda *_: patch.setattr(Worker, "start", started), raising=False)
        training.fit(TinyBiEncoder())
    assert "embviz: 1 evaluation could not be drawn, or in part only, the others are, " in capsys.readouterr().err


def test_drawings_of_which_a_part_failed_are_not_called_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(tmp_path, limits=Limits(), report=lambda kind, message: None)
    worker.jobs.put("000000000_untrained", lambda job: None)

    def finish(limit_s: float, progress: object) -> None:
        worker.jobs.defer_oldest()
        worker._hear({"event": "done", "job": "000000000_untrained", "files": [], "faults": ["disk full"]})

    monkeypatch.setattr(worker, "poll", lambda: None)
    monkeypatch.setattr(worker, "finish", finish)
    _wait_for(worker, 0.0)
    assert capsys.readouterr().err == (
        "embviz: 1 evaluation could not be drawn, or in part only, the others are, 0 s after training\n"
    )


def test_progress_is_said_on_standard_error_and_without_one_nothing_breaks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said, closed = io.StringIO(), io.StringIO()
    closed.close()
    for stream in (None, closed, said):
        monkeypatch.setattr(sys, "stderr", stream)
        drawings._say_progress(10.0, 2)
    assert said.getvalue() == "embviz: training is over, 2 evaluations are still being drawn (at most 10 s)\n"
    monkeypatch.setattr(sys, "stderr", None)
    with caplog.at_level(logging.INFO, "embviz_callback"):
        guarding.say("all is well")
    assert caplog.messages == ["embviz: all is well"]


def test_what_is_said_obeys_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    guarding.say_plainly("files lie in runs\x1b[2J")
    drawing_process._say("1 to draw\x1b[2J")
    assert capsys.readouterr().err == "embviz: files lie in runs\\x1b[2J\nembviz: 1 to draw\\x1b[2J\n"
    with caplog.at_level(logging.INFO, "embviz_callback"):
        guarding.say("a\x1b[2J")
        Guard(on_error="warn", note=lambda row: None).warn("drawing", "lost", "b\x1b[2J")
    assert caplog.messages == ["embviz: a\\x1b[2J", "embviz: b\\x1b[2J"]


def test_f49_the_drawing_process_ends_with_a_killed_training_whose_fork_lives_on(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys, time\n"
        "from embviz_callback.delivery.process.training_side import Limits, Worker\n"
        "worker = Worker(pathlib.Path(sys.argv[1]), limits=Limits(), report=print)\n"
        "worker.start()\n"
        "if os.fork() == 0:\n"
        "    os.closerange(1, 3)\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    training = subprocess.Popen(
        [sys.executable, "-c", script, f"{tmp_path}"],
        cwd=HOME,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert training.stdout is not None
    drawing = int(training.stdout.readline())
    time.sleep(1.0)
    os.kill(training.pid, signal.SIGKILL)
    training.wait()
    training.stdout.close()
    try:
        until = time.monotonic() + 60
        while _lives(drawing) and time.monotonic() < until:
            time.sleep(0.2)
        assert not _lives(drawing)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(training.pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_isolated_interpreter_keeps_its_variables_from_the_drawing_process(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(HOME)!r})\n"
        "from embviz_callback.delivery.process.training_side import process_environment\n"
        "print(process_environment().get('PYTHONPATH', ''))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}"}
    said = {
        flag: subprocess.run(
            [sys.executable, *flag.split(), "-c", script], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for flag in ("-I", "-E", "")
    }
    assert [f"{tmp_path}" in said[flag] for flag in ("-I", "-E", "")] == [False, False, True]


def test_a_numba_that_ends_the_interpreter_when_imported_is_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_libraries(monkeypatch)
    (tmp_path / "numba.py").write_text("import sys\nsys.exit('no licence')")
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert project(clustered(), "umap", seed=7) == Skipped("UMAP failed (SystemExit: no licence)")
