"""Runs held against each other, in words and tables."""

from collections.abc import Sequence
from typing import Any

from embviz_callback.analysis.compare.runs import BEHIND, SAME_AS, UNDECIDED, Entry, Leaderboard
from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.metrics.resampling import Estimate
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.wording import UNKNOWN, change, measured
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot


def runs_report(board: Leaderboard, labels: Sequence[str], first: Snapshot) -> str:
    """``runs.md``.

    Args:
        board: What was found.
        labels: Of the runs.
        first: One of their evaluations.

    Returns:
        Markdown; text from the data is text and nothing else.
    """
    return rendered(
        "runs_report",
        n_runs=len(labels),
        first=first.metrics,
        fingerprint=first.subset.fingerprint,
        board=board_of(board, labels),
        title=CATALOGUE[board.metric].title,
    )


def board_of(board: Leaderboard, labels: Sequence[str]) -> dict[str, Any]:
    """The leaderboard as report and page show it: sentences, heads of the columns, lines of cells."""
    names = list(board.differing)
    own = [name for name in names if _varies_within_no_entry(board, name)]
    heads = ["", CATALOGUE[board.metric].title, "without the luck of the choice", "behind the leader", "verdict", *own]
    lines = [_cells(entry, board, own) for entry in board.entries]
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


def _cells(entry: Entry, board: Leaderboard, names: Sequence[str]) -> list[str]:
    metric = board.metric
    corrected = f"{measured(entry.corrected.value, metric)} ({_ends(entry.corrected, metric)})"
    gap = "" if entry.behind is None else _gap(entry.behind, metric)
    values = [board.differing[name][entry.runs[0]] for name in names]
    said = [UNKNOWN if value is None else f"{value:g}" if isinstance(value, float) else f"{value}" for value in values]
    seeds = f" ({len(entry.runs)} runs)" if len(entry.runs) > 1 else ""
    return [f"{entry.label}{seeds}", measured(entry.value, metric), corrected, gap, entry.outcome, *said]


def _gap(behind: Estimate, metric: str) -> str:
    ends = f"{change(-behind.high, metric)} to {change(-behind.low, metric)}"
    return f"{change(-behind.value, metric)} ({ends.replace(' points', '')})"


def _ends(estimate: Estimate, metric: str) -> str:
    return f"{measured(estimate.low, metric)} to {measured(estimate.high, metric)}"
