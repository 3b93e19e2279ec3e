"""How often the 95 % intervals contain the truth, in simulated populations.

    python benchmarks/interval_coverage.py --runs 2000

Every run draws new queries with their documents from one population (pairs alike and
independent, each with its own noise), evaluates them and asks whether the interval holds the
population's figure, which is the mean over all runs. Populations with copies draw a group size
for every document, so that queries share documents.
"""

import argparse
import math

import numpy as np

from embviz_callback.analysis.metrics.contrasts import compared
from embviz_callback.analysis.metrics.intervals import intervals_of, per_query
from embviz_callback.analysis.metrics.numbers import compute_metrics
from embviz_callback.analysis.scan import scan
from embviz_callback.embeddings import Embeddings

NAMES = ("margin", "separation", "rank1", "mrr")
POPULATIONS = {
    "100 pairs, weak model": {"n": 100, "noise": 2.0, "dim": 24, "copies": 1},
    "200 pairs, fair model": {"n": 200, "noise": 1.7, "dim": 32, "copies": 1},
    "500 pairs, good model": {"n": 500, "noise": 1.5, "dim": 48, "copies": 1},
    "200 documents, 1 to 4 queries each": {"n": 200, "noise": 1.7, "dim": 32, "copies": 4},
}


def sample(rng: np.random.Generator, *, n: int, noise: float, dim: int, copies: int) -> list[Embeddings]:
    """The same pairs under a model and under a slightly better one."""
    documents = rng.standard_normal((n, dim))
    document = np.repeat(np.arange(n), rng.integers(1, copies + 1, n))
    # Part of the noise belongs to the document: its queries fail together.
    shared = rng.standard_normal((n, dim))[document]
    own = rng.standard_normal(shared.shape)
    scale = noise * rng.uniform(0.5, 1.5, (n, 1))[document] / math.sqrt(2)
    pairs = np.stack([np.arange(len(document)), document], axis=1)
    return [
        Embeddings.from_raw(documents[document] + better * scale * (shared + own), documents, pairs)
        for better in (1.0, 0.97)
    ]


def simulate(runs: int, population: dict[str, float]) -> dict[str, tuple[float, float, float]]:
    """Population value, coverage of its interval and coverage of the paired difference."""
    figures, intervals, changes = [], [], []
    for run in range(runs):
        both = sample(np.random.default_rng(run), **population)  # type: ignore[arg-type]
        scans = [scan(value) for value in both]
        statistics = [per_query(found, value) for found, value in zip(scans, both, strict=True)]
        figures.append(compute_metrics(scans[0], both[0], draws=0))
        intervals.append(intervals_of(statistics[0], seed=run))
        changes.append(compared(statistics[0], statistics[1:]))
    results = {}
    for name in NAMES:
        truth = np.mean([metrics[name] for metrics in figures])
        change = np.mean([found[name][0].value for found in changes])
        held = np.mean([low <= truth <= high for low, high in (found[name] for found in intervals)])
        paired = np.mean([found[name][0].low <= change <= found[name][0].high for found in changes])
        results[name] = (float(truth), float(held), float(paired))
    return results


def main() -> None:
    """Prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    print("| population | figure | its value | covered | paired difference covered |\n|---|---|---|---|---|")
    for label, population in POPULATIONS.items():
        for name, (truth, held, paired) in simulate(runs, population).items():
            print(f"| {label} | {name} | {truth:.3f} | {100 * held:.1f} % | {100 * paired:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
