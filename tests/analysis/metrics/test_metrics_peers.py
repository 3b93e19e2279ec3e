"""The same figures as other libraries, on inputs without ties (they have no stated rule for them)."""

import contextlib
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from embviz_callback.analysis.metrics.numbers import Metrics, compute_metrics, evaluate_pairs
from embviz_callback.analysis.scan import scan
from embviz_callback.embeddings import Embeddings

RENTAL = Path(__file__).parents[4] / "shared" / "data" / "rental"


def tie_free(seed: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings whose cosines are at least 1e-6 apart within each query."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        documents = rng.standard_normal((90, 24))
        if kind == "squeezed":
            documents += 2
        relevance = [(query, document) for query in range(40) for document in rng.choice(90, 1 + query % 4, False)]
        noise = {"good": 0.5, "squeezed": 0.3, "random": 50.0, "negative": 0.5}[kind]
        queries = np.stack([documents[[d for q, d in relevance if q == row]].mean(axis=0) for row in range(40)])
        queries += noise * rng.standard_normal(queries.shape)
        queries *= -1 if kind == "negative" else 1
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, documents)]
        gaps = np.diff(np.sort(unit[0] @ unit[1].T, axis=1), axis=1)
        if gaps.min() > 1e-6:
            return queries, documents, np.array(relevance)
    raise AssertionError("no tie-free input found")


def qrels(relevance: np.ndarray) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for query, document in relevance:
        found.setdefault(f"q{query}", {})[f"d{document}"] = 1
    return found


def run_of(queries: np.ndarray, documents: np.ndarray) -> dict[str, dict[str, float]]:
    cosines = queries @ documents.T / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(documents, axis=1)
    # These libraries sort by score alone; ranks as scores keep float32 out of their way.
    order = cosines.argsort(axis=1).argsort(axis=1)
    return {f"q{q}": {f"d{d}": float(order[q, d]) for d in range(len(documents))} for q in range(len(queries))}


@pytest.mark.parametrize("kind", ["good", "squeezed", "random", "negative"])
def test_pytrec_eval_agrees(kind: str) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    queries, documents, relevance = tie_free(1, kind)
    ours = evaluate_pairs(queries, documents, relevance, draws=0)
    names = {
        "rank1": "success_1",
        "mrr": "recip_rank",
        "map": "map",
        "ndcg_at_10": "ndcg_cut_10",
        "recall_at_1": "recall_1",
        "recall_at_5": "recall_5",
        "recall_at_10": "recall_10",
        "recall_at_50": "recall_50",
    }
    wanted = {"recip_rank", "map", "ndcg_cut.10", "recall.1,5,10,50", "success.1"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels(relevance), wanted).evaluate(run_of(queries, documents))
    for name, their_name in names.items():
        mean = np.mean([query[their_name] for query in theirs.values()])
        assert ours[name] == pytest.approx(mean, abs=1e-9), name


class Shelf:
    """Stands where the evaluator expects a model; it hands out rows that are already there."""

    def __init__(self, queries: object, documents: object) -> None:
        self.queries, self.documents = queries, documents

    def encode_query(self, _sentences: list[str], **_options: object) -> object:
        return self.queries

    def encode_document(self, _sentences: list[str], **_options: object) -> object:
        return self.documents


def evaluator_class() -> type:
    for name in ("sentence_transformers.sentence_transformer.evaluation", "sentence_transformers.evaluation"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name).InformationRetrievalEvaluator
    pytest.skip("sentence-transformers is not installed")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["good", "squeezed", "random", "negative"])
def test_sentence_transformers_evaluator_agrees(kind: str) -> None:
    import torch

    queries, documents, relevance = tie_free(2, kind)
    evaluator = evaluator_class()(
        {f"q{q}": f"q{q}" for q in range(len(queries))},
        {f"d{d}": f"d{d}" for d in range(len(documents))},
        {query: set(found) for query, found in qrels(relevance).items()},
        mrr_at_k=[10, 90],
        ndcg_at_k=[10],
        accuracy_at_k=[1],
        precision_recall_at_k=[1, 5, 10, 50],
        map_at_k=[90],
        score_functions={"cosine": lambda a, b: torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T},
    )
    compute = getattr(evaluator, "compute_all_metrics", None) or evaluator.compute_metrices
    theirs = compute(Shelf(*(torch.tensor(rows) for rows in (queries, documents))))["cosine"]
    ours = evaluate_pairs(queries, documents, relevance, draws=0)
    expected = {
        "rank1": theirs["accuracy@k"][1],
        "mrr": theirs["mrr@k"][90],
        "mrr_at_10": theirs["mrr@k"][10],
        "ndcg_at_10": theirs["ndcg@k"][10],
        "map": theirs["map@k"][90],
        **{f"recall_at_{k}": theirs["recall@k"][k] for k in (1, 5, 10, 50)},
    }
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, abs=1e-9), name


def test_merged_qrels_of_repeated_listings_agree_with_pytrec_eval() -> None:
    """Adversarial: the record list repeats documents; merged by row, peers see what we see."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(0)
    queries, documents, relevance = tie_free(3, "good")
    records = relevance[rng.integers(0, len(relevance), 300)]
    records = np.concatenate([records, relevance])
    embeddings = Embeddings.from_raw(queries, documents, records, records=records)
    ours = compute_metrics(scan(embeddings), embeddings, draws=0)
    theirs = pytrec_eval.RelevanceEvaluator(qrels(records), {"recip_rank", "map"}).evaluate(run_of(queries, documents))
    assert ours.mrr == pytest.approx(np.mean([query["recip_rank"] for query in theirs.values()]), abs=1e-9)
    assert ours.map == pytest.approx(np.mean([query["map"] for query in theirs.values()]), abs=1e-9)
    assert ours.naive_rank1 < ours.naive_rank1_ceiling < ours.rank1


def test_a_perfect_model_on_real_listings_falls_short_only_by_the_naive_count() -> None:
    path = RENTAL / "new-data-set-1.json"
    if not path.exists():
        pytest.skip(f"the rental listings are not at {path}")
    items = json.loads(path.read_text(encoding="utf-8"))
    positives = [item["pos"] if isinstance(item["pos"], str) else item["pos"][0] for item in items]
    texts, rows = np.unique(positives, return_inverse=True)
    records = np.stack([np.arange(len(items)), rows], axis=1)
    documents = np.random.default_rng(0).standard_normal((len(texts), 64))
    embeddings = Embeddings.from_raw(documents[rows], documents, records, records=records)
    ours: Metrics = compute_metrics(scan(embeddings), embeddings, draws=0)
    assert ours.rank1 == 1
    assert ours.naive_rank1 == ours.naive_rank1_ceiling == pytest.approx(len(texts) / len(items))
    assert ours.naive_rank1 < 1
