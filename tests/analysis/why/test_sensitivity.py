"""Feature importance, continuity and thresholds: planted truth is recovered."""

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, spearmanr

from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.metrics.resampling import draw_clusters, estimate, plain, spearman
from embviz_callback.analysis.scan import scan
from embviz_callback.analysis.why.continuity import Continuity, continuity, neighbourhood
from embviz_callback.analysis.why.sensitivity import importance_of_edits, importance_of_types
from embviz_callback.analysis.why.thresholds import _lower_bounds, _run, thresholds
from embviz_callback.embeddings import Embeddings, Vectors
from embviz_callback.pairs.weight_rule import WeightRule, default_rule


def unit(rows: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    wide = np.asarray(rows, dtype=np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def of_types(evaluation: planted.Evaluation, **options: Any) -> Any:
    one = evaluation
    return importance_of_types(one.embeddings, one.similarity, one.subset.hard_types, draws=200, **options)


@pytest.mark.parametrize("seed", range(3))
def test_known_weights_come_back_in_their_exact_order(seed: int) -> None:
    one = planted.evaluate(planted.records(120, seed), planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=0.02))
    found = of_types(
        one, rule=default_rule(), clusters=Sampling.of(one.subset.relevance, len(one.subset.queries)).groups
    )
    assert found.order == planted.FEATURES
    # "floor" weighs 0.5 like nothing else here, so that there are no ties to share ranks.
    assert found.spearman == pytest.approx(1.0)
    assert found.out_of_order == ()
    assert all(effect.method == "changed alone" and effect.has_own_weight for effect in found.effects)


def test_drops_equal_the_share_of_the_weight() -> None:
    one = planted.evaluate(planted.records(60, 1), planted.LinearEncoder(planted.TRUE_WEIGHTS))
    total = sum(planted.TRUE_WEIGHTS.values())
    for effect in of_types(one).effects:
        expected = planted.TRUE_WEIGHTS[effect.feature] / total
        assert effect.drop.value == pytest.approx(expected, abs=1e-5)
        # The drops of a linear encoder add up, so that the fit over all negatives must agree.
        assert effect.joint.value == pytest.approx(expected, abs=1e-5)
        assert effect.drop.low <= expected + 1e-5
        assert effect.drop.high >= expected - 1e-5


def test_a_price_only_encoder_moves_for_price_alone() -> None:
    one = planted.evaluate(planted.records(60, 2), planted.LinearEncoder({"price": 1.0}))
    found = {effect.feature: effect.drop.value for effect in of_types(one).effects}
    assert found.pop("price") == pytest.approx(1.0, abs=1e-4)
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-6)


def test_weights_in_another_order_are_named_pair_by_pair() -> None:
    one = planted.evaluate(planted.records(60, 3), planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=0.01))
    swapped = WeightRule(base={**planted.TRUE_WEIGHTS, "area": 0.9, "other": 0.5})
    found = of_types(one, rule=swapped)
    assert [(pair.heavier, pair.lighter, pair.is_clear) for pair in found.out_of_order] == [("amenity", "area", True)]
    assert found.spearman == pytest.approx(1 - 6 * 2 / (6 * 35))  # two neighbours of six changed places


def test_a_type_without_a_weight_of_its_own_weighs_as_other() -> None:
    items = planted.records(20, 4, several=False)
    for item in items:
        item["hard_neg"][0]["type"] = "requirement"
    found = of_types(planted.evaluate(items, planted.LinearEncoder(planted.TRUE_WEIGHTS)), rule=default_rule())
    first = found.effects[0]
    assert (first.feature, first.weight, first.has_own_weight) == ("requirement", 0.5, False)


def test_a_feature_that_never_changes_alone_is_fitted_and_says_so() -> None:
    items = planted.records(60, 5)
    for item in items:
        values = planted.read_features(item["pos"])
        item["hard_neg"] = [negative for negative in item["hard_neg"] if negative["type"] not in (["floor"], ["price"])]
        text = " ".join(
            ["phòng", *(f"{name}=6" if values[name] == f"{name}=0" and name in ("floor", "price") else
                        f"{name}=0" if name in ("floor", "price") else values[name] for name in planted.FEATURES)]
        )  # fmt: skip
        item["hard_neg"].append({"text": text, "type": ["floor", "price"]})
    one = planted.evaluate(items, planted.LinearEncoder(planted.TRUE_WEIGHTS))
    effects = {effect.feature: effect for effect in of_types(one).effects}
    assert effects["location"].method == "changed alone"
    assert effects["floor"].method == "least squares"
    total = sum(planted.TRUE_WEIGHTS.values())
    both = effects["floor"].drop.value + effects["price"].drop.value
    assert both == pytest.approx((planted.TRUE_WEIGHTS["floor"] + planted.TRUE_WEIGHTS["price"]) / total, abs=1e-4)


def edits(n: int, seed: int) -> list[tuple[str, str, str]]:
    draw = random.Random(seed)
    found = []
    for _ in range(n):
        values = {name: draw.randrange(planted.N_VALUES) for name in planted.FEATURES}
        found += [
            (planted.listing(values), planted.listing(planted.changed(values, (name,), draw)), name)
            for name in planted.FEATURES
        ]
    return found


def test_controlled_edits_recover_the_weights_exactly() -> None:
    found = importance_of_edits(
        planted.LinearEncoder(planted.TRUE_WEIGHTS), edits(20, 1), rule=default_rule(), draws=100
    )
    assert found.order == planted.FEATURES
    assert found.spearman == pytest.approx(1.0)
    total = sum(planted.TRUE_WEIGHTS.values())
    assert {one.feature: one.drop.value for one in found.effects} == pytest.approx(
        {name: weight / total for name, weight in planted.TRUE_WEIGHTS.items()}, abs=1e-5
    )


def test_controlled_edits_of_a_price_only_encoder() -> None:
    found = importance_of_edits(planted.LinearEncoder({"price": 2.0}), edits(10, 2), draws=100)
    assert found.order[0] == "price"
    assert [one.drop.value for one in found.effects[1:]] == pytest.approx([0.0] * 5, abs=1e-6)
    assert math.isnan(found.spearman)


def test_an_encoder_that_loses_a_text_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        importance_of_edits(lambda texts: np.ones((1, 3)), [("a", "b", "price")])
    assert str(error.value) == "encode must give one vector per text, got 1 for 2 texts"


def test_types_must_be_given_per_hard_pair() -> None:
    one = planted.evaluate(planted.records(5, 0), planted.LinearEncoder(planted.TRUE_WEIGHTS))
    with pytest.raises(ValueError) as error:
        importance_of_types(one.embeddings, one.similarity, [])
    assert str(error.value) == "hard_types must have one entry per hard pair, got 0 for 35"


def test_without_hard_negatives_there_is_no_importance() -> None:
    plain = Embeddings.from_raw(np.eye(3), np.eye(3), [[0, 0], [1, 1], [2, 2]])
    assert importance_of_types(plain, scan(plain), []).effects == ()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_spearman_equals_scipys(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs, dtype=np.float64).T
    found = spearman(one, other)
    if len(set(one)) < 2 or len(set(other)) < 2:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic)


def test_an_interval_needs_two_clusters() -> None:
    drawn = draw_clusters(np.zeros(5, dtype=np.int64), draws=50, seed=0)
    found = estimate(1.0, drawn.sums(np.ones((5, 1)))[:, 0])
    assert (found.value, math.isnan(found.low), math.isnan(found.high)) == (1.0, True, True)


def _on_an_arc(values: Sequence[float], scale: float = 0.1) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Cosine falls with the difference of the values: they are angles."""
    angles = np.asarray(values) * scale
    return unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _curve(documents: Vectors, prices: Sequence[float]) -> Continuity | None:
    texts, rows = [f"phòng {price:g}" for price in prices], [{"price": float(price)} for price in prices]
    return continuity(documents, texts, rows, "price")


def test_a_smooth_fall_is_called_one() -> None:
    prices = np.linspace(2, 10, 60)
    found = _curve(_on_an_arc(prices), prices)
    assert found is not None
    assert found.verdict == "falls smoothly"
    assert found.spearman == pytest.approx(-1.0, abs=1e-3)
    assert found.rises == ()
    assert found.violations == ()
    cosines = [band.cosine.value for band in found.bands]
    assert cosines == sorted(cosines, reverse=True)
    assert sum(band.n_pairs for band in found.bands) == 60 * 59 // 2


def test_a_similarity_that_ignores_the_price_does_not_fall() -> None:
    rng = np.random.default_rng(0)
    found = _curve(unit(rng.normal(size=(80, 16))), rng.uniform(2, 9, 80))
    assert found is not None
    assert found.verdict == "no fall shown"


def test_a_curve_that_comes_back_up_names_the_bands_and_the_listings() -> None:
    # Only the last digit matters: 2 and 12 lie side by side, 2 and 7 far apart.
    prices = [float(whole) for whole in range(20)] * 4
    angles = np.array(prices) % 10 / 10 * 2 * np.pi
    found = _curve(unit(np.stack([np.cos(angles), np.sin(angles)], axis=1)), prices)
    assert found is not None
    assert found.rises != ()
    assert found.verdict != "falls smoothly"
    worst = found.violations[0]
    assert worst.far_difference > worst.near_difference
    assert worst.excess > 0
    assert json.loads(json.dumps(plain(found)))["violations"][0]["document"] == worst.document


def test_too_few_values_make_no_curve() -> None:
    assert _curve(unit(np.eye(3)), [5.0] * 3) is None
    assert continuity(unit(np.eye(3)), ["", "", ""], [{}] * 3, "price") is None


def test_neighbouring_districts_are_told_from_distant_ones() -> None:
    places = ["Quận 1", "Quận 3", "Quận 10", "Hà Đông", "Long Biên"]
    angles = dict(zip(places, [0.0, 0.2, 0.3, 1.5, 1.6], strict=True))
    rng = np.random.default_rng(1)
    names = [place for place in places for _ in range(12)]
    rows = [(np.cos(a), np.sin(a)) for a in (angles[name] + rng.normal(0, 0.05) for name in names)]
    found = neighbourhood(
        unit(rows), [{"district": name} for name in names], "district", [["quận 1", "quận 3", "quận 10"]]
    )
    assert found is not None
    assert found.same.value > found.neighbouring.value > found.distant.value
    assert found.gain.low > 0
    # Two places that nobody called neighbours are as close as some.
    assert [pair[:2] for pair in found.closer_than_neighbours] == [("Hà Đông", "Long Biên")]


def test_without_neighbours_there_is_nothing_to_compare() -> None:
    assert neighbourhood(unit(np.eye(3)), [{"district": "A"}] * 3, "district", [["B", "C"]]) is None


def _separable(n: int) -> Embeddings:
    return Embeddings.from_raw(np.eye(n), np.eye(n), [[at, at] for at in range(n)])


def test_a_perfect_model_may_cut_anywhere_between_once_enough_pairs_are_seen() -> None:
    found = {(one.kind, one.wanted): one for one in thresholds(_separable(29)).advice}
    lowest = found["precision", 0.9]
    assert lowest.threshold.value == pytest.approx(0.005)
    assert (lowest.precision, lowest.recall, lowest.shown, lowest.n_pairs) == (1.0, 1.0, 1.0, 29)
    assert found["recall", 0.9].threshold.value == pytest.approx(0.995)
    assert found["precision", 0.95].reason == "it takes at least 59 relevant pairs to show it, there are 29"
    assert found["recall", 0.95].reason == "it takes at least 59 relevant pairs to show it, there are 29"


def test_a_promise_stops_at_the_first_cut_that_does_not_pass() -> None:
    # Of 20 packs alike: 60 pairs all right, then 20 wrong ones, then right ones only.
    hits, shown = (np.repeat(np.array([row]) / 20, 20, axis=0) for row in ([60, 60, 500], [60, 80, 520]))
    bounds = _lower_bounds(hits, shown)
    assert bounds[0] == pytest.approx(0.05 ** (1 / 20))  # all right in 20 packs: worth 20 pairs
    assert bounds[1] == pytest.approx(beta.ppf(0.05, 60, 21))  # packs alike: Clopper and Pearson's
    assert bounds[1] < 0.9 < bounds[2]
    assert _run(bounds >= 0.8) == 1


def test_pairs_that_fail_together_are_worth_fewer() -> None:
    alone = np.ones((100, 1)), np.where(np.arange(100) < 90, 1.0, 0.0)[:, None]
    together = np.full((20, 1), 5.0), np.where(np.arange(20) < 18, 5.0, 0.0)[:, None]
    loose, tight = (_lower_bounds(hits, of)[0] for of, hits in (together, alone))
    assert tight == pytest.approx(beta.ppf(0.05, 90, 11), abs=0.01)
    assert loose == pytest.approx(beta.ppf(0.05, 18, 3), abs=0.01)


def test_the_shares_at_a_cut_equal_a_search_over_all_pairs() -> None:
    rng = np.random.default_rng(4)
    documents = unit(rng.normal(size=(90, 8)))
    queries = unit(documents + rng.normal(0, 0.1, documents.shape))
    one = Embeddings.from_raw(queries, documents, [[at, at] for at in range(90)])
    scores, right = one.queries @ one.documents.T, np.eye(90, dtype=bool)
    given = [advice for advice in thresholds(one, draws=100).advice if not advice.reason]
    assert {advice.kind for advice in given} == {"precision", "recall", "F1"}
    for advice in given:
        is_shown = scores >= advice.threshold.value
        assert advice.precision == pytest.approx(right[is_shown].mean(), abs=0.02)
        assert advice.recall == pytest.approx(is_shown[right].mean(), abs=0.02)
        assert advice.shown == pytest.approx(is_shown.sum() / 90, abs=0.02)


def test_a_precision_beyond_reach_says_what_is_reached() -> None:
    collapsed = Embeddings.from_raw(np.ones((20, 2)), np.ones((20, 2)), [[at, at] for at in range(20)])
    advice = thresholds(collapsed).advice[0]
    assert math.isnan(advice.threshold.value)
    assert advice.reason == "no cut is shown to keep it: 5.0 % of the 400 highest scored pairs are right"


def test_hard_negatives_raise_the_threshold_for_a_precision() -> None:
    one = planted.evaluate(planted.records(60, 6), planted.LinearEncoder(planted.TRUE_WEIGHTS))
    easy, hard = (thresholds(one.embeddings, with_hard_negatives=flag) for flag in (False, True))
    assert hard.advice[0].threshold.value > easy.advice[0].threshold.value
