"""The ship sheet on planted losses: what is named, what is not, and that nothing is named too easily."""

import numpy as np
import pytest

from embviz_callback.analysis.metrics.intervals import Sampling, per_query
from embviz_callback.analysis.scan import scan
from embviz_callback.analysis.ship.codes import BINARY, FLOAT16, FLOAT32, INT8
from embviz_callback.analysis.ship.sheet import (
    CANNOT_TELL,
    NOT_ASKED,
    NOT_WORSE,
    REFERENCE,
    WORSE,
    Setting,
    Sheet,
    Shipped,
    judged,
    ship_sheet,
)
from embviz_callback.drawing.reports.ship_report import ship_sentence
from embviz_callback.embeddings import Embeddings

ALLOWED = {"mrr": 0.01}


def planted(*settings: tuple[int, str, bool, float], n: int = 1000) -> Sheet:
    """Settings whose loss of MRR is known: a tenth of a point wherever they lose, the same queries for all."""
    measured = [(Setting("m", 256, 256, FLOAT32), {"mrr": np.ones(n)})]
    for dim, precision, is_rescored, loss in settings:
        values = np.ones(n)
        values[: round(10 * loss * n)] -= 0.1
        measured.append((Setting("m", 256, dim, precision, is_rescored), {"mrr": values}))
    return judged(measured, ALLOWED, Sampling(np.arange(n)), n_pool=2 * n)


def test_the_smallest_that_is_shown_to_be_good_enough_is_named() -> None:
    sheet = planted((256, FLOAT16, False, 0.0), (64, FLOAT32, False, 0.001), (32, FLOAT32, False, 0.05))
    assert [line.outcome for line in sheet.lines] == [REFERENCE, NOT_WORSE, NOT_WORSE, WORSE]
    assert sheet.smallest is not None
    assert sheet.smallest.setting == Setting("m", 256, 64, FLOAT32)
    assert sheet.smallest.values == {"mrr": pytest.approx(0.999)}


@pytest.mark.parametrize(("loss", "outcome"), [(0.006, NOT_WORSE), (0.0099, CANNOT_TELL), (0.02, WORSE)])
def test_a_loss_near_the_allowed_one_cannot_be_told(loss: float, outcome: str) -> None:
    sheet = planted((256, INT8, False, loss))
    assert sheet.lines[1].outcome == outcome
    assert (sheet.smallest is not None) == (outcome == NOT_WORSE)


def test_what_lies_behind_a_setting_that_is_not_shown_is_not_asked_about() -> None:
    sheet = planted((256, INT8, False, 0.0099), (128, INT8, False, 0.0), (256, BINARY, True, 0.0))
    assert [line.outcome for line in sheet.lines] == [REFERENCE, CANNOT_TELL, NOT_ASKED, NOT_WORSE]
    assert sheet.smallest is not None
    assert sheet.smallest.setting.precision == BINARY


def test_what_was_not_asked_about_is_not_said_to_lose_more() -> None:
    sheet = planted((128, INT8, False, 0.05), (64, INT8, False, 0.0))
    assert [line.outcome for line in sheet.lines] == [REFERENCE, WORSE, NOT_ASKED]
    assert ship_sentence(sheet).startswith("Cannot tell at 1,000 queries whether any smaller setting is not worse")


def test_a_setting_that_is_no_smaller_than_the_first_is_never_the_smallest() -> None:
    good = {"mrr": np.ones(1000)}
    measured = [(Setting("small", 64, 64, FLOAT32), good), (Setting("large", 256, 256, FLOAT32), good)]
    sheet = judged(measured, ALLOWED, Sampling(np.arange(1000)), n_pool=1000)
    assert [line.outcome for line in sheet.lines] == [REFERENCE, NOT_WORSE]
    assert sheet.smallest is None


def test_paths_share_the_doubt() -> None:
    one, two = (
        planted(*paths) for paths in ([(256, INT8, False, 0.0)], [(256, INT8, False, 0.0), (256, BINARY, False, 0.0)])
    )
    assert (one.doubt, two.doubt) == (0.05, 0.025)
    assert two.lines[1].losses[0].high > one.lines[1].losses[0].high


def test_few_queries_show_nothing_even_where_nothing_is_lost() -> None:
    assert planted((256, FLOAT16, False, 0.0), n=100).lines[1].outcome == CANNOT_TELL
    assert planted((256, FLOAT16, False, 0.0), n=1000).lines[1].outcome == NOT_WORSE


def test_one_small_change_proves_no_large_one_away() -> None:
    n = 100
    values = np.ones(n)
    values[0] = 0.9999
    measured = [(Setting("m", 8, 8, FLOAT32), {"mrr": np.ones(n)}), (Setting("m", 8, 8, FLOAT16), {"mrr": values})]
    assert judged(measured, ALLOWED, Sampling(np.arange(n)), n_pool=n).lines[1].outcome == CANNOT_TELL


def test_of_several_metrics_all_must_hold() -> None:
    n = 1000
    whole, less = (
        {"mrr": np.ones(n), "rank1": np.ones(n)},
        {"mrr": np.ones(n), "rank1": np.repeat([0.0, 1.0], [50, 950])},
    )
    measured = [(Setting("m", 8, 8, FLOAT32), whole), (Setting("m", 8, 8, FLOAT16), less)]
    outcomes = [
        judged(measured, allowed, Sampling(np.arange(n)), n_pool=n).lines[1].outcome
        for allowed in ({"mrr": 0.01}, {"mrr": 0.01, "rank1": 0.1}, {"mrr": 0.01, "rank1": 0.01})
    ]
    assert outcomes == [NOT_WORSE, NOT_WORSE, WORSE]


def test_equal_sizes_are_told_apart_by_what_a_second_look_keeps_beside_them() -> None:
    sheet = planted((256, INT8, True, 0.0), (256, INT8, False, 0.0))
    assert sheet.smallest is not None
    assert not sheet.smallest.setting.is_rescored


def test_sizes_are_bytes_of_a_document() -> None:
    sizes = [(Setting("m", 100, 100, name).n_bytes) for name in (FLOAT32, FLOAT16, INT8, BINARY)]
    assert sizes == [400, 200, 100, 13]
    assert Setting("m", 100, 100, BINARY, is_rescored=True).n_bytes_kept == 400


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    """Vectors whose second half says nothing, a corpus beside them."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((120, 64)) * np.repeat([1.0, 0.05], 32)
    near = rows[:50] + 0.3 * rng.standard_normal((50, 64)) * np.repeat([1.0, 0.05], 32)
    embeddings = Embeddings.from_raw(near, rows[:50], np.stack([np.arange(50)] * 2, axis=1))
    corpus = Embeddings.from_raw(rows[50:], rows[50:], [[row, row] for row in range(70)]).documents
    return Shipped("best.pt", embeddings, corpus)


def test_every_setting_of_every_model_stands_on_the_sheet(shipped: Shipped) -> None:
    other = Shipped(
        "trained at 32",
        Embeddings.from_raw(
            shipped.embeddings.queries[:, :32], shipped.embeddings.documents[:, :32], shipped.embeddings.relevance
        ),
        shipped.corpus[:, :32] if shipped.corpus is not None else None,
    )
    sheet = ship_sheet([shipped, other])
    assert [(line.setting.model, line.setting.dim) for line in sheet.lines] == [
        *[("best.pt", 64)] * 6,
        *[("best.pt", 32)] * 6,
        *[("trained at 32", 32)] * 6,
    ]
    assert sheet.n_pool == 120
    assert sheet.doubt == 0.05 / 8
    cut, trained = sheet.lines[6], sheet.lines[12]
    assert cut.values == pytest.approx(trained.values, abs=1e-6)  # truncated and brought to length 1 again


def test_the_reference_is_the_evaluation_itself(shipped: Shipped) -> None:
    assert shipped.corpus is not None
    expected = per_query(scan(shipped.embeddings, corpus=shipped.corpus), shipped.embeddings).ranks["mrr"].mean()
    assert ship_sheet([shipped]).reference.values == {"mrr": pytest.approx(expected, abs=1e-12)}


def test_a_loss_of_nothing_known_is_refused(shipped: Shipped) -> None:
    with pytest.raises(ValueError) as error:
        ship_sheet([shipped], allowed={"margin": 0.1})
    assert str(error.value).startswith("a loss can be allowed of rank1, rank1_optimistic, ")
    assert str(error.value).endswith(", not of 'margin'")
    with pytest.raises(ValueError) as error:
        ship_sheet([shipped], allowed={"mrr": -0.1})
    assert str(error.value) == "an allowed loss must be at least 0, got -0.1 for mrr"
