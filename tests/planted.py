"""A planted world: listings with known features, and encoders whose every cosine is known."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embviz_callback.analysis.scan import Similarity, scan
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import Subset, choose_subset

FEATURES = ("location", "price", "area", "amenity", "furniture", "floor")
TRUE_WEIGHTS = {"location": 2.5, "price": 2.0, "area": 1.5, "amenity": 1.0, "furniture": 0.8, "floor": 0.5}
N_VALUES = 7


def listing(values: Mapping[str, int], wording: str = "phòng") -> str:
    return wording + " " + " ".join(f"{name}={values[name]}" for name in FEATURES)


def read_features(text: str) -> dict[str, str]:
    return {word.split("=")[0]: word for word in text.split() if "=" in word}


@dataclass(frozen=True)
class LinearEncoder:
    """One axis per value of a feature, as long as the root of its weight: a changed feature costs that weight."""

    weights: Mapping[str, float]
    noise: float = 0.0
    seed: int = 0

    def __call__(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        rows = np.zeros((len(texts), len(FEATURES) * N_VALUES + 1))
        rows[:, -1] = 1e-3  # a listing without any weighted feature still has a direction
        for row, text in zip(rows, texts, strict=True):
            for word in text.split():
                name, sign, value = word.partition("=")
                if sign:
                    row[FEATURES.index(name) * N_VALUES + int(value)] = self.weights.get(name, 0.0) ** 0.5
        return rows + np.random.default_rng(self.seed).normal(0, self.noise or 1e-12, rows.shape)


@dataclass(frozen=True)
class Evaluation:
    """What a snapshot offers to the analyses."""

    subset: Subset
    embeddings: Embeddings
    similarity: Similarity
    corpus_texts: Mapping[int, str] = field(default_factory=dict)


def records(n: int, seed: int, *, several: bool = True) -> list[dict[str, Any]]:
    """Distinct listings, each with a hard negative per feature and, if wanted, one that changes two."""
    draw = random.Random(seed)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < n:
        values = {name: draw.randrange(N_VALUES) for name in FEATURES}
        text = listing(values)
        if text in found:
            continue
        negatives = [{"text": listing(changed(values, (name,), draw)), "type": [name]} for name in FEATURES]
        if several:
            both = tuple(draw.sample(FEATURES, 2))
            negatives.append({"text": listing(changed(values, both, draw)), "type": list(both)})
        metadata = {name: f"{name}={values[name]}" for name in FEATURES} | {"euro": float(values["price"])}
        query = listing(values, wording=f"tìm {len(found)}")
        found[text] = {"query": query, "pos": text, "hard_neg": negatives, "metadata": metadata}
    return list(found.values())


def changed(values: Mapping[str, int], names: Sequence[str], draw: random.Random) -> dict[str, int]:
    return dict(values) | {name: (values[name] + draw.randrange(1, N_VALUES)) % N_VALUES for name in names}


def evaluate(items: Sequence[Mapping[str, Any]], encode: Any, *, max_samples: int = 10_000) -> Evaluation:
    subset = choose_subset(records_from(items), max_samples=max_samples, seed=7)
    texts = [*subset.queries, *subset.documents, *subset.hard_negatives]
    rows = np.asarray(encode(texts))
    n, m = len(subset.queries), len(subset.documents)
    embeddings = Embeddings.from_raw(
        rows[:n], rows[n : n + m], subset.relevance, rows[n + m :], subset.hard_pairs, subset.records
    )
    return Evaluation(subset, embeddings, scan(embeddings))
