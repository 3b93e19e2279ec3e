"""The ship sheet, two models on one index, and words against vectors: how fast, how often wrong, and on real pairs.

    OMP_NUM_THREADS=2 python -m benchmarks.ship --only speed
    OMP_NUM_THREADS=1 python -m benchmarks.ship --only wrong --runs 1000
    OMP_NUM_THREADS=1 python -m benchmarks.ship --only real --data FOLDER

FOLDER holds the rental pairs under the names that ``make real`` reads.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.real_run import minilm_folder
from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.ship.codes import BINARY, FLOAT16, FLOAT32, INT8
from embviz_callback.analysis.ship.compatibility import compatibility
from embviz_callback.analysis.ship.lexical import against_words
from embviz_callback.analysis.ship.sheet import NOT_WORSE, Setting, Shipped, judged, ship_sheet
from embviz_callback.drawing.reports.asides import Aside
from embviz_callback.drawing.reports.comparisons.compat_report import compat_sentence
from embviz_callback.drawing.reports.comparisons.words_report import words_aside
from embviz_callback.drawing.reports.ship_report import ship_aside
from embviz_callback.embeddings import Embeddings, unit_rows
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.pairs.texts import fold

_DIM = 256
_PATHS = ((FLOAT16, False), (INT8, False), (BINARY, False), (BINARY, True))


def main() -> None:
    """Prints the sections that are asked for."""
    options = _options()
    sections: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {"speed": speed, "wrong": wrong, "real": real}
    for name in options.only.split(",") if options.only else sections:
        if name == "real" and options.data is None:
            continue
        for line in sections[name](options):
            print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="sections, set apart by commas")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--data", type=Path, help="folder of the rental pairs, for the section real")
    parser.add_argument("--steps", type=int, default=400, help="of each training in the section real")
    return parser.parse_args()


def speed(options: argparse.Namespace) -> Iterator[str]:
    """Seconds for a whole sheet."""
    rng, n = np.random.default_rng(0), options.queries
    documents = rng.standard_normal((options.documents, _DIM))
    queries = documents[:n] + 2.5 * rng.standard_normal((n, _DIM))
    embeddings = Embeddings.from_raw(queries, documents[:n], np.stack([np.arange(n)] * 2, axis=1))
    model = Shipped("model", embeddings, unit_rows("documents", documents[n:])[0])
    started = time.perf_counter()
    sheet = ship_sheet([model])
    seconds = time.perf_counter() - started
    yield f"{len(sheet.lines)} settings on {n} queries x {options.documents:,} documents: {seconds:.1f} s"


def wrong(options: argparse.Namespace) -> Iterator[str]:
    """How often "not worse" is said where everything loses exactly what is allowed, and where nothing is lost."""
    yield "| what loses | changed queries | 'not worse' is said of any | of all float16 |"
    yield "| --- | --- | --- | --- |"
    for loss in (0.01, 0.0):
        for changed in (0.07, 0.15, 0.3):
            said = np.array([_said(options.queries, loss, changed, seed) for seed in range(options.runs)])
            what = f"all paths {100 * loss:.0f} point" if loss else "nothing"
            shares = " | ".join(f"{100 * share:.1f} %" for share in said.mean(axis=0))
            yield f"| {what} | {100 * changed:.0f} % | {shares} |"


def _said(n: int, loss: float, changed: float, seed: int) -> tuple[bool, bool]:
    """One file of queries: is anything called not worse, and is float16 at all dimensions?"""
    rng = np.random.default_rng(seed)
    before = 1 / rng.choice([1, 2, 3, 5, 9, 20], p=[0.7, 0.12, 0.06, 0.05, 0.04, 0.03], size=n)
    measured = [(Setting("m", _DIM, _DIM, FLOAT32), {"mrr": before})]
    for precision, is_rescored in _PATHS:
        for dim in (256, 128, 64, 32):
            setting = Setting("m", _DIM, dim, precision, is_rescored)
            measured.append((setting, {"mrr": before - _changes(rng, n, loss, changed)}))
    lines = judged(measured, {"mrr": 0.01}, Sampling(np.arange(n)), n_pool=n).lines
    return any(line.outcome == NOT_WORSE for line in lines), lines[1].outcome == NOT_WORSE


def _changes(rng: np.random.Generator, n: int, loss: float, changed: float) -> np.ndarray:
    """Losses of queries whose mean over the population is `loss`: most none, some of either sign."""
    sizes = rng.choice([0.05, 0.2, 0.5], p=[0.5, 0.3, 0.2], size=n)
    tilt = min(loss / (changed * (0.05 * 0.5 + 0.2 * 0.3 + 0.5 * 0.2)), 1.0)
    signs = np.where(rng.random(n) < (1 + tilt) / 2, 1.0, -1.0)
    found: np.ndarray = np.where(rng.random(n) < changed, signs * sizes, 0.0)
    return found


# --- real pairs: all-MiniLM-L6-v2, frozen, with linear heads -----------------------------------------


@dataclass(frozen=True, eq=False)
class Features:
    """What the frozen encoder makes of the texts; the corpus is the documents of the training."""

    subset: Subset
    corpus: np.ndarray
    corpus_texts: tuple[str, ...]
    train: tuple[np.ndarray, np.ndarray]
    queries: np.ndarray
    documents: np.ndarray


def real(options: argparse.Namespace) -> Iterator[str]:
    """Heads trained on the real pairs: the sheet of two, an index under four others, and BM25 beside one."""
    features = _features(options.data)
    trained = {
        "256, seed 0": _model("256, seed 0", features, _head(features, options.steps, 256, 0, 1e-3)),
        "128, seed 0": _model("128, seed 0", features, _head(features, options.steps, 128, 0, 1e-3)),
        "256, seed 1": _model("256, seed 1", features, _head(features, options.steps, 256, 1, 1e-3)),
        "256, seed 0, half the learning rate": _model("lr", features, _head(features, options.steps, 256, 0, 5e-4)),
    }
    old = trained["256, seed 0"]
    document_head = _head(features, options.steps, 256, 0, 1e-3)
    query_head = _head(features, options.steps // 4, 256, 0, 5e-4, fixed=document_head)
    trained["256, query side tuned further"] = _model("query", features, document_head, query_head)
    aside = ship_aside(ship_sheet([old, trained["128, seed 0"]]))
    yield f"{len(features.subset.documents)} documents and {len(features.corpus)} of the training"
    yield from (*_table(aside), aside.sentence, "")
    for name, new in trained.items():
        found = compatibility(old, new)
        yield f"{name}: {compat_sentence(found)}"
        if found.kinship is not None:
            cells = ", ".join(f"{cell.queries}/{cell.documents} {cell.value:.3f}" for cell in found.cells)
            yield f"   queries/documents {cells}; 0.60 becomes {found.becomes.value:.2f}"
    for is_folded in (False, True):
        texts = (*features.subset.documents, *features.corpus_texts)
        beside = words_aside([against_words(old, features.subset.queries, texts, is_folded=is_folded)])
        yield from ("", *_table(beside), f"{beside.sentence}{' (without diacritics)' * is_folded}")


def _table(aside: Aside) -> Iterator[str]:
    for row in (aside.head, ("---",) * len(aside.head), *aside.rows):
        yield f"| {' | '.join(row)} |"


def _features(folder: Path) -> Features:
    from sentence_transformers import SentenceTransformer

    subset = choose_subset(read_pairs(str(folder / "test-data-set-1.json")).records, max_samples=500, seed=7)
    judged = {*subset.queries, *subset.documents}
    pairs = [
        (record.query, record.positives[0])
        for n in (1, 2, 3)
        for record in read_pairs(str(folder / f"new-data-set-{n}.json")).records
        if not judged & {record.query, record.positives[0]}
    ]
    encoder = SentenceTransformer(str(minilm_folder()), device="cpu")
    texts = list(dict.fromkeys([*judged, *(text for pair in pairs for text in pair)]))
    row = dict(zip(texts, encoder.encode(texts, batch_size=64, show_progress_bar=False), strict=True))
    rows = [np.stack([row[text] for text in side]) for side in zip(*pairs, strict=True)]
    own = {fold(text) for text in subset.documents}
    others = {fold(text): text for _, text in pairs if fold(text) not in own}
    return Features(
        subset,
        np.stack([row[text] for text in others.values()]),
        tuple(others.values()),
        (rows[0], rows[1]),
        np.stack([row[text] for text in subset.queries]),
        np.stack([row[text] for text in subset.documents]),
    )


def _head(
    features: Features, steps: int, dim: int, seed: int, rate: float, *, fixed: np.ndarray | None = None
) -> np.ndarray:
    """A linear head by in-batch negatives; with `fixed` for the documents, that of the queries alone, from there."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    width = features.queries.shape[1]
    start = torch.randn(dim, width, generator=generator) / width**0.5 if fixed is None else torch.tensor(fixed)
    head = start.clone().requires_grad_()
    sides = [torch.tensor(side) for side in features.train]
    optimiser = torch.optim.Adam([head], lr=rate)
    for _ in range(steps):
        batch = torch.randint(len(sides[0]), (64,), generator=generator)
        heads = (head, head if fixed is None else start)
        asks, answers = (
            torch.nn.functional.normalize(side[batch] @ one.T, dim=1) for side, one in zip(sides, heads, strict=True)
        )
        loss = torch.nn.functional.cross_entropy(20 * asks @ answers.T, torch.arange(len(batch)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return head.detach().numpy()


def _model(label: str, features: Features, head: np.ndarray, query_head: np.ndarray | None = None) -> Shipped:
    asks = head if query_head is None else query_head
    queries, documents, corpus = features.queries @ asks.T, features.documents @ head.T, features.corpus @ head.T
    embeddings = Embeddings.from_raw(queries, documents, features.subset.relevance)
    return Shipped(label, embeddings, unit_rows("corpus", corpus)[0])


if __name__ == "__main__":
    main()
