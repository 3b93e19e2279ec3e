"""The invented pairs: each query is answered by its own listing and by no other, and is typed as people type."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embviz_callback.demo.rental_pairs import AMENITIES, FURNITURE, TENANTS, generate_pairs
from embviz_callback.pairs.formats.reading import read_pairs, records_from
from embviz_callback.pairs.texts import fold, without_diacritics


@pytest.fixture(scope="module")
def invented() -> list[dict[str, Any]]:
    return generate_pairs(600, seed=7)


def test_invented_pairs_are_in_the_format_and_nothing_about_them_is_odd(
    invented: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(invented), encoding="utf-8")
    file = read_pairs(tmp_path / "a.json")
    assert (len(file.records), file.notes) == (600, ())
    assert all(len(record.hard_negatives) == 4 for record in file.records)
    types = {kind for record in file.records for negative in record.hard_negatives for kind in negative.types}
    assert types == {"location", "price", "area", "amenity", "furniture", "floor", "other"}
    assert {len(negative.types) for record in file.records for negative in record.hard_negatives} == {1, 2}


def test_no_two_invented_listings_or_queries_are_alike(invented: list[dict[str, Any]]) -> None:
    records = records_from(invented)
    documents = [fold(record.positives[0]) for record in records]
    negatives = {fold(negative.text) for record in records for negative in record.hard_negatives}
    assert len(set(documents)) == len({without_diacritics(fold(record.query)) for record in records}) == 600
    assert not negatives & set(documents)
    keys = {tuple(record.metadata[name] for name in ("district", "price", "area")) for record in records}
    assert len(keys) == 600


def asked(query: str) -> dict[str, Any]:
    """What a query says of rent, area and floor, read by other means than it was written by."""
    text = without_diacritics(query).lower()
    found: dict[str, Any] = {}
    if limit := re.search(r"duoi (\d+) tr", text):
        found["below"] = int(limit[1])
    elif thousands := re.search(r"(\d+)000k", text):
        found["price"] = float(thousands[1])
    elif price := re.search(r"(\d+)[.,](\d) ?tr|(\d+)tr(\d)|(\d+) ?tr(?:ieu)?\b", text):
        whole, tenth = price[1] or price[3] or price[5], price[2] or price[4] or 0
        found["price"] = float(f"{whole}.{tenth}")
    if least := re.search(r"tu (\d+)m", text):
        found["least"] = int(least[1])
    elif area := re.search(r"(\d+) ?m(2|²| vuong)", text):
        found["area"] = int(area[1])
    if floor := re.search(r"(?:lau|tang) (\d)", text):
        found["floor"] = int(floor[1])
    return found


def meets(asked_for: dict[str, Any], metadata: dict[str, Any]) -> bool:
    return (
        metadata["price"] < asked_for.get("below", 1e9)
        and metadata["price"] == asked_for.get("price", metadata["price"])
        and metadata["area"] >= asked_for.get("least", 0)
        and metadata["area"] == asked_for.get("area", metadata["area"])
        and metadata["floor"] == asked_for.get("floor", metadata["floor"])
    )


def test_every_query_names_rent_and_area_of_its_own_listing(invented: list[dict[str, Any]]) -> None:
    for item in invented:
        found = asked(item["query"])
        assert found.keys() & {"price", "below"}, item["query"]
        assert found.keys() & {"area", "least"}, item["query"]
        assert meets(found, item["metadata"]), item["query"]


def mentions(query: str, words: Iterable[str]) -> bool:
    text = without_diacritics(query).lower()
    return any(re.search(rf"\b{re.escape(without_diacritics(word).lower())}\b", text) for word in words)


def fits(query: str, listing: dict[str, Any]) -> bool:
    """Whether a listing of the right district has all that a query names, judged by its words."""
    lists = ((FURNITURE, listing["furniture"]), (TENANTS, listing["tenants"]))
    return (
        meets(asked(query), listing)
        and all(
            name in listing["amenities"].split(", ") for name, (words, _) in AMENITIES.items() if mentions(query, words)
        )
        and all(name == own for options, own in lists for name, words in options.items() if mentions(query, words))
    )


def test_no_query_fits_another_listing_than_its_own() -> None:
    items = generate_pairs(2500, seed=3, hard_negatives=2)
    by_district: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        by_district.setdefault(item["metadata"]["district"], []).append(item)
    for item in items:
        own = item["metadata"]
        rivals = by_district[own["district"]]
        assert [other["pos"] for other in rivals if fits(item["query"], other["metadata"])] == [item["pos"]]
        assert not any(fits(item["query"], own | change) for change in ({"price": 99.9}, {"area": 1}))


def test_a_hard_negative_differs_in_what_its_type_says(invented: list[dict[str, Any]]) -> None:
    def features(text: str) -> dict[str, str]:
        head, *details, price = text.split(", ")
        area = re.search(r"(\d+)m²", head)
        assert area is not None
        floor = next(detail for detail in details if detail.startswith("tầng"))
        return {"location": head.partition("m² ")[2], "area": area[1], "price": price, "floor": floor}

    for item in invented:
        own = features(item["pos"])
        for negative in item["hard_neg"]:
            other = features(negative["text"])
            changed = {name for name in own if own[name] != other[name]}
            assert changed == {kind for kind in negative["type"] if kind in own}
            if not changed:
                assert set(item["pos"].split(", ")) != set(negative["text"].split(", "))


def test_queries_are_typed_as_people_type_them(invented: list[dict[str, Any]]) -> None:
    queries = [item["query"] for item in invented]
    plain = sum(query == without_diacritics(query) for query in queries)
    assert 150 < plain < 450
    for pattern in (r"\dtr\d", r"\d\.\dtr", r"\d,\d tri", r"\bQ\d", r"(?i)\bgv\b", r"m2", r"(?i)d[uư][oớ]i \d+ tr"):
        assert any(re.search(pattern, query) for query in queries), pattern


def test_metadata_hold_the_features_as_the_listing_states_them(invented: list[dict[str, Any]]) -> None:
    for item in invented:
        features = item["metadata"]
        parts = set(item["pos"].split(", "))
        assert f"giá {features['price']:g} triệu/tháng" in parts
        assert set(features["amenities"].split(", ")) <= parts
        assert f"{features['area']}m² {features['district']}, {features['city']}" in item["pos"]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 40), st.integers(0, 2**32), st.integers(0, 10))
def test_any_size_and_seed_gives_as_many_pairs_as_asked_for(n: int, seed: int, hard_negatives: int) -> None:
    records = records_from(generate_pairs(n, seed=seed, hard_negatives=hard_negatives))
    assert len({record.query for record in records}) == n
    assert all(len(record.hard_negatives) == hard_negatives for record in records)
