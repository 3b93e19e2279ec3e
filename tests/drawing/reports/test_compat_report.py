"""The sentences about an index, whole."""

import math
from dataclasses import replace

import pytest

from embviz_callback.analysis.metrics.resampling import Estimate
from embviz_callback.analysis.ship.compatibility import Cell, Compatibility, Kinship
from embviz_callback.analysis.verdict.losses import KEPT, LOST, UNDECIDED, Loss
from embviz_callback.drawing.reports.comparisons.compat_report import compat_aside, compat_json, compat_sentence


def loss(value: float, outcome: str) -> Loss:
    return Loss("mrr", 0.01, value, value - 0.004, value + 0.004, outcome)


RELATED = Kinship(n=500, same=0.9, other=0.1, found=470, most_found=0.96, turned=0.96, is_equal=False, chance=0.0)
FOUND = Compatibility(
    metric="mrr",
    cells=(
        Cell("old", "old", 0.83, None),
        Cell("old", "new", 0.82, loss(0.01, UNDECIDED)),
        Cell("new", "old", 0.827, loss(0.003, KEPT)),
        Cell("new", "new", 0.85, loss(-0.02, KEPT)),
    ),
    kinship=RELATED,
    threshold=0.6,
    becomes=Estimate(0.604, 0.59, 0.61),
    least_shift=0.01,
    similarity="cosine",
    sizes=(256, 256),
    n_queries=500,
    n_pool=20_000,
)


def upgraded(value: float, outcome: str, **changes: object) -> Compatibility:
    cells = (*FOUND.cells[:2], Cell("new", "old", 0.83 - value, loss(value, outcome)), FOUND.cells[3])
    return replace(FOUND, cells=cells, **changes)  # type: ignore[arg-type]


_CHANGE = "new queries in the old index change MRR by {} against the old model, a loss of 0.010 is allowed"
_KEPT = _CHANGE.format("-0.003 (-0.007 to +0.001)")


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (FOUND, f"Compatible: {_KEPT}; threshold 0.60 stays"),
        (
            replace(FOUND, becomes=Estimate(0.71, 0.70, 0.72)),
            f"Compatible after a threshold shift: {_KEPT}; threshold 0.60 becomes 0.71 (0.70 to 0.72), from which as"
            " many documents are shown",
        ),
        (replace(FOUND, becomes=Estimate(0.71, 0.59, 0.80)), f"Compatible: {_KEPT}; threshold 0.60 stays"),
        (
            replace(FOUND, becomes=Estimate(math.nan)),
            f"Compatible: {_KEPT}; no threshold can be translated, all documents lie on one side of 0.60",
        ),
        (
            replace(FOUND, kinship=replace(RELATED, is_equal=True)),
            "Compatible: the documents have the same vectors under both, nothing need be indexed again; "
            f"{_KEPT}; threshold 0.60 stays",
        ),
        (upgraded(0.008, UNDECIDED), f"Cannot tell at 500 queries: {_CHANGE.format('-0.008 (-0.012 to -0.004)')}"),
        (
            upgraded(0.12, LOST),
            f"Incompatible, index every document again: {_CHANGE.format('-0.120 (-0.124 to -0.116)')}, although the"
            " spaces are related. Of 500 documents the new vector of 470 has its own old one nearest, by chance 1"
            " would",
        ),
        (
            upgraded(0.12, LOST, kinship=replace(RELATED, n=6, found=2, most_found=0.78, chance=0.26, turned=0.3)),
            f"Incompatible, index every document again: {_CHANGE.format('-0.120 (-0.124 to -0.116)')}; too few"
            " documents to tell whether the spaces are related. Of 6 documents the new vector of 2 has its own old one"
            " nearest, by chance 1 would",
        ),
        (replace(FOUND, threshold=math.nan), f"Compatible: {_KEPT}; no threshold was given to be translated"),
        (
            upgraded(0.82, LOST, kinship=replace(RELATED, found=1, most_found=0.01, chance=0.63)),
            "Incompatible, index every document again: the spaces are unrelated. Of 500 documents the new vector of 1"
            " has its own old one nearest, by chance 1 would; turned to fit half of the documents, 96.0 % of the others"
            f" do: the spaces are alike but for a turn; {_CHANGE.format('-0.820 (-0.824 to -0.816)')}",
        ),
        (
            replace(FOUND, cells=(FOUND.cells[0], FOUND.cells[3]), kinship=None, sizes=(256, 128)),
            "Incompatible, index every document again: the old model gives 256 numbers a text, the new one 128",
        ),
    ],
)
def test_a_sentence_says_what_and_why(found: Compatibility, sentence: str) -> None:
    assert compat_sentence(found) == sentence


def test_the_table_has_two_by_two_cells_and_the_shift_of_the_scale() -> None:
    aside = compat_aside(FOUND)
    assert aside.head == ("queries by", "documents by", "MRR", "change")
    assert aside.rows[0] == ("old", "old", "0.830", "")
    assert aside.rows[2] == ("new", "old", "0.827", "-0.003 (-0.007 to +0.001)")
    assert aside.notes[0].startswith("500 queries ranked among 20,000 documents by the cosine; changes are paired")
    assert aside.notes[2] == (
        "of old documents as many are shown to new queries from 0.604 (0.590 to 0.610) as to old queries from 0.60"
    )


def test_it_is_plain_json() -> None:
    plain = compat_json(replace(FOUND, becomes=Estimate(math.nan)))
    assert (plain["outcome"], plain["reason"], plain["becomes"]["value"]) == ("compatible", "related spaces", None)
