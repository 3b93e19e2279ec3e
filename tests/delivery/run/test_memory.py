"""What travels in a checkpoint: whole, damaged, or of an older version."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
from small_runs import a_run, a_subset

import embviz_callback
from embviz_callback.delivery.alerts.regression import Origin
from embviz_callback.delivery.alerts.rule import AlertState
from embviz_callback.delivery.run.history import HistoryRow
from embviz_callback.delivery.run.memory import Memory


@pytest.fixture(scope="module")
def memory() -> Memory:
    made = Memory(alert=AlertState(firing=True, bad_in_a_row=2))
    for snapshot in a_run(a_subset(12), (2.0, 1.0), maps=False):
        made.history.add(HistoryRow.of(snapshot, alert=True))
    return made


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_whole_memory_comes_back_equal_and_silently(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    again = Memory.from_json(json.loads(json.dumps(memory.to_json(), allow_nan=False)))
    assert again.to_json() == memory.to_json()
    assert (again.alert, again.run_id) == (memory.alert, memory.run_id)
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("state", [None, {}])
def test_a_checkpoint_without_a_state_is_a_training_of_its_own(state: Any, caplog: pytest.LogCaptureFixture) -> None:
    one, other = Memory.from_json(state), Memory.from_json(state)
    assert one.history.rows == []
    assert one.run_id != other.run_id
    assert warnings_of(caplog) == []


def spoilt(stored: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A state whose last row is changed; what is changed to `...` goes."""
    last = {name: value for name, value in (stored["rows"][-1] | changes).items() if value is not ...}
    return stored | {"rows": [*stored["rows"][:-1], last]}


DAMAGED = {
    "no fingerprint": (lambda stored: spoilt(stored, fingerprint=...), 1),
    "no step": (lambda stored: spoilt(stored, step=...), 1),
    "no metrics": (lambda stored: spoilt(stored, metrics=...), 1),
    "no intervals": (lambda stored: spoilt(stored, intervals=...), 1),
    "no label": (lambda stored: spoilt(stored, label=...), 1),
    "an infinite step": (lambda stored: spoilt(stored, step=math.inf), 1),
    "a step that is NaN": (lambda stored: spoilt(stored, step=math.nan), 1),
    "an infinite epoch": (lambda stored: spoilt(stored, epoch=math.inf), 1),
    "metrics that are a list": (lambda stored: spoilt(stored, metrics=[1, 2]), 1),
    "metrics that are words": (lambda stored: spoilt(stored, metrics={"margin": "much"}), 1),
    "a row that is a number": (lambda stored: stored | {"rows": [stored["rows"][0], 7]}, 1),
    "rows that are a text": (lambda stored: stored | {"rows": "nonsense"}, 0),
    "rows that are a number": (lambda stored: stored | {"rows": 7}, 0),
    "no rows": (lambda stored: {name: value for name, value in stored.items() if name != "rows"}, 0),
    "no alert": (lambda stored: {name: value for name, value in stored.items() if name != "alert"}, 2),
    "an alert that counts to infinity": (
        lambda stored: stored | {"alert": {"firing": True, "bad_in_a_row": math.inf}},
        2,
    ),
    "a state that is a list": (lambda stored: [stored], 0),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_state_costs_one_warning_and_what_can_be_read_is_kept(
    memory: Memory, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    spoil, n_known = DAMAGED[damage]
    found = Memory.from_json(spoil(memory.to_json()))
    assert found.history.rows == memory.history.rows[:n_known]
    has_alert = "alert" not in damage and "state" not in damage
    assert found.alert == (memory.alert if has_alert else AlertState())
    assert warnings_of(caplog) == [
        f"embviz: the state in the checkpoint is damaged or of another version; {n_known} of its evaluations are "
        "known, the rest is left aside"
    ]


@pytest.mark.parametrize("run_id", [..., "", 5, None])
def test_a_state_without_a_run_id_gets_one(memory: Memory, run_id: Any, caplog: pytest.LogCaptureFixture) -> None:
    stored = {name: value for name, value in (memory.to_json() | {"run_id": run_id}).items() if value is not ...}
    found = Memory.from_json(stored)
    assert len(found.run_id) == 32
    assert found.history.rows == memory.history.rows
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("lost", [7, {}, {"pseudo": 1}, {"value": 1.0, "pseudo": [], "looks": math.inf, "firing": 0}])
def test_what_one_loss_is_counted_from_may_be_damaged_alone(memory: Memory, lost: Any) -> None:
    kept = Origin(0.5, (0.25, 0.75), looks=2)
    found = Memory.from_json(memory.to_json() | {"origins": {"a": lost, "b": kept.to_json()}})
    assert [(key, origin.to_json()) for key, origin in found.origins.items()] == [("b", kept.to_json())]
    assert Memory.from_json(memory.to_json() | {"origins": [lost]}).origins == {}


STATES = sorted((Path(__file__).parent / "states").glob("*.json"))  # one written by each released version; none goes


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.stem)
def test_a_state_that_a_released_version_wrote_is_read_whole(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    found = Memory.from_json(stored)
    assert [row.label for row in found.history.rows] == ["untrained", "epoch 1", "epoch 2"]
    assert found.history.baseline is not None
    for row, of_it in zip(found.history.rows, stored["rows"], strict=True):
        assert row.metrics.margin == of_it["metrics"]["margin"]
        assert (row.step, row.fingerprint, row.alert) == (of_it["step"], of_it["fingerprint"], of_it["alert"])
    assert found.alert == AlertState(firing=True, bad_in_a_row=2)
    assert found.run_id == "0123456789abcdef0123456789abcdef"
    assert warnings_of(caplog) == []


def test_this_version_has_a_state_on_file() -> None:
    assert embviz_callback.__version__ in [path.stem for path in STATES]
