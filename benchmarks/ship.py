"""The ship sheet, two models on one index, and words against vectors: how fast, how often wrong, and on real pairs.

OMP_NUM_THREADS=2 python -m benchmarks.ship --only speed
OMP_NUM_THREADS=1 python -m benchmarks.ship --only wrong --runs 1000
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np

from embviz_callback.analysis.ship.codes import BINARY, FLOAT16, FLOAT32, INT8
from embviz_callback.analysis.ship.sheet import NOT_WORSE, Setting, Shipped, judged, ship_sheet
from embviz_callback.embeddings import Embeddings, unit_rows

_DIM = 256
_PATHS = ((FLOAT16, False), (INT8, False), (BINARY, False), (BINARY, True))


def main() -> None:
    """Prints the sections that are asked for."""
    options = _options()
    sections: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {"speed": speed, "wrong": wrong}
    for name in options.only.split(",") if options.only else sections:
        for line in sections[name](options):
            print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="sections, set apart by commas")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--documents", type=int, default=20_000)
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
    lines = judged(measured, {"mrr": 0.01}, np.arange(n), n_pool=n).lines
    return any(line.outcome == NOT_WORSE for line in lines), lines[1].outcome == NOT_WORSE


def _changes(rng: np.random.Generator, n: int, loss: float, changed: float) -> np.ndarray:
    """Losses of queries whose mean over the population is `loss`: most none, some of either sign."""
    sizes = rng.choice([0.05, 0.2, 0.5], p=[0.5, 0.3, 0.2], size=n)
    tilt = min(loss / (changed * (0.05 * 0.5 + 0.2 * 0.3 + 0.5 * 0.2)), 1.0)
    signs = np.where(rng.random(n) < (1 + tilt) / 2, 1.0, -1.0)
    found: np.ndarray = np.where(rng.random(n) < changed, signs * sizes, 0.0)
    return found


if __name__ == "__main__":
    main()
