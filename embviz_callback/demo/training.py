"""The training of `embviz demo`: a linear head on features that are computed once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from embviz_callback import EmbeddingVisualizer
from embviz_callback.encoding.models.biencoder import BiEncoder, ProjectionHead, load_backbone

_ENCODER = "char-ngrams-4096"
_DIM = 128
_BATCH_SIZE = 64
_TEMPERATURE = 0.07
_SEED = 7
_LEARNING_RATE = 3e-3


class DemoModel(pl.LightningModule):
    """Trains the head of a bi-encoder by in-batch InfoNCE; `encode` is all that the callback asks for."""

    def __init__(self) -> None:
        super().__init__()
        backbone = load_backbone(_ENCODER)
        self.bi_encoder = BiEncoder(backbone, ProjectionHead(backbone.dim, _DIM))

    def encode(self, texts: list[str]) -> Tensor:
        """Unit embeddings of texts, ``(n, dim)``."""
        return self.bi_encoder.encode(texts)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch of features: queries, documents, one hard negative for each."""
        queries, documents, hard = map(self.bi_encoder.project, batch)
        logits = queries @ torch.cat([documents, hard]).T / _TEMPERATURE
        loss = cross_entropy(logits, torch.arange(len(queries), device=logits.device))
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam; a linear head needs no schedule."""
        return torch.optim.Adam(self.parameters(), lr=_LEARNING_RATE)


def train(items: Sequence[dict[str, Any]], validation: Path, folder: Path, *, epochs: int) -> None:
    """Trains with the callback on, and writes ``model.pt``, the head of the last epoch.

    Args:
        items: Training records of one positive and one hard negative or more.
        validation: File of the validation pairs.
        folder: Gets ``model.pt`` and the run's files in ``run``.
        epochs: At least 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)  # noqa: TID251 - nobody else trains in this process
        model = DemoModel()
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=epochs,
            logger=TensorBoardLogger(folder, name="run", version=""),
            callbacks=[EmbeddingVisualizer(validation)],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            log_every_n_steps=10,
        )
        trainer.fit(model, _batches(model.bi_encoder, items))
    loss = float(trainer.callback_metrics["train_loss"])
    _save(model, folder / "model.pt", epoch=epochs - 1, loss=loss)


def _batches(model: BiEncoder, items: Sequence[dict[str, Any]]) -> DataLoader[tuple[Tensor, ...]]:
    columns = (
        [item["query"] for item in items],
        [item["pos"] for item in items],
        [item["hard_neg"][0]["text"] for item in items],
    )
    with torch.no_grad():
        features = TensorDataset(*map(model.features, columns))
    order = torch.Generator().manual_seed(_SEED)
    return DataLoader(features, batch_size=_BATCH_SIZE, shuffle=True, generator=order)


def _save(model: DemoModel, path: Path, *, epoch: int, loss: float) -> None:
    """The head alone: the encoder has no weights, only a name."""
    head = {f"head.{name}": tensor for name, tensor in model.bi_encoder.head.state_dict().items()}  # type: ignore[union-attr]
    torch.save({"model_state_dict": head, "epoch": epoch, "loss": loss, "config": {"encoder": _ENCODER}}, path)
