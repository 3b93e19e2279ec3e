"""What watching costs: the same training with no callback, with ours, and with a naive blocking one.

The naive callback does in the hook what the scripts do that people paste: encode, t-SNE, UMAP and five
figures. Each way runs in a process of its own, in turn, and so in every round: a machine that becomes slower while this
runs slows all of them. The figures are medians over the rounds. Run: ``python benchmarks/overhead.py``.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytorch_lightning as pl
import torch
from real_run import HERE
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from embviz_callback import EmbeddingVisualizer

WAYS = ("none", "ours", "naive")

Result: TypeAlias = dict[str, Any]


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
        from embviz_callback.encoding.models.biencoder import load_backbone

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
        from embviz_callback.pairs.formats.reading import read_pairs
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


class Batches(pl.Callback):
    """When the last batch ended."""

    ended = 0.0

    def on_train_batch_end(self, *_: Any) -> None:
        """Takes the time."""
        self.ended = time.perf_counter()


def timed(callback: pl.Callback) -> list[float]:
    """Takes the time of a callback's epoch hook, without the encoding in it, from now on."""
    hook, blocked = callback.on_train_epoch_end, []

    def measured(trainer: pl.Trainer, pl_module: Any) -> None:
        before, started = pl_module.encoding_s, time.perf_counter()
        hook(trainer, pl_module)
        blocked.append(time.perf_counter() - started - (pl_module.encoding_s - before))

    callback.on_train_epoch_end = measured  # type: ignore[method-assign]
    return blocked


def train(way: str, n_steps: int, epochs: int, folder: Path, pairs: Path) -> Result:
    """One training; its wall time, the part of it after the last batch, and what each hook blocked."""
    callbacks: list[pl.Callback] = []
    if way != "none":
        callbacks.append(EmbeddingVisualizer(pairs) if way == "ours" else Naive(pairs))
    blocked, batches = [timed(callback) for callback in callbacks], Batches()
    torch.manual_seed(7)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=pl.loggers.TensorBoardLogger(folder, name=way, version=""),
        callbacks=[*callbacks, batches],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    started = time.perf_counter()
    module = Module(n_steps)
    trainer.fit(module)
    ended = time.perf_counter()
    return {
        "wall": ended - started,
        "after": ended - batches.ended,
        "encoding": module.encoding_s,
        "drawing": resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime,
        "blocked": blocked[0] if blocked else [],
    }


def main() -> None:
    """Calibrates an epoch, runs the ways in turn and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--epoch-seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--n", type=int, default=500, help="pairs to evaluate on")
    parser.add_argument("--only", default=",".join(WAYS), help="ways, with commas between them; none comes first")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(train(options.way, options.steps, options.epochs, options.folder, options.pairs)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _generate(folder / "val.json", options.n)

        def run(way: str, steps: int, epochs: int, place: str) -> Result:
            return _run(way, steps, epochs, folder / place, folder / "val.json")

        trial = run("none", 100, 2, "trial")["wall"] / 200
        steps = max(1, round(options.epoch_seconds / trial))
        rounds = []
        for number in range(options.rounds):
            made = {way: run(way, steps, options.epochs, f"{number}") for way in options.only.split(",")}
            print(f"round {number + 1}:", *(f"{way} {one['wall']:.1f} s" for way, one in made.items()), flush=True)
            rounds.append(made)
    _report(rounds, options.epochs)


def _generate(path: Path, n: int) -> None:
    arguments = ("pair_dataset.py", "generate", "--n", f"{n}", "--seed", "7", "--output", str(path))
    subprocess.run([sys.executable, *arguments], cwd=HERE, check=True, stdout=subprocess.DEVNULL)


def _run(way: str, steps: int, epochs: int, folder: Path, pairs: Path) -> Result:
    command = ("--way", way, "--steps", str(steps), "--epochs", str(epochs), "--folder", str(folder))
    command = (*command, "--pairs", str(pairs))
    done = subprocess.run([sys.executable, __file__, *command], cwd=HERE, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _report(rounds: list[dict[str, Result]], epochs: int) -> None:
    ways = list(rounds[0])
    columns = (
        "wall s",
        "x alone",
        "from .. to",
        "after the last batch",
        "encoding",
        "children's CPU s",
        "blocked an epoch",
    )
    print(f"{'':<8}" + "".join(f"{column:>22}" for column in columns))
    for way in ways:
        ratios = [one[way]["wall"] / one["none"]["wall"] for one in rounds]
        cells = [
            f"{_median(rounds, way, 'wall'):.1f}",
            f"{np.median(ratios):.3f}",
            f"{min(ratios):.3f} .. {max(ratios):.3f}",
            f"{_median(rounds, way, 'after'):.1f}",
            f"{_median(rounds, way, 'encoding'):.1f}",
            f"{_median(rounds, way, 'drawing'):.1f}",
            f"{_blocked(rounds, way):.4f}" if rounds[0][way]["blocked"] else "-",
        ]
        print(f"{way:<8}" + "".join(f"{cell:>22}" for cell in cells))
    print(f"{len(rounds)} rounds of {epochs} epochs of {_median(rounds, 'none', 'wall') / epochs:.1f} s; medians;")
    print("blocked: seconds in the hook, encoding left out")
    if {"ours", "naive"} <= set(ways):
        share = _blocked(rounds, "ours") / _blocked(rounds, "naive")
        print(f"ours blocks {share:.2%} of what the naive one blocks")


def _median(rounds: list[dict[str, Result]], way: str, what: str) -> float:
    return float(np.median([one[way][what] for one in rounds]))


def _blocked(rounds: list[dict[str, Result]], way: str) -> float:
    return float(np.median([seconds for one in rounds for seconds in one[way]["blocked"]]))


if __name__ == "__main__":
    main()
