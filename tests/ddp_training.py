"""One rank of trainings on three, then two gloo processes; started by test_ddp.py."""

import json
import os
import signal
import sys
import time
import warnings
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

from embviz_callback import EmbeddingVisualizer, MarginAlert, evaluate_pairs
from embviz_callback.encoding.isolation import observe
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from tests.test_training_unchanged import digest, everything
from tests.tiny_training import STREETS, TinyBiEncoder, _ids, pairs, trainer

RANK = int(os.environ["LOCAL_RANK"])
LISTINGS = [f"A quiet room in {street} street, floor {floor}" for street in STREETS for floor in range(1, 4)][:45]
LIMIT = timedelta(seconds=30)  # of the process group: whoever waits longer for another rank dies


class Counting(TinyBiEncoder):
    """Counts what is encoded, and fails when told to."""

    def __init__(self, fail_on_rank: int | None = None) -> None:
        pl.seed_everything(3, verbose=False)
        super().__init__()
        self.fail_on_rank = fail_on_rank
        self.batches: list[int] = []

    def encode(self, texts: list[str]) -> torch.Tensor:
        self.batches.append(len(texts))
        if self.fail_on_rank == RANK:
            raise RuntimeError("only here")
        return super().encode(texts)


class Freezer(pl.Callback):
    """Stops the drawing process as soon as there is one, so that rank 0 could wait for it for ever."""

    def __init__(self, callback: EmbeddingVisualizer) -> None:
        self.callback = callback

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        run = self.callback._session
        if run is not None and run.worker is not None and run.worker.pid is not None:
            os.kill(run.worker.pid, signal.SIGSTOP)


def fit(
    folder: Path, module: TinyBiEncoder, *callbacks: pl.Callback, ckpt_path: Path | None = None, **options: Any
) -> pl.Trainer:
    pl.seed_everything(3, verbose=False)
    strategy = DDPStrategy(process_group_backend="gloo", timeout=LIMIT)
    fitted = trainer(folder, *callbacks, **({"strategy": strategy, "devices": 2} | options))
    fitted.fit(module, ckpt_path=ckpt_path, weights_only=True)
    return fitted


def rows(callback: EmbeddingVisualizer) -> list[Any]:
    return list(callback.memory.history.rows)


def numbers_only(**options: Any) -> EmbeddingVisualizer:
    return EmbeddingVisualizer(pairs(), figures=False, **options)


def monitored(folder: Path, **options: Any) -> dict[str, Any]:
    module = Counting()
    callback = numbers_only(alert=MarginAlert(0.9))
    checkpoint = ModelCheckpoint(folder / "kept", monitor="embviz/margin", mode="max", save_top_k=1, save_last=True)
    stopping = EarlyStopping("embviz/rank1", mode="max", patience=9)
    fitted = fit(folder, module, callback, checkpoint, stopping, enable_checkpointing=True, **options)
    values = {name: float(value) for name, value in fitted.callback_metrics.items() if name.startswith("embviz/")}
    assert callback._evaluator is not None
    with observe(module):
        alone = evaluate_pairs(
            module.encode(list(callback._evaluator.subset.queries)),
            module.encode(list(callback._evaluator.subset.documents)),
            callback._evaluator.subset.relevance,
        )
    return {
        "values": values,
        "alone": {name: alone[name] for name in ("margin", "separation", "rank1", "auc")},
        "best": float(checkpoint.best_model_score or 0),
        "batches": module.batches[:-2],
        "folder": f"{callback.folder}",
        "trained": digest(everything(fitted)),
    }


def plain(folder: Path, **options: Any) -> dict[str, Any]:
    return {"trained": digest(everything(fit(folder, Counting(), **options)))}


def fault_on_one_rank(folder: Path, **options: Any) -> dict[str, Any]:
    module = Counting(fail_on_rank=1)
    callback = numbers_only()
    fitted = fit(folder, module, callback, **options)
    return {"trained": digest(everything(fitted)), "evaluations": len(rows(callback))}


def corpus_shared(folder: Path, **options: Any) -> dict[str, Any]:
    module = Counting()
    callback = numbers_only(corpus=LISTINGS, shard_corpus=True, batch_size=4, bootstrap_draws=100)
    fitted = fit(folder, module, callback, **options)
    batches = list(module.batches)
    values = {name: float(value) for name, value in fitted.callback_metrics.items() if name.startswith("embviz/")}
    subset = callback._evaluator.subset
    assert subset is not None
    with observe(module):
        sides = [module.encode(list(texts)) for texts in (subset.queries, subset.documents, LISTINGS)]
    alone = evaluate_pairs(sides[0], sides[1], subset.relevance, corpus=sides[2], draws=0)
    return {
        "values": {name: values[f"embviz/{name}"] for name in alone if f"embviz/{name}" in values},
        "alone": dict(alone),
        "batches": batches,
        "trained": digest(everything(fitted)),
    }


class FailingInTurns(Counting):
    """Fails on the second rank, each time in another way, so that only the others see one fault again and again."""

    n_evaluations = 0

    def encode(self, texts: list[str]) -> torch.Tensor:
        if RANK == 1:
            self.n_evaluations += 1
            raise (RuntimeError, KeyError, ValueError)[self.n_evaluations % 3]("only here")
        return super().encode(texts)


def corpus_with_a_fault(folder: Path, **options: Any) -> dict[str, Any]:
    callback = numbers_only(corpus=LISTINGS, shard_corpus=True, batch_size=4)
    fitted = fit(folder, FailingInTurns(), callback, max_epochs=5, **options)
    assert callback._session is not None
    given_up = sorted(callback._session.guard._given_up)
    return {"epochs": fitted.current_epoch, "evaluations": len(rows(callback)), "given_up": given_up}


def folder_that_cannot_be_made(folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "file").touch()
    callback = EmbeddingVisualizer(pairs(), output_dir=folder / "file" / "inside", skip_tsne=True, skip_umap=True)
    fitted = fit(folder, Counting(), callback)
    margin = float(fitted.callback_metrics["embviz/margin"])
    return {"trained": digest(everything(fitted)), "margin": margin, "evaluations": len(rows(callback))}


def within_a_budget(folder: Path) -> dict[str, Any]:
    """Too dear on both ranks, and on one only: the clocks of two never agree to the last millisecond."""
    found = {}
    for name, limits in (("both dear", (1e-6, 1e-6)), ("one dear", (1e-6, 0.999999))):
        callback = numbers_only(overhead_limit=limits[RANK])
        fit(folder / name, Counting(), callback, max_epochs=3)
        found[name] = [row.epoch for row in rows(callback)]
    return found


def resumed(folder: Path) -> dict[str, Any]:
    callback = numbers_only(alert=MarginAlert(0.9))
    fit(folder, Counting(), callback, max_epochs=4, ckpt_path=folder.parent / "monitored" / "kept" / "last.ckpt")
    return {"rows": [(row.label, row.step, row.metrics.margin, row.alert) for row in rows(callback)]}


def stopped_by_the_alert(folder: Path) -> dict[str, Any]:
    alert = MarginAlert(1.9, patience=1, stop_training=True)
    fitted = fit(folder, Counting(fail_on_rank=1), numbers_only(alert=alert), max_epochs=9)
    return {"epochs": fitted.current_epoch}


def drawing_that_hangs(folder: Path) -> dict[str, Any]:
    callback = EmbeddingVisualizer(pairs(), grace_s=1.0, skip_tsne=True, skip_umap=True)
    begun = time.monotonic()
    fit(folder, Counting(), callback, Freezer(callback))
    return {"seconds": time.monotonic() - begun, "rows": len(rows(callback))}


def two_machines(folder: Path) -> dict[str, Any]:
    """One process on each, with what torchrun puts into their environment and disks of their own."""
    places = {"RANK": f"{RANK}", "GROUP_RANK": f"{RANK}", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
    os.environ.update(places, TORCHELASTIC_RUN_ID="one")
    callback = numbers_only()
    fitted = fit(folder / f"{RANK}", Counting(), callback, devices=1, num_nodes=2)
    margin = float(fitted.callback_metrics["embviz/margin"])
    return {"margin": margin, "n_ranks": fitted.world_size, "local": fitted.local_rank, "folder": f"{callback.folder}"}


class Sharded(TinyBiEncoder):
    """Weights that every rank has a piece of, one of them the module's own; encodes with or without its forward."""

    def __init__(self, *, by_parts: bool, shard: bool = True, broken: bool = False) -> None:
        pl.seed_everything(3, verbose=False)
        super().__init__()
        self.norm = torch.nn.LayerNorm(32)  # a batch norm's buffers would be each rank's own
        self.scale = torch.nn.Parameter(torch.ones(32))
        self.by_parts, self.shard, self.broken = by_parts, shard, broken

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.dropout(self.norm(self.embedding(ids))) * self.scale
        return torch.nn.functional.normalize(self.head(hidden + self.frozen(hidden)), dim=-1)

    def encode(self, texts: list[str]) -> torch.Tensor:
        if not self.by_parts:
            return super().encode(texts)
        hidden = self.embedding(_ids(texts))
        hidden = self.norm(hidden) * self.scale
        if self.broken:
            hidden = hidden[:, 1:]  # fails within a layer, whose weights are gathered at that moment
        rows: torch.Tensor = self.head(hidden + self.frozen(hidden))
        return rows

    def configure_model(self) -> None:
        if self.shard:
            mesh = self.device_mesh["data_parallel"]  # type: ignore[index]
            for part in (self.embedding, self.frozen, self.head, self):
                fully_shard(part, mesh=mesh)


class FirstFSDP(FSDPStrategy):
    """PyTorch's older FSDP, which runs on a CPU only when it is told that this is the device."""

    def _setup_model(self, model: torch.nn.Module) -> torch.nn.Module:
        options = {"sharding_strategy": self.sharding_strategy, "device_id": torch.device("cpu")}
        return FullyShardedDataParallel(model, **(options | self.kwargs))


def second_fsdp() -> ModelParallelStrategy:
    return ModelParallelStrategy(
        data_parallel_size=2,
        tensor_parallel_size=1,
        save_distributed_checkpoint=False,
        process_group_backend="gloo",
        timeout=LIMIT,
    )


def first_fsdp(**options: Any) -> FirstFSDP:
    return FirstFSDP(process_group_backend="gloo", timeout=LIMIT, use_orig_params=True, **options)


def sharded(folder: Path) -> dict[str, Any]:
    """Without a sanity check, so that the untrained model is the first thing that is ever called."""
    layers = {torch.nn.Linear, torch.nn.EmbeddingBag}
    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        "second": (second_fsdp, {"by_parts": False}),
        "second, by parts": (second_fsdp, {"by_parts": True}),
        "second, broken": (second_fsdp, {"by_parts": True, "broken": True}),
        "first": (first_fsdp, {"by_parts": False, "shard": False}),
        "first, by parts": (partial(first_fsdp, auto_wrap_policy=layers), {"by_parts": True, "shard": False}),
        "first, broken": (
            partial(first_fsdp, auto_wrap_policy=layers),
            {"by_parts": True, "shard": False, "broken": True},
        ),
    }
    return {name: _sharded(folder / name, *way) for name, way in ways.items()}


def _sharded(folder: Path, strategy: Any, options: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, callbacks in (("without", ()), ("with", (numbers_only(),))):
        fitted = fit(folder / name, Sharded(**options), *callbacks, strategy=strategy(), num_sanity_val_steps=0)
        weights = _whole(fitted)
        found[name] = digest(weights)
        found["margins"] = [row.metrics.margin for callback in callbacks for row in rows(callback)]
    if RANK == 0:
        found["alone"] = _margin_alone(weights, options)
    return found


def _whole(fitted: pl.Trainer) -> dict[str, torch.Tensor]:
    """All weights on rank 0; the other rank gets none, or the same."""
    model = fitted.strategy.model
    if not isinstance(model, FullyShardedDataParallel):
        return fitted.strategy.lightning_module_state_dict()
    with FullyShardedDataParallel.summon_full_params(model, writeback=False):
        names = {name.replace("_fsdp_wrapped_module.", ""): weight for name, weight in model.named_parameters()}
        return {name: weight.detach().clone() for name, weight in names.items()}


def _margin_alone(weights: dict[str, torch.Tensor], options: dict[str, Any]) -> float:
    module = Sharded(**(options | {"broken": False}))
    module.load_state_dict(weights)
    subset = choose_subset(records_from(pairs()), max_samples=500, seed=7)
    with observe(module):
        queries, documents = module.encode(list(subset.queries)), module.encode(list(subset.documents))
    return evaluate_pairs(queries, documents, subset.relevance).margin


def _begin_anew(port: str) -> None:
    torch.distributed.destroy_process_group()
    os.environ["MASTER_PORT"] = port


def main() -> None:
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    found: dict[str, Any] = {"three": {}}
    for scenario in (plain, monitored, fault_on_one_rank, corpus_shared, corpus_with_a_fault):
        found["three"][scenario.__name__] = scenario(folder / "three" / scenario.__name__, devices=3)
    if RANK < 2:
        _begin_anew(sys.argv[2])
        for scenario in SCENARIOS:
            found[scenario.__name__] = scenario(folder / scenario.__name__)
        _begin_anew(sys.argv[3])
        found["two_machines"] = two_machines(folder / "two_machines")
    (folder / f"rank{RANK}.json").write_text(json.dumps(found))


SCENARIOS = (
    *(plain, monitored, fault_on_one_rank, stopped_by_the_alert, drawing_that_hangs),
    *(folder_that_cannot_be_made, within_a_budget, resumed, sharded, corpus_shared, corpus_with_a_fault),
)

if __name__ == "__main__":
    main()
