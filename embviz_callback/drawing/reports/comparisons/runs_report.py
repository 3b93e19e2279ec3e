"""Runs held against each other, in words and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from embviz_callback.analysis.compare.runs import BEHIND, SAME_AS, UNDECIDED, Entry, Leaderboard
from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.metrics.resampling import Estimate
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.wording import UNKNOWN, change, measured
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot


def runs_report(board: Mapping[str, Any], first: Snapshot, n_runs: int, metric: str) -> str:
    """``runs.md``.

    Args:
        board: What `board_of` gave.
        first: One of the evaluations.
        n_runs: How many runs there are.
        metric: Name of the one that decides.

    Returns:
        Markdown; text from the data is text and nothing else.
    """
    return rendered(
        "runs_report",
        n_runs=n_runs,
        first=first.metrics,
        fingerprint=first.subset.fingerprint,
        board=board,
        title=CATALOGUE[metric].title,
    )


def board_of(board: Leaderboard, labels: Sequence[str], stands_by: Sequence[str]) -> dict[str, Any]:
    """The leaderboard as report, page and terminal show it.

    Args:
        board: What was found.
        labels: Of the runs.
        stands_by: Of each run the evaluation that stands for it: a run that got worse stands by its untrained model.

    Returns:
        Sentences, heads of the columns, lines of cells, and the runs of each setting.
    """
    names = list(board.differing)
    own = [name for name in names if _varies_within_no_entry(board, name)]
    said = ("without the luck of the choice", "behind the leader", "verdict")
    heads = ["", "stands by", CATALOGUE[board.metric].title, *said, *own]
    lines = [_cells(entry, board, stands_by, own) for entry in board.entries]
    members = {entry.label: [labels[run] for run in entry.runs] for entry in board.entries if len(entry.runs) > 1}
    return {"said": sentences(board), "heads": heads, "lines": lines, "members": members}


def sentences(board: Leaderboard) -> list[str]:
    """Which run leads and how sure that is, one sentence each, as the command prints them."""
    leader, metric = board.entries[0], board.metric
    title = CATALOGUE[metric].title
    luck = f"{measured(leader.corrected.value, metric)} without the luck of having been chosen"
    ends = _ends(leader.corrected, metric)
    said = [f"leads: {leader.label}, its {title} is {measured(leader.value, metric)}, {luck} (95 % interval {ends})"]
    for outcome, words in (
        (SAME_AS, "the same to within 0.005"),
        (UNDECIDED, f"cannot be told from it on {counted(board.n_groups, 'group')} of queries"),
        (BEHIND, "behind it beyond chance, corrected for all pairs"),
    ):
        found = [entry.label for entry in board.entries if entry.outcome == outcome]
        if found:
            said.append(f"{words}: {', '.join(found)}")
    return said


def _varies_within_no_entry(board: Leaderboard, name: str) -> bool:
    """A seed that differs within a setting has no value of the setting."""
    values = board.differing[name]
    return all(len({repr(values[run]) for run in entry.runs}) == 1 for entry in board.entries)


def _cells(entry: Entry, board: Leaderboard, stands_by: Sequence[str], names: Sequence[str]) -> list[str]:
    metric = board.metric
    corrected = f"{measured(entry.corrected.value, metric)} ({_ends(entry.corrected, metric)})"
    gap = "" if entry.behind is None else _gap(entry.behind, metric)
    values = [board.differing[name][entry.runs[0]] for name in names]
    said = [UNKNOWN if value is None else f"{value:g}" if isinstance(value, float) else f"{value}" for value in values]
    seeds = f" ({len(entry.runs)} runs)" if len(entry.runs) > 1 else ""
    by = ", ".join(dict.fromkeys(stands_by[run] for run in entry.runs))
    return [f"{entry.label}{seeds}", by, measured(entry.value, metric), corrected, gap, entry.outcome, *said]


def _gap(behind: Estimate, metric: str) -> str:
    ends = f"{change(-behind.high, metric)} to {change(-behind.low, metric)}"
    return f"{change(-behind.value, metric)} ({ends.replace(' points', '')})"


def _ends(estimate: Estimate, metric: str) -> str:
    return f"{measured(estimate.low, metric)} to {measured(estimate.high, metric)}"
