"""A BEIR folder read as it lies, with its whole corpus and all queries, gives the figures of an independent reading.

The published figures of the real sets are reproduced in the same way where those are at hand. Two things may
differ there: MTEB leaves out a document that bears the query's own identifier, and keeps equal texts apart, which
are one document here.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from embviz_callback.analysis.metrics.numbers import compute_metrics
from embviz_callback.embeddings import Embeddings, Vectors, unit_rows
from embviz_callback.pairs.corpus import corpus_for, own_corpus, read_corpus
from embviz_callback.pairs.formats.reading import Reading, read_pairs
from embviz_callback.pairs.subset import choose_subset
from tests.corpora import ranked_among

N_DOCUMENTS, N_QUERIES, DIM = 300, 60, 24


def _vector(text: str) -> Vectors:
    """The same text, the same direction; words in common bring texts together."""
    words = [np.random.default_rng(list(hashlib.sha256(word.encode()).digest()[:8])) for word in text.split()]
    return np.sum([one.normal(size=DIM) for one in words], axis=0)


def _vectors(texts: tuple[str, ...]) -> Vectors:
    return unit_rows("texts", np.stack([_vector(text) for text in texts]))[0]


def _folder(folder: Path) -> Path:
    random = np.random.default_rng(5)
    words = [f"từ{at}" for at in range(80)]
    documents = {f"d{at}": (f"Tựa {at}", " ".join(random.choice(words, 6))) for at in range(N_DOCUMENTS)}
    rows = [{"_id": name, "title": title, "text": text} for name, (title, text) in documents.items()]
    judged = [(f"q{at}", f"d{at * 3 + step}", 2 - step) for at in range(N_QUERIES) for step in range(2)]
    queries = [{"_id": f"q{at}", "text": " ".join(documents[f"d{at * 3}"][1].split()[:3])} for at in range(N_QUERIES)]
    (folder / "qrels").mkdir()
    for name, lines in (("corpus", rows), ("queries", queries)):
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    text = "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{grade}\n" for q, d, grade in judged)
    (folder / "qrels" / "test.tsv").write_text(text, encoding="utf-8")
    return folder


def _by_trec_eval(folder: Path) -> dict[str, float]:
    """Read by hand, ranked by numpy, judged by trec_eval."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    corpus = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    judged: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        judged.setdefault(query, {})[document] = int(grade)
    documents = _vectors(tuple(f"{one['title']} {one['text']}" for one in corpus)).astype(np.float64)
    scores = _vectors(tuple(one["text"] for one in queries)).astype(np.float64) @ documents.T
    run = {
        query["_id"]: {one["_id"]: float(score) for one, score in zip(corpus, line, strict=True)}
        for query, line in zip(queries, scores, strict=True)
    }
    wanted = {"ndcg_cut.10", "recip_rank", "recall.10", "map"}
    found = pytrec_eval.RelevanceEvaluator(judged, wanted).evaluate(run)
    names = {"ndcg_at_10": "ndcg_cut_10", "mrr": "recip_rank", "recall_at_10": "recall_10", "map": "map"}
    return {ours: float(np.mean([one[theirs] for one in found.values()])) for ours, theirs in names.items()}


def test_a_folder_with_its_whole_corpus_gives_the_figures_of_trec_eval(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    pairs = read_pairs(folder, Reading(split="test"))
    subset = choose_subset(pairs.records, max_samples=10_000, seed=7)
    corpus = corpus_for(subset, read_corpus(own_corpus(pairs)))
    assert (len(subset.queries), len(subset.documents) + len(corpus)) == (N_QUERIES, N_DOCUMENTS)
    made = Embeddings.from_raw(
        _vectors(subset.queries), _vectors(subset.documents), subset.relevance, grades=subset.grades
    )
    found = compute_metrics(ranked_among(made, corpus, _vectors).similarity, made, draws=0)
    expected = _by_trec_eval(folder)
    assert expected["ndcg_at_10"] < 0.95  # not so easy that every reading would do
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
