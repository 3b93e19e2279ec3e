"""The data check: flaws of a text, findings in files, false negatives per batch, the mended file."""

import json
import random
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.pairs.check.checkup import KINDS, Demands, check
from embviz_callback.pairs.check.disagreement import agree
from embviz_callback.pairs.check.findings import Checkup, Finding, expected_collisions
from embviz_callback.pairs.check.mending import mend
from embviz_callback.pairs.check.raw import Place, RawPairs, raw_records, read_raw
from embviz_callback.pairs.flaws import flaws, is_placeholder, mended, words_key
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.texts import fold
from embviz_callback.pairs.weight_rule import WeightRule

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "rental"


def source(*items: Any, name: str = "train.json") -> RawPairs:
    return RawPairs(name, items)


def pair(query: str = "phòng Quận 1", pos: Any = "Phòng trọ Quận 1", **rest: Any) -> dict[str, Any]:
    return {"query": query, "pos": pos, **rest}


def hard(text: str, kind: str = "price", weight: float = 2.0) -> dict[str, Any]:
    return {"text": text, "type": kind, "weight": weight}


def kinds(checkup: Checkup) -> dict[str, int]:
    return {finding.kind: len(finding.places) for finding in checkup.findings}


def finding_of(checkup: Checkup, kind: str) -> Finding | None:
    return next((finding for finding in checkup.findings if finding.kind == kind), None)


def places(checkup: Checkup, kind: str) -> set[tuple[str, int, str]]:
    finding = finding_of(checkup, kind)
    return {(place.file, place.record, place.field) for place in finding.places} if finding else set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Phòng trọ 25m², giá 5tr", ()),
        ("", ("blank",)),
        ("\u200b \ufeff", ("blank",)),
        ("{pos}", ("placeholder",)),
        ("Phòng {{district}} giá 5tr", ("placeholder",)),
        ("Phòng ${district} giá 5tr", ("placeholder",)),
        ("Phòng %(district)s giá 5tr", ("placeholder",)),
        ("<text>", ("placeholder",)),
        ("N/A", ("placeholder",)),
        ("---", ("placeholder",)),
        ("phòng", ("one_word",)),
        ("Phòng trọ\u200b 25m²", ("zero_width",)),
        (unicodedata.normalize("NFD", "Phòng trọ"), ("not_nfc",)),
        ("Phòng tr\x00ọ", ("control_character",)),
        ("Phòng tr\ufffd", ("damaged",)),
        ("nhà 👨\u200d👩\u200d👧 ở", ()),
        ("giá <5tr> [gần chợ]", ()),
    ],
)
def test_flaws_of_a_text_are_named(text: str, expected: tuple[str, ...]) -> None:
    assert flaws(text) == expected


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40))
def test_a_mended_text_has_nothing_left_to_mend_and_still_means_the_same(text: str) -> None:
    better = mended(text)
    assert mended(better) == better
    assert not set(flaws(better)) & {"not_nfc", "zero_width", "control_character"}


def test_word_keys_see_through_accents_punctuation_and_order() -> None:
    assert words_key("Phòng 25m², Quận 3") == words_key("phong quan 3 25m2")
    assert words_key("giá 3.5tr") != words_key("giá 5tr 3")


def test_every_single_flaw_is_found_at_its_place() -> None:
    items = [
        pair("tìm phòng A", "Phòng trọ A", hard_neg=[hard("Phòng trọ A")]),
        pair("tìm phòng B", "{pos}"),
        pair("tìm phòng C", ["Phòng trọ C", ""]),
        {"query": "tìm phòng D"},
        pair("phòng", "Phòng trọ E", hard_neg=[{"text": "Phòng trọ F", "type": "colour"}, "Phòng trọ G"]),
        pair("tìm phòng H", "tìm phòng H", hard_neg=[hard("Phòng I J"), hard("phòng i j")]),
        "no object",
    ]
    found = check(source(*items))
    assert places(found, "contradiction") == {("train.json", 1, ".hard_neg[0]")}
    assert places(found, "placeholder") == {("train.json", 2, ".pos")}
    assert places(found, "blank") == {("train.json", 3, ".pos[1]")}
    assert places(found, "unreadable") == {("train.json", 4, ""), ("train.json", 7, "")}
    assert places(found, "one_word") == {("train.json", 5, ".query")}
    assert places(found, "unknown_type") == {("train.json", 5, ".hard_neg[0].type")}
    assert places(found, "no_type") == {("train.json", 5, ".hard_neg[1]")}
    assert places(found, "no_weight") == {
        ("train.json", 5, ".hard_neg[0].weight"),
        ("train.json", 5, ".hard_neg[1].weight"),
    }
    assert places(found, "own_answer") == {("train.json", 6, ".query")}
    assert places(found, "repeated_hard_negative") == {("train.json", 6, ".hard_neg[1]")}
    assert not found.is_clean


def test_clean_pairs_are_clean() -> None:
    found = check(source(pair("tìm phòng A", "Phòng trọ A 5tr", hard_neg=[hard("Phòng trọ A 7tr")])))
    assert found.is_clean
    assert found.findings == ()


def test_a_positive_of_another_record_of_the_query_is_a_contradiction_too() -> None:
    first = pair("tìm phòng A", "Phòng trọ một")
    second = pair("TÌM  phòng a", "Phòng trọ hai", hard_neg=[hard("phòng trọ MỘT")])
    finding = finding_of(check(source(first, second)), "contradiction")
    assert finding is not None
    assert finding.places == (
        Place("train.json", 2, ".hard_neg[0]", "phòng trọ MỘT", "a positive of another record of the query"),
    )


def test_a_type_that_the_users_own_rule_knows_is_not_unknown() -> None:
    item = pair(hard_neg=[hard("Phòng trọ Quận 2", "requirement")])
    rule = WeightRule(base={"requirement": 1.0, "other": 0.5})
    assert kinds(check(source(item))) == {"unknown_type": 1}
    assert kinds(check(source(item), None, Demands(rule=rule))) == {}


def test_leaks_are_named_by_what_they_give_away() -> None:
    train = source(
        pair("câu hỏi một", "tài liệu một"),
        pair("câu hỏi hai", "tài liệu hai", hard_neg=[hard("tài liệu bảy")]),
        pair("câu hỏi ba, nhé", "tài liệu ba"),
    )
    validation = source(
        pair("CÂU hỏi một", "tài  liệu một"),
        pair("câu hỏi hai", "tài liệu khác hẳn"),
        pair("câu hỏi mới", "tài liệu hai"),
        pair("cau hoi nhe ba", "tài liệu tám"),
        pair("câu hỏi chín", "tài liệu bảy"),
        pair("câu hỏi mười", "tài liệu mười"),
        name="val.json",
    )
    found = check(train, validation)
    assert places(found, "leaked_pair") == {("val.json", 1, ".pos")}
    assert places(found, "leaked_query") == {("val.json", 2, ".query")}
    assert places(found, "leaked_document") == {("val.json", 3, ".pos")}
    assert places(found, "near_leak") == {("val.json", 4, ".query")}
    assert places(found, "seen_as_negative") == {("val.json", 5, ".pos")}


def _extract(text: str) -> Mapping[str, str | float]:
    found: dict[str, str | float] = {}
    for word in text.split():
        if word.startswith("Q"):
            found["district"] = word
        if word.endswith("tr"):
            found["price"] = float(word[:-2])
    return found


def test_statements_that_disagree_are_found_by_the_users_extractor() -> None:
    items = [
        pair("phòng Q1 5tr", "Phòng trọ Q1 5.5tr", hard_neg=[hard("Phòng trọ Q1 8tr"), hard("Phòng trọ gác Q1 5.5tr")]),
        pair("phòng Q1 5tr", "Phòng trọ Q3 5tr"),
        pair("phòng Q1 5tr", "Phòng trọ Q1 9tr"),
        pair("phòng Q1", "Phòng trọ 9tr"),
        pair("phòng Q1 5tr", "Phòng trọ Q3 9tr"),
    ]
    found = check(source(*items), None, Demands(extract=_extract, compare=("district", "price")))
    finding = finding_of(found, "disagreement")
    assert finding is not None
    assert [(place.record, place.other) for place in finding.places] == [
        (2, "district: Q1 asked, Q3 in .pos"),
        (3, "price: 5 asked, 9 in .pos"),
        (5, "district: Q1 asked, Q3 in .pos; price: 5 asked, 9 in .pos"),
    ]
    assert places(found, "idle_type") == {("train.json", 1, ".hard_neg[1]")}


def test_values_of_different_kinds_do_not_agree() -> None:
    assert not agree("5", 5.0, 0.25)
    assert agree(("wc", "gác"), ["Gác", "WC"], 0.0)


def test_what_a_model_does_not_read_is_shown() -> None:
    def reach(texts: Sequence[str]) -> list[tuple[int, int]]:
        return [(len(text.split()), len(" ".join(text.split()[:3]))) for text in texts]

    long = "một hai ba" + " bốn" * 100
    items = [pair("một hai ba", "một hai ba bốn năm"), pair("một hai", long)]
    finding = finding_of(check(source(*items), None, Demands(reach=reach)), "too_long")
    assert finding is not None
    assert finding.places == (
        Place("train.json", 1, ".pos", "một hai ba bốn năm", "5 tokens; cut off: ' bốn năm'"),
        Place("train.json", 2, ".pos", long, f"103 tokens; cut off: '{' bốn' * 15}…'"),
    )


def _shared_documents(draw: np.random.Generator, n: int, n_documents: int) -> list[dict[str, Any]]:
    rows = draw.integers(0, n_documents, n)
    extra = draw.integers(0, n_documents, n)
    return [
        pair(f"câu hỏi {at}", f"tài liệu {row}", hard_neg=[hard(f"tài liệu {other}")] if other != row else [])
        for at, (row, other) in enumerate(zip(rows, extra, strict=True))
    ]


def test_expected_false_negatives_equal_their_mean_over_simulated_batches() -> None:
    draw = np.random.default_rng(3)
    seen = raw_records(source(*_shared_documents(draw, 60, 12)))
    found = expected_collisions(seen, batch_size=16)
    document = np.array([fold(raw.positives[0][1]) for raw in seen])
    negative = np.array([fold(raw.negatives[0].text) if raw.negatives else "" for raw in seen])
    totals, hards, anchors = [], [], []
    for _ in range(4000):
        batch = draw.choice(60, 16, replace=False)
        same = (document[batch][:, None] == document[batch][None, :]) & ~np.eye(16, dtype=bool)
        totals.append(same.sum())
        anchors.append(same.any(axis=1).sum())
        hards.append(((document[batch][:, None] == negative[batch][None, :]) & ~np.eye(16, dtype=bool)).sum())
    assert found.expected == pytest.approx(np.mean(totals), rel=0.02)
    assert found.expected_hard == pytest.approx(np.mean(hards), rel=0.02)
    assert found.anchors == pytest.approx(np.mean(anchors), rel=0.02)
    assert found.share == pytest.approx(found.anchors / 16)


def test_expected_false_negatives_by_hand() -> None:
    # Two of four pairs share a document; both are in a batch of two with probability 1/6.
    items = [pair(f"câu hỏi {at}", f"tài liệu {min(at, 2)}") for at in range(4)]
    found = expected_collisions(raw_records(source(*items)), batch_size=2)
    assert found.expected == pytest.approx(2 / 6)
    assert found.anchors == pytest.approx(2 / 6)
    whole = expected_collisions(raw_records(source(*items)), batch_size=100)
    assert (whole.batch_size, whole.expected, whole.anchors) == (4, 2.0, 2.0)


def test_an_impossible_batch_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        expected_collisions((), batch_size=0)
    assert str(error.value) == "batch_size must be at least 1, got 0"


def _planted(seed: int) -> tuple[RawPairs, RawPairs, dict[str, set[tuple[str, int]]]]:
    """400 training and 200 validation records with 5 % of each flaw planted."""
    draw = random.Random(seed)
    train = [pair(f"tìm phòng số {at}", f"Phòng trọ số {at}", hard_neg=[hard(f"Phòng gác {at}")]) for at in range(400)]
    held = [pair(f"tìm nhà số {at}", f"Nhà trọ số {at}") for at in range(200)]
    contradictory, leaked, unfilled = (draw.sample(range(size), size // 20) for size in (400, 200, 400))
    for at in contradictory:
        train[at]["hard_neg"].append(hard(f"  phòng TRỌ số {at}"))
    for at in leaked:
        held[at] = dict(train[draw.choice([one for one in range(400) if one not in unfilled])])
        held[at].pop("hard_neg")
    for at in unfilled:
        train[at]["query"] = "{query}"
    planted = {
        "contradiction": {("train.json", at + 1) for at in contradictory},
        "leaked_pair": {("val.json", at + 1) for at in leaked},
        "placeholder": {("train.json", at + 1) for at in unfilled},
    }
    return source(*train), source(*held, name="val.json"), planted


@pytest.mark.parametrize("seed", range(3))
def test_planted_contradictions_leaks_and_placeholders_are_all_found_and_nothing_else(seed: int) -> None:
    train, validation, planted = _planted(seed)
    found = check(train, validation)
    for kind, expected in planted.items():
        assert {(file, record) for file, record, _ in places(found, kind)} == expected, kind


def _flawed() -> RawPairs:
    return source(
        pair("tìm  phòng A", unicodedata.normalize("NFD", "Phòng trọ A"), id="one", mine={"kept": [1]}),
        pair(
            "tìm phòng B", "Phòng trọ\u200b B", hard_neg=[hard("phòng trọ b"), hard("Phòng 7tr", weight=0), "Phòng gác"]
        ),
        pair(
            "tìm phòng B", "Phòng trọ\u200b B", hard_neg=[hard("phòng trọ b"), hard("Phòng 7tr", weight=0), "Phòng gác"]
        ),
        pair("tìm phòng C", "{pos}"),
        pair("tìm phòng D", ["Phòng trọ D", ""], hard_neg=[hard("Phòng hai"), hard("PHÒNG hai"), hard("N/A")]),
        {"query": "tìm phòng E"},
        pair("", "Phòng trọ F"),
    )


def test_the_mended_file_is_free_of_all_that_can_be_mended() -> None:
    left = mend(_flawed())
    after = check(source(*left.items))
    assert [finding.kind for finding in after.findings if finding.is_fixable] == []
    assert after.is_clean
    assert len(records_from(left.items)) == 3


def test_mending_says_what_it_did_and_keeps_what_it_does_not_know() -> None:
    left = mend(_flawed())
    assert left.items[0]["mine"] == {"kept": [1]}
    assert left.items[0]["pos"] == "Phòng trọ A"
    assert left.items[1]["hard_neg"] == [
        {"text": "Phòng 7tr", "type": "price", "weight": 2.0},
        {"text": "Phòng gác", "weight": 0.5},
    ]
    done = [(change.record, change.field, change.kind) for change in left.changes]
    assert done == [
        (1, ".pos", "text"),
        (2, ".pos", "text"),
        (2, ".hard_neg[0]", "contradiction"),
        (2, ".hard_neg[0].weight", "no_weight"),
        (2, ".hard_neg[1].weight", "no_weight"),
        (3, ".pos", "text"),
        (3, ".hard_neg[0]", "contradiction"),
        (3, "", "duplicate_record"),
        (4, "", "placeholder"),
        (5, ".pos[1]", "blank"),
        (5, ".hard_neg[2]", "placeholder"),
        (5, ".hard_neg[1]", "repeated_hard_negative"),
        (6, "", "unreadable"),
        (7, "", "blank"),
    ]


def test_mending_leaves_the_source_as_it_was_and_is_done_after_one_pass() -> None:
    before = json.dumps(_flawed().items)
    given = _flawed()
    left = mend(given)
    assert json.dumps(given.items) == before
    assert mend(source(*left.items)).changes == ()


def test_held_out_texts_leave_the_training_file() -> None:
    train = source(pair("một hai", "ba bốn"), pair("năm sáu", "bảy tám"))
    left = mend(train, held_out=["BA  bốn"])
    assert [item["query"] for item in left.items] == ["năm sáu"]


def test_every_kind_of_finding_has_a_level_a_title_and_a_remedy() -> None:
    for kind, (level, title, fix) in KINDS.items():
        assert level in {"wrong", "suspect", "note"}, kind
        assert title, kind
        assert fix, kind


def test_a_finding_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        Finding("blank", "wrong", "texts are blank", "write them", ())
    assert str(error.value) == "a finding needs a place, 'blank' has none"
    with pytest.raises(ValueError) as error:
        Finding("blank", "bad", "texts are blank", "write them", (Place("a", 1),))
    assert str(error.value) == "level must be one of wrong, suspect, note, got 'bad'"


def test_the_checkup_is_plain_json() -> None:
    train, validation, _ = _planted(0)
    plain = check(train, validation).as_dict()
    assert json.loads(json.dumps(plain)) == plain


def test_words_alone_are_no_placeholder() -> None:
    assert not is_placeholder("Phòng có {2} giường")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real rental files are not beside this checkout")
def test_real_files_leak_and_have_an_unknown_type() -> None:
    found = check(read_raw(REAL / "new-data-set-1.json"), read_raw(REAL / "test-data-set-1.json"))
    assert kinds(found) == {
        "leaked_query": 32,
        "leaked_document": 13,
        "leaked_pair": 10,
        "unknown_type": 811,
        "near_leak": 32,
        "no_weight": 7581,
        "same_query": 53,
        "same_document": 20,
        "other_spelling": 6,
    }
    unknown = finding_of(found, "unknown_type")
    assert unknown is not None
    assert {place.text for place in unknown.places} == {"requirement"}
