"""The hand-over from the model's side: checked once, trusted for life."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.embeddings import Embeddings, have_direction, unit_rows

TWO = np.eye(2, dtype=np.float32)
PAIRS = np.array([[0, 0], [1, 1]])


def refusal(**changed: object) -> str:
    with pytest.raises(ValueError) as error:
        Embeddings(**({"queries": TWO, "documents": TWO, "relevance": PAIRS} | changed))
    return str(error.value)


def test_rows_of_any_length_become_unit_rows() -> None:
    embeddings = Embeddings.from_raw([[3, 4]], [[0, 2], [1e-30, 0], [1e30, 1e30]], [(0, 0)])
    assert embeddings.queries == pytest.approx(np.array([[0.6, 0.8]]))
    half = np.sqrt(0.5)
    assert embeddings.documents == pytest.approx(np.array([[0, 1], [1, 0], [half, half]]))
    assert (embeddings.non_finite, embeddings.zero) == (0, 0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(-300, 300))
def test_lengths_from_tiny_to_huge_leave_the_direction(seed: int, exponent: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((5, 4))
    plain, scaled = unit_rows("rows", rows)[0], unit_rows("rows", rows * 10.0**exponent)[0]
    assert scaled == pytest.approx(plain, abs=1e-6)
    assert np.linalg.norm(scaled, axis=1) == pytest.approx(np.ones(5), abs=1e-6)


def test_rows_without_direction_are_kept_as_zeros_and_counted() -> None:
    embeddings = Embeddings.from_raw(
        [[1, 0], [np.nan, 1]], [[0, 0], [np.inf, 0]], PAIRS, hard_negatives=[[0, 0]], hard_pairs=[(0, 0)]
    )
    assert embeddings.queries.tolist() == [[1, 0], [0, 0]]
    assert (embeddings.non_finite, embeddings.zero) == (2, 2)
    assert embeddings.usable_queries.tolist() == [True, False]
    assert embeddings.usable_documents.tolist() == [False, False]


def test_many_rows_are_normalised_like_few() -> None:
    rows = np.random.default_rng(0).standard_normal((10_000, 3)).astype(np.float32)
    rows[7777] = np.nan
    rows[9999] = 0
    found, non_finite, zero = unit_rows("rows", rows)
    assert (non_finite, zero) == (1, 1)
    assert found[[0, 5000, 9998]] == pytest.approx(
        rows[[0, 5000, 9998]] / np.linalg.norm(rows[[0, 5000, 9998]], axis=1, keepdims=True), abs=1e-6
    )
    assert not found[[7777, 9999]].any()


def test_relevance_is_sorted_and_merged_but_records_are_kept_as_they_came() -> None:
    records = np.array([[1, 1], [0, 0], [1, 1]])
    embeddings = Embeddings.from_raw(TWO, TWO, records, records=records)
    assert embeddings.relevance.tolist() == [[0, 0], [1, 1]]
    assert embeddings.records.tolist() == records.tolist()
    assert Embeddings.from_raw(TWO, TWO, PAIRS).records.tolist() == PAIRS.tolist()


def test_without_hard_negatives_their_table_is_empty_and_as_wide_as_the_queries() -> None:
    assert Embeddings(TWO, TWO, PAIRS).hard_negatives.shape == (0, 2)


def test_vectors_off_the_sphere_are_refused_by_name_and_row() -> None:
    wrong = np.array([[1, 0], [3, 4]], dtype=np.float32)
    assert refusal(documents=wrong) == "documents must be unit vectors, row 1 has L2 norm 5.0000"


def test_vectors_of_half_precision_are_near_enough() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 64))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    assert Embeddings(rows, rows, np.stack([np.arange(50)] * 2, axis=1)).queries is rows


def test_shapes_and_types_are_refused_with_what_came() -> None:
    assert refusal(queries=np.eye(2)) == "queries must be float32 of shape (n, dim), got float64 (2, 2)"
    assert refusal(documents=np.eye(3, dtype=np.float32)) == "documents must have 2 columns like queries, got 3"
    assert refusal(relevance=PAIRS.astype(np.int32)) == (
        "relevance must be int64 pairs of shape (n, 2), got int32 (2, 2)"
    )
    assert refusal(relevance=np.array([0, 1])) == "relevance must be int64 pairs of shape (n, 2), got int64 (2,)"
    with pytest.raises(ValueError) as error:
        Embeddings.from_raw([1, 2, 3], TWO, PAIRS)
    assert str(error.value) == "queries must have shape (n, dim), got (3,)"


def test_rows_out_of_range_are_named() -> None:
    assert refusal(relevance=np.array([[0, 0], [1, 2]])) == "relevance row 1 is [1, 2], beyond 2 x 2 rows"
    assert refusal(records=np.array([[0, -1]])) == "records row 0 is [0, -1], beyond 2 x 2 rows"
    assert refusal(hard_pairs=np.array([[0, 0]])) == "hard_pairs row 0 is [0, 0], beyond 2 x 0 rows"


def test_a_query_without_a_document_is_refused() -> None:
    assert refusal(relevance=np.array([[1, 0]])) == "every query needs a relevant document, query row 0 has none"


def test_non_finite_rows_are_no_unit_vectors() -> None:
    wrong = np.array([[1, 0], [np.nan, 0]], dtype=np.float32)
    assert refusal(queries=wrong) == "queries must be unit vectors, row 1 has L2 norm nan"


def test_a_row_that_begins_with_zero_has_a_direction_unless_all_of_it_is_zero() -> None:
    rows = np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    assert have_direction(rows).tolist() == [True, False, True]
    assert have_direction(np.empty((2, 0))).tolist() == [False, False]
