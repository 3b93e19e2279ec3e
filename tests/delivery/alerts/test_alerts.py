"""The alert as a rule with a memory, apart from any training."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.delivery.alerts.rule import AlertEvent, AlertState, MarginAlert, Reading, judge


def reading(margin: float, epoch: int = 0, **others: Any) -> Reading:
    given: dict[str, Any] = {"separation": 1.5, "rank1": 0.5} | others
    return Reading(epoch=epoch, step=10 * epoch + 9, margin=margin, **given)


def said(alert: MarginAlert, margins: list[float], **others: Any) -> list[str]:
    """What the alert says to a series, one word per evaluation."""
    state, words = AlertState(), []
    for epoch, margin in enumerate(margins):
        state, event = judge(alert, state, reading(margin, epoch, **others))
        words.append("-" if event is None else event.kind)
    return words


def test_it_fires_at_every_evaluation_below_the_threshold_and_says_once_that_it_recovered() -> None:
    words = said(MarginAlert(0.25), [0.1, 0.2, 0.3, 0.4, 0.2])
    assert words == ["firing", "firing", "recovered", "-", "firing"]


def test_a_margin_equal_to_the_threshold_is_all_right() -> None:
    assert said(MarginAlert(0.25), [0.25]) == ["-"]


def test_patience_bears_that_many_bad_evaluations_in_a_row() -> None:
    assert said(MarginAlert(0.25, patience=2), [0.1, 0.1, 0.3, 0.1, 0.1, 0.1, 0.1]) == ["-"] * 5 + ["firing"] * 2


def test_warm_up_expects_a_small_margin() -> None:
    assert said(MarginAlert(0.25, warmup_epochs=2), [0.1, 0.1, 0.1]) == ["-", "-", "firing"]


def test_a_recovery_threshold_keeps_a_swaying_margin_from_alarming_again_and_again() -> None:
    swaying = [0.24, 0.26, 0.24, 0.26, 0.31, 0.26]
    assert said(MarginAlert(0.25), swaying) == ["firing", "recovered"] * 2 + ["-", "-"]
    assert said(MarginAlert(0.25, recovery_threshold=0.3), swaying) == ["firing"] * 4 + ["recovered", "-"]


def test_a_nan_margin_is_an_alarm_of_its_own_even_in_warm_up() -> None:
    _, event = judge(MarginAlert(warmup_epochs=9, patience=9), AlertState(), reading(math.nan, rank1=math.nan))
    assert event is not None
    assert (event.kind, event.cause) == ("firing", "cannot judge")
    assert event.message == ("margin alert at epoch 0: cannot judge, margin n/a, threshold 0.25")


def test_embeddings_that_are_not_finite_are_never_passed_over() -> None:
    _, event = judge(MarginAlert(), AlertState(), reading(0.9, non_finite=3))
    assert event is not None
    assert event.message == (
        "margin alert at epoch 0: 3 embeddings are not finite, margin 0.9000 of the others, threshold 0.25; "
        "separation 1.50 sigma, rank-1 50.0 %"
    )


def test_a_collapse_is_called_by_its_name() -> None:
    _, event = judge(
        MarginAlert(), AlertState(), reading(0.0, epoch=4, verdict="collapse", reason="all rows point one way")
    )
    assert event is not None
    assert event.message == (
        "margin alert at epoch 4: the embeddings collapsed, margin 0.0000, threshold 0.25; "
        "separation 1.50 sigma, rank-1 50.0 %; all rows point one way"
    )


def test_the_warning_names_margin_threshold_epoch_separation_rank1_and_the_verdict() -> None:
    found = reading(0.1234, epoch=7, verdict="undertrained", reason="AUC 0.7")
    _, event = judge(MarginAlert(0.25), AlertState(), found)
    assert event == AlertEvent(
        kind="firing",
        cause="low margin",
        is_first=True,
        epoch=7,
        step=79,
        margin=0.1234,
        threshold=0.25,
        separation=1.5,
        rank1=0.5,
        message="margin alert at epoch 7: margin 0.1234 is below the threshold 0.25; "
        "separation 1.50 sigma, rank-1 50.0 %; undertrained: AUC 0.7",
    )


def test_no_number_is_told_twice() -> None:
    reason = "margin is 0.123, separation 1.50, AUC 0.800 and rank-1 50.0 %: positives do not stand clear"
    _, event = judge(MarginAlert(0.25), AlertState(), reading(0.1234, verdict="undertrained", reason=reason))
    assert event is not None
    assert event.message == (
        f"margin alert at epoch 0: margin 0.1234 is below the threshold 0.25; undertrained: {reason}"
    )


def test_a_confident_alert_fires_only_when_the_whole_interval_is_below() -> None:
    alert = MarginAlert(0.25, confident=True)
    assert said(alert, [0.2], interval=(0.15, 0.24)) == ["firing"]
    assert said(alert, [0.2], interval=(0.15, 0.26)) == ["inconclusive"]
    assert said(alert, [0.3], interval=(0.26, 0.34)) == ["-"]


def test_a_confident_alert_goes_on_firing_until_the_whole_interval_is_above() -> None:
    alert = MarginAlert(0.25, confident=True)
    state, _ = judge(alert, AlertState(), reading(0.2, interval=(0.15, 0.24)))
    state, event = judge(alert, state, reading(0.26, interval=(0.2, 0.3)))
    assert event is not None
    assert event.kind == "firing"
    _, event = judge(alert, state, reading(0.3, interval=(0.26, 0.34)))
    assert event is not None
    assert event.kind == "recovered"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1, 1) | st.just(math.nan), max_size=12), st.integers(0, 3), st.floats(0, 0.2))
def test_a_state_that_went_through_a_checkpoint_judges_as_if_nothing_had_happened(
    margins: list[float], patience: int, gap: float
) -> None:
    alert = MarginAlert(0.25, patience=patience, recovery_threshold=0.25 + gap)
    direct, stored = AlertState(), AlertState()
    for epoch, margin in enumerate(margins):
        direct, event = judge(alert, direct, reading(margin, epoch))
        stored = AlertState.from_json(json.loads(json.dumps(stored.to_json())))
        stored, again = judge(alert, stored, reading(margin, epoch))
        assert repr(event) == repr(again)
        assert (event is not None and event.kind == "firing") <= direct.firing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 3.0}, "threshold must be between -2 and 2, got 3.0"),
        ({"threshold": math.nan}, "threshold must be between -2 and 2, got nan"),
        ({"patience": -1}, "patience and warmup_epochs must be at least 0, got -1 and 0"),
        ({"recovery_threshold": 0.1}, "recovery_threshold must be between threshold 0.25 and 2, got 0.1"),
        ({"on_alert": "mail"}, "on_alert must be callable, got 'mail'"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        MarginAlert(**options)
    assert str(error.value) == message
