"""Every metric once: what it is called, how it is read, what is asked of it and where it is shown.

Report, page, dashboards, comparison, model card, checklist and docs/metrics.md read these rows. To add a metric is to
add a row here and its formula beside the others in `numbers` or `ranks`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self, overload

# Units. A share is read in per cent; a score lies between 0 and 1 too, but is no share of anything that is counted.
COSINE, SHARE, SCORE, SIGMA, NUMBER = "cosine", "share", "score", "sigma", "number"
HIGHER, LOWER, NEAR = "higher", "lower", "near"
# Sections of docs/metrics.md.
SPREAD, RANKS, HARD, SHAPE = "spread", "ranks", "hard negatives", "shape"
# Places that show some of the metrics only.
VERDICT, HEADLINE, COURSE, FINAL, GROUPS, PAGE = "verdict", "headline", "course", "final", "groups", "page"

BANDS = ("excellent", "good", "fair", "poor", "bad")
ONE_CLUSTER = 0.95  # mean cosine of two different documents above which all of them point one way
INTACT_AUC, INTACT_RANK1 = 0.95, 0.6  # from which a model ranks well, whatever the scale of its scores


@dataclass(frozen=True)
class Chart:
    """Metrics that are drawn together over a run.

    Attributes:
        title: Of the chart.
        question: What a reader wants to know who looks at it.
        line: A value that is marked, beside the thresholds of its metrics.
        low: Where its axis begins; None to fit the values.
        high: Where its axis ends at the latest.
    """

    title: str
    question: str
    line: float | None = None
    low: float | None = None
    high: float | None = None


_FINDS, _APART, _USED = (
    "Does it find the right document?",
    "Do positives stand clear of negatives?",
    "Is the space used?",
)
_RANK_CHART = Chart("Rank metrics", _FINDS, high=1.0)
_HARD_CHART = Chart("Hard negatives", _FINDS, line=0.0)
_MEAN_CHART = Chart("Mean cosine", _APART)
_SPHERE_CHART = Chart("Alignment and uniformity", _USED)


@dataclass(frozen=True)
class Metric:
    """A row of the catalogue; read as an attribute of an evaluation it is the value.

    Attributes:
        title: As it is called in a sentence.
        says: What it is, in a sentence for people.
        unit: COSINE, SHARE, SCORE, SIGMA or NUMBER.
        section: SPREAD, RANKS, HARD or SHAPE.
        better: HIGHER, LOWER or NEAR (to `good`).
        decimals: With which it is written where nothing else is asked for; of the per cent, for a share.
        tier: How early it is named: 1 with the verdict, 4 with the rest.
        bands: Lower edges of excellent, good, fair and poor.
        threshold: What the checklist asks to be exceeded (or, where lower is better, stayed below); NaN where it
            asks for nothing.
        good: What a good model reaches, as a rule of thumb; NaN for no such rule.
        has_interval: Whether it comes with an interval over queries.
        shown: Places among VERDICT (the few that are named with it), HEADLINE (TensorBoard's own group, comparisons),
            COURSE (table of a run's evaluations), FINAL (a run in one line), GROUPS (groups of queries, and the page's
            tiles) and PAGE (charts of the page).
        chart: In which dashboards draw it, and the page if it is shown there.
        is_bound: Its metric with ties at their best or worst.
        name: In files and tags; the attribute that holds the row.
    """

    title: str
    says: str
    unit: str = SCORE
    section: str = RANKS
    better: str = HIGHER
    decimals: int = 3
    tier: int = 4
    bands: tuple[float, float, float, float] | None = None
    threshold: float = math.nan
    good: float = math.nan
    has_interval: bool = False
    shown: tuple[str, ...] = ()
    chart: Chart | None = None
    is_bound: bool = False
    name: str = field(default="", init=False)

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)

    @overload
    def __get__(self, evaluation: None, owner: type) -> Self: ...
    @overload
    def __get__(self, evaluation: "Named", owner: type) -> float: ...
    def __get__(self, evaluation: "Named | None", owner: type) -> Self | float:
        if evaluation is None:
            return self
        if self.name not in evaluation.figures:
            raise AttributeError(f"there is no metric {self.name!r}; there are {', '.join(evaluation.figures)}")
        return float(evaluation.figures[self.name])

    @property
    def label(self) -> str:
        """The title with the unit, where that is one that an axis needs."""
        units = {COSINE: " (cosine)", SIGMA: " (σ)"}
        return f"{self.title}{units.get(self.unit, '')}"

    @property
    def is_checked(self) -> bool:
        """Whether the checklist looks at it."""
        return not math.isnan(self.threshold)

    def capped(self, value: float, decimals: int | None = None) -> float:
        """A share or score as it is written: it never reads as 1 while something is missing.

        Args:
            value: Of this metric.
            decimals: With which it is written; for a share, of the per cent.

        Returns:
            At most the last that is written differently from 1; any other metric's value as it is.

        Example:
            >>> [Named.auc.capped(value) for value in (0.9204, 0.9997, 1.0)]
            [0.9204, 0.999, 1.0]
        """
        digits = (self.decimals if decimals is None else decimals) + (2 if self.unit == SHARE else 0)
        last = 1 - 10**-digits
        return last if self.unit in (SHARE, SCORE) and last < value < 1 else value

    def bounds(self) -> tuple["Metric", "Metric"]:
        """The rows of ``<name>_optimistic`` and ``<name>_pessimistic``."""
        plain = replace(self, tier=4, threshold=math.nan, good=math.nan, has_interval=False, shown=(), chart=None)
        first = replace(plain, title=f"{self.title}, ties at best", says="positives first in every tie", is_bound=True)
        last = replace(plain, title=f"{self.title}, ties at worst", says="positives last in every tie", is_bound=True)
        return first, last


_of_each_query = partial(Metric, has_interval=True)  # what is known of each query has an interval over queries


def _recall(cut: int, **others: Any) -> Metric:
    place = "in the first place" if cut == 1 else f"among the first {cut}"
    return _of_each_query(
        f"recall@{cut}", f"share of a query's relevant documents {place}, mean over queries", **others
    )


class Named:
    """The metrics as attributes, in the order of ``metrics.json``.

    Attributes:
        figures: Name to value.
    """

    figures: Mapping[str, float]

    positive_mean = _of_each_query(
        "positive mean",
        "mean cosine of a query and a document that answers it",
        COSINE,
        SPREAD,
        tier=3,
        threshold=0.75,
        shown=(HEADLINE, GROUPS, PAGE),
        chart=_MEAN_CHART,
    )
    positive_std = Metric(
        "positive spread", "standard deviation of the positive cosines", COSINE, SPREAD, LOWER, tier=3
    )
    negative_mean = _of_each_query(
        "negative mean",
        "mean cosine of a query and a document that does not answer it",
        COSINE,
        SPREAD,
        LOWER,
        tier=3,
        threshold=0.55,
        shown=(HEADLINE, GROUPS, PAGE),
        chart=_MEAN_CHART,
    )
    negative_std = Metric(
        "negative spread", "standard deviation of the negative cosines", COSINE, SPREAD, LOWER, tier=3
    )
    margin = _of_each_query(
        "margin",
        "positive mean minus negative mean; shrinks with the scale of the scores, so never read it alone",
        COSINE,
        SPREAD,
        decimals=4,
        tier=1,
        bands=(0.40, 0.30, 0.20, 0.10),
        threshold=0.25,
        shown=(VERDICT, HEADLINE, COURSE, FINAL, GROUPS, PAGE),
        chart=Chart("Margin", _APART, low=0.0),
    )
    separation = _of_each_query(
        "separation",
        "margin in units of the joint spread of positives and negatives",
        SIGMA,
        SPREAD,
        decimals=2,
        tier=1,
        bands=(3.0, 2.0, 1.5, 1.0),
        threshold=2.0,
        shown=(VERDICT, HEADLINE, COURSE, FINAL, GROUPS, PAGE),
        chart=Chart("Separation (σ)", _APART, low=0.0),
    )
    rank1 = _of_each_query(
        "rank-1",
        "share of queries whose best document is a right one",
        SHARE,
        decimals=1,
        tier=1,
        threshold=0.85,
        shown=(VERDICT, HEADLINE, COURSE, FINAL, GROUPS, PAGE),
        chart=_RANK_CHART,
    )
    rank1_optimistic, rank1_pessimistic = rank1.bounds()
    mrr = _of_each_query(
        "MRR",
        "mean of 1 / rank of the first right document",
        good=0.9,
        shown=(HEADLINE, COURSE, FINAL, GROUPS, PAGE),
        chart=_RANK_CHART,
    )
    mrr_optimistic, mrr_pessimistic = mrr.bounds()
    mrr_at_10 = _of_each_query("MRR@10", "the same with 0 beyond rank 10")
    mrr_at_10_optimistic, mrr_at_10_pessimistic = mrr_at_10.bounds()
    recall_at_1 = _recall(1)
    recall_at_1_optimistic, recall_at_1_pessimistic = recall_at_1.bounds()
    recall_at_5 = _recall(5)
    recall_at_5_optimistic, recall_at_5_pessimistic = recall_at_5.bounds()
    recall_at_10 = _recall(10, good=0.95, shown=(HEADLINE, GROUPS, PAGE), chart=_RANK_CHART)
    recall_at_10_optimistic, recall_at_10_pessimistic = recall_at_10.bounds()
    recall_at_50 = _recall(50)
    recall_at_50_optimistic, recall_at_50_pessimistic = recall_at_50.bounds()
    ndcg_at_10 = _of_each_query(
        "nDCG@10",
        "discounted gain of the first ten by the best that it could be",
        shown=(HEADLINE,),
        chart=_RANK_CHART,
    )
    ndcg_at_10_optimistic, ndcg_at_10_pessimistic = ndcg_at_10.bounds()
    map = _of_each_query("MAP", "mean over right documents of the share of right ones down to them")
    map_optimistic, map_pessimistic = map.bounds()
    naive_rank1 = Metric(
        "naive rank-1",
        "rank-1 as a script would count it that takes a copy for another document",
        SHARE,
        decimals=1,
        tier=2,
    )
    naive_rank1_ceiling = Metric(
        "ceiling of naive rank-1", "what a perfect model could reach by that count", SHARE, decimals=1, tier=2
    )
    auc = Metric(
        "AUC",
        "probability that a random positive outscores a random negative",
        section=SPREAD,
        tier=3,
        good=0.95,
        shown=(HEADLINE, COURSE),
        chart=Chart("AUC", _APART),
    )
    auc_error = Metric("error of AUC", "how far it may be off where it is estimated", section=SPREAD, better=LOWER)
    hard_margin = Metric(
        "hard margin",
        "best positive minus hardest negative, mean over the queries with hard negatives",
        COSINE,
        HARD,
        tier=3,
        good=0.1,
        shown=(HEADLINE, PAGE),
        chart=_HARD_CHART,
    )
    hard_accuracy = Metric(
        "hard accuracy",
        "share of the queries with hard negatives whose best positive stands above all of them",
        SHARE,
        HARD,
        decimals=1,
        tier=3,
        good=0.9,
        shown=(HEADLINE, PAGE),
        chart=_HARD_CHART,
    )
    alignment = Metric(
        "alignment", "mean squared distance of a query and its document", NUMBER, SPREAD, LOWER, chart=_SPHERE_CHART
    )
    uniformity = Metric(
        "uniformity", "how evenly the texts fill the sphere", NUMBER, SHAPE, LOWER, good=-2.0, chart=_SPHERE_CHART
    )
    effective_rank = Metric(
        "effective rank", "dimensions that are in use", NUMBER, SHAPE, chart=Chart("Effective rank", _USED)
    )
    mean_off_diagonal = Metric(
        "mean cosine of documents", "mean cosine of two different documents", COSINE, SHAPE, NEAR, good=0.0
    )
    hubness = Metric("hubness", "whether a few documents crowd into everybody's list", NUMBER, SHAPE, LOWER)
    hubness_blind = Metric("hubness by chance", "what hubness is where each list is drawn blindly", NUMBER, SHAPE, NEAR)


CATALOGUE: Mapping[str, Metric] = {name: row for name, row in vars(Named).items() if isinstance(row, Metric)}
RANK_NAMES = tuple(name for name, row in CATALOGUE.items() if row.has_interval and row.section == RANKS)
# What the best may be chosen by: known of each query, and higher for the better.
CHOOSABLE = (*RANK_NAMES, "margin", "separation")


def shown(place: str, section: str | None = None) -> tuple[str, ...]:
    """Names of the metrics that a place shows, those named with the verdict first.

    Args:
        place: Such as HEADLINE.
        section: Of one section only.

    Returns:
        Names.
    """
    return by_tier(name for name, row in CATALOGUE.items() if place in row.shown and section in (None, row.section))


def by_tier(names: Iterable[str]) -> tuple[str, ...]:
    """Names in the order in which a reader meets them, each tier in the order of ``metrics.json``.

    Args:
        names: Of metrics; another's is left out.

    Returns:
        Names.
    """
    wanted = set(names)
    return tuple(sorted((name for name in CATALOGUE if name in wanted), key=lambda name: CATALOGUE[name].tier))


def charts(place: str | None = None) -> Mapping[Chart, tuple[Metric, ...]]:
    """Charts and what is drawn in each.

    Args:
        place: With those metrics only that are shown there.

    Returns:
        Chart to rows, both as `by_tier` orders them.
    """
    found: dict[Chart, tuple[Metric, ...]] = {}
    for row in map(CATALOGUE.__getitem__, by_tier(CATALOGUE)):
        if row.chart is not None and (place is None or place in row.shown):
            found[row.chart] = (*found.get(row.chart, ()), row)
    return found
