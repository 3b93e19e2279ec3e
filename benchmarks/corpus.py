"""What a corpus costs an evaluation: seconds that training waits, memory of its process, size of a kept epoch.

    python benchmarks/corpus.py 0 20000 100000

500 made rental pairs, a corpus of further made listings, a linear head over hashed character n-grams; each
size in a process of its own, which trains one step and evaluates before and after it. On a shared machine
seconds of the processor (half of the fit, which is nothing but two evaluations) say more than those of the clock.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from embviz_callback import EmbeddingVisualizer
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.demo.rental_pairs import generate_pairs


class Module(pl.LightningModule):
    """A head over character n-grams."""

    def __init__(self) -> None:
        super().__init__()
        from embviz_callback.encoding.models.biencoder import BiEncoder, ProjectionHead, load_backbone

        backbone = load_backbone("char-ngrams-1024")
        self.bi_encoder = BiEncoder(backbone, ProjectionHead(backbone.dim, 256))
        self.encoding_s = 0.0

    def encode(self, texts: list[str]) -> Tensor:
        """Embeddings of texts, timed in seconds of the processor."""
        begun = time.process_time()
        rows = self.bi_encoder.encode(texts)
        self.encoding_s += time.process_time() - begun
        return rows

    def training_step(self, batch: list[str], batch_idx: int) -> Tensor:
        """Any loss."""
        return self.encode(list(batch)).square().mean()

    def train_dataloader(self) -> DataLoader[Any]:
        """One batch."""
        return DataLoader(["a room"] * 4, batch_size=4)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def listings(n: int) -> list[str]:
    """So many distinct listings: made ones, each many times under another number."""
    made = [pair["pos"] for pair in generate_pairs(min(n, 5000), seed=2, hard_negatives=0)]
    return [f"{made[row % len(made)]}, mã tin {row // len(made)}" for row in range(n)]


def measure(n: int, folder: Path) -> dict[str, Any]:
    """One size, in this process."""
    pl.seed_everything(0, verbose=False)
    pairs = generate_pairs(500, seed=1, hard_negatives=0)
    corpus = listings(n) if n else None
    options: dict[str, Any] = {"skip_tsne": True, "skip_umap": True, "batch_size": 128, "output_dir": folder}
    callback, module = EmbeddingVisualizer(pairs, corpus=corpus, **options), Module()
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, logger=False, callbacks=[callback], **quiet)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    trainer.fit(module)
    fit_s = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = [file.stat().st_size for file in RunFolder(folder).kept[-1].iterdir()]
    values = trainer.callback_metrics
    return {
        "corpus": 0 if corpus is None else len(corpus),
        "blocked_s": round(float(values["embviz/blocked_s"]), 2),
        "cpu_s": round(fit_s / 2, 2),
        "encoding_cpu_s": round(module.encoding_s / 2, 2),
        "more_mib": (peak - before) // 1024,
        "kept_kb": sum(kept) // 1000,
        "rank1": round(float(values["embviz/rank1"]), 3),
    }


def main() -> None:
    """Prints a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="+", type=int)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(given.sizes[0], Path(folder))))
        return
    heads = ("texts", "waited, s", "CPU, s", "encoding, CPU s", "memory, MiB", "kept epoch, kB", "rank-1")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for size in given.sizes:
        child = [sys.executable, "-W", "ignore", __file__, f"{size}", "--here"]
        row = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(f"| {' | '.join(f'{value:,}' for value in row.values())} |", flush=True)


if __name__ == "__main__":
    main()
