"""One rank of a training on two gloo processes; started by test_ddp.py."""

import json
import os
import signal
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy

from embviz_callback import EmbeddingVisualizer, MarginAlert, evaluate_pairs
from embviz_callback.encoding.isolation import observe
from tests.test_training_unchanged import digest
from tests.tiny_training import TinyBiEncoder, pairs, trainer

RANK = int(os.environ["LOCAL_RANK"])


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
        run = self.callback._watch.run
        if run is not None and run.worker is not None and run.worker.pid is not None:
            os.kill(run.worker.pid, signal.SIGSTOP)


def fit(folder: Path, module: TinyBiEncoder, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    pl.seed_everything(3, verbose=False)
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=30))
    fitted = trainer(folder, *callbacks, strategy=strategy, devices=2, **options)
    fitted.fit(module)
    return fitted


def numbers_only(**options: Any) -> EmbeddingVisualizer:
    return EmbeddingVisualizer(pairs(), figures=False, **options)


def monitored(folder: Path) -> dict[str, Any]:
    module = Counting()
    callback = numbers_only(alert=MarginAlert(0.9))
    checkpoint = ModelCheckpoint(folder / "kept", monitor="embviz/margin", mode="max", save_top_k=1)
    stopping = EarlyStopping("embviz/rank1", mode="max", patience=9)
    fitted = fit(folder, module, callback, checkpoint, stopping, enable_checkpointing=True)
    values = {name: float(value) for name, value in fitted.callback_metrics.items() if name.startswith("embviz/")}
    assert callback._watch.subset is not None
    with observe(module):
        alone = evaluate_pairs(
            module.encode(list(callback._watch.subset.queries)),
            module.encode(list(callback._watch.subset.documents)),
            callback._watch.subset.relevance,
        )
    return {
        "values": values,
        "alone": {name: alone[name] for name in ("margin", "separation", "rank1", "auc")},
        "best": float(checkpoint.best_model_score or 0),
        "batches": module.batches[:-2],
        "folder": f"{callback.folder}",
        "weights": digest(module.state_dict()),
    }


def plain(folder: Path) -> dict[str, Any]:
    module = Counting()
    fit(folder, module)
    return {"weights": digest(module.state_dict())}


def fault_on_one_rank(folder: Path) -> dict[str, Any]:
    module = Counting(fail_on_rank=1)
    callback = numbers_only()
    fit(folder, module, callback)
    return {"weights": digest(module.state_dict()), "evaluations": len(callback._watch.memory.history.rows)}


def stopped_by_the_alert(folder: Path) -> dict[str, Any]:
    alert = MarginAlert(1.9, patience=1, stop_training=True)
    fitted = fit(folder, Counting(fail_on_rank=1), numbers_only(alert=alert), max_epochs=9)
    return {"epochs": fitted.current_epoch}


def drawing_that_hangs(folder: Path) -> dict[str, Any]:
    callback = EmbeddingVisualizer(pairs(), grace_s=1.0, skip_tsne=True, skip_umap=True)
    begun = time.monotonic()
    fit(folder, Counting(), callback, Freezer(callback))
    return {"seconds": time.monotonic() - begun, "rows": len(callback._watch.memory.history.rows)}


def main() -> None:
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    found = {
        scenario.__name__: scenario(folder / scenario.__name__)
        for scenario in (plain, monitored, fault_on_one_rank, stopped_by_the_alert, drawing_that_hangs)
    }
    (folder / f"rank{RANK}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
