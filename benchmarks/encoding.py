"""How fast texts are encoded: ours, ``SentenceTransformer.encode`` and a loop in list order.

One run, the ways taken in turn, medians and ratios. Run: ``python benchmarks/encoding.py``.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from real_run import HERE, minilm_folder
from sentence_transformers import SentenceTransformer

from embviz_callback.encoding.cache.cached_features import CachedFeatures
from embviz_callback.encoding.models.biencoder import BiEncoder, load_backbone

_Way = Callable[[list[str]], NDArray[np.float32]]


def main() -> None:
    """Prints seconds and ratios for texts without and with repeats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent / "shared" / "data" / "rental")
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    records = [pair for path in sorted(options.data.glob("*.json")) for pair in json.loads(path.read_text())]
    texts = [text for pair in records for text in (pair["query"], pair["pos"])]
    distinct = list(dict.fromkeys(texts))
    for name, chosen in (("without repeats", distinct[: options.texts]), ("as in the files", texts[: options.texts])):
        print(f"\n{len(chosen)} texts, {name}, {len(set(chosen))} distinct")
        compare(ways(), chosen, rounds=options.rounds)


def ways() -> dict[str, _Way]:
    """The same model behind three ways of encoding a list."""
    folder = str(minilm_folder())
    model = BiEncoder(load_backbone(folder), max_length=256).eval().requires_grad_(False)
    peer = SentenceTransformer(folder, device="cpu")

    def ours(texts: list[str]) -> NDArray[np.float32]:
        return np.asarray(model.project(CachedFeatures(model, None)(texts)))

    def in_list_order(texts: list[str]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.concatenate([model.encode(texts[at : at + 32]).numpy() for at in range(0, len(texts), 32)])

    def theirs(texts: list[str]) -> NDArray[np.float32]:
        return np.asarray(peer.encode(texts, batch_size=32, normalize_embeddings=True))

    return {"ours": ours, "SentenceTransformer.encode": theirs, "loop in list order": in_list_order}


def compare(ways: dict[str, _Way], texts: list[str], *, rounds: int) -> None:
    """Median seconds of each way, its ratio to ours, and its largest difference from ours."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, NDArray[np.float32]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            found[name] = way(texts)
            seconds[name].append(time.perf_counter() - started)
    ours = statistics.median(seconds["ours"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        difference = float(np.abs(found[name] - found["ours"]).max())
        print(f"{name:<28}{median:8.2f} s  {median / ours:5.2f}x ours  largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
