"""The same with Lightning; `import lightning.pytorch as pl` does as well.

pip install embviz-callback
python examples/lightning_module.py --data train.json --val val.json
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader
from transformers import AutoModel, AutoTokenizer

from embviz_callback import EmbeddingVisualizer
from rental_data import load, options


class BiEncoder(pl.LightningModule):
    """A transformer with mean pooling, trained by in-batch negatives; `encode` is what the callback asks for."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(name)
        self.encoder = AutoModel.from_pretrained(name)

    def encode(self, texts: list[str]) -> Tensor:
        """Unit vectors ``(n, dim)`` of texts."""
        batch = self.tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt").to(self.device)
        states, mask = self.encoder(**batch).last_hidden_state, batch["attention_mask"].unsqueeze(-1)
        return normalize((states * mask).sum(1) / mask.sum(1), dim=-1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        scores = self.encode(batch["query"]) @ self.encode(batch["pos"]).T / 0.05
        loss = cross_entropy(scores, torch.arange(len(scores), device=self.device))
        self.log("train_loss", loss, batch_size=len(scores))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=2e-5)


def main() -> None:
    """Trains, with numbers and figures after every epoch."""
    given = options("Lightning with EmbeddingVisualizer")
    pairs, validation = load(given)
    loader = DataLoader(pairs, batch_size=given.batch_size, shuffle=True)  # type: ignore[var-annotated, arg-type]
    visualizer = EmbeddingVisualizer(validation, skip_umap=given.skip_umap)
    trainer = pl.Trainer(max_epochs=given.epochs, default_root_dir=given.output, callbacks=[visualizer])
    trainer.fit(BiEncoder(given.model), loader)
    print(f"report: {visualizer.folder}/report.html")


if __name__ == "__main__":
    main()
