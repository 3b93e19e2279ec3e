"""Codes and ranks against the libraries whose they are: sentence-transformers makes the codes, faiss searches them."""

import numpy as np
import pytest

from embviz_callback.analysis.metrics.intervals import per_query
from embviz_callback.analysis.metrics.ranks import Counts, rank_values
from embviz_callback.analysis.scan import scan
from embviz_callback.analysis.ship.codes import (
    BINARY,
    FLOAT16,
    FLOAT32,
    INT8,
    binary_codes,
    code_scores,
    int8_codes,
    ranges_of,
    rescored,
)
from embviz_callback.analysis.ship.ranking import count
from embviz_callback.analysis.ship.sheet import Shipped
from embviz_callback.embeddings import Embeddings
from embviz_callback.measure import DOT, EUCLIDEAN
from embviz_callback.settings import SIMILARITIES


def near_pairs(n: int = 60, dim: int = 24, noise: float = 1.0, seed: int = 0) -> Embeddings:
    """Queries near their documents; every fifth has a second document."""
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((n, dim)).astype(np.float32)
    queries = documents + noise * rng.standard_normal((n, dim)).astype(np.float32)
    own = np.stack([np.arange(n)] * 2, axis=1)
    second = np.stack([np.arange(0, n, 5), (np.arange(0, n, 5) + 1) % n], axis=1)
    return Embeddings.from_raw(queries, documents, np.concatenate([own, second]))


def counts_of(precision: str, embeddings: Embeddings) -> Counts:
    scores = code_scores(precision, embeddings.queries, embeddings.documents)
    return count(embeddings, scores, len(embeddings.documents))


def test_codes_are_those_of_sentence_transformers_to_the_bit() -> None:
    quantize = pytest.importorskip("sentence_transformers.util.quantization").quantize_embeddings
    rows, others = near_pairs(dim=30).documents, near_pairs(seed=1, dim=30).queries
    rows = np.ascontiguousarray(rows)
    rows[:, 3] = 0.25  # a dimension without a range
    for given in (rows, others):
        ours = int8_codes(given, ranges_of(rows))
        assert (ours == quantize(given, "int8", calibration_embeddings=rows)).all()
        assert ours.dtype == np.int8
        assert (binary_codes(given) == quantize(given, "ubinary")).all()
        assert (binary_codes(given).astype(np.int16) - 128 == quantize(given, "binary")).all()


@pytest.mark.parametrize("precision", [INT8, BINARY])
def test_ranks_on_codes_are_those_of_faiss(precision: str) -> None:
    faiss = pytest.importorskip("faiss")
    embeddings = near_pairs(dim=32)
    queries, documents, n = embeddings.queries, embeddings.documents, len(embeddings.documents)
    if precision == BINARY:
        index = faiss.IndexBinaryFlat(32)
        index.add(binary_codes(documents))
        found, rows = index.search(binary_codes(queries), n)
        found = -found.astype(np.float64)
    else:
        index = faiss.IndexScalarQuantizer(32, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT)
        ranges = ranges_of(documents)
        index.add(int8_codes(documents, ranges).astype(np.float32))
        found, rows = index.search(int8_codes(queries, ranges).astype(np.float32), n)
    counts = counts_of(precision, embeddings)
    for (query, document), above, tied in zip(embeddings.relevance, counts.pair_above, counts.pair_tied, strict=True):
        own = found[query, rows[query] == document]
        is_negative = ~np.isin(rows[query], embeddings.relevance[embeddings.relevance[:, 0] == query, 1])
        assert above == (found[query, is_negative] > own).sum()
        assert tied == (found[query, is_negative] == own).sum()  # of these faiss names the first row first
    assert counts.pair_tied.any() == (precision == BINARY)


@pytest.mark.parametrize("similarity", [DOT, EUCLIDEAN])
@pytest.mark.parametrize("precision", [FLOAT32, INT8])
def test_ranks_by_what_a_model_declares_are_those_of_faiss(similarity: str, precision: str) -> None:
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(5)
    queries, documents = rng.standard_normal((2, 40, 24)).astype(np.float32) * rng.uniform(1, 9, (40, 1)).astype("f4")
    model = Shipped(
        "m", Embeddings.from_raw(queries, documents, [[row, row] for row in range(40)], similarity=similarity)
    )
    metric = faiss.METRIC_INNER_PRODUCT if similarity == DOT else faiss.METRIC_L2
    if precision == FLOAT32:
        index, given = faiss.IndexFlat(24, metric), (documents, queries)
    else:
        index, ranges = (
            faiss.IndexScalarQuantizer(24, faiss.ScalarQuantizer.QT_8bit_direct_signed, metric),
            ranges_of(documents),
        )
        given = tuple(int8_codes(rows, ranges).astype(np.float32) for rows in (documents, queries))
    index.add(given[0])
    theirs = index.search(given[1], 40)[1]
    ours = code_scores(precision, *model.asked_by(model))(slice(0, 40))
    for line, rows in zip(ours, theirs, strict=True):
        assert (np.diff(line[rows]) <= 1e-9).all()


def test_a_number_that_float16_cannot_hold_takes_its_row_out() -> None:
    rows = np.array([[1, 0], [0, 1e5]], dtype=np.float32)
    model = Shipped("m", Embeddings.from_raw(rows, rows, [[0, 0], [1, 1]], similarity=DOT))
    found = code_scores(FLOAT16, *model.asked_by(model))(slice(0, 2))
    assert np.isfinite(found).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("seed", range(3))
def test_ranks_at_float32_are_those_of_the_evaluation(seed: int, similarity: str) -> None:
    plain = near_pairs(seed=seed)
    queries, documents = plain.queries.copy(), plain.documents.copy()
    queries[3], documents[5], documents[9] = 0, 0, documents[8]  # no direction, and a tie
    judged = [[0, 7], [0, 8], *plain.relevance.tolist()]
    grades = np.array(sorted([query, row, 1 + (query + row) % 3] for query, row in judged))
    lengths = np.random.default_rng(seed).uniform(0.5, 4, (len(documents), 1)).astype(np.float32)
    lengths[9] = lengths[8]
    embeddings = Embeddings.from_raw(
        queries, lengths * documents, plain.relevance, grades=grades, similarity=similarity
    )
    model = Shipped("m", embeddings)
    scores = code_scores(FLOAT32, *model.asked_by(model))
    values = rank_values(count(embeddings, scores, len(documents)), embeddings)
    for name, expected in per_query(scan(embeddings), embeddings).ranks.items():
        assert values[name] == pytest.approx(expected, abs=1e-12), name


def test_many_positives_are_counted_as_few_are() -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((40, 6))
    relevance = [[0, row] for row in range(20)] + [[1, 39]]
    embeddings = Embeddings.from_raw(rng.standard_normal((2, 6)), documents, relevance)
    expected = scan(embeddings)
    found = counts_of(FLOAT32, embeddings)
    assert (found.pair_above == expected.pair_above).all()
    assert (found.pair_tied == expected.pair_tied).all()


def test_rescoring_puts_the_candidates_in_their_true_order_and_leaves_the_rest() -> None:
    embeddings = near_pairs(dim=32, noise=2.0)
    queries, documents = embeddings.queries, embeddings.documents
    coarse, exact = (code_scores(name, queries, documents)(slice(0, 60)) for name in (BINARY, FLOAT32))
    found = rescored(code_scores(BINARY, queries, documents), queries, documents, candidates=7)(slice(0, 60))
    for line, rough, true in zip(found, coarse, exact, strict=True):
        order = np.argsort(-line, kind="stable")
        first, rest = order[:7], order[7:]
        assert true[first].tolist() == sorted(true[first], reverse=True)
        assert rough[first].min() >= rough[rest].max()
        assert rough[rest].tolist() == sorted(rough[rest], reverse=True)


def test_as_many_candidates_as_documents_give_the_true_ranks() -> None:
    embeddings = near_pairs(dim=32, noise=2.0)
    queries, documents = embeddings.queries, embeddings.documents
    scores = rescored(code_scores(BINARY, queries, documents), queries, documents, candidates=60)
    assert (count(embeddings, scores, 60).pair_above == counts_of(FLOAT32, embeddings).pair_above).all()
    assert (counts_of(BINARY, embeddings).pair_above != counts_of(FLOAT32, embeddings).pair_above).any()


def test_what_has_no_direction_is_found_by_nothing() -> None:
    embeddings = Embeddings.from_raw([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0], [1.0, 0.5]], [[0, 0], [1, 1]])
    for precision in (FLOAT32, INT8, BINARY):
        assert np.isnan(counts_of(precision, embeddings).pair_levels).all()
