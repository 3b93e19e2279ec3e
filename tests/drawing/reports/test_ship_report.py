"""The sentences of the ship sheet, each on both sides of its boundary."""

import numpy as np

from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.ship.codes import BINARY, FLOAT32, INT8
from embviz_callback.analysis.ship.sheet import Setting, Sheet, judged
from embviz_callback.drawing.reports.asides import asides_report
from embviz_callback.drawing.reports.ship_report import sheet_json, ship_aside, ship_sentence


def planted(int8: float, binary: float, *, n: int = 1000, model: str = "best.pt") -> Sheet:
    """int8 with 128 of 256 dimensions and binary with a second look, which lose so much of MRR."""
    measured = [(Setting("best.pt", 256, 256, FLOAT32), {"mrr": np.ones(n)})]
    for setting, loss in ((Setting(model, 256, 128, INT8), int8), (Setting(model, 256, 256, BINARY, True), binary)):
        values = np.ones(n)
        values[: round(10 * loss * n)] -= 0.1
        measured.append((setting, {"mrr": values}))
    return judged(measured, {"mrr": 0.01}, Sampling(np.arange(n)), n_pool=2000)


def test_the_smallest_is_named_with_its_size_and_what_it_changes() -> None:
    assert ship_sentence(planted(0.001, 0.05)) == (
        "The smallest that is not worse by more than 0.010 of MRR: 128 dimensions truncated from 256 in int8, 128 MB"
        " per million documents instead of 1,024 MB; MRR -0.001 (-0.002 to 0.000)"
    )
    assert ship_sentence(planted(0.001, 0.001)) == (
        "The smallest that is not worse by more than 0.010 of MRR: 256 dimensions as trained in binary, the first 40"
        " looked at again in float32, 32 MB per million documents and 1,024 MB beside them for the second look instead"
        " of 1,024 MB; MRR -0.001 (-0.002 to 0.000)"
    )


def test_what_cannot_be_told_is_said_with_the_number_of_queries() -> None:
    cannot = "Cannot tell at 100 queries whether any smaller setting is not worse by more than 0.010 of MRR"
    assert ship_sentence(planted(0.0, 0.05, n=100)) == cannot
    assert ship_sentence(planted(0.0099, 0.05)) == cannot.replace("100 queries", "1,000 queries")


def test_that_every_setting_is_worse_is_said_only_where_each_is_shown_to_be() -> None:
    assert ship_sentence(planted(0.05, 0.05)) == "None: every smaller setting loses more than 0.010 of MRR"


def test_several_models_are_told_apart() -> None:
    aside = ship_aside(planted(0.001, 0.05, model="small.pt"))
    assert "small.pt, 128 dimensions truncated from 256 in int8" in aside.sentence
    assert aside.head[0] == "model"
    assert [row[0] for row in aside.rows] == ["best.pt", "small.pt", "small.pt"]


def test_the_table_is_the_same_in_a_terminal_and_in_the_report() -> None:
    aside = ship_aside(planted(0.001, 0.05))
    text = asides_report("Ship sheet: best.pt", [aside])
    assert "| dimensions | precision | second look | MB per million | MRR | change | outcome |" in text
    row = ("256 as trained", "binary", "float32, first 40", "32 + 1,024", "0.950", "-0.050 (-0.053 to -0.047)", "worse")
    assert f"| {' | '.join(row)} |" in text
    assert aside.rows[2] == row
    assert all(cell in aside.lines()[3] for cell in row)
    assert "int8 ranks by the inner product of the signed codes as they are" in text


def test_the_sheet_is_plain_json() -> None:
    plain = sheet_json(planted(0.001, 0.05))
    assert plain["smallest"] == {
        "model": "best.pt",
        "own_dim": 256,
        "dim": 128,
        "precision": "int8",
        "is_rescored": False,
        "similarity": "cosine",
        "bytes": 128,
        "bytes_of_second_look": 0,
    }
    assert [one["outcome"] for one in plain["settings"]] == ["reference", "not worse", "worse"]
    assert planted(0.05, 0.05).smallest is None
    assert sheet_json(planted(0.05, 0.05))["smallest"] is None
