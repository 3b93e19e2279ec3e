"""Reads district, price, area and amenities out of Vietnamese rental texts, and changes one of them at a time.

Light on purpose: `embviz check --features examples.rental_features:extract_features` must not wait for torch.
"""

import re
import unicodedata
from collections.abc import Iterable

from embviz_callback.pairs.texts import fold, without_diacritics

LOW, HIGH = 4.0, 7.0  # million VND a month

# Sets of districts any two of which border on each other or nearly do.
NEIGHBOURS = (
    ("Quận 1", "Quận 3", "Quận 10", "Quận 4", "Quận 5"),
    ("Bình Thạnh", "Phú Nhuận", "Gò Vấp", "Quận 1"),
    ("Tân Bình", "Tân Phú", "Phú Nhuận", "Gò Vấp", "Quận 3", "Quận 10"),
    ("Quận 5", "Quận 6", "Quận 8", "Quận 10", "Quận 11"),
    ("Quận 2", "Quận 9", "Thủ Đức", "Bình Thạnh"),
    ("Ba Đình", "Cầu Giấy", "Đống Đa", "Tây Hồ", "Hoàn Kiếm"),
    ("Hai Bà Trưng", "Hoàng Mai", "Thanh Xuân", "Đống Đa"),
    ("Thanh Xuân", "Hà Đông", "Nam Từ Liêm", "Cầu Giấy"),
)
_NAMED = (
    "Bình Thạnh", "Gò Vấp", "Phú Nhuận", "Tân Bình", "Tân Phú", "Bình Tân", "Thủ Đức", "Nhà Bè", "Hóc Môn",
    "Cầu Giấy", "Đống Đa", "Ba Đình", "Hai Bà Trưng", "Thanh Xuân", "Hoàng Mai", "Hà Đông", "Long Biên", "Tây Hồ",
    "Nam Từ Liêm", "Bắc Từ Liêm", "Hoàn Kiếm",
)  # fmt: skip
# As people type them; only with capitals, since "tb" or "th" stand for much else.
_SHORT = {
    "BT": "Bình Thạnh", "GV": "Gò Vấp", "PN": "Phú Nhuận", "TB": "Tân Bình", "TĐ": "Thủ Đức", "CG": "Cầu Giấy",
    "ĐĐ": "Đống Đa", "BĐ": "Ba Đình", "HBT": "Hai Bà Trưng", "TX": "Thanh Xuân", "HM": "Hoàng Mai",
    "HĐ": "Hà Đông", "LB": "Long Biên", "TH": "Tây Hồ", "NTL": "Nam Từ Liêm",
}  # fmt: skip
# Amenity: its spellings, without accents.
_AMENITIES = {
    "máy lạnh": ("may lanh", "dieu hoa", "ml"),
    "wc riêng": ("wc rieng", "ve sinh rieng", "toilet rieng", "wc khep kin", "khep kin"),
    "wc chung": ("wc chung", "ve sinh chung", "toilet chung"),
    "ban công": ("ban cong", "bancol"),
    "gác lửng": ("gac lung", "co gac", "gac"),
    "bếp riêng": ("bep rieng", "bep", "cho nau an", "nau an"),
    "máy giặt": ("may giat",),
    "tủ lạnh": ("tu lanh",),
    "tủ quần áo": ("tu quan ao",),
    "máy nước nóng": ("may nuoc nong", "nong lanh", "nuoc nong"),
    "thang máy": ("thang may",),
    "chỗ để xe": ("cho de xe", "de xe free", "de xe"),
    "cửa sổ": ("cua so",),
    "giờ giấc tự do": ("gio giac tu do", "gio tu do", "tu do gio giac"),
    "cho nuôi thú cưng": ("nuoi pet", "cho pet", "nuoi thu cung", "nuoi meo", "nuoi cho meo"),
    "không chung chủ": ("khong chung chu", "ko chung chu", "k chung chu"),
}
_TENANTS = {
    "chỉ nữ": re.compile(r"\b(?:chi nu|nu only|nu o|cho nu|chi cho nu|danh cho nu|nu thue)\b"),
    "nam nữ": re.compile(r"\bnam\s?[/,]?\s?(?:va )?nu\b"),
}
_NUMBER = r"\d{1,3}(?:[.,]\d{1,2})?"
# "3tr5", "3.5tr", "3,5 triệu", "4 tr"; a digit right behind the unit counts tenths. The first number
# of a range ("3-4tr") has no unit and the second is no statement either.
_PRICE = re.compile(rf"(?<![\d.,\-])({_NUMBER})\s*(?:trieu|tr|cu)(?![a-z])\s?(\d(?!\d|[.,]\d|\s*m))?")
_LIMIT = re.compile(r"(?:duoi|toi da|khong qua|khoang duoi|max|tren|tu|den|<|>|<=|-)\s*$")
_DENIAL = re.compile(r"\b(?:khong|ko|k|chua|thieu)(?: co| cho| duoc)?\s*$")
_AREA = re.compile(rf"(?<![\d.,])({_NUMBER})\s*(?:m2|m²|met vuong|m vuong)")
_QUARTER = re.compile(r"(?:\bquan|\bq)\.?\s*(\d{1,2})\b")
_SHORT_NAME = re.compile(rf"\b({'|'.join(sorted(_SHORT, key=len, reverse=True))})\b")


def extract_features(text: str) -> dict[str, str | float | tuple[str, ...]]:
    """What a listing or a query says: district, price, area, amenities.

    Accents, case and the common short forms do not matter ("q10", "3tr5", "binh thanh"). What a
    text does not say, or says twice differently, is left out rather than guessed.

    Args:
        text: Vietnamese, with or without accents.

    Returns:
        Some of ``district``; ``price`` in million VND; ``price_band``: "low" below 4, "middle"
        from 4 to 7, "high" above; ``area`` in m²; ``tenants``, "chỉ nữ" or "nam nữ"; ``amenities``,
        what is there (not what is denied).

    Example:
        >>> extract_features("phòng trọ Q10 3tr5, 25m², không máy lạnh, wc riêng")
        {'district': 'Quận 10', 'price': 3.5, 'price_band': 'low', 'area': 25.0, 'amenities': ('wc riêng',)}
    """
    plain = _plain(text)
    found: dict[str, str | float | tuple[str, ...]] = {}
    district = _only(_districts(text, plain))
    if district is not None:
        found["district"] = district
    price = _only(_prices(plain))
    if isinstance(price, float):
        found |= {"price": price, "price_band": price_band(price)}
    area = _only(float(number.replace(",", ".")) for number in _AREA.findall(plain))
    if area is not None:
        found["area"] = area
    tenants = _only(name for name, words in _TENANTS.items() if words.search(plain))
    if tenants is not None:
        found["tenants"] = tenants
    amenities = tuple(name for name in _AMENITIES if _offers(plain, name))
    return found | ({"amenities": amenities} if amenities else {})


def price_band(price: float) -> str:
    """Low below 4 million VND, high above 7, middle between and at both.

    Returns:
        "low", "middle" or "high".

    Example:
        >>> price_band(3.9), price_band(4.0), price_band(7.0), price_band(7.5)
        ('low', 'middle', 'middle', 'high')
    """
    if price < LOW:
        return "low"
    return "high" if price > HIGH else "middle"


def _plain(text: str) -> str:
    return without_diacritics(unicodedata.normalize("NFC", fold(text)))


def _only(values: Iterable[str | float]) -> str | float | None:
    """The value, if there is exactly one that differs from all others."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def _districts(text: str, plain: str) -> list[str]:
    found = [f"Quận {int(number)}" for number in _QUARTER.findall(plain) if 1 <= int(number) <= 12]
    found += [name for name in _NAMED if re.search(rf"\b{_plain(name)}\b", plain)]
    return found or [_SHORT[short] for short in _SHORT_NAME.findall(unicodedata.normalize("NFC", text))]


def _prices(plain: str) -> list[float]:
    found = []
    for match in _PRICE.finditer(plain):
        # "dưới 5tr" is a limit: it says what is too much, not what is sought.
        if not _LIMIT.search(plain[: match.start()]):
            whole, tenths = match.groups()
            found.append(round(float(whole.replace(",", ".")) + int(tenths or 0) / 10, 2))
    return found


def _offers(plain: str, name: str) -> bool:
    # The longest first: what denies "máy nước nóng" stands before that, and not before the "nước nóng" in it.
    spellings = "|".join(sorted(_AMENITIES[name], key=len, reverse=True))
    found = re.finditer(rf"\b(?:{spellings})\b", plain)
    return any(not _DENIAL.search(plain[: match.start()]) for match in found)


def controlled_edits(text: str) -> list[tuple[str, str]]:
    """The same listing with one thing changed, once for each thing that can be found in it.

    Args:
        text: A listing with accents, as the generator of pairs or a form writes it.

    Returns:
        (edited text, feature), feature being one of the types of the weight rule: location, price,
        area, amenity, furniture, floor.

    Example:
        >>> controlled_edits("Phòng 20m² Quận 3, giá 4tr")[:2]
        [('Phòng 20m² Quận 10, giá 4tr', 'location'), ('Phòng 20m² Quận 3, giá 6tr', 'price')]
    """
    composed = unicodedata.normalize("NFC", text)
    found = []
    for feature, pattern, change in _EDITS:
        edited = pattern.sub(change, composed, count=1)
        if edited != composed:
            found.append((edited, feature))
    return found


def _other_district(match: re.Match[str]) -> str:
    return "Quận 10" if match.group() == "Quận 3" else "Quận 3"


def _higher(match: re.Match[str]) -> str:
    # By half, but at least by two million: no query's "about" is that wide.
    price = float(match.group(1).replace(",", ".")) + int(match.group(3) or 0) / 10
    return f"{max(round(price * 1.5), price + 2):g}{match.group(2)}"


def _larger(match: re.Match[str]) -> str:
    return f"{float(match.group(1).replace(',', '.')) + 12:g}{match.group(2)}"


_EDITS = (
    ("location", re.compile(rf"Quận \d{{1,2}}|{'|'.join(_NAMED)}"), _other_district),
    ("price", re.compile(rf"(?<![\d.,])({_NUMBER})(\s?tr(?:iệu)?)(\d)?(?!\w)"), _higher),
    ("area", re.compile(rf"(?<![\d.,])({_NUMBER})(\s?m[2²])"), _larger),
    (
        "amenity",
        re.compile(r"(?<!không )(?<!không có )(?:có )?(máy lạnh|ban công|máy giặt|tủ lạnh|thang máy|cửa sổ)"),
        r"không \1",
    ),
    ("furniture", re.compile("đầy đủ nội thất|nội thất cơ bản"), "không nội thất"),
    ("floor", re.compile(r"tầng (\d)(?!\d)"), lambda match: f"tầng {int(match.group(1)) + 4}"),
)
