"""One short fit of a user's model in a process of its own, told as hashes; `embviz selfcheck` starts it three times."""

import hashlib
import importlib
import importlib.util
import json
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from embviz_callback import EmbeddingVisualizer
from embviz_callback.adapters.either_lightning import Callback, lightning_of, pl
from embviz_callback.files import write_atomically


class _RefusedError(ValueError):
    """The factory, or what it gave, cannot be used."""


class _Spy(Callback):
    """Notes what every step is given and gives, after all callbacks before it."""

    def __init__(self) -> None:
        self.batches: list[str] = []
        self.losses: list[str] = []
        self.states: list[str] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, *_: Any) -> None:
        self.batches.append(digest(batch))
        self.states.append(digest([*_streams().values(), _modes(pl_module), torch.is_grad_enabled()]))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(digest(outputs))


def main() -> int:
    """Fits as the JSON in the first argument says, and writes hashes, or what went wrong, to its ``result``."""
    request = json.loads(sys.argv[1])
    try:
        told = _fit(request)
    except _RefusedError as error:
        told = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything, and is answered in one line
        told = {"error": f"the fit {request['name']} failed: {_one_line(error)}"}
    write_atomically(Path(request["result"]), json.dumps(told))
    return 0


def _fit(request: Mapping[str, Any]) -> dict[str, Any]:
    factory = _find(request["factory"])
    # Not the user's training process but one of ours, which is thrown away.
    pl.seed_everything(request["seed"], workers=True, verbose=False)
    module, data = _build(factory, request["factory"])
    # The maps take longest and are drawn by the same other process as the rest.
    options: dict[str, Any] = {"on_error": "raise", "skip_tsne": True, "skip_umap": True}
    spy, visualizer = _Spy(), EmbeddingVisualizer(request["data"], **options) if request["is_with"] else None
    # Either Lightning, but the one of the module: no trainer takes the other's.
    trainer = lightning_of(module).Trainer(  # type: ignore[union-attr] # of one of them, as _build makes sure
        accelerator=request["accelerator"],
        devices=1,
        precision=request["precision"],
        deterministic=request["deterministic"] or None,
        max_epochs=request["epochs"],
        limit_train_batches=request["steps"],
        limit_val_batches=request["steps"],
        default_root_dir=request["folder"],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[*([] if visualizer is None else [visualizer]), spy],
    )
    trainer.fit(module, data)
    # Lightning swallows the interrupt and ends the fit early.
    if trainer.interrupted:
        raise _RefusedError("interrupted")
    _check_callbacks(trainer, visualizer)
    if not spy.losses:
        raise _RefusedError(f"the fit {request['name']} took no step. Fix: let the factory give data to train on")
    return {"groups": _groups(trainer, spy), "steps": len(spy.losses), "evaluations": _evaluations(visualizer)}


def _find(spec: str) -> Callable[[], Any]:
    place, _, name = spec.rpartition(":")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise _RefusedError(f"{spec}: importing {place} failed: {_one_line(error)}. Fix: check the name") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise _RefusedError(f"{spec}: {place} has no function {name!r}. Fix: check the name")
    return found  # type: ignore[no-any-return]


def _load_file(path: Path) -> ModuleType:
    # Its neighbours must be importable, as when it is run as a script.
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _build(factory: Callable[[], Any], spec: str) -> tuple[Any, Any]:
    try:
        made = factory()
    except Exception as error:
        raise _RefusedError(f"{spec}: the factory failed: {_one_line(error)}") from error
    module, data = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, torch.nn.Module) or lightning_of(module) is None:
        kind = type(module).__name__
        raise _RefusedError(
            f"{spec}: must return (LightningModule, data for Trainer.fit), its first value is of type {kind}"
        )
    return module, data


def _check_callbacks(trainer: pl.Trainer, ours: EmbeddingVisualizer | None) -> None:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    if any(isinstance(one, EmbeddingVisualizer) and one is not ours for one in callbacks):
        raise _RefusedError("the module brings an EmbeddingVisualizer. Fix: leave it out of configure_callbacks")


def _evaluations(visualizer: EmbeddingVisualizer | None) -> int:
    if visualizer is None or visualizer.folder is None:
        return 0
    return len((visualizer.folder / "history.jsonl").read_text(encoding="utf-8").splitlines())


def _groups(trainer: pl.Trainer, spy: _Spy) -> dict[str, dict[str, str]]:
    """Hashes of all that a training is and leaves, by group and, within it, by name."""
    module = trainer.lightning_module
    logged = {key: value for key, value in trainer.callback_metrics.items() if not key.startswith("embviz/")}
    schedulers = [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]
    groups: dict[str, dict[str, Any]] = {
        "random streams": _streams(),
        "weights": dict(module.named_parameters()) | dict(module.named_buffers()),
        "optimiser": {
            **{f"optimiser {place}": one.state_dict() for place, one in enumerate(trainer.optimizers)},
            **{f"scheduler {place}": one for place, one in enumerate(schedulers)},
            "precision": trainer.precision_plugin.state_dict(),
        },
        "batches": _numbered(spy.batches),
        "losses": _numbered(spy.losses),
        "state at each step": _numbered(spy.states),
        "logged values": logged,
        "train and eval modes": _modes(module),
        "requires_grad": {name: one.requires_grad for name, one in module.named_parameters()},
        "PyTorch settings": {
            "threads": torch.get_num_threads(),
            "threads between operations": torch.get_num_interop_threads(),
            "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
            "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
            "default dtype": torch.get_default_dtype(),
            "steps": trainer.global_step,
        },
    }
    return {group: {name: digest(value) for name, value in parts.items()} for group, parts in groups.items()}


def _streams() -> dict[str, Any]:
    streams: dict[str, Any] = {
        "Python": random.getstate(),
        "NumPy": np.random.get_state(),  # noqa: NPY002 - the global stream is what training may draw from
        "PyTorch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        streams["CUDA"] = torch.cuda.get_rng_state_all()
    return streams


def _modes(module: pl.LightningModule) -> dict[str, bool]:
    return {name or "the module": part.training for name, part in module.named_modules()}


def _numbered(hashes: list[str]) -> dict[str, str]:
    return {f"step {place}": one for place, one in enumerate(hashes, start=1)}


def digest(value: Any) -> str:
    """A hash over tensors, arrays, numbers, texts and containers of them, bit for bit.

    Args:
        value: Of any other object only the type counts: its text may hold an address.

    Returns:
        SHA-256 in hexadecimal.
    """
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()


def _feed(found: Any, value: Any) -> None:
    found.update(type(value).__name__.encode())
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu()
        plain = plain if plain.layout == torch.strided else plain.to_dense()
        found.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
        found.update(plain.contiguous().flatten().view(torch.uint8).numpy().data)
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        found.update(f"{value.dtype}{value.shape}".encode())
        found.update(value.tobytes())
    elif isinstance(value, np.ndarray):
        _feed(found, value.tolist())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            _feed(found, str(key))
            _feed(found, value[key])
    elif isinstance(value, list | tuple):
        found.update(str(len(value)).encode())
        for item in value:
            _feed(found, item)
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(found, {field.name: getattr(value, field.name) for field in fields(value)})
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic | torch.dtype):
        found.update(repr(value).encode(errors="surrogatepass"))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
