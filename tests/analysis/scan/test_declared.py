"""What ranks where a model declares another similarity than the cosine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embviz_callback import evaluate_pairs
from embviz_callback.analysis.metrics.numbers import compute_metrics
from embviz_callback.analysis.scan import scan
from embviz_callback.embeddings import Embeddings, Floats, Vectors
from embviz_callback.measure import DOT, EUCLIDEAN, MANHATTAN
from embviz_callback.settings import SIMILARITIES

OTHERS = SIMILARITIES[1:]


def table(similarity: str, queries: Vectors, documents: Vectors) -> Floats:
    """Each query with each document, by the definition."""
    left, right = queries[:, None].astype(np.float64), documents[None].astype(np.float64)
    if similarity == DOT:
        return np.asarray((left * right).sum(-1))
    gaps = left - right
    return np.asarray(-np.sqrt((gaps**2).sum(-1)) if similarity == EUCLIDEAN else -np.abs(gaps).sum(-1))


def random_rows(seed: int, n: int, dim: int = 8) -> Vectors:
    rng = np.random.default_rng(seed)
    # Lengths from 0.1 to 10, and the common direction of an untrained model.
    rows = (rng.normal(size=(n, dim)) + 1) * 10 ** rng.uniform(-1, 1, (n, 1))
    return rows.astype(np.float32)


@pytest.mark.parametrize("similarity", OTHERS)
def test_ranks_scores_and_auc_are_those_of_the_definition(similarity: str) -> None:
    queries, documents, hard = random_rows(0, 30), random_rows(1, 40), random_rows(2, 5)
    own = np.arange(30)
    hard_pairs = np.stack([np.arange(5), np.arange(5)], axis=1)
    embeddings = Embeddings.from_raw(
        queries, documents, np.stack([own, own], axis=1), hard, hard_pairs, similarity=similarity
    )
    scores = table(similarity, queries, documents)
    found = scan(embeddings, tile=(7, 11))
    positive = scores[own, own]
    negative = scores[~np.eye(30, 40, dtype=bool)]
    assert found.rank.tolist() == (1 + (scores > positive[:, None]).sum(axis=1)).tolist()
    order = np.argsort(-scores, axis=1)[:, :10]
    assert found.top_documents.tolist() == order.tolist()
    assert found.top_scores == pytest.approx(np.take_along_axis(scores, order, axis=1), rel=1e-5, abs=1e-4)
    assert found.best_positive == pytest.approx(positive)
    assert found.auc == pytest.approx((positive[:, None] > negative).mean())
    hard_scores = table(similarity, queries, hard)[hard_pairs[:, 0], hard_pairs[:, 1]]
    assert compute_metrics(found, embeddings, draws=0).hard_margin == pytest.approx((positive[:5] - hard_scores).mean())
    assert found.measure == similarity


@pytest.mark.parametrize("similarity", OTHERS)
def test_means_and_spreads_stay_those_of_cosines(similarity: str) -> None:
    queries, documents = random_rows(0, 12), random_rows(1, 12)
    declared, plain = (
        evaluate_pairs(queries, documents, np.arange(12), similarity=name) for name in (similarity, "cosine")
    )
    same = ("margin", "separation", "positive_mean", "negative_std", "alignment", "uniformity", "mean_off_diagonal")
    assert [declared[name] for name in same] == [plain[name] for name in same]
    assert declared.mrr != plain.mrr


# Small whole numbers tie exactly, also where a cosine would not.
WHOLE = arrays(np.float32, (6, 3), elements=st.integers(-2, 2).map(float))


@settings(max_examples=60, deadline=None)
@given(WHOLE, WHOLE, WHOLE, st.sampled_from(OTHERS))
def test_ties_count_as_their_expectation_in_a_pool_with_a_corpus(
    queries: Vectors, documents: Vectors, corpus: Vectors, similarity: str
) -> None:
    # A row of zeros has no direction and is set aside, whatever ranks.
    queries, documents, corpus = (
        np.where(rows.any(1, keepdims=True), rows, 1) for rows in (queries, documents, corpus)
    )
    scores = table(similarity, queries, np.concatenate([documents, corpus]).astype(np.float32))
    own = np.arange(6)
    positive = scores[own, own][:, None]
    scores[own, own] = -np.inf
    above, tied = (scores > positive + 1e-9).sum(axis=1), (np.abs(scores - positive) < 1e-9).sum(axis=1)
    embeddings = Embeddings.from_raw(queries, documents, np.stack([own, own], axis=1), similarity=similarity)
    for stacked in (1, 1000):  # of vectors of any length
        found = scan(
            Embeddings.from_raw(
                queries * np.float32(stacked),
                documents * np.float32(stacked),
                embeddings.relevance,
                similarity=similarity,
            ),
            corpus=corpus * np.float32(stacked),
        )
        assert (found.above.tolist(), found.tied.tolist()) == (above.tolist(), tied.tolist())


def test_a_short_document_wins_by_its_angle_and_loses_by_its_product() -> None:
    queries, documents = [[1.0, 0.0]], [[0.5, 0.0], [2.0, 2.0]]
    first = {name: evaluate_pairs(queries, documents, [[0, 0]], similarity=name).rank1 for name in SIMILARITIES}
    assert first == {"cosine": 1.0, DOT: 0.0, EUCLIDEAN: 1.0, MANHATTAN: 1.0}


def test_rows_that_a_model_left_without_a_number_are_misses() -> None:
    queries = np.array([[1, 0], [np.nan, 1]], dtype=np.float32)
    documents = np.array([[3, 0], [0, 0], [1, 1]], dtype=np.float32)
    embeddings = Embeddings.from_raw(queries, documents, [[0, 0], [1, 2]], similarity=DOT)
    assert scan(embeddings).rank.tolist() == [1.0, np.inf]
    assert (embeddings.non_finite, embeddings.zero) == (1, 1)


def test_an_unknown_similarity_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        evaluate_pairs([[1.0]], [[1.0]], [0], similarity="dots")
    assert str(error.value) == "similarity must be one of cosine, dot, euclidean, manhattan, got 'dots'"


@pytest.mark.slow
def test_scores_are_those_of_sentence_transformers() -> None:
    util = pytest.importorskip("sentence_transformers.util")
    queries, documents = random_rows(3, 6), random_rows(4, 6)
    peers = {DOT: util.dot_score, EUCLIDEAN: util.euclidean_sim, MANHATTAN: util.manhattan_sim}
    for similarity, peer in peers.items():
        embeddings = Embeddings.from_raw(
            queries, documents, np.stack([np.arange(6)] * 2, axis=1), similarity=similarity
        )
        scores = peer(queries, documents).numpy()
        assert scan(embeddings).best_positive == pytest.approx(scores.diagonal(), rel=1e-4)
