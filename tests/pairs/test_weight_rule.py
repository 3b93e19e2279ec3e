import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.pairs.problems import DataError
from embviz_callback.pairs.weight_rule import WeightRule, default_rule, is_weight, read_rule

CONFIG = Path(__file__).parents[2] / "configs" / "weight-config.json"
TYPES = ["location", "price", "area", "amenity", "furniture", "floor", "other", "requirement"]


@pytest.mark.parametrize(
    ("types", "weight"),
    [
        (["price", "amenity"], 2.3),
        (["amenity", "price"], 2.3),
        (["location"], 2.5),
        (["floor"], 0.5),
        (["requirement"], 0.5),
        ([], 0.5),
        (["price", "Price "], 2.0),
        (["location", "price", "area", "amenity"], 3.85),
        (["location", "price", "area", "amenity", "furniture"], 4.0),
    ],
)
def test_the_rule_gives_the_largest_weight_and_a_share_of_the_others(types: list[str], weight: float) -> None:
    assert default_rule().weight(types) == weight


def test_two_unknown_types_are_two_differences() -> None:
    assert default_rule().weight(["requirement", "noise"]) == 0.65


def test_the_file_in_configs_is_the_default_rule() -> None:
    assert read_rule(CONFIG) == default_rule()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(TYPES), max_size=8))
def test_a_weight_does_not_depend_on_order_and_stays_within_its_bounds(types: list[str]) -> None:
    rule = default_rule()
    assert rule.weight(types) == rule.weight(types[::-1])
    assert 0.5 <= rule.weight(types) <= 4.0
    assert rule.weight([*types, "location"]) >= rule.weight(types)


def test_a_file_changes_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    path.write_text('{"base_weights": {"other": 1, "noise": 2}, "cap": 2.1}')
    rule = read_rule(path)
    assert rule.weight(["noise", "price"]) == 2.1
    assert rule.increment_ratio == 0.3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected an object with base_weights, increment_ratio, cap, found a list of 0"),
        ('{"caps": 1}', "there is no field 'caps'; there are base_weights, increment_ratio, cap"),
        ('{"base_weights": {"price": 2}}', "base must have a weight for 'other', it has price"),
        ('{"base_weights": {"other": -1}}', "base['other'] must be a number from 1e-06 to 1,000,000, got -1"),
        ('{"base_weights": {"other": true}}', "base['other'] must be a number from 1e-06 to 1,000,000, got True"),
        ('{"cap": 0}', "cap must be a number from 1e-06 to 1,000,000, got 0"),
        ('{"increment_ratio": 1.5}', "increment_ratio must be between 0 and 1, got 1.5"),
        ('{"increment_ratio": "x"}', "increment_ratio must be between 0 and 1, got 'x'"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rule.json"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        read_rule(path)
    assert str(error.value) == f"{path}: {message}"


def test_a_rule_with_an_infinite_number_names_its_place(tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    path.write_text('{"base_weights": {"other": Infinity}}')
    with pytest.raises(DataError) as error:
        read_rule(path)
    assert str(error.value) == (
        f"{path}.base_weights.other: expected a finite number, found Infinity. "
        "Fix: write a number, or leave the field out"
    )


def test_weights_that_float32_cannot_hold_are_none() -> None:
    good, bad = [1e-6, 1, 4.0, 1e6], [0, -1, True, math.nan, math.inf, 1e7, 1e-9, "2", None, 10**400]
    assert all(map(is_weight, good))
    assert not any(map(is_weight, bad))


def test_a_rule_survives_json(tmp_path: Path) -> None:
    rule = WeightRule(base={"other": 1.0, "price": 3.0}, increment_ratio=0.5, cap=5.0)
    path = tmp_path / "rule.json"
    fields = {"base_weights": dict(rule.base), "increment_ratio": rule.increment_ratio, "cap": rule.cap}
    path.write_text(json.dumps(fields))
    assert read_rule(path) == rule
