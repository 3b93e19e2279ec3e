"""A real bi-encoder small enough to be trained in a second: what the tests of the callback train."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from embviz_callback.delivery.places import Places
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.evaluator import Evaluator
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.session import Plan, Session
from embviz_callback.settings import Settings

STREETS = (
    "oak",
    "elm",
    "ash",
    "fir",
    "yew",
    "bay",
    "box",
    "fig",
    "ivy",
    "may",
    "nut",
    "rye",
    "sea",
    "sun",
    "tan",
    "tea",
)
N_TEXTS = 16
VOCABULARY = 64

# Lightning's own advice, which is not meant for a training of one second.
QUIET = [
    pytest.mark.filterwarnings(f"ignore:{text}")
    for text in (
        ".*does not have many workers",
        "Found .* module.s. in eval mode",
        "Checkpoint directory .* exists",
        ".*`ckpt_path`, callbacks used to create the checkpoint need to be provided",
        "Experiment logs directory .* exists",
        ".*was not registered as a child",
        "You requested to overfit but enabled",
        "Running in `fast_dev_run` mode",
        ".*You are trying to `self.log",
        "You defined a `validation_step` but have no `val_dataloader`",
    )
]


def pairs(n: int = N_TEXTS) -> list[dict[str, Any]]:
    return [
        {
            "query": f"room {STREETS[row % 16]} {row // 16}".strip(),
            "pos": f"A quiet room in {STREETS[row % 16]} street, floor {row // 16}",
            "hard_neg": [f"A loud room in {STREETS[(row + 1) % 16]} street, floor {row // 16}, let"],
        }
        for row in range(n)
    ]


def _ids(texts: Sequence[str], length: int = 48) -> Tensor:
    rows = [[(ord(left) * 31 + ord(right)) % VOCABULARY for left, right in pairwise(text)] for text in texts]
    return torch.tensor([(row + [0] * length)[:length] for row in rows])


class TinyBiEncoder(pl.LightningModule):
    """Character bigrams, a dropout, a batch norm, a frozen part in eval mode, a linear head."""

    def __init__(self, *, dropout: float = 0.1, lr: float = 0.02) -> None:
        super().__init__()
        self.lr = lr
        self.embedding = nn.EmbeddingBag(VOCABULARY, 32, mode="mean")
        self.norm = nn.BatchNorm1d(32, momentum=0.5)
        self.dropout = nn.Dropout(dropout)
        self.frozen = nn.Sequential(nn.Linear(32, 32), nn.Dropout(0.5))
        self.frozen.requires_grad_(False).eval()
        self.head = nn.Linear(32, 16, bias=False)

    def train(self, mode: bool = True) -> "TinyBiEncoder":
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.dropout(self.norm(self.embedding(ids)))
        return nn.functional.normalize(self.head(hidden + self.frozen(hidden)), dim=-1)

    def encode(self, texts: list[str]) -> Tensor:
        rows: Tensor = self(_ids(texts).to(self.device))
        return rows

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        queries, documents = self(torch.cat(batch)).chunk(2)  # one pass: the batch norm must not tell them apart
        loss = nn.functional.cross_entropy(queries @ documents.T / 0.1, torch.arange(len(queries), device=self.device))
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(queries))
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", -(self(batch[0]) * self(batch[1])).sum(-1).mean(), batch_size=len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)

    def _loader(self, *, shuffle: bool) -> DataLoader[Any]:
        queries = _ids([pair["query"] for pair in pairs()])
        documents = _ids([pair["pos"] for pair in pairs()])
        return DataLoader(TensorDataset(queries, documents), batch_size=4, shuffle=shuffle)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(shuffle=False)


def a_session(places: Places, *, loggers: Sequence[Any] = (), **options: Any) -> Session:
    """A session on all pairs that nobody has opened yet."""
    subset = choose_subset(records_from(pairs()), max_samples=N_TEXTS, seed=7)
    settings = Settings(skip_tsne=True, skip_umap=True, bootstrap_draws=100)
    return Session(Plan(settings, **options), {"": Evaluator(subset, settings)}, places, Memory(), loggers=loggers)


def trainer(folder: Any, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """Quiet, on the CPU, with TensorBoard in ``folder/run``."""
    from pytorch_lightning.loggers import TensorBoardLogger

    given: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": TensorBoardLogger(folder, name="run", version=""),
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "default_root_dir": folder,
        "callbacks": list(callbacks),
    }
    return pl.Trainer(**(given | options))


def ema() -> pl.Callback:
    """Lightning's averaging of weights, which its release 2.6 brought."""
    averaging = "pytorch_lightning.callbacks.weight_averaging"
    return pytest.importorskip(averaging, reason="Lightning before 2.6 averages no weights").EMAWeightAveraging(
        decay=0.5
    )
