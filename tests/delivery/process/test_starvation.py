"""What time a process could have used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embviz_callback.delivery.process import starvation
from embviz_callback.delivery.process.starvation import FairClock, usable_s


@pytest.mark.parametrize(
    ("run_s", "wait_s", "usable"),
    [
        (0, 0, 60),  # hangs on a lock
        (60, 0, 60),  # one busy thread that nobody disturbs
        (120, 0, 60),  # two
        (30, 30, 30),  # one that gets every second turn
        (100, 140, 25),  # four that share: the waits of all are longer than the time itself
        (0.1, 5, 55),  # one that hangs, and another that looks at it and sometimes waits
        (0, 60, 0),
    ],
)
def test_the_waits_of_all_threads_are_never_longer_than_the_time(run_s: float, wait_s: float, usable: float) -> None:
    assert usable_s(60, run_s=run_s, wait_s=wait_s) == pytest.approx(usable)


seconds = st.floats(0, 1e6, allow_nan=False)


@given(seconds, seconds, seconds)
def test_a_fair_clock_runs_forwards_and_no_faster_than_a_wall_clock(wall_s: float, run_s: float, wait_s: float) -> None:
    assert 0 <= usable_s(wall_s, run_s, wait_s) <= wall_s


def looks(monkeypatch: pytest.MonkeyPatch, *seen: tuple[float, float, float, float]) -> list[float]:
    """What a fair clock shows at looks of (wall, own, run and wait time)."""
    times = iter(seen)
    now = next(times)

    def look(pid: int | str) -> tuple[float, float]:
        return now[2], now[3]

    monkeypatch.setattr(starvation.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(starvation.time, "process_time", lambda: now[1])
    monkeypatch.setattr(starvation, "run_and_wait_s", look)
    clock, shown = FairClock(), []
    while (later := next(times, None)) is not None:
        now = later
        shown.append(clock.now())
    return shown


def test_a_night_in_which_the_whole_machine_slept_is_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks(monkeypatch, (0, 0, 0, 0), (1, 1, 1, 0), (30_001, 1.1, 1.1, 0), (30_002, 2, 2, 0)) == [1, 2, 3]


def test_a_process_that_stands_still_beside_a_training_that_goes_on_did_not_sleep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert looks(monkeypatch, (0, 0, 0, 0), (600, 500, 0, 0)) == [600]


def test_threads_that_end_take_none_of_the_time_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks(monkeypatch, (0, 0, 50, 90), (4, 4, 1, 1), (5, 5, 2, 1)) == [4, 5]
