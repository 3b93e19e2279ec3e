"""Two models crossed: planted spaces on both sides of every boundary."""

import numpy as np
import pytest

from embviz_callback.analysis.metrics.ranks import rank_values
from embviz_callback.analysis.scan import scan
from embviz_callback.analysis.ship.compatibility import (
    CANNOT_TELL,
    COMPATIBLE,
    INCOMPATIBLE,
    RELATED,
    SAME,
    SHIFTED,
    SIZES,
    UNRELATED,
    UNTOLD,
    Compatibility,
    compatibility,
    kinship,
)
from embviz_callback.analysis.ship.sheet import Shipped
from embviz_callback.embeddings import Embeddings
from embviz_callback.measure import COSINE, DOT

N, DIM = 500, 48
RNG = np.random.default_rng(0)
DOCUMENTS = RNG.standard_normal((N, DIM))
LUCK = RNG.standard_normal((N, DIM))
TURN = np.linalg.qr(RNG.standard_normal((DIM, DIM)))[0]
STRANGE = RNG.standard_normal((N, DIM))


def model(queries: np.ndarray, documents: np.ndarray, n: int = N) -> Shipped:
    relevance = np.stack([np.arange(n)] * 2, axis=1)
    return Shipped("m", Embeddings.from_raw(queries[:n], documents[:n], relevance))


OLD = model(DOCUMENTS + LUCK, DOCUMENTS)


def crossed(queries: np.ndarray, documents: np.ndarray, n: int = N) -> Compatibility:
    return compatibility(model(DOCUMENTS + LUCK, DOCUMENTS, n), model(queries, documents, n), threshold=0.6)


def test_identical_models_give_zeros() -> None:
    found = compatibility(OLD, OLD)
    assert [(cell.queries, cell.documents) for cell in found.cells] == [
        ("old", "old"),
        ("old", "new"),
        ("new", "old"),
        ("new", "new"),
    ]
    assert [cell.loss.value for cell in found.cells if cell.loss is not None] == [0.0, 0.0, 0.0]
    assert len({cell.value for cell in found.cells}) == 1
    assert found.becomes.value == pytest.approx(0.6, abs=1e-9)
    assert (found.outcome, found.reason) == (COMPATIBLE, SAME)


def test_identical_models_are_compatible_at_any_number_of_queries() -> None:
    assert crossed(DOCUMENTS + LUCK, DOCUMENTS, n=12).outcome == COMPATIBLE


def test_a_turned_space_is_incompatible_and_known_to_be_the_same_one_turned() -> None:
    found = crossed((DOCUMENTS + LUCK) @ TURN, DOCUMENTS @ TURN)
    assert (found.outcome, found.reason) == (INCOMPATIBLE, UNRELATED)
    assert found.cells[3].value == pytest.approx(found.cells[0].value)
    assert found.upgrade.value < 0.05
    assert found.kinship is not None
    assert found.kinship.turned > 0.95


def test_a_strange_space_is_incompatible_and_no_turn_mends_it() -> None:
    found = crossed(STRANGE + LUCK, STRANGE)
    assert (found.outcome, found.reason) == (INCOMPATIBLE, UNRELATED)
    assert found.kinship is not None
    assert found.kinship.turned < 0.05


def test_tuning_the_query_side_alone_is_compatible() -> None:
    found = crossed(DOCUMENTS + 0.98 * LUCK, DOCUMENTS)
    assert (found.outcome, found.reason) == (COMPATIBLE, SAME)
    assert found.upgrade.value == found.cells[3].value


def test_queries_that_lie_nearer_move_the_threshold() -> None:
    found = crossed(DOCUMENTS + 0.5 * LUCK, DOCUMENTS)
    assert (found.outcome, found.reason) == (SHIFTED, SAME)
    assert 0.7 < found.becomes.low < found.becomes.value < found.becomes.high < 0.95


@pytest.mark.parametrize(("drift", "outcome"), [(0.05, COMPATIBLE), (0.8, CANNOT_TELL), (3.0, INCOMPATIBLE)])
def test_documents_that_drift_are_judged_by_what_new_queries_find_in_the_old_ones(drift: float, outcome: str) -> None:
    moved = drift * STRANGE
    found = crossed(DOCUMENTS + LUCK + moved, DOCUMENTS + moved)
    assert (found.outcome, found.reason) == (outcome, RELATED)


def declared(queries: np.ndarray, documents: np.ndarray, similarity: str) -> Shipped:
    relevance = np.stack([np.arange(N)] * 2, axis=1)
    return Shipped("m", Embeddings.from_raw(queries, documents, relevance, similarity=similarity))


def test_an_index_is_searched_by_what_its_own_model_declares() -> None:
    lengths = RNG.uniform(0.2, 3, (N, 1))
    by_dot = declared(DOCUMENTS + LUCK, lengths * DOCUMENTS, DOT)
    by_cosine = declared(DOCUMENTS + LUCK, lengths * DOCUMENTS, COSINE)
    values = {name: rank_values(scan(one.embeddings), one.embeddings)["mrr"].mean() for name, one in
              (("old", by_dot), ("new", by_cosine))}  # fmt: skip
    found = compatibility(by_dot, by_cosine)
    assert {(cell.queries, cell.documents): cell.value for cell in found.cells} == {
        (asks, answers): pytest.approx(values[answers]) for asks in ("old", "new") for answers in ("old", "new")
    }
    assert values["old"] < values["new"] - 0.05
    assert (found.similarity, found.reason) == (DOT, RELATED)  # the same vectors, but not the same index


def test_vectors_of_other_lengths_are_not_the_same_where_lengths_count() -> None:
    reference = declared(DOCUMENTS, DOCUMENTS, DOT)
    for lengths, reason in ((1.0, SAME), (RNG.uniform(1, 2, (N, 1)), RELATED)):
        assert compatibility(reference, declared(DOCUMENTS, lengths * DOCUMENTS, DOT)).reason == reason


def test_a_threshold_of_dot_products_moves_with_the_length_of_queries() -> None:
    old, new = (declared(length * (DOCUMENTS + LUCK), DOCUMENTS, DOT) for length in (1.0, 2.0))
    assert np.isnan(compatibility(old, new).becomes.value)
    found = compatibility(old, new, threshold=20.0)
    assert found.becomes.value == pytest.approx(40.0, abs=0.2)
    assert (found.outcome, found.upgrade.value) == (SHIFTED, found.cells[0].value)


def test_so_few_documents_do_not_show_that_spaces_are_unrelated() -> None:
    moved = 0.05 * STRANGE
    found = crossed(DOCUMENTS + LUCK + moved, DOCUMENTS + moved, n=3)
    assert (found.outcome, found.reason) == (CANNOT_TELL, UNTOLD)


def test_other_sizes_leave_each_model_alone() -> None:
    found = compatibility(OLD, model(DOCUMENTS[:, :8] + LUCK[:, :8], DOCUMENTS[:, :8]))
    assert (found.outcome, found.reason, found.sizes) == (INCOMPATIBLE, SIZES, (48, 8))
    assert [(cell.queries, cell.documents) for cell in found.cells] == [("old", "old"), ("new", "new")]
    assert np.isnan(found.becomes.value)


@pytest.mark.parametrize(("share", "kind"), [(0.0, UNRELATED), (0.5, RELATED)])
def test_spaces_are_related_where_more_documents_find_themselves_than_chance_has(share: float, kind: str) -> None:
    assert kinship(OLD.pool, model(STRANGE, STRANGE + share * DOCUMENTS).pool).kind == kind


def test_unrelated_spaces_are_seldom_called_related() -> None:
    rng = np.random.default_rng(1)
    pools = [model(rows, rows, 60).pool for rows in rng.standard_normal((41, N, DIM))]
    assert sum(kinship(pools[0], other).kind == RELATED for other in pools[1:]) <= 2


def test_a_threshold_that_all_documents_lie_below_becomes_nothing() -> None:
    assert np.isnan(compatibility(OLD, OLD, threshold=0.999).becomes.value)


def test_a_loss_of_nothing_known_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        compatibility(OLD, OLD, metric="margin")
    assert str(error.value).endswith(", not of 'margin'")
    with pytest.raises(ValueError) as error:
        compatibility(OLD, OLD, allowed=-1)
    assert str(error.value) == "an allowed loss must be at least 0, got -1 for mrr"
