"""Ours side by side with other libraries: seconds and peak memory, each in a process of its own.

    python benchmarks/metrics.py 1000 10000 20000        # every contestant
    python benchmarks/metrics.py --only ours,bare 100000

Every child makes the same embeddings (a model that finds about nine of ten), waits until the
libraries are imported and warm, takes its memory as the base and then measures. On a shared
machine only the ratios within one run mean anything, and those of CPU seconds (all threads) more
than those of seconds.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

DIM = 256
NOISE = 3.0


def embeddings(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of queries and documents; row i answers row i."""
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((n, DIM), dtype=np.float32)
    queries = documents + np.float32(NOISE) * rng.standard_normal((n, DIM), dtype=np.float32)
    for rows in (queries, documents):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return queries, documents


def ours(queries: np.ndarray, documents: np.ndarray) -> Callable[[], object]:
    """Everything of docs/metrics.md with intervals."""
    from embviz_callback.analysis.metrics.numbers import compute_metrics
    from embviz_callback.analysis.scan import scan
    from embviz_callback.embeddings import Embeddings

    pairs = np.stack([np.arange(len(queries))] * 2, axis=1)
    value = Embeddings(queries, documents, pairs)
    return lambda: compute_metrics(scan(value), value).rank1


def bare(queries: np.ndarray, documents: np.ndarray) -> Callable[[], object]:
    """The tiled product alone: what any exact method must pay."""
    out = np.empty(2048 * 2048, dtype=np.float32)

    def product() -> None:
        for top in range(0, len(queries), 2048):
            band = queries[top : top + 2048]
            for left in range(0, len(documents), 2048):
                columns = documents[left : left + 2048]
                np.matmul(band, columns.T, out=out[: len(band) * len(columns)].reshape(len(band), len(columns)))

    return product


def full_torch(queries: np.ndarray, documents: np.ndarray) -> Callable[[], object]:
    """The whole matrix at once and the usual counting; rank-1 and MRR alone."""
    import torch

    a, b = torch.from_numpy(queries), torch.from_numpy(documents)

    def rank() -> float:
        cosines = a @ b.T
        own = cosines.diagonal()[:, None]
        return float((1 / (1 + (cosines > own).sum(1))).mean())

    return rank


def evaluator(queries: np.ndarray, documents: np.ndarray) -> Callable[[], object]:
    """InformationRetrievalEvaluator of sentence-transformers, given the embeddings."""
    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    class Shelf:
        def encode_query(self, _texts: list[str], **_options: object) -> torch.Tensor:
            return torch.from_numpy(queries)

        def encode_document(self, _texts: list[str], **_options: object) -> torch.Tensor:
            return torch.from_numpy(documents)

    names = [str(row) for row in range(len(queries))]
    evaluation = InformationRetrievalEvaluator(
        {f"q{name}": name for name in names},
        {f"d{name}": name for name in names},
        {f"q{name}": {f"d{name}"} for name in names},
        precision_recall_at_k=[1, 5, 10, 50],
        score_functions={"cosine": lambda a, b: a @ b.T},
        corpus_chunk_size=max(10**9 // len(queries) // 4, 1000),
    )
    return lambda: evaluation.compute_all_metrics(Shelf(), corpus_embeddings=torch.from_numpy(documents))


def semantic_search(queries: np.ndarray, documents: np.ndarray) -> Callable[[], object]:
    """The ten best documents by sentence-transformers, in its default chunks."""
    import torch
    from sentence_transformers.util import dot_score, semantic_search

    a, b = torch.from_numpy(queries), torch.from_numpy(documents)
    return lambda: len(semantic_search(a, b, top_k=10, score_function=dot_score))


def faiss(queries: np.ndarray, documents: np.ndarray) -> Callable[[], object]:
    """The ten best documents by an exact index."""
    from faiss import IndexFlatIP

    def search() -> object:
        index = IndexFlatIP(DIM)
        index.add(documents)
        return len(index.search(queries, 10)[0])

    return search


CONTESTANTS = {
    "ours": ours,
    "bare": bare,
    "evaluator": evaluator,
    "semantic_search": semantic_search,
    "faiss": faiss,
    "full_torch": full_torch,
}
_FULL_MATRIX_LIMIT = 40_000  # 6.4 GB


def peak_bytes() -> int:
    """Most memory this process has held; reset by writing 5 to clear_refs where Linux allows it.

    Not `resource.getrusage`: to that, a process has held what the one that started it held.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def measure(name: str, n: int, repeats: int) -> dict[str, float]:
    """Best time of some runs and the memory beyond the embeddings; called in the child."""
    CONTESTANTS[name](*embeddings(600))()  # imports, thread pools
    run = CONTESTANTS[name](*embeddings(n))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    base, times, work = peak_bytes(), [], []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        run()
        times.append(time.perf_counter() - start)
        work.append(time.process_time() - cpu)
    return {"seconds": min(times), "cpu_seconds": min(work), "extra_mib": (peak_bytes() - base) / 2**20}


def child(name: str, n: int, repeats: int) -> dict[str, float]:
    """Runs `measure` in a fresh process."""
    command = [sys.executable, __file__, "--child", name, "--repeats", str(repeats), str(n)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        raise SystemExit(f"{name} at {n}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--only", default=",".join(CONTESTANTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=CONTESTANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.child, given.sizes[0], given.repeats)))
        return
    print("| N = M | what | seconds | against bare | CPU seconds | against bare | MiB beyond |")
    print("|---|---|---|---|---|---|---|")
    for n in given.sizes:
        names = [name for name in given.only.split(",") if name != "full_torch" or n <= _FULL_MATRIX_LIMIT]
        results = {name: child(name, n, given.repeats) for name in names}
        limit = results.get("bare", {})
        for name, found in results.items():
            cells = [f"{found[k]:.2f} | {found[k] / limit.get(k, math.nan):.2f}" for k in ("seconds", "cpu_seconds")]
            print(f"| {n:,} | {name} | {' | '.join(cells)} | {found['extra_mib']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
