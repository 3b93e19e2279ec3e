import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.verdict.diagnosis import diagnose
from embviz_callback.grammar import agreeing, counted
from embviz_callback.pairs.check.checkup import KINDS

PLURAL_WORDS = r"\b(are|have|were|do|stand|repeat|texts|records|queries|hard negatives|pairs)\b"


def test_words_agree_with_their_number() -> None:
    assert [counted(n, "query") for n in (0, 1, 2, 1200)] == ["0 queries", "1 query", "2 queries", "1,200 queries"]
    assert counted(1, "hard negative[s] [have|has] no type") == "1 hard negative has no type"
    assert counted(2, "[queries equal their|query equals its] own positive") == "2 queries equal their own positive"
    assert agreeing(1, "record[s] repeat[|s] another") == "record repeats another"


@given(st.integers(2, 10**9))
def test_only_one_is_singular(count: int) -> None:
    assert counted(count, "text[s] [are|is] blank") == f"{count:,} texts are blank"


@pytest.mark.parametrize("title", [title for _, title, _ in KINDS.values()])
def test_every_finding_of_the_data_check_has_a_singular(title: str) -> None:
    one, several = agreeing(1, title), agreeing(2, title)
    assert not re.search(PLURAL_WORDS, one.partition(" a positive of")[0]), one
    assert one != several
    assert not set("[]|") & {*one, *several}


def test_a_diagnosis_counts_in_the_singular_too() -> None:
    said = diagnose(Metrics({"margin": 0.1, "rank1": 0.1}, n_queries=1, n_documents=1))
    assert said.reason == "1 query and 1 document are too few"
    said = diagnose(Metrics({"margin": 0.1, "rank1": 0.1}, n_queries=1, n_documents=1, non_finite=1, zero=1))
    assert said.reason == "1 row is not finite and 1 has no length, hard negatives included"
