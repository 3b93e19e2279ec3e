import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs import make_metrics
from embviz_callback.analysis.metrics.catalogue import (
    CATALOGUE,
    HARD,
    HEADLINE,
    RANKS,
    SCORE,
    SHARE,
    by_tier,
    charts,
    shown,
)
from embviz_callback.analysis.metrics.numbers import Metrics, evaluate_pairs
from embviz_callback.delivery.run.history import HistoryRow, epoch_table
from embviz_callback.drawing.wording import change, interval, measured

CAPPED = [name for name, row in CATALOGUE.items() if row.unit in (SHARE, SCORE)]


def evaluated() -> Metrics:
    rng = np.random.default_rng(0)
    query, document = rng.normal(size=(40, 8)), rng.normal(size=(40, 8))
    return evaluate_pairs(
        query,
        query + document,
        np.arange(40),
        hard_negatives=rng.normal(size=(40, 8)),
        hard_pairs=np.stack([np.arange(40)] * 2, axis=1),
        draws=50,
    )


def test_an_evaluation_has_every_metric_of_the_catalogue_in_its_order() -> None:
    metrics = evaluated()
    assert list(metrics) == list(CATALOGUE)
    assert {name: getattr(metrics, name) for name in CATALOGUE} == dict(metrics)


def test_what_gets_an_interval_is_what_the_catalogue_says() -> None:
    assert list(evaluated().intervals) == [name for name, row in CATALOGUE.items() if row.has_interval]


def test_the_row_stands_on_the_class_and_its_value_on_the_evaluation() -> None:
    assert Metrics.margin is CATALOGUE["margin"]
    assert Metrics({"margin": 0.3}).margin == 0.3


@pytest.mark.slow
def test_a_metric_that_does_not_exist_is_an_error_of_the_type_check(tmp_path: Path) -> None:
    program = tmp_path / "mistyped.py"
    program.write_text(
        "from embviz_callback import Metrics\n\n\ndef read(metrics: Metrics) -> tuple[float, float]:\n"
        "    return metrics.recall_at_10, metrics.recal_at_10\n"
    )
    # Only our own types are in question; torch's would take a minute.
    skipped = (
        "[mypy]\nignore_missing_imports = true\n[mypy-embviz_callback.*]\nignore_errors = true\n"
        "[mypy-torch.*,pytorch_lightning.*,lightning.*,transformers.*]\nfollow_imports = skip\n"
    )
    (tmp_path / "mypy.ini").write_text(skipped)
    command = [sys.executable, "-m", "mypy", "--config-file", tmp_path / "mypy.ini", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert '"Metrics" has no attribute "recal_at_10"' in done.stdout
    assert "Found 1 error in 1 file" in done.stdout


def test_the_headline_is_what_the_contract_lists() -> None:
    means = {"positive_mean", "negative_mean", "margin", "separation", "auc", "hard_margin", "hard_accuracy"}
    assert set(shown(HEADLINE)) == means | {
        "rank1",
        "mrr",
        "recall_at_10",
        "ndcg_at_10",
        "hard_margin",
        "hard_accuracy",
    }
    assert shown(HEADLINE)[:3] == ("margin", "separation", "rank1")
    assert shown(HEADLINE, HARD) == ("hard_margin", "hard_accuracy")


def test_what_a_reader_meets_first_stands_first_and_a_foreign_name_nowhere() -> None:
    assert by_tier(["hubness", "no_such", "rank1", "auc", "margin"]) == ("margin", "rank1", "auc", "hubness")


def test_a_chart_holds_metrics_that_are_drawn_together() -> None:
    found = {chart.title: [row.name for row in rows] for chart, rows in charts().items()}
    assert found["Rank metrics"] == ["rank1", "mrr", "recall_at_10", "ndcg_at_10"]
    assert [row.name for rows in charts("page").values() for row in rows if row.section == RANKS] == found[
        "Rank metrics"
    ][:3]


@pytest.mark.parametrize("name", CAPPED)
@given(value=st.floats(0, 1), decimals=st.integers(1, 6))
def test_no_share_and_no_score_reads_as_one_that_falls_short_of_it(name: str, value: float, decimals: int) -> None:
    reads_as_one = float(measured(value, name, decimals).removesuffix(" %")) == (
        100 if CATALOGUE[name].unit == SHARE else 1
    )
    assert reads_as_one == (value == 1)


def test_a_metric_is_written_the_same_everywhere() -> None:
    values = {"rank1": 0.92041, "auc": 0.99974, "separation": 2.4567, "margin": 0.37131}
    assert [measured(value, name) for name, value in values.items()] == ["92.0 %", "0.999", "2.46", "0.3713"]
    assert measured(None, "margin") == measured(math.nan, "auc") == "n/a"
    assert measured(math.inf, "separation") == "∞"
    assert interval(Metrics({}, {"rank1": (0.9, 0.9998)}), "rank1") == "90.0 % to 99.9 %"


def test_a_change_has_a_sign_and_a_share_changes_by_points() -> None:
    assert [change(0.031, "rank1"), change(-0.5, "rank1")] == ["+3.1 points", "-50.0 points"]
    assert [change(0.00001, "margin"), change(math.nan, "auc")] == ["0.0000", "n/a"]


def test_the_page_of_the_metrics_is_what_the_catalogue_says() -> None:
    page = make_metrics.PAGE.read_text(encoding="utf-8")
    assert make_metrics.renewed(page) == page, "python docs/make_metrics.py"
    for name in (name for name, row in CATALOGUE.items() if not row.is_bound):
        formulas = page.partition("## Spread of the cosines")[2].replace("`recall_at_1`, `_5`, `_10`, `_50`", RECALLS)
        assert f"`{name}`" in formulas, name


RECALLS = "`recall_at_1` `recall_at_5` `recall_at_10` `recall_at_50`"


def test_the_table_of_a_run_writes_metrics_as_every_other_place_does() -> None:
    values = {"margin": 0.37131, "separation": 2.4567, "rank1": 0.99974, "auc": 0.99974}
    row = HistoryRow("epoch 1", epoch=1, step=9, fingerprint="f", metrics=Metrics(values))
    assert epoch_table([row]).splitlines()[1:] == [
        f"{'':12}{'margin':>12}{'separation':>12}{'rank1':>12}{'auc':>12}{'mrr':>12}",
        f"{'epoch 1':12}{'0.3713':>12}{'2.46':>12}{'99.9 %':>12}{'0.999':>12}{'n/a':>12}",
    ]
