"""The reader of Vietnamese rental texts and the controlled edits."""

from typing import Any

import pytest

from embviz_callback.analysis.why.errors import differing
from examples.rental_features import controlled_edits, extract_features, price_band


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tìm phòng trọ Quận 10, 25m², giá 5tr", {"district": "Quận 10", "price": 5.0, "area": 25.0}),
        ("phong tro cau giay 4tr", {"district": "Cầu Giấy", "price": 4.0}),
        ("phòng Q.3 3tr5", {"district": "Quận 3", "price": 3.5}),
        ("phòng Q1, 3,5 triệu, 30m2", {"district": "Quận 1", "price": 3.5, "area": 30.0}),
        ("Phòng trọ BT 6.5tr", {"district": "Bình Thạnh", "price": 6.5}),
        ("phòng Thủ Đức 4tr 18m2", {"district": "Thủ Đức", "price": 4.0, "area": 18.0}),
        ("phòng dưới 5tr", {}),
        ("phòng 3-4tr", {}),
        ("Quận 1 hoặc Quận 3", {}),
        ("Phòng giá 5tr hoặc 6tr", {}),
        ("có 2 phòng trống", {}),
    ],
)
def test_what_a_text_states_is_read(text: str, expected: dict[str, Any]) -> None:
    found = extract_features(text)
    assert {name: found[name] for name in ("district", "price", "area") if name in found} == expected


def test_what_is_denied_is_not_offered() -> None:
    found = extract_features("Phòng không máy lạnh, ko có ban công, wc riêng, không chung chủ, gác")
    assert found["amenities"] == ("wc riêng", "gác lửng", "không chung chủ")
    for denied in ("không máy nước nóng", "không bếp riêng"):
        assert "amenities" not in extract_features(f"Phòng Quận 3, {denied}, giá 4tr")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Phòng Quận 1, chỉ nữ", "chỉ nữ"),
        ("phong q1 8tr nu only", "chỉ nữ"),
        ("Phòng Quận 1, nam/nữ", "nam nữ"),
        ("Phòng nam nữ đều được", "nam nữ"),
        ("Phòng Quận 1", None),
    ],
)
def test_who_may_move_in_is_read(text: str, expected: str | None) -> None:
    assert extract_features(text).get("tenants") == expected


def test_pets_may_be_denied() -> None:
    assert extract_features("Phòng cho nuôi pet")["amenities"] == ("cho nuôi thú cưng",)
    assert "amenities" not in extract_features("Phòng không cho nuôi pet")


def test_price_bands_are_those_of_the_guide() -> None:
    assert [price_band(price) for price in (3.99, 4, 7, 7.01)] == ["low", "middle", "middle", "high"]


def test_every_edit_changes_the_one_thing_it_names() -> None:
    text = "Phòng trọ 20m² Gò Vấp, có máy lạnh, wc riêng, đầy đủ nội thất, tầng 2, giá 4.5 triệu/tháng"
    column = {"location": "district", "price": "price", "area": "area", "amenity": "amenities"}
    edits = controlled_edits(text)
    assert [feature for _, feature in edits] == ["location", "price", "area", "amenity", "furniture", "floor"]
    for edited, feature in edits:
        changed = {name for name in differing(extract_features(text), extract_features(edited)) if name != "price_band"}
        assert changed == ({column[feature]} if feature in column else set()), feature


def test_the_edits_are_these() -> None:
    assert dict(controlled_edits("Phòng 20m² Quận 3, wc riêng, tầng 2, giá 3tr5")) == {
        "Phòng 20m² Quận 10, wc riêng, tầng 2, giá 3tr5": "location",
        "Phòng 20m² Quận 3, wc riêng, tầng 2, giá 5.5tr": "price",
        "Phòng 32m² Quận 3, wc riêng, tầng 2, giá 3tr5": "area",
        "Phòng 20m² Quận 3, wc riêng, tầng 6, giá 3tr5": "floor",
    }


def test_a_text_without_anything_to_change_has_no_edits() -> None:
    assert controlled_edits("Nhà đẹp") == []
