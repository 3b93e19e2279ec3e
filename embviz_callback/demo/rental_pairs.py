"""Invented Vietnamese rental pairs with known features: clean listings, queries as people type them, hard negatives."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embviz_callback.pairs.texts import fold, without_diacritics

# What a person may ask for, and how it is typed.
DISTRICTS: dict[str, dict[str, tuple[str, ...]]] = {
    "TP.HCM": {
        **{f"Quận {n}": (f"Q{n}", f"Q.{n}", f"quận {n}") for n in (1, 3, 4, 5, 6, 7, 8, 10, 11, 12)},
        "Bình Thạnh": ("BT", "Q.Bình Thạnh"), "Gò Vấp": ("GV", "Q.Gò Vấp"), "Phú Nhuận": ("PN", "Q.Phú Nhuận"),
        "Tân Bình": ("TB", "Q.Tân Bình"), "Tân Phú": ("T.Phú", "Q.Tân Phú"), "Bình Tân": ("B.Tân", "Q.Bình Tân"),
        "Thủ Đức": ("TĐ", "TP Thủ Đức"),
    },
    "Hà Nội": {
        "Cầu Giấy": ("CG", "Q.Cầu Giấy"), "Đống Đa": ("ĐĐ", "Q.Đống Đa"), "Ba Đình": ("BĐ", "Q.Ba Đình"),
        "Hai Bà Trưng": ("HBT", "Q.Hai Bà Trưng"), "Thanh Xuân": ("TX", "Q.Thanh Xuân"),
        "Hoàng Mai": ("HM", "Q.Hoàng Mai"), "Hà Đông": ("HĐ", "Q.Hà Đông"), "Long Biên": ("LB", "Q.Long Biên"),
        "Tây Hồ": ("TH", "Q.Tây Hồ"), "Nam Từ Liêm": ("NTL", "Q.Nam Từ Liêm"),
    },
}  # fmt: skip
# Amenity: as typed in a query, and what the listing of a room without it says.
AMENITIES: dict[str, tuple[tuple[str, ...], str]] = {
    "máy lạnh": (("máy lạnh", "điều hòa", "ml"), "không máy lạnh"),
    "wc riêng": (("wc riêng", "vệ sinh riêng", "toilet riêng"), "wc chung"),
    "ban công": (("ban công", "bancol"), "không ban công"),
    "gác lửng": (("gác lửng", "có gác"), "không gác"),
    "bếp riêng": (("bếp riêng", "chỗ nấu ăn"), "không bếp"),
    "máy giặt": (("máy giặt", "có máy giặt"), "không máy giặt"),
    "tủ lạnh": (("tủ lạnh", "có tủ lạnh"), "không tủ lạnh"),
    "thang máy": (("thang máy", "có thang máy"), "không thang máy"),
    "chỗ để xe": (("chỗ để xe", "để xe free"), "không chỗ để xe"),
    "cửa sổ": (("cửa sổ", "có cửa sổ"), "không cửa sổ"),
    "giờ giấc tự do": (("giờ giấc tự do", "giờ tự do"), "đóng cửa 23h"),
    "không chung chủ": (("không chung chủ", "ko chung chủ"), "chung chủ"),
}
FURNITURE = {
    "đầy đủ nội thất": ("đầy đủ nội thất", "full nội thất", "full nt"),
    "nội thất cơ bản": ("nội thất cơ bản", "nt cơ bản"),
    "không nội thất": ("không nội thất", "phòng trống"),
}
TENANTS = {
    "chỉ nữ": ("chỉ nữ", "cho nữ thuê"),
    "nam nữ đều được": ("nam nữ đều được", "nam nữ ở chung"),
    "cho nuôi thú cưng": ("cho nuôi thú cưng", "nuôi mèo được"),
}
_FLOORS = range(1, 7)
_OPENERS = ("Tìm trọ", "Tìm phòng trọ", "Cần thuê phòng", "Phòng trọ", "Mình cần tìm phòng", "Có phòng nào")
_KINDS = ("Phòng trọ", "Cho thuê phòng", "Phòng cho thuê")
MOST_PAIRS = 20_000


@dataclass(frozen=True)
class _Listing:
    """A room; `tenths` is its monthly rent in 100,000 VND, an integer so that equal prices are equal."""

    city: str
    district: str
    tenths: int
    area: int
    amenities: tuple[str, ...]
    furniture: str
    floor: int
    tenants: str
    lacks: tuple[str, ...] = ()

    def text(self, rng: random.Random) -> str:
        details = [*self.amenities, *self.lacks, self.furniture, f"tầng {self.floor}", self.tenants]
        rng.shuffle(details)
        head = f"{rng.choice(_KINDS)} {self.area}m² {self.district}, {self.city}"
        return ", ".join([head, *details, f"giá {self.tenths / 10:g} triệu/tháng"])

    def metadata(self) -> dict[str, str | float]:
        features: dict[str, str | float] = {"city": self.city, "district": self.district, "price": self.tenths / 10}
        features |= {"area": self.area, "amenities": ", ".join(self.amenities)}
        return features | {"furniture": self.furniture, "floor": self.floor, "tenants": self.tenants}


@dataclass(frozen=True)
class _Demand:
    """One thing a query asks for: its type, its words, which rooms have it, and how to make one that has not."""

    type: str
    words: str
    holds: Callable[[_Listing], bool]
    spoil: Callable[[_Listing, random.Random], _Listing]


def generate_pairs(n: int, *, seed: int, hard_negatives: int = 4) -> list[dict[str, Any]]:
    """Invented rental listings, each with a query that no other listing satisfies.

    Every hard negative breaks one or two of the query's demands, and ``type`` says which (what
    concerns the tenants is ``other``); its weight is 0, to be computed by the rule.

    Args:
        n: Pairs, 1 to 20,000.
        seed: Equal seeds give equal pairs.
        hard_negatives: Of each record, 0 to 10.

    Returns:
        Records in the form of the data format, with all features in ``metadata``.

    Raises:
        ValueError: If a number is out of its range.
    """
    if not 1 <= n <= MOST_PAIRS:
        raise ValueError(f"n must be between 1 and {MOST_PAIRS:,}, got {n}")
    if not 0 <= hard_negatives <= 10:
        raise ValueError(f"hard_negatives must be between 0 and 10, got {hard_negatives}")
    rng = random.Random(seed)
    taken: set[str] = set()
    drafts = []
    for listing, demands in _invent(n, rng):
        text = listing.text(rng)
        taken.add(fold(text))
        drafts.append((listing, demands, text))
    return [
        {
            "id": f"{seed}-{number}",
            "query": _query(demands, rng),
            "pos": text,
            "hard_neg": _negatives(listing, demands, hard_negatives, taken, rng),
            "metadata": listing.metadata(),
        }
        for number, (listing, demands, text) in enumerate(drafts, start=1)
    ]


def _invent(n: int, rng: random.Random) -> list[tuple[_Listing, list[_Demand]]]:
    """Rooms, and of each the demands that it alone meets among them."""
    rooms = _rooms(n, rng)
    rivals: dict[str, list[_Listing]] = {}
    for room in rooms:
        rivals.setdefault(room.district, []).append(room)
    return [(room, _demands(room, rivals[room.district], rng)) for room in rooms]


def _rooms(n: int, rng: random.Random) -> list[_Listing]:
    """Rooms of which no two agree in district, rent and area: these three tell any two apart."""
    places = [(city, district) for city, districts in DISTRICTS.items() for district in districts]
    found: dict[tuple[str, int, int], _Listing] = {}
    step = 5
    while len(found) < n:
        city, district = rng.choice(places)
        area = rng.randint(12, 45)
        tenths = step * round((8 + area * rng.uniform(0.8, 2.2)) / step)
        key = (district, tenths, area)
        step = 1 if key in found else 5  # rents come in half millions until those are taken
        amenities = tuple(sorted(rng.sample(list(AMENITIES), rng.randint(2, 5))))
        room = _Listing(
            city=city,
            district=district,
            tenths=tenths,
            area=area,
            amenities=amenities,
            furniture=rng.choice(list(FURNITURE)),
            floor=rng.choice(_FLOORS),
            tenants=rng.choice(list(TENANTS)),
        )
        found.setdefault(key, room)
    return list(found.values())


def _demands(room: _Listing, rivals: Sequence[_Listing], rng: random.Random) -> list[_Demand]:
    """Demands that the room meets and none of its rivals, the rooms of the same district, does."""
    exact = [_price(room, rng), _area(room, rng)]
    loose = [_price_limit(room, rng) if rng.random() < 0.15 else exact[0]]
    loose += [_least_area(room, rng) if rng.random() < 0.15 else exact[1]]
    details = [_amenity(name, rng) for name in room.amenities]
    details += [_furniture(room, rng), _floor(room), _tenants(room, rng)]
    rng.shuffle(details)
    n_wanted = 3 + rng.randint(1, 3)
    demands = [_location(room, rng)]
    for demand in [*loose, *details]:
        demands.append(demand)
        rivals = [rival for rival in rivals if demand.holds(rival)]
        if len(demands) >= n_wanted and len(rivals) == 1:  # the room itself
            return demands
    return [demands[0], *exact, *details[: n_wanted - 3]]  # no two rooms agree in the first three


def _wants(kind: str, words: str, field: str, holds: Callable[[Any], bool], wrong: Sequence[Any]) -> _Demand:
    """A demand on one field: which of its values will do, and some that will not."""
    return _Demand(
        kind,
        words,
        lambda room: holds(getattr(room, field)),
        lambda room, rng: replace(room, **{field: rng.choice(wrong)}),
    )


def _wants_same(kind: str, words: str, field: str, wanted: Any, options: Iterable[Any]) -> _Demand:
    return _wants(kind, words, field, wanted.__eq__, [option for option in options if option != wanted])


def _location(room: _Listing, rng: random.Random) -> _Demand:
    words = rng.choice((room.district, *DISTRICTS[room.city][room.district]))
    if rng.random() < 0.1:
        words += " HCM" if room.city == "TP.HCM" else " HN"
    return _wants_same("location", words, "district", room.district, DISTRICTS[room.city])


def _price(room: _Listing, rng: random.Random) -> _Demand:
    whole, tenth = divmod(room.tenths, 10)
    words = [f"{whole}tr{tenth}", f"{whole}.{tenth}tr", f"{whole},{tenth} triệu", f"giá {whole}.{tenth} triệu"]
    if tenth == 0:
        words = [f"{whole}tr", f"{whole} triệu", f"giá {whole}tr", f"{whole}000k"]
    wrong = [room.tenths + change for change in (-10, 10, 15, 20, 30)]
    return _wants_same("price", rng.choice(words), "tenths", room.tenths, wrong)


def _price_limit(room: _Listing, rng: random.Random) -> _Demand:
    limit = room.tenths // 10 + 1
    words = f"dưới {limit} {rng.choice(('triệu', 'tr'))}"
    wrong = [10 * limit + change for change in (5, 10, 15, 20)]
    return _wants("price", words, "tenths", (10 * limit).__gt__, wrong)


def _area(room: _Listing, rng: random.Random) -> _Demand:
    words = rng.choice(("{}m2", "{} m2", "{}m²", "{}m vuông")).format(room.area)
    return _wants_same("area", words, "area", room.area, [room.area + change for change in (-5, -4, 5, 8, 10)])


def _least_area(room: _Listing, rng: random.Random) -> _Demand:
    least = room.area - room.area % 5
    words = f"từ {least}{rng.choice(('m2', 'm²'))} trở lên"
    return _wants("area", words, "area", least.__le__, [least - change for change in (2, 3, 4)])


def _amenity(name: str, rng: random.Random) -> _Demand:
    words, lack = AMENITIES[name]

    def without(room: _Listing, _: random.Random) -> _Listing:
        rest = tuple(other for other in room.amenities if other != name)
        return replace(room, amenities=rest, lacks=(*room.lacks, lack))

    return _Demand("amenity", rng.choice(words), lambda room: name in room.amenities, without)


def _furniture(room: _Listing, rng: random.Random) -> _Demand:
    return _wants_same("furniture", rng.choice(FURNITURE[room.furniture]), "furniture", room.furniture, FURNITURE)


def _floor(room: _Listing) -> _Demand:
    words = f"{'lầu' if room.city == 'TP.HCM' else 'tầng'} {room.floor}"
    return _wants_same("floor", words, "floor", room.floor, _FLOORS)


def _tenants(room: _Listing, rng: random.Random) -> _Demand:
    return _wants_same("other", rng.choice(TENANTS[room.tenants]), "tenants", room.tenants, TENANTS)


def _query(demands: Sequence[_Demand], rng: random.Random) -> str:
    """The demands as somebody types them: in any order, often without accents or capitals."""
    words = [demand.words for demand in demands]
    rng.shuffle(words)
    text = f"{rng.choice(_OPENERS)} {rng.choice((' ', ', ')).join(words)}"
    text = without_diacritics(text) if rng.random() < 0.4 else text
    return text.lower() if rng.random() < 0.5 else text


def _negatives(
    room: _Listing, demands: Sequence[_Demand], n: int, taken: set[str], rng: random.Random
) -> list[dict[str, Any]]:
    """Rooms like the given one that break one or two demands each, in turn, in words that no listing uses."""
    order = [demands[0], *rng.sample(demands[1:], len(demands) - 1)]
    found: list[dict[str, Any]] = []
    while len(found) < n:
        first = order[len(found) % len(order)]
        others = [demand for demand in order if demand.type != first.type]
        broken = [first, rng.choice(others)] if rng.random() < 0.25 else [first]
        near = room
        for demand in broken:
            near = demand.spoil(near, rng)
        text = near.text(rng)
        if fold(text) not in taken:
            taken.add(fold(text))
            found.append({"text": text, "type": [demand.type for demand in broken], "weight": 0})
    return found
