"""What watching costs: the same training with no callback, with ours, and with a naive blocking one.

The naive callback does in the hook what the scripts do that people paste: encode, t-SNE, UMAP and five
figures. Each way runs in a process of its own, in turn. Run: ``python benchmarks/overhead.py``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from real_run import HERE
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from embviz_callback import EmbeddingVisualizer

WAYS = ("none", "ours", "naive")


class Work(Dataset[Tensor]):
    """So many batches of noise, which keep both cores busy."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps

    def __len__(self) -> int:
        return self.n_steps

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(512, 512, generator=torch.Generator().manual_seed(index))


class Module(pl.LightningModule):
    """A module that is trained on noise and encodes texts by hashed n-grams through its first layers."""

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        from embviz_callback.encoding.biencoder import load_backbone

        self.n_steps, self.encoding_s = n_steps, 0.0
        self.grams = [load_backbone("char-ngrams-512")]
        self.layers = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 256))

    def encode(self, texts: list[str]) -> Tensor:
        """Embeddings of texts, timed."""
        started = time.perf_counter()
        rows = self.layers(self.grams[0].encoder(*self.grams[0].tokenizer(texts)))
        self.encoding_s += time.perf_counter() - started
        return rows

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """A loss that stays alive."""
        return self.layers(batch[0]).square().mean() + 1 / self.layers(batch[0]).std()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=1e-4)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """One epoch of work."""
        return DataLoader(Work(self.n_steps))


class Naive(pl.Callback):
    """Everything in the hook, with each library's defaults."""

    def __init__(self, path: Path) -> None:
        from embviz_callback.pairs.reading import read_pairs
        from embviz_callback.pairs.subset import choose_subset

        self.subset = choose_subset(read_pairs(path).records, max_samples=500, seed=7)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Encodes, maps, draws."""
        import umap
        from sklearn.manifold import TSNE

        pl_module.eval()
        with torch.no_grad():
            queries = pl_module.encode(list(self.subset.queries)).numpy()
            documents = pl_module.encode(list(self.subset.documents)).numpy()
        pl_module.train()
        rows = np.concatenate([queries, documents])
        maps = [
            TSNE(perplexity=30, random_state=42).fit_transform(rows),
            umap.UMAP(random_state=42).fit_transform(rows),
        ]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        scores = rows[: len(queries)] @ rows[len(queries) :].T
        self.draw(maps, scores, trainer)

    def draw(self, maps: list[Any], scores: Any, trainer: pl.Trainer) -> None:
        """Five figures through the logger, as pasted scripts do."""
        from matplotlib.figure import Figure

        for number, content in enumerate((
            *maps,
            scores[:50, :50],
            scores.ravel(),
            np.sort(scores[:5], axis=1)[:, -10:],
        )):
            figure = Figure(figsize=(12, 10), dpi=150)
            axes = figure.add_subplot()
            if number < 2:
                axes.scatter(content[:, 0], content[:, 1])
            elif number == 2:
                axes.imshow(content)
            elif number == 3:
                axes.hist(content, bins=50)
            else:
                axes.barh(np.arange(content.size), content.ravel())
            trainer.logger.experiment.add_figure(f"naive/{number}", figure, trainer.global_step)


def timed(callback: pl.Callback) -> list[float]:
    """Takes the time of a callback's epoch hook, without the encoding in it, from now on."""
    hook, blocked = callback.on_train_epoch_end, []

    def measured(trainer: pl.Trainer, pl_module: Any) -> None:
        before, started = pl_module.encoding_s, time.perf_counter()
        hook(trainer, pl_module)
        blocked.append(time.perf_counter() - started - (pl_module.encoding_s - before))

    callback.on_train_epoch_end = measured  # type: ignore[method-assign]
    return blocked


def train(way: str, n_steps: int, epochs: int, folder: Path, pairs: Path) -> dict[str, Any]:
    """One training; its wall time and what each hook blocked."""
    callbacks: list[pl.Callback] = []
    if way != "none":
        callbacks.append(EmbeddingVisualizer(pairs) if way == "ours" else Naive(pairs))
    blocked = [timed(callback) for callback in callbacks]
    torch.manual_seed(7)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=pl.loggers.TensorBoardLogger(folder, name=way, version=""),
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    started = time.perf_counter()
    trainer.fit(Module(n_steps))
    return {"wall": time.perf_counter() - started, "blocked": blocked[0] if blocked else []}


def main() -> None:
    """Calibrates an epoch, runs the three ways and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--epoch-seconds", type=float, default=30.0)
    parser.add_argument("--only", default=",".join(WAYS), help="ways, with commas between them; none comes first")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(
            json.dumps(train(options.way, options.steps, options.epochs, options.folder, options.folder / "val.json"))
        )
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _generate(folder / "val.json")
        trial = _run("none", 100, 2, folder)["wall"] / 200
        steps = max(1, round(options.epoch_seconds / trial))
        found = {way: _run(way, steps, options.epochs, folder) for way in options.only.split(",")}
    _report(found, options.epochs)


def _generate(path: Path) -> None:
    arguments = ("pair_dataset.py", "generate", "--n", "500", "--seed", "7", "--output", str(path))
    subprocess.run([sys.executable, *arguments], cwd=HERE, check=True, stdout=subprocess.DEVNULL)


def _run(way: str, steps: int, epochs: int, folder: Path) -> dict[str, Any]:
    command = ("--way", way, "--steps", str(steps), "--epochs", str(epochs), "--folder", str(folder))
    done = subprocess.run([sys.executable, __file__, *command], cwd=HERE, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _report(found: dict[str, dict[str, Any]], epochs: int) -> None:
    alone = found["none"]["wall"]
    print(f"{'':<8}{'wall s':>9}{'x alone':>9}{'blocked s an epoch, encoding left out (median)':>50}")
    for way, result in found.items():
        blocked = f"{np.median(result['blocked']):.4f}" if result["blocked"] else "-"
        print(f"{way:<8}{result['wall']:>9.1f}{result['wall'] / alone:>9.3f}{blocked:>50}")
    print(f"{epochs} epochs of {alone / epochs:.1f} s")
    if {"ours", "naive"} <= found.keys():
        share = np.median(found["ours"]["blocked"]) / np.median(found["naive"]["blocked"])
        print(f"ours blocks {share:.2%} of what the naive one blocks")


if __name__ == "__main__":
    main()
