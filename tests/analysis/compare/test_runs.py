"""Trainings held against each other: planted truth on both sides of every verdict."""

import numpy as np
import pytest

from embviz_callback.analysis.compare.runs import (
    BEHIND,
    LEADS,
    SAME_AS,
    UNDECIDED,
    Leaderboard,
    Training,
    differing,
    leaderboard,
)
from embviz_callback.analysis.verdict.best import Candidate

ANY = "separation"  # no share: no interval is cut


def trainings(
    rng: np.random.Generator, sizes: list[int], ahead: list[float], *, n_groups: int = 200, own: float = 0.25
) -> list[Training]:
    """Runs of so many evaluations, all of one run equal; a query is as easy for one as for another, but for luck."""
    easy, found = rng.normal(0.6, 0.3, size=n_groups), []
    for place, (size, more) in enumerate(zip(sizes, ahead, strict=True)):
        rows = easy + more + rng.normal(0, 0.1, size=n_groups) + rng.normal(0, own, size=(size, n_groups))
        found.append(Training(f"run {place}", tuple(Candidate(float(row.mean()), row, 1.0) for row in rows)))
    return found


def verdicts(board: Leaderboard) -> dict[str, str]:
    return {entry.label: entry.outcome for entry in board.entries}


def test_a_run_that_is_better_by_far_leads_and_one_that_is_not_cannot_be_told() -> None:
    rng = np.random.default_rng(0)
    board = leaderboard(trainings(rng, [4, 4, 4], [0.0, 0.2, 0.0]), ANY, draws=500)
    assert verdicts(board) == {"run 1": LEADS, "run 0": BEHIND, "run 2": BEHIND}
    close = leaderboard(trainings(rng, [4, 4], [0.0, 0.01]), ANY, draws=500)
    assert sorted(verdicts(close).values()) == sorted([LEADS, UNDECIDED])


def test_equal_runs_are_the_same_where_there_are_queries_enough_and_untold_where_there_are_not() -> None:
    for n_groups, expected in ((40_000, SAME_AS), (400, UNDECIDED)):
        rng = np.random.default_rng(1)
        board = leaderboard(trainings(rng, [1, 1], [0.0, 0.0], n_groups=n_groups, own=0.01), ANY, draws=200)
        assert [entry.outcome for entry in board.entries] == [LEADS, expected]


def test_twenty_tries_do_not_beat_one_and_the_correction_takes_off_what_they_gained() -> None:
    rng, gained, corrected, accused = np.random.default_rng(2), [], [], 0
    for seed in range(60):
        board = leaderboard(trainings(rng, [20, 1], [0.0, 0.0]), ANY, draws=200, seed=seed)
        by = {entry.label: entry for entry in board.entries}
        gained.append(by["run 0"].value - by["run 1"].value)
        corrected.append(by["run 0"].corrected.value - by["run 1"].corrected.value)
        accused += BEHIND in verdicts(board).values()
    assert np.mean(gained) > 0.025  # the best of twenty is 1.87 standard deviations of 0.018 above its run
    assert abs(np.mean(corrected)) < 0.01
    assert accused <= 6


def test_one_evaluation_is_what_it_is() -> None:
    board = leaderboard(trainings(np.random.default_rng(3), [1, 1], [0.5, 0.0]), ANY, draws=200)
    for entry in board.entries:
        assert entry.corrected.value == pytest.approx(entry.value, abs=1e-12)


def test_forty_hits_of_forty_prove_no_perfect_run() -> None:
    hits, misses = np.ones(40), np.zeros(40)
    board = leaderboard(
        [Training(name, (Candidate(float(one.mean()), one, 1.0),)) for name, one in (("all", hits), ("none", misses))],
        "rank1",
    )
    ends = [(entry.corrected.low, entry.corrected.high) for entry in board.entries]
    assert ends[0] == pytest.approx((0.928, 1.0), abs=0.005)
    assert ends[1] == pytest.approx((0.0, 0.072), abs=0.005)


def test_seeds_of_one_setting_are_averaged_and_their_spread_counts() -> None:
    rng = np.random.default_rng(4)
    # Two settings, three seeds each: far apart as averages, but the seeds of the second lie wide apart too.
    quiet = trainings(rng, [2] * 6, [0.3, 0.3, 0.3, 0.0, 0.0, 0.0])
    wild = trainings(rng, [2] * 6, [0.3, 0.3, 0.3, -0.5, 0.0, 0.5])
    settings = [("lr=0.1", (0, 1, 2)), ("lr=0.2", (3, 4, 5))]
    assert verdicts(leaderboard(quiet, ANY, settings=settings, draws=200)) == {"lr=0.1": LEADS, "lr=0.2": BEHIND}
    assert verdicts(leaderboard(wild, ANY, settings=settings, draws=200)) == {"lr=0.1": LEADS, "lr=0.2": UNDECIDED}


def test_one_setting_alone_is_no_comparison() -> None:
    with pytest.raises(ValueError) as error:
        leaderboard(trainings(np.random.default_rng(5), [1, 1], [0, 0]), ANY, settings=[("all", (0, 1))])
    assert str(error.value) == "a leaderboard needs two runs or settings, got 1"


def test_what_a_run_does_not_have_differs_too() -> None:
    assert differing([{"lr": 1, "same": 2}, {"same": 2}]) == {"lr": (1, None)}
