"""nDCG of graded documents is trec_eval's; every other figure counts a document from the stated grade on."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.analysis.metrics.intervals import per_query
from embviz_callback.analysis.metrics.ranks import graded_ndcg
from embviz_callback.analysis.scan import scan
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors


def _random(seed: int, *, n: int = 12, m: int = 40, least: int = 1) -> tuple[Vectors, Vectors, Rows]:
    """Vectors, and grades from -1 to 3 for about half of all pairs; every query has a document of the least grade."""
    random = np.random.default_rng(seed)
    queries, documents = random.normal(size=(n, 8)), random.normal(size=(m, 8))
    grades = random.integers(-1, 4, size=(n, m))
    grades[np.arange(n), random.integers(0, m, size=n)] = least
    row, column = np.nonzero((random.random((n, m)) < 0.5) | (grades == least))
    return queries, documents, np.column_stack([row, column, grades[row, column]])


def _embeddings(queries: Any, documents: Any, grades: Rows, *, least: int) -> Embeddings:
    return Embeddings.from_raw(queries, documents, grades[grades[:, 2] >= least, :2], grades=grades)


def _values(embeddings: Embeddings, corpus: Vectors | None = None) -> dict[str, Floats]:
    return dict(per_query(scan(embeddings, corpus=corpus), embeddings).ranks)


@pytest.mark.parametrize("least", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_pytrec_eval_agrees_on_random_grades_to_twelve_digits(seed: int, least: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    queries, documents, grades = _random(seed, least=least)
    embeddings = _embeddings(queries, documents, grades, least=least)
    judged: dict[str, dict[str, int]] = {}
    for query, document, grade in grades.tolist():
        judged.setdefault(f"q{query}", {})[f"d{document}"] = grade
    cosines = embeddings.queries.astype(np.float64) @ embeddings.documents.astype(np.float64).T
    run = {f"q{row}": {f"d{column}": float(one) for column, one in enumerate(line)} for row, line in enumerate(cosines)}
    wanted = {"ndcg_cut_10", "recip_rank", "map", "recall_10"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, wanted, relevance_level=least).evaluate(run)
    ours = _values(embeddings)
    names = {"ndcg_at_10": "ndcg_cut_10", "mrr": "recip_rank", "map": "map", "recall_at_10": "recall_10"}
    for name, their_name in names.items():
        expected = [theirs[f"q{row}"][their_name] for row in range(len(queries))]
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), least=st.integers(1, 2), n_corpus=st.integers(0, 2))
def test_ties_count_as_their_mean_over_all_orders(seed: int, least: int, n_corpus: int) -> None:
    random = np.random.default_rng(seed)
    directions = np.eye(3)[random.integers(0, 3, size=5)]  # so few that most documents tie
    grades = np.column_stack([np.zeros(5, dtype=np.int64), np.arange(5), random.integers(-1, 4, size=5)])
    grades[0, 2] = 3
    query = np.array([[3.0, 2.0, 1.0]])
    embeddings = _embeddings(query, directions, grades, least=least)
    corpus = np.eye(3, dtype=np.float32)[random.integers(0, 3, size=n_corpus)]
    scores = np.concatenate([directions, corpus]) @ query[0]
    gains = np.concatenate([np.maximum(grades[:, 2], 0), np.zeros(n_corpus, dtype=np.int64)])
    every = [_ndcg(scores, gains, order, cut=3) for order in permutations(range(len(scores)))]
    found = graded_ndcg(scan(embeddings, corpus=corpus if n_corpus else None), embeddings, cut=3)
    assert found["ndcg_at_3"][0] == pytest.approx(np.mean(every), abs=1e-12)
    assert found["ndcg_at_3_optimistic"][0] == pytest.approx(max(every), abs=1e-12)
    assert found["ndcg_at_3_pessimistic"][0] == pytest.approx(min(every), abs=1e-12)


def _ndcg(scores: Floats, gains: Rows, order: tuple[int, ...], *, cut: int) -> float:
    """By definition, in an order that decides among equal scores."""
    ranked = sorted(order, key=lambda row: -scores[row])[:cut]
    discount = 1 / np.log2(np.arange(2, cut + 2))
    best = np.sort(gains)[::-1][:cut]
    return float(gains[ranked] @ discount[: len(ranked)] / (best @ discount[: len(best)]))


def test_grades_that_are_all_one_change_nothing() -> None:
    queries, documents, grades = _random(3)
    grades[:, 2] = 1
    plain = Embeddings.from_raw(queries, documents, grades[:, :2])
    graded = Embeddings.from_raw(queries, documents, grades[:, :2], grades=grades)
    for name, values in _values(plain).items():
        np.testing.assert_allclose(_values(graded)[name], values, rtol=0, atol=1e-12)


def test_a_query_or_a_document_without_a_direction_gains_nothing() -> None:
    grades = np.array([[0, 0, 2], [0, 1, 1], [1, 1, 3]])
    found = _values(_embeddings([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]], grades, least=1))
    assert found["ndcg_at_10"].tolist() == [1 / (2 + 1 / np.log2(3)), 0.0]


def test_grades_that_name_no_row_are_refused() -> None:
    with pytest.raises(ValueError) as error:
        Embeddings.from_raw([[1.0]], [[1.0]], [[0, 0]], grades=[[0, 1, 2]])
    assert str(error.value) == "grades row 0 is [0, 1], beyond 1 x 1 rows"
    with pytest.raises(ValueError) as error:
        Embeddings.from_raw([[1.0]], [[1.0]], [[0, 0]], grades=[[0, 0]])
    assert str(error.value) == "grades must be int64 triples of shape (n, 3), got int64 (1, 2)"
