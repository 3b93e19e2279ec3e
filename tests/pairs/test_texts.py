import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.pairs import texts
from embviz_callback.pairs.texts import clean, fold, is_blank, without_diacritics


def test_texts_that_differ_in_composition_case_and_spaces_are_one() -> None:
    decomposed = unicodedata.normalize("NFD", "Phòng trọ Quận 10")
    assert fold(f"  {decomposed.upper()}\u00a0") == fold("phòng\n trọ  quận 10")


def test_texts_that_differ_in_a_letter_a_tone_or_a_word_stay_two() -> None:
    different = ["trọ 5tr", "trọ 6tr", "tro 5tr", "trọ, 5tr"]
    assert len({fold(text) for text in different}) == 4


def test_sharp_s_folds_like_ss() -> None:
    assert fold("Straße") == fold("STRASSE") == "strasse"


def test_a_text_of_any_length_folds_alike_and_long_ones_are_not_kept() -> None:
    long = "PHÒNG  trọ " * 10_000
    kept = texts._kept_fold.cache_info().currsize
    assert fold(long) == " ".join(["phòng trọ"] * 10_000)
    assert texts._kept_fold.cache_info().currsize == kept
    assert {fold("TRỌ " * count) == " ".join(["trọ"] * count) for count in range(125, 132)} == {True}


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_a_fold_is_its_own_fold(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_all_normal_forms_of_a_text_fold_alike(text: str) -> None:
    assert fold(unicodedata.normalize("NFC", text)) == fold(unicodedata.normalize("NFD", text)) == fold(text)


def test_cleaning_replaces_what_no_output_can_hold_and_nothing_else() -> None:
    assert clean("a\x00b\ud800c\x1fd\x9fe") == "a\ufffdb\ufffdc\ufffdd\ufffde"
    assert clean("a\tb\r\nc\nd\u2028e") == "a b c d e"
    kept = "  Trọ $\\frac{$ 😀 \u200b phòng  "
    assert clean(kept) == kept


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters()))
def test_a_cleaned_text_can_be_written_as_utf8_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize("text", ["", "  \n", "\u200b\u200d\ufeff", "\u3164", "\u0301", "\ufffd\ufffd", "\u2800"])
def test_what_shows_nothing_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "5", "?", "😀", "\u200bx", "ọ", "房"])
def test_what_shows_something_is_not_blank(text: str) -> None:
    assert not is_blank(text)


def test_without_diacritics_text_reads_as_typed_on_a_plain_keyboard() -> None:
    assert without_diacritics("Tìm trọ Đống Đa, giá 5,5 triệu") == "Tim tro Dong Da, gia 5,5 trieu"
    assert without_diacritics("ไม่มี") == "ไม่มี"  # marks of other scripts are letters, not accents
