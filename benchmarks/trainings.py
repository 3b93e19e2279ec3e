"""Whole trainings held against each other, and what a training forgets: error rates, and real ones on real pairs.

    OMP_NUM_THREADS=1 python -m benchmarks.trainings --runs 1000                 # both
    OMP_NUM_THREADS=1 python -m benchmarks.trainings --only simulated --runs 1000

Simulated: leaderboards of runs of which the truth is known. Queries are as easy for one run as for another but for
what a run, and each of its evaluations, has of its own. Real: a head of 256 dimensions on all-MiniLM-L6-v2, trained on
rental pairs with two seeds at each of two learning rates, watched on rental pairs and on general English: what the
functions of Python's standard library say of themselves, the first sentence the query, the next paragraph the document.
"""

import argparse
import inspect
import io
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

import numpy as np
from scipy.stats import beta

from embviz_callback.analysis.compare.runs import BEHIND, Training, leaderboard
from embviz_callback.analysis.verdict.best import Candidate
from embviz_callback.cli import main as embviz

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "rental"
_MODULES = (
    *("argparse", "calendar", "collections", "configparser", "csv", "datetime", "decimal", "difflib", "email.message"),
    *("enum", "fractions", "functools", "gettext", "glob", "gzip", "heapq", "html.parser", "http.client", "imaplib"),
    *("inspect", "io", "ipaddress", "itertools", "json", "locale", "logging", "mailbox", "math", "numbers", "os"),
    *("pathlib", "pickle", "platform", "pprint", "queue", "random", "re", "sched", "shutil", "smtplib", "socket"),
    *("sqlite3", "ssl", "statistics", "string", "subprocess", "tarfile", "tempfile", "textwrap", "threading", "time"),
    *("tokenize", "trace", "turtle", "types", "unittest.mock", "urllib.parse", "urllib.request", "uuid", "zipfile"),
)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=_DATA)
    parser.add_argument("--runs", type=int, default=1000, help="simulated leaderboards per row")
    parser.add_argument("--pairs", type=int, default=400, help="rental pairs to train on")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--only", choices=("simulated", "real"))
    options = parser.parse_args()
    if options.only != "real":
        simulated(options.runs)
    if options.only != "simulated":
        warnings.simplefilter("ignore")
        with tempfile.TemporaryDirectory() as folder:
            real(options.data, Path(folder), options.pairs, options.epochs)


def simulated(n: int) -> None:
    """How often equal runs are called behind, and how often a worse one is."""
    rows: tuple[tuple[str, list[int], list[float]], ...] = (
        ("12 and 2 evaluations, equal", [12, 2], [0.0, 0.0]),
        ("20 and 1 evaluations, equal", [20, 1], [0.0, 0.0]),
        ("8 runs of 1, equal", [1] * 8, [0.0] * 8),
        ("8 runs of 5, equal", [5] * 8, [0.0] * 8),
        ("20 runs of 5, equal", [5] * 20, [0.0] * 20),
        ("2 runs of 5, one 0.08 ahead", [5, 5], [0.0, 0.08]),
        ("8 runs of 5, one 0.08 ahead", [5] * 8, [0.08] + [0.0] * 7),
    )
    for what, sizes, ahead in rows:
        rng = np.random.default_rng(1)
        k = sum(_is_accused(rng, sizes, ahead, seed) for seed in range(n))
        low, high = beta.ppf(0.025, k, n - k + 1) if k else 0.0, beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
        print(f"| {what} | {k / n:.3f} ({low:.3f} to {high:.3f}) |", flush=True)


def _is_accused(rng: np.random.Generator, sizes: Sequence[int], ahead: Sequence[float], seed: int) -> bool:
    n_groups = 200
    easy, runs = rng.normal(0.6, 0.3, size=n_groups), []
    for size, more in zip(sizes, ahead, strict=True):
        own = easy + more + rng.normal(0, 0.15, size=n_groups)
        rows = own + rng.normal(0, 0.25, size=(size, n_groups))
        runs.append(Training(f"{len(runs)}", tuple(Candidate(float(row.mean()), row, 1.0) for row in rows)))
    board = leaderboard(runs, "separation", draws=500, seed=seed)
    return any(entry.outcome == BEHIND for entry in board.entries)


def real(data: Path, folder: Path, n_pairs: int, n_epochs: int) -> None:
    """Trains, and prints what is said of the runs and of what they forget."""
    train, rental, general = folder / "train.json", folder / "rental.json", folder / "general.json"
    pairs = [_bare(pair) for pair in json.loads((data / "new-data-set-1.json").read_text(encoding="utf-8"))]
    judged = [_bare(pair) for pair in json.loads((data / "test-data-set-1.json").read_text(encoding="utf-8"))]
    known = {text for pair in pairs for text in pair.values()}
    unseen = [pair for pair in judged if not known & set(pair.values())]
    for path, content in ((train, pairs[:n_pairs]), (rental, unseen[:300]), (general, list(english())[:300])):
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    runs = []
    for learning_rate in (1e-3, 3e-2):
        for seed in (0, 1):
            run = folder / f"lr-{learning_rate:g}-seed-{seed}"
            _train(run, {"rental": rental, "general": general}, train, learning_rate, seed, n_epochs)
            runs += ["--run", f"{run}"]
            said = [json.loads(line) for line in (run / "embviz" / "events.jsonl").read_text().splitlines()]
            print(f"{run.name}: {[row['said'] for row in said if row['event'] == 'sets'][-1]}", flush=True)
            print("\n".join(f"   {row['message']}" for row in said if row["event"] == "alert"), flush=True)
    for more in ([], ["--group", "learning_rate"]):
        with redirect_stdout(io.StringIO()) as told:
            embviz(["compare", *runs, *more, "--output", f"{folder / 'compared'}"])
        print(told.getvalue().split("Similarity Statistics")[0])
    print(f"page: {(folder / 'compared' / 'runs.html').stat().st_size:,} bytes")


def _bare(pair: "dict[str, object]") -> dict[str, str]:
    """Without hard negatives, whose texts would have to be encoded too."""
    positive = pair["pos"]
    return {"query": f"{pair['query']}", "pos": f"{positive[0] if isinstance(positive, list) else positive}"}


def english() -> Iterator[dict[str, str]]:
    """General English: of every function that says so much, its first sentence and its next paragraph."""
    seen: set[str] = set()
    for name in _MODULES:
        module = import_module(name)
        owners = [module, *(one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == name)]
        for owner in owners:
            for _, one in inspect.getmembers(owner, inspect.isroutine):
                first, _, rest = (inspect.getdoc(one) or "").partition("\n\n")
                query, document = " ".join(first.split()), " ".join(rest.partition("\n\n")[0].split())
                if len(query) > 25 and len(document) > 60 and query not in seen and document not in seen:
                    seen |= {query, document}
                    yield {"query": query, "pos": document[:300]}


def _train(run: Path, sets: dict[str, Path], train: Path, learning_rate: float, seed: int, n_epochs: int) -> None:
    # The training brings torch, which the simulations can do without.
    import pytorch_lightning as pl

    from benchmarks.real_run import minilm_folder
    from embviz_callback import EmbeddingVisualizer, RegressionAlert
    from model import RentalBiEncoder
    from pair_dataset import PairDataModule

    pl.seed_everything(seed, verbose=False)
    watcher = EmbeddingVisualizer(
        sets=sets,
        alert=RegressionAlert(of="general", loss=0.02),
        output_dir=run / "embviz",
        skip_tsne=True,
        skip_umap=True,
        on_error="raise",
    )
    model = RentalBiEncoder(
        f"{minilm_folder()}",
        dim=256,
        learning_rate=learning_rate,
        feature_cache=True,
        cache_dir=f"{run.parent / 'features'}",
    )
    trainer = pl.Trainer(
        max_epochs=n_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[watcher],
    )
    trainer.fit(model, datamodule=PairDataModule(f"{train}", f"{sets['rental']}", batch_size=64))


if __name__ == "__main__":
    main()
