"""Real trainers of transformers and sentence-transformers over models small enough to be trained in a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from tests.tiny_models import tiny_bert

PAIRS = [
    {
        "query": f"tìm phòng quận {row}",
        "pos": f"phòng trọ quận {row} giá {row + 1} triệu",
        "hard_neg": [f"nhà quận {row + 1}"],
    }
    for row in range(1, 13)
]


def ids(texts: Sequence[str], length: int = 24) -> Tensor:
    return torch.tensor([[ord(letter) % 128 for letter in text.ljust(length)[:length]] for text in texts])


class Tiny(nn.Module):
    """An embedding bag, a dropout and a linear map, with a table that is made when it is first needed."""

    def __init__(self, *, dropout: float = 0.3) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(128, 16)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(16, 8)
        self.lazy: Tensor | None = None

    def embed(self, rows: Tensor) -> Tensor:
        if self.lazy is None:
            self.lazy = torch.ones(16)
        return nn.functional.normalize(self.head(self.dropout(self.table(rows)) * self.lazy), dim=-1)

    def forward(self, query: Tensor, pos: Tensor) -> dict[str, Tensor]:
        scores = self.embed(query) @ self.embed(pos).T / 0.1
        return {"loss": nn.functional.cross_entropy(scores, torch.arange(len(scores)))}

    def encode(self, texts: list[str]) -> Tensor:
        return self.embed(ids(texts))


def rows() -> list[dict[str, Tensor]]:
    queries, documents = ids([pair["query"] for pair in PAIRS]), ids([pair["pos"] for pair in PAIRS])
    return [{"query": query, "pos": document} for query, document in zip(queries, documents, strict=True)]


def arguments(folder: Path, **options: Any) -> dict[str, Any]:
    """Three steps an epoch, on the CPU, with TensorBoard in ``folder/runs``."""
    given: dict[str, Any] = {
        "output_dir": f"{folder}",
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.01,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_strategy": "epoch",
        "report_to": ["tensorboard"],
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return given | options


def plain_trainer(folder: Path, *callbacks: TrainerCallback, model: nn.Module | None = None, **options: Any) -> Trainer:
    torch.manual_seed(5)
    return Trainer(
        Tiny() if model is None else model,
        TrainingArguments(**arguments(folder, **options)),
        train_dataset=rows(),
        eval_dataset=rows(),
        callbacks=list(callbacks),
    )


def sentence_trainer(folder: Path, *callbacks: TrainerCallback, **options: Any) -> Any:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    try:
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    except ModuleNotFoundError:  # version 5
        from sentence_transformers.losses import MultipleNegativesRankingLoss

    more = {name: options.pop(name) for name in ("evaluator",) if name in options}
    model = SentenceTransformer(f"{tiny_bert(folder / 'encoder')}", device="cpu")
    data = Dataset.from_dict({
        "anchor": [pair["query"] for pair in PAIRS],
        "positive": [pair["pos"] for pair in PAIRS],
    })
    return SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(**arguments(folder, **options)),
        train_dataset=data,
        eval_dataset=data,
        loss=MultipleNegativesRankingLoss(model),
        callbacks=list(callbacks),
        **more,
    )
