"""Numbers as readers meet them, in figures and in the report alike."""

import math
from collections.abc import Iterable, Sequence

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, SHARE
from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.verdict.best import Best
from embviz_callback.analysis.verdict.power import smallest_difference
from embviz_callback.analysis.why.groups import Grouping
from embviz_callback.analysis.why.thresholds import Advice
from embviz_callback.grammar import counted

UNKNOWN = "n/a"
_FEW_GROUPS = 50  # below, an interval holds the truth less often than it says (benchmarks/conclusions.py)


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals.

    Returns:
        The decimals; "∞" for an infinity, "n/a" for NaN or None.

    Example:
        >>> number(0.37131), number(float("-inf")), number(float("nan"))
        ('0.371', '-∞', 'n/a')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = f"{value:.{digits}f}"
    return text[1:] if float(text) == 0 and text[0] == "-" else text


def percent(share: float | None) -> str:
    """A share of 0 to 1 as it is read.

    Returns:
        Per cent with one decimal.

    Example:
        >>> percent(0.9204)
        '92.0 %'
    """
    text = number(None if share is None else 100 * share, 1)
    return text if text == UNKNOWN else f"{text} %"


def sigmas(separation: float) -> str:
    """A separation with its unit.

    Example:
        >>> sigmas(2.451), sigmas(float("nan"))
        ('2.45σ', 'n/a')

    Returns:
        Two decimals and σ.
    """
    text = number(separation, 2)
    return text if text == UNKNOWN else f"{text}σ"


def pool(n_documents: int, n_corpus: int) -> str:
    """What a query is ranked against.

    Returns:
        The documents, and the corpus where there is one.

    Example:
        >>> pool(480, 0), pool(480, 20_000)
        ('480 documents', '480 documents + 20,000 of the corpus')
    """
    documents = counted(n_documents, "document")
    return f"{documents} + {n_corpus:,} of the corpus" if n_corpus else documents


def measured(value: float | None, name: str, decimals: int | None = None) -> str:
    """A metric's value as it is read.

    Args:
        value: None for one that is not there.
        name: Of the metric.
        decimals: Instead of the catalogue's; a share is always per cent with one.

    Returns:
        Per cent for a share, else the number; no share or score that falls short of 1 reads as 1.

    Example:
        >>> measured(0.9204, "rank1"), measured(0.99974, "auc"), measured(0.37131, "margin", decimals=3)
        ('92.0 %', '0.999', '0.371')
    """
    row = CATALOGUE[name]
    if value is None or row.unit == SHARE:
        return percent(None if value is None else row.capped(value))
    digits = row.decimals if decimals is None else decimals
    return number(row.capped(value, digits), digits)


def interval(metrics: Metrics, name: str, decimals: int | None = 3) -> str:
    """The 95 % interval of a metric.

    Args:
        metrics: What was measured.
        name: Of the metric.
        decimals: As for `measured`.

    Returns:
        Both ends; "n/a" where there is none.
    """
    low, high = metrics.intervals.get(name, (math.nan, math.nan))
    if math.isnan(low) and math.isnan(high):
        return UNKNOWN
    return f"{measured(low, name, decimals)} to {measured(high, name, decimals)}"


def change(difference: float, name: str, decimals: int | None = None) -> str:
    """How much a metric has changed, with its sign.

    Args:
        difference: Later minus earlier.
        name: Of the metric.
        decimals: As for `measured`.

    Returns:
        Points for a share, else the number.

    Example:
        >>> change(0.031, "rank1"), change(-0.00001, "margin"), change(0.25, "separation")
        ('+3.1 points', '0.0000', '+0.25')
    """
    row = CATALOGUE[name]
    is_share = row.unit == SHARE and math.isfinite(difference)
    digits = row.decimals if decimals is None or is_share else decimals
    text = number(100 * difference if is_share else difference, digits)
    signed = f"+{text}" if difference > 0 and text.strip("0.") else text
    return f"{signed} points" if is_share else signed


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of cells as lines for a terminal, their columns below each other."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def rank_word(rank: float) -> str:
    """A rank as a reader expects it.

    Returns:
        A whole rank as it is, a half one as a tie, "none" for an infinite one.

    Example:
        >>> rank_word(1.0), rank_word(7.5), rank_word(float("inf"))
        ('1', '7.5 (tied)', 'none')
    """
    if not math.isfinite(rank):
        return "none"
    return f"{rank:,.0f}" if rank == int(rank) else f"{rank:,.1f} (tied)"


def group_sentence(grouping: Grouping) -> str:
    """Whether the groups differ, and the worst and the best of them.

    One test over all groups comes first: of twenty equal ones the worst and the best lie far apart as a rule. The
    rates are shrunken by what chance accounts for.

    Returns:
        A sentence; "" where no group can be judged.
    """
    judged = [group for group in grouping.groups if not group.is_small]
    if len(judged) < 2:
        return ""
    if not grouping.chance <= 0.05:
        return f"the groups' rank-1 differs no more than chance allows (p {chance(grouping.chance)} over all of them)"
    worst, best = min(judged, key=lambda group: group.shrunken), max(judged, key=lambda group: group.shrunken)
    return (
        f"worst {worst.label} (rank-1 {percent(worst.shrunken)}, {counted(worst.n_queries, 'query')}), "
        f"best {best.label} ({percent(best.shrunken)}), chance taken off; p {chance(grouping.chance)} over all groups"
    )


def chance(p_value: float) -> str:
    """A probability of chance.

    Returns:
        Three decimals, "below 0.001", or that nothing can be told.

    Example:
        >>> chance(0.0312), chance(0.0005), chance(float("nan"))
        ('0.031', 'below 0.001', 'cannot tell')
    """
    if math.isnan(p_value):
        return "cannot tell"
    return number(p_value) if p_value >= 0.001 else "below 0.001"


def worth(best: Best) -> str:
    """What the metric of the best of several is, without a claim that one that was not chosen would have."""
    ends = " to ".join(measured(end, best.metric) for end in best.interval)
    chosen = f"95 % interval {ends} for the best of {best.among} chosen on these queries"
    return f"{CATALOGUE[best.metric].title} is {measured(best.value, best.metric)}, {chosen}"


def grouping(sampling: Sampling) -> str:
    """What intervals and tests are over: the end of a sentence after "over"."""
    n_groups = sampling.n_groups
    groups = counted(n_groups, "group")
    if sampling.is_chained:
        said = (
            f"{groups} of queries by their most shared document, as chains of them hold many queries; they allow for"
            " every pair of queries that share one"
        )
    elif n_groups == sampling.n_queries:
        said = f"{counted(n_groups, 'query')}, of which no two share a relevant document"
    else:
        said = f"{groups} of queries that share relevant documents"
    return f"{said} (approximate, {groups})" if n_groups < _FEW_GROUPS else said


def power_sentence(sampling: Sampling, disagreeing: float, against: str = "") -> str:
    """The smallest difference in rank-1 that a comparison on these queries finds.

    Args:
        sampling: The queries, whose groups are independent of each other where no chain was cut.
        disagreeing: Discordance of the models that are compared.
        against: What it was measured against; empty where it is assumed.

    Returns:
        A sentence without a full stop.
    """
    n_groups, is_chained = sampling.n_groups, sampling.is_chained
    at = f"as measured against {against}" if against else "assumed"
    few = "; so few that every interval here is approximate" if n_groups < _FEW_GROUPS else ""
    groups = counted(n_groups, "group" if is_chained else "independent group")
    few += "; more where groups hang together by shared documents" if is_chained else ""
    least = smallest_difference(n_groups, disagreeing)
    found = (
        "no difference is found" if math.isnan(least) else f"a difference of {number(100 * least, 1)} points is found"
    )
    return (
        f"Between two models on these {groups} of queries {found} in rank-1 in 80 % of"
        f" the comparisons, where they disagree on {percent(disagreeing)} of the queries ({at}){few}"
    )


def advice_sentence(advice: Advice) -> str:
    """One threshold in words."""
    goal = "the largest F1" if advice.wanted is None else f"{advice.kind} {percent(advice.wanted)}"
    if advice.reason:
        return f"{goal}: {advice.reason}"
    low, high = advice.threshold.low, advice.threshold.high
    ends = "" if math.isnan(low) else f" ({number(low)} to {number(high)})"
    behind = f"; {advice.n_pairs:,} pairs stand behind it" if advice.n_pairs else ""
    return (
        f"{goal}: show from {number(advice.threshold.value)}{ends}; precision {percent(advice.precision)}, "
        f"recall {percent(advice.recall)}, {number(advice.shown, 1)} documents per query{behind}"
    )
