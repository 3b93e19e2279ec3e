"""The same with transformers' own Trainer: any module that encodes texts will do.

pip install "embviz-callback[sentence-transformers]"
python examples/transformers_trainer.py --data train.json --val val.json
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

from embviz_callback.adapters.transformers import EmbvizTrainerCallback
from rental_data import load, options


class BiEncoder(nn.Module):
    """A transformer with mean pooling, trained by in-batch negatives."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(name)
        self.encoder = AutoModel.from_pretrained(name)

    def embed(self, batch: Any) -> Tensor:
        """Unit vectors ``(n, dim)`` of tokenized texts."""
        states, mask = self.encoder(**batch).last_hidden_state, batch["attention_mask"].unsqueeze(-1)
        return normalize((states * mask).sum(1) / mask.sum(1), dim=-1)

    def forward(self, queries: Any, documents: Any) -> dict[str, Tensor]:
        """The loss that Trainer asks for."""
        scores = self.embed(queries) @ self.embed(documents).T / 0.05
        return {"loss": cross_entropy(scores, torch.arange(len(scores), device=scores.device))}

    def encode(self, texts: list[str]) -> Tensor:
        """What the callback asks for."""
        return self.embed(tokenize(self.tokenizer, texts).to(self.encoder.device))


def tokenize(tokenizer: Any, texts: list[str]) -> Any:
    """Token ids and mask of texts."""
    return tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")


def collate(tokenizer: Any, rows: list[dict[str, str]]) -> dict[str, Any]:
    """A batch of queries and documents."""
    sides = {"queries": "query", "documents": "pos"}
    return {side: tokenize(tokenizer, [row[name] for row in rows]) for side, name in sides.items()}


def main() -> None:
    """Trains, with numbers and figures after every epoch."""
    given = options("transformers.Trainer with EmbvizTrainerCallback")
    pairs, validation = load(given)
    model = BiEncoder(given.model)
    arguments = TrainingArguments(
        output_dir=given.output,
        num_train_epochs=given.epochs,
        per_device_train_batch_size=given.batch_size,
        logging_strategy="epoch",
        save_strategy="no",
        remove_unused_columns=False,
        report_to=["tensorboard"],
    )
    trainer = Trainer(model, arguments, train_dataset=pairs, data_collator=partial(collate, model.tokenizer))
    visualizer = EmbvizTrainerCallback(validation, skip_umap=given.skip_umap).attach(trainer)
    trainer.train()
    print(f"report: {visualizer.folder}/report.html")


if __name__ == "__main__":
    main()
