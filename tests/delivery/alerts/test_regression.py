"""A set that loses is told from one that does not: planted truth on both sides of every word."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embviz_callback import RegressionAlert
from embviz_callback.analysis.metrics.intervals import PerQuery
from embviz_callback.delivery.alerts.alarms import check_baselines
from embviz_callback.delivery.alerts.regression import (
    GAINED,
    UNTOLD,
    Moved,
    Origins,
    is_firing,
    joint_sentence,
    judge_regression,
    moved,
)
from embviz_callback.delivery.alerts.rule import AlertEvent
from embviz_callback.delivery.results.result_files import metrics_json
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.snapshot import Snapshot
from tests.small_runs import a_run, a_subset

N = 40


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return a_run(a_subset(N), (0.5,), maps=False)[0]


def hits(snapshot: Snapshot, n: int, epoch: int | None) -> Snapshot:
    """An evaluation at which the first n of all queries found their document."""
    statistics = snapshot.metrics.per_query
    assert statistics is not None
    right = (np.arange(N) < n).astype(float)
    ranks = {**statistics.ranks, "rank1": right}
    changed: PerQuery = replace(statistics.one_by_one, ranks=ranks)
    return replace(snapshot, epoch=epoch, metrics=replace(snapshot.metrics, per_query=changed))


def course(alert: RegressionAlert, snapshot: Snapshot, shares: Sequence[int]) -> list[AlertEvent | None]:
    """What is said of a run; the first of the shares is the untrained model's."""
    origins: Origins = {}
    epochs = [None, *range(len(shares) - 1)]
    return [
        judge_regression(alert, origins, hits(snapshot, n, epoch), "general")
        for n, epoch in zip(shares, epochs, strict=True)
    ]


def kinds(events: Sequence[AlertEvent | None]) -> list[str]:
    return ["-" if event is None else event.kind for event in events]


def test_a_deep_fall_fires_until_it_is_no_longer_shown_and_a_shallow_one_never(snapshot: Snapshot) -> None:
    alert = RegressionAlert(of="general", loss=0.02)
    events = course(alert, snapshot, [36, 35, 10, 10, 35])
    assert kinds(events) == ["-", "-", "firing", "firing", "recovered"]
    assert [event.is_first for event in events if event is not None] == [True, False, True]
    assert events[2] is not None
    assert events[2].message == (
        "regression of general at epoch 1: rank-1 -65.0 points against the untrained model, -2.0 points allowed, "
        "beyond chance over 2 evaluations"
    )
    assert events[2].headline == "embviz: regression of general alert (regression)"
    assert events[2].stops
    assert events[4] is not None
    assert events[4].message == (
        "regression of general is no longer shown at epoch 3: rank-1 -2.5 points against the untrained model, "
        "-2.0 points allowed"
    )


def test_what_is_allowed_is_borne(snapshot: Snapshot) -> None:
    assert kinds(course(RegressionAlert(loss=0.7), snapshot, [36, 10])) == ["-", "-"]
    assert kinds(course(RegressionAlert(loss=0.2), snapshot, [36, 10])) == ["-", "firing"]


def test_a_later_look_asks_for_more(snapshot: Snapshot) -> None:
    falls = [36, 27]
    assert kinds(course(RegressionAlert(loss=0.0), snapshot, falls)) == ["-", "firing"]
    late = [36] + [36] * 60 + [27]
    assert kinds(course(RegressionAlert(loss=0.0), snapshot, late))[-1] == "-"


def test_equal_evaluations_are_hardly_ever_accused(snapshot: Snapshot) -> None:
    rng, accused = np.random.default_rng(0), 0
    for _ in range(100):
        origins: Origins = {}
        alert, said = RegressionAlert(loss=0.0), False
        for epoch in (None, *range(8)):
            one = hits(snapshot, 0, epoch)
            assert one.metrics.per_query is not None
            right = (rng.random(N) < 0.8).astype(float)
            statistics = replace(one.metrics.per_query, ranks={**one.metrics.per_query.ranks, "rank1": right})
            metrics = replace(one.metrics, per_query=statistics)
            said |= judge_regression(alert, origins, replace(one, metrics=metrics), "") is not None
        accused += said
    assert accused <= 8


def test_a_baseline_from_a_file_needs_no_untrained_model(snapshot: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(metrics_json(hits(snapshot, 36, None), ())), encoding="utf-8")
    alert, origins = RegressionAlert(baseline=f"{path}"), Origins()
    assert judge_regression(alert, origins, hits(snapshot, 36, 0), "") is None
    event = judge_regression(alert, origins, hits(snapshot, 10, 1), "")
    assert event is not None
    assert f"against {path}" in event.message
    check_baselines([alert], {"a": snapshot.subset.fingerprint, "b": "other"})
    with pytest.raises(ValueError) as error:
        check_baselines([replace(alert, of="b")], {"a": snapshot.subset.fingerprint, "b": "other"})
    assert str(error.value) == (
        f"RegressionAlert(baseline=...) must be of the set that it watches: {path} is of subset "
        f"{snapshot.subset.fingerprint}, the set of other; use the same data, max_samples, seed and corpus"
    )
    with pytest.raises(ValueError, match="expected the metrics"):
        RegressionAlert(baseline=f"{tmp_path / 'none.json'}")


def test_without_an_untrained_model_nothing_is_said(snapshot: Snapshot) -> None:
    origins: Origins = {}
    assert judge_regression(RegressionAlert(), origins, hits(snapshot, 36, 0), "") is None
    assert judge_regression(RegressionAlert(), origins, hits(snapshot, 0, 1), "") is None
    assert moved(origins, {"a": hits(snapshot, 0, 1)}) == ()


def test_a_resumed_training_counts_on_and_knows_whether_it_was_firing(snapshot: Snapshot) -> None:
    alert, memory = RegressionAlert(loss=0.02), Memory()
    for n, epoch in ((36, None), (10, 0)):
        judge_regression(alert, memory.origins, hits(snapshot, n, epoch), "")
    memory.of("general")
    again = Memory.from_json(json.loads(json.dumps(memory.to_json())))
    assert is_firing(alert, again.origins, "")
    assert [origin.looks for origin in again.origins.values()] == [1]
    assert again.beside.keys() == {"general"}
    event = judge_regression(alert, again.origins, hits(snapshot, 10, 1), "")
    assert event is not None
    assert not event.is_first


def test_the_verdict_on_all_sets_by_what_each_has_done(snapshot: Snapshot) -> None:
    for after, words in (
        ({"a": 36, "b": 4}, "a +40.0, b -40.0 points of rank-1 against the untrained model, beyond chance: forgetting"),
        (
            {"a": 20, "b": 4},
            "a 0.0 (may be chance), b -40.0 points of rank-1 against the untrained model: a loss without a gain",
        ),
        (
            {"a": 36, "b": 19},
            "a +40.0, b -2.5 (may be chance) points of rank-1 against the untrained model: a gain, no loss shown",
        ),
        (
            {"a": 21, "b": 19},
            "a +2.5 (may be chance), b -2.5 (may be chance) points of rank-1 against the untrained model: "
            "no change shown",
        ),
    ):
        origins: Origins = {}
        assert moved(origins, {name: hits(snapshot, 20, None) for name in after}) == ()
        assert joint_sentence(moved(origins, {name: hits(snapshot, n, 0) for name, n in after.items()})) == words
    assert joint_sentence([Moved("a", 0.1, GAINED), Moved("b", 0.0, UNTOLD)]).endswith("a gain, no loss shown")


def test_options_out_of_range_are_named() -> None:
    for options, said in (
        ({"loss": -0.1}, "loss must be at least 0, got -0.1"),
        ({"on_alert": 3}, "on_alert must be callable, got 3"),
    ):
        with pytest.raises(ValueError) as error:
            RegressionAlert(**options)  # type: ignore[arg-type]
        assert str(error.value) == said
    with pytest.raises(ValueError, match="metric must be one of rank1, "):
        RegressionAlert(metric="rank_1")
