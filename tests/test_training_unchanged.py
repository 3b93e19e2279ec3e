"""With and without the callback: the same weights, optimiser, random streams and flags, to the bit."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, StochasticWeightAveraging
from torch.utils.data import DataLoader

from embviz_callback import EmbeddingVisualizer, MarginAlert
from embviz_callback.encoding import isolation
from tests.tiny_training import QUIET, TinyBiEncoder, ema, pairs, trainer

pytestmark = [pytest.mark.slow, *QUIET]


def digest(value: Any) -> str:
    """A hash over tensors, numbers and containers of them, bit for bit."""
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        found.update(f"{value.dtype}{tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray):
        found.update(value.tobytes())
    elif isinstance(value, dict):
        _feed(found, sorted(((str(key), item) for key, item in value.items()), key=lambda pair: pair[0]))
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(found, item)
    else:
        found.update(repr(value).encode())


def everything(fitted: pl.Trainer) -> dict[str, str]:
    """What a training leaves behind, by name, so that a difference says what it is."""
    module = fitted.lightning_module
    parts = {
        "weights": module.state_dict(),
        "optimiser": [optimizer.state_dict() for optimizer in fitted.optimizers],
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "torch": torch.get_rng_state(),
        "modes": [part.training for part in module.modules()],
        "requires_grad": [parameter.requires_grad for parameter in module.parameters()],
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "cudnn": [getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic")],
        "train loss": float(fitted.callback_metrics["train_loss"]),
        "step": fitted.global_step,
    }
    return {name: digest(part) for name, part in parts.items()}


class Spy(pl.Callback):
    """Notes modes and random streams after the hooks of all callbacks before it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *others: Any) -> None:
        modes = [part.training for part in pl_module.modules()]
        streams = [torch.get_rng_state(), random.getstate(), np.random.get_state()]  # noqa: NPY002
        self.seen.append(digest([modes, streams, torch.is_grad_enabled()]))


def trained(folder: Path, *callbacks: pl.Callback, **options: Any) -> tuple[dict[str, str], list[str]]:
    pl.seed_everything(3, verbose=False)
    spy = Spy()
    fitted = trainer(folder, *callbacks, spy, **options)
    fitted.fit(TinyBiEncoder(dropout=0.3))
    return everything(fitted), spy.seen


def visualizer(**options: Any) -> EmbeddingVisualizer:
    return EmbeddingVisualizer(
        pairs(), **({"figures": False, "alert": MarginAlert(0.9), "on_error": "raise"} | options)
    )


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, {}),
        ({"accumulate_grad_batches": 3}, {}),
        ({"precision": "bf16-mixed"}, {}),
        ({"precision": "bf16-true"}, {}),
        ({"precision": "64-true"}, {}),
        ({"val_check_interval": 0.5}, {"when": "validation_end"}),
        ({"check_val_every_n_epoch": 2, "max_epochs": 3}, {"every_n_epochs": 2}),
        ({"limit_val_batches": 0}, {}),
        ({"gradient_clip_val": 0.1, "max_steps": 6, "max_epochs": -1}, {}),
        ({"overfit_batches": 2}, {}),
        ({"reload_dataloaders_every_n_epochs": 1}, {"batch_size": 3}),
        ({"inference_mode": False}, {"when": "validation_end"}),
        ({}, {"figures": True, "skip_tsne": True, "skip_umap": True, "finish_limit_s": 60.0}),
    ],
    ids=str,
)
def test_training_is_the_same_to_the_bit(tmp_path: Path, options: dict[str, Any], settings: dict[str, Any]) -> None:
    callback = visualizer(**settings)
    assert trained(tmp_path / "with", callback, **options) == trained(tmp_path / "without", **options)
    assert callback.memory.history.rows, "nothing was evaluated"


def averaging(kind: str) -> pl.Callback:
    return ema() if kind == "ema" else StochasticWeightAveraging(0.01, swa_epoch_start=1)


@pytest.mark.filterwarnings("ignore:.*Swapping scheduler.*")
@pytest.mark.parametrize("kind", ["ema", "swa"])
@pytest.mark.parametrize("when", ["train_epoch_end", "validation_end"])
def test_training_is_the_same_on_either_side_of_a_callback_that_averages_weights(
    tmp_path: Path, kind: str, when: str
) -> None:
    without = trained(tmp_path / "without", averaging(kind), max_epochs=3)
    before, behind = visualizer(when=when), visualizer(when=when)
    assert trained(tmp_path / "before", before, averaging(kind), max_epochs=3) == without
    assert trained(tmp_path / "behind", averaging(kind), behind, max_epochs=3) == without
    assert min(len(one.memory.history.rows) for one in (before, behind)) >= 4


def test_training_is_the_same_while_another_trainer_is_watched_in_every_epoch(tmp_path: Path) -> None:
    """Trainers within trainers: each has a history of its own, and neither changes the other."""

    class Inner(pl.Callback):
        def __init__(self, *callbacks: pl.Callback) -> None:
            self.callbacks = callbacks

        def on_train_epoch_end(self, outer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            inner = trainer(tmp_path / f"inner {len(self.callbacks)}", *self.callbacks, max_epochs=1)
            inner.fit(TinyBiEncoder(dropout=0.3))

    outer, inner = visualizer(), visualizer()
    expected = trained(tmp_path / "without", Inner())
    assert trained(tmp_path / "with", outer, Inner(inner)) == expected
    assert [row.epoch for row in outer.memory.history.rows] == [None, 0, 1]
    assert [row.epoch for row in inner.memory.history.rows] == [None, 0]


def test_training_is_the_same_with_worker_processes_that_load_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loader(self: TinyBiEncoder) -> DataLoader[Any]:
        return DataLoader(self._loader(shuffle=True).dataset, batch_size=4, shuffle=True, num_workers=1)

    monkeypatch.setattr(TinyBiEncoder, "train_dataloader", loader)
    assert trained(tmp_path / "with", visualizer()) == trained(tmp_path / "without")


def test_training_is_the_same_while_every_stage_of_ours_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = trained(tmp_path / "without", max_epochs=3)

    def fails(self: TinyBiEncoder, texts: list[str]) -> torch.Tensor:
        self.train()
        torch.rand(7)
        raise RuntimeError("broken encode")

    monkeypatch.setattr(TinyBiEncoder, "encode", fails)
    callback = visualizer(on_error="warn")
    assert trained(tmp_path / "with", callback, max_epochs=3) == without
    assert not callback.memory.history.rows


def test_a_resumed_training_is_the_same(tmp_path: Path) -> None:
    ends = []
    for name, callbacks in (("with", (visualizer(),)), ("without", ())):
        kept = ModelCheckpoint(tmp_path / name / "kept", save_last=True)
        trained(tmp_path / name, *callbacks, kept, enable_checkpointing=True)
        pl.seed_everything(4, verbose=False)
        again = (visualizer(),) if callbacks else ()
        resumed = trainer(tmp_path / name, *again, max_epochs=4)
        resumed.fit(TinyBiEncoder(dropout=0.3), ckpt_path=tmp_path / name / "kept" / "last.ckpt", weights_only=True)
        ends.append(everything(resumed))
    assert ends[0] == ends[1]


@contextmanager
def careless(module: torch.nn.Module, trainer: Any = None) -> Iterator[None]:
    """What most callbacks do."""
    module.eval()
    with torch.no_grad():
        yield
    torch.nn.Module.train(module)


def test_without_the_guard_the_same_comparison_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "observe", careless)
    with_callback, seen = trained(tmp_path / "with", visualizer())
    without, expected = trained(tmp_path / "without")
    assert seen != expected
    assert with_callback["modes"] != without["modes"]
    assert with_callback["weights"] != without["weights"]
