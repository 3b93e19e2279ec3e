"""Identifiers are never read as texts, and short texts are never taken for identifiers."""

import hashlib
import random
import uuid
from collections.abc import Callable

import pytest

from embviz_callback.pairs.formats.identifiers import are_identifiers

_RANDOM = random.Random(7)
_DRAWN = _RANDOM.choices
QUERIES = [f"trọ quận {_RANDOM.randint(1, 12)} giá {_RANDOM.randint(2, 9)}tr {at}m2" for at in range(200)]


def _digest(at: int) -> str:
    return hashlib.sha1(str(at).encode()).hexdigest()


# Each makes the identifier of a place; the number is how many of them are enough.
IDENTIFIERS: dict[str, tuple[int, Callable[[int], str]]] = {
    "uuid": (1, lambda at: str(uuid.UUID(_digest(at)[:32]))),
    "uuid without dashes": (1, lambda at: _digest(at)[:32].upper()),
    "digest": (1, _digest),
    "object of mongo": (1, lambda at: _digest(at)[:24]),
    "whole number": (1, lambda at: str(at * 37 + 11)),
    "number of pandas": (1, lambda at: f"{at}.0"),
    "paragraph of MIRACL": (1, lambda at: f"{at * 31}#{at % 9}"),
    "address": (1, lambda at: f"https://example.org/tin/{at}"),
    "path": (1, lambda at: f"tin/2024/{at}.txt"),
    "file": (1, lambda at: f"tin-{at}.pdf"),
    "doc_12": (1, lambda at: f"doc_{at}"),
    "DOC-12": (1, lambda at: f"DOC-{at}"),
    "d12": (2, lambda at: f"d{at}"),
    "SKU-1012": (1, lambda at: f"SKU-{1000 + at}"),
    "clueweb": (5, lambda at: f"clueweb09-en0000-{at % 99:02d}-{at:05d}"),
    "phong_12": (1, lambda at: f"phong_{at}"),
    "msmarco_passage_01_12": (1, lambda at: f"msmarco_passage_{at % 69:02d}_{at}"),
    "MED-12": (1, lambda at: f"MED-{at}"),
    "FBIS3-12": (20, lambda at: f"FBIS3-{at}"),
    "tin0012": (2, lambda at: f"tin{at:04d}"),
    "asin": (5, lambda at: "B0" + "".join(_DRAWN("0123456789ABCDEFGHJKLMNP", k=8))),
    "video": (5, lambda at: "".join(_DRAWN("0123456789ABCDEFGHabcdefgh_-", k=11))),
    "CORD": (5, lambda at: "".join(_DRAWN("0123456789abcdefghijklmnopqrstuvwxyz", k=8))),
    "short digest": (5, lambda at: _digest(at)[:8]),
}


@pytest.mark.parametrize(("least", "make"), IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_identifiers_are_known_by_their_shape(least: int, make: Callable[[int], str]) -> None:
    named = [make(at) for at in range(200)]
    assert are_identifiers(named[:least], QUERIES)
    assert are_identifiers(named, QUERIES)


def _sku(at: int) -> tuple[str, str]:
    code = f"{''.join(_DRAWN('ABCDEFGH', k=3))}-{1000 + at}"
    return f"mua {code.lower()} giá rẻ", code


def _each(query: str, texts: str) -> list[tuple[str, str]]:
    return [(query, text) for text in texts.split()]


SHORT_TEXTS: dict[str, list[tuple[str, str]]] = {
    "brands": _each("giày chạy bộ", "Nike Adidas 3M H&M 7-Eleven 7Up Puma Asus Xiaomi Forever21"),
    "sites": _each("mua sắm", "tiki.vn shopee.vn booking.com lazada.vn chotot.com Batdongsan"),
    "cities": _each("thủ đô", "Huế Paris Hanoi Saigon Oslo Rome Lima Quito"),
    "districts": [(f"phòng ở quận {at}", f"Q{at}") for at in range(1, 13)],
    "wards": [(f"phòng ở phường {at}", f"P.{at}") for at in range(1, 25)],
    "paper": [("khổ giấy in ảnh", f"{kind}{at}") for kind in "ABC" for at in range(11)],
    "phones": _each("điện thoại chụp ảnh đẹp", "iPhone12 iPhone15 GalaxyS21 GalaxyA54 RedmiNote12"),
    "phones in words": [("điện thoại", f"iPhone {at}") for at in range(4, 17)],
    "catalogue asked for": [_sku(at) for at in range(60)],
    "numbers asked for": [(f"bóng đèn mã {at * 97}", str(at * 97)) for at in range(40)],
    "vitamins": _each("vitamin tan trong dầu", "A B1 B2 B6 B12 C D2 D3 E K1 K2"),
    "formulas": _each("nước, muối", "H2O NaCl CO2 C6H12O6 NH3 H2SO4 CH4 O2"),
    "models": _each("mô hình ngôn ngữ", "GPT-2 GPT-3 GPT-4 BERT T5 Llama-3 resnet_50 vgg_16"),
    "aircraft": [("máy bay chiến đấu", f"F-{at}") for at in (4, 5, 14, 15, 16, 18, 22, 35)],
    "diseases": [("bệnh hô hấp", text) for text in ("COVID-19", "H1N1", "H5N1", "SARS", "MERS")],
    "one disease": [("bệnh hô hấp", "COVID-19")],
    "airports": _each("sân bay", "SGN HAN DAD CXR PQC HPH VCA"),
    "prices": [("giá thuê", f"{at}tr") for at in range(1, 30)],
    "areas": [("diện tích", f"{at}m2") for at in range(12, 40)],
    "functions": _each("đọc tệp", "read_csv read_json to_csv open print len load_dataset utf8_decode"),
    "hashtags": _each("chủ đề", "#covid19 #tết2024 #hanoi #dulich"),
    "dates": [("ngày lễ", f"{at}/4/2024") for at in range(1, 29)] + [("ngày", "2024-04-30")],
    "times": [("giờ mở cửa", f"{at}:30") for at in range(24)],
    "words": _each("trái nghĩa", "nóng lạnh cao thấp đẹp xấu deadbeef facade"),
    "streets": [("đường", f"QL1A QL{at}".split()[at % 2]) for at in range(1, 19)],
    "acronyms": _each("giao thức", "TCP/IP HTTP/2 AC/DC I/O and/or km/h"),
    "technology": _each("web", "Node.js Vue.js ASP.NET C++ C# F# .NET Web3"),
    "packages": _each("thư viện", "numpy==1.26 torch==2.1 pandas>=2 lxml"),
}


@pytest.mark.parametrize("pairs", SHORT_TEXTS.values(), ids=SHORT_TEXTS)
def test_short_texts_are_no_identifiers(pairs: list[tuple[str, str]]) -> None:
    queries, texts = zip(*pairs, strict=True)
    assert not are_identifiers(texts, queries)
