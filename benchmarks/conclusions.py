"""How often the sentences drawn from the numbers are false, and how often a true effect is found.

    OMP_NUM_THREADS=1 python -m benchmarks.conclusions --runs 1000           # every section
    OMP_NUM_THREADS=1 python -m benchmarks.conclusions --only best,fall

Every run draws evaluations of a population whose truth is known. Queries have a difficulty of their own, and each
evaluation its own luck with them, so that two equal evaluations disagree on a given share of the queries (the
discordance, 12.5 % unless another is named). "Before" are the rules up to version 0.1, kept here for the comparison.
Sections are numbered as in the list of what can go wrong: docs/comparing.md and docs/metrics.md say what follows.
"""

import argparse
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import beta, binomtest, norm

from benchmarks._pool_and_scale import scale, size
from embviz_callback.analysis.metrics.contrasts import compared
from embviz_callback.analysis.metrics.intervals import (
    PerQuery,
    Sampling,
    _replicates,
    intervals_of,
    per_query,
    point,
    t_quantile,
)
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.resampling import draw_clusters
from embviz_callback.analysis.scan import passes, scan, spread
from embviz_callback.analysis.verdict.best import candidate, choose_best, fallen
from embviz_callback.analysis.verdict.checklist import FAILED, PASSED, checklist
from embviz_callback.analysis.verdict.diagnosis import diagnose
from embviz_callback.analysis.verdict.losses import KEPT, LOST, loss_at_look, losses
from embviz_callback.analysis.why.columns import Columns, columns_of
from embviz_callback.analysis.why.groups import grouped_by
from embviz_callback.analysis.why.sensitivity import importance_of_types
from embviz_callback.analysis.why.suspects import suspects
from embviz_callback.analysis.why.thresholds import Advice, thresholds
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.weight_rule import WeightRule
from tests import planted


class Rates:
    """Shares of runs by what they count, in order of first use."""

    def __init__(self) -> None:
        self.found: dict[str, list[bool]] = {}

    def add(self, what: str, is_hit: object) -> None:
        """One run more."""
        self.found.setdefault(what, []).append(bool(is_hit))

    def lines(self, section: int) -> Iterator[str]:
        """Rows of the table, each share with its binomial interval (Clopper and Pearson)."""
        for what, hits in self.found.items():
            n, k = len(hits), sum(hits)
            low = 0.0 if k == 0 else float(beta.ppf(0.025, k, n - k + 1))
            high = 1.0 if k == n else float(beta.ppf(0.975, k + 1, n - k))
            yield f"| {section} | {what} | {100 * k / n:.1f} % | {100 * low:.1f} to {100 * high:.1f} % | {n:,} |"


# --- populations -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Population:
    """Evaluations of one subset.

    Attributes:
        n: Queries.
        shares: True rank-1 of each evaluation.
        separations: Added to the true separation of each.
        discordance: Share of the queries on which two equal evaluations disagree.
        sizes: Queries that share a document, at most.
        shared: Part of a query's luck that belongs to its document.
    """

    n: int
    shares: Sequence[float]
    separations: Sequence[float] = ()
    discordance: float = 0.125
    sizes: int = 1
    shared: float = 0.0
    common: float = field(init=False)  # part of the luck that all evaluations share

    def __post_init__(self) -> None:
        share, grid = float(np.median(self.shares)), np.random.default_rng(0).standard_normal((3, 200_000))
        low, high = 0.0, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            mixed = math.sqrt(middle) * grid[0] + math.sqrt(1 - middle) * grid[1:]
            right = mixed < norm.ppf(share)
            low, high = (middle, high) if (right[0] != right[1]).mean() > self.discordance else (low, middle)
        object.__setattr__(self, "common", low)

    def draw(self, seed: int) -> list[PerQuery]:
        """One file's queries under every evaluation."""
        rng, groups = np.random.default_rng(seed), np.arange(self.n)
        if self.sizes > 1:
            groups = np.repeat(groups, rng.integers(1, self.sizes + 1, self.n))[: self.n]
        difficulty = self._luck(rng, groups)
        extra = self.separations or (0.0,) * len(self.shares)
        own, all_ = math.sqrt(1 - self.common), math.sqrt(self.common)
        ill = [all_ * difficulty + own * self._luck(rng, groups) for _ in self.shares]
        return [_evaluation(rng, groups, *one) for one in zip(ill, self.shares, extra, strict=True)]

    def _luck(self, rng: np.random.Generator, groups: np.ndarray) -> np.ndarray:
        ours = rng.standard_normal(groups.max() + 1)[groups]
        return math.sqrt(self.shared) * ours + math.sqrt(1 - self.shared) * rng.standard_normal(len(groups))

    def truth(self, metric: str) -> list[float]:
        """By half a million queries."""
        wide = replace(self, n=500_000, sizes=1, shared=0.0)
        return [point(one)[metric] for one in wide.draw(99)]


def _evaluation(rng: np.random.Generator, groups: np.ndarray, ill: np.ndarray, share: float, extra: float) -> PerQuery:
    beyond, ones = ill - norm.ppf(share), np.ones(len(groups))
    rank = np.where(beyond < 0, 1.0, 2 + np.floor(np.expm1(np.maximum(2 * beyond, 0))))
    # Both groups 0.1 wide, 2.8 standard deviations apart.
    positive, negative = 0.4 + 0.14 * extra - 0.1 * ill, 0.02 * rng.standard_normal(len(groups))
    ranks = {"rank1": (rank == 1).astype(float), "mrr": 1 / rank}
    moments = np.stack([ones, negative, negative**2 + 0.01], axis=1)
    return PerQuery(
        Sampling(groups), np.stack([ones, positive, positive**2], axis=1), len(groups) * moments, ranks, 0.0
    )


def near_pairs(seed: int, n: int, noise: float, dim: int = 32, own: int | None = None) -> Embeddings:
    """Documents, and queries that lie near them."""
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((n, dim))
    ill = np.random.default_rng(seed if own is None else own).standard_normal((2, n, dim))[1]
    queries = documents + noise * rng.uniform(0.4, 1.6, (n, 1)) * ill
    return Embeddings.from_raw(queries, documents, np.stack([np.arange(n)] * 2, axis=1))


# --- the rules up to 0.1 -----------------------------------------------------------------------------


def draws_of(one: PerQuery, name: str, seed: int) -> np.ndarray:
    """The bootstrap's replicates of a metric, with one imagined success and failure."""
    return _replicates(one, draw_clusters(one.sampling.groups, draws=1000, seed=seed, imagined=2), imagined=1)[name]


def paired_before(before: PerQuery, after: PerQuery, name: str, seed: int) -> tuple[float, float]:
    """Percentiles of the difference, with one imagined gain and one imagined loss."""
    drawn = draw_clusters(before.sampling.groups, draws=1000, seed=seed, imagined=2)
    apart = _replicates(after, drawn, imagined=1)[name] - _replicates(before, drawn, imagined=0)[name]
    low, high = np.quantile(apart, [0.025, 0.975])
    return float(low), float(high)


def best_before(evaluations: Sequence[PerQuery], seed: int) -> int:
    """Of those that cannot be told from the highest rank-1 the one with the highest separation."""
    points = [point(one) for one in evaluations]
    top = int(np.argmax([one["rank1"] for one in points]))
    ends = [paired_before(evaluations[top], one, "rank1", seed) for one in evaluations]
    equals = [at for at, (low, high) in enumerate(ends) if at == top or low <= 0 <= high]
    return max(equals, key=lambda at: points[at]["separation"])


def accused_before(evaluations: Sequence[PerQuery], seed: int) -> bool:
    """Any later evaluation against the highest before it, two metrics, 95 % each."""
    for name in ("rank1", "separation"):
        values = [point(one)[name] for one in evaluations]
        for after in range(1, len(values)):
            peak = int(np.argmax(values[:after]))
            if paired_before(evaluations[peak], evaluations[after], name, seed)[1] < 0:
                return True
    return False


def sample_before(task: spread.Task, tile: spread.Tile) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """The same columns for all queries of a tile."""
    turn = tile.band.rows.start // task.tile[0] * 7 + tile.columns.start // task.tile[1]
    scores = tile.scores.copy()
    scores[tile.hidden] = -np.inf
    scores = scores[turn % task.stride :: task.stride]
    return spread.fine_bins(scores[scores > -np.inf])


# --- sections ----------------------------------------------------------------------------------------


def best(runs: int, rates: Rates) -> None:
    """1. The best of 17: its interval, and whether any is called better."""
    ahead = (*np.linspace(0.6, 0.8, 8), *(0.8,) * 8, 0.85)
    for label, shares in {
        "17 equal": (0.8,) * 17, "rising by 10 points": tuple(np.linspace(0.70, 0.80, 17)), "one 5 points ahead": ahead,
    }.items():  # fmt: skip
        population = Population(500, shares)
        truth = population.truth("mrr")
        for run in range(runs):
            evaluations = population.draw(run)
            found = choose_best([candidate(one, "mrr") for one in evaluations], "mrr", seed=run)
            rates.add(
                f"the interval of the best holds, {label}", found.interval[0] <= truth[found.place] <= found.interval[1]
            )
            top = int(np.argmax([point(one)["mrr"] for one in evaluations]))
            low, high = np.quantile(draws_of(evaluations[top], "mrr", run), [0.025, 0.975])
            rates.add(f"before: the interval of the best holds, {label}", low <= truth[top] <= high)
            if label == "17 equal":
                others = compared(evaluations[0], evaluations[1:], seed=run)["rank1"]
                rates.add(
                    "any of 16 equal ones called better", any(one.is_beyond_chance and one.value > 0 for one in others)
                )
                top = int(np.argmax([point(one)["rank1"] for one in evaluations]))
                rates.add("before: the best of 17 equal ones called better than the first",
                          paired_before(evaluations[0], evaluations[top], "rank1", run)[0] > 0)  # fmt: skip
    shapes = {"only one is": (*(0.8,) * 16, 0.85), "eight of them are": (*np.linspace(0.8, 0.85, 9), *(0.85,) * 8)}
    for discordance in (0.10, 0.125, 0.15):
        for label, shares in shapes.items():
            for name in ("rank1", "mrr"):
                _found_of_16(Population(500, shares, discordance=discordance), name, label, runs, rates)


def _found_of_16(population: Population, name: str, label: str, runs: int, rates: Rates) -> None:
    """How often any that is better than the first is found to be, and how often a test could that knows where to look.

    That one looks at the better one alone, but must exceed what the largest of 16 differences from one and the same
    exceeds by chance in 5 % of cases (Dunnett 1955): no test that treats all 16 alike can ask for less.
    """
    what = f"by {name}, of 16 {label} 5 points better in rank-1, discordance {100 * population.discordance:g} %"
    for run in range(runs):
        first, *others = population.draw(run)
        found = compared(first, others, seed=run)[name]
        rates.add(f"found {what}", any(one.is_beyond_chance and one.value > 0 for one in found))
    if label != "only one is":
        return
    rng = np.random.default_rng(0)
    luck = (rng.standard_normal((20_000, 16)) + rng.standard_normal((20_000, 1))) / math.sqrt(2)
    least, n_files = np.quantile(np.abs(luck).max(axis=1), 0.95), max(runs // 200, 1)
    for seed in range(n_files):
        # Cut into files of the population's size.
        first, *_, better = replace(population, n=200 * population.n).draw(10_000 + seed)
        changes = (better.ranks[name] - first.ranks[name]).reshape(200, population.n)
        for t in changes.sum(axis=1) / np.sqrt(np.square(changes).sum(axis=1)):
            rates.add(f"found by a test that knows which, {what}", t > least)


def rule(runs: int, rates: Rates) -> None:
    """2. The worse one preferred: 3.5 points lower in rank-1, 0.2 higher in separation."""
    for n in (50, 100, 200, 500):
        population = Population(n, (0.80, 0.765), (0.0, 0.2))
        for run in range(runs):
            evaluations = population.draw(run)
            found = choose_best([candidate(one, "mrr") for one in evaluations], "mrr", draws=20)
            rates.add(f"the worse one is the best, {n} queries", found.place == 1)
            rates.add(f"the worse one is the best and the other not named beside it, {n} queries",
                      found.place == 1 and not found.undecided)  # fmt: skip
            if run < 300:
                rates.add(f"before: the worse one is the best, {n} queries", best_before(evaluations, run) == 1)


_JUDGED = Metrics(
    {"margin": 0.5, "separation": 3.0, "auc": 0.98, "rank1": 0.9, "recall_at_10": 0.98, "negative_mean": 0.1}
    | {"effective_rank": 60.0, "mean_off_diagonal": 0.1},
    n_queries=500,
    n_documents=500,
)  # healthy, but for what its run says


def fall(runs: int, rates: Rates) -> None:
    """3. Fallen from the best, asked after every evaluation."""
    down = (*np.linspace(0.70, 0.80, 6), *(0.80,) * 4, *np.linspace(0.80, 0.75, 4), *(0.75,) * 3)
    for label, shares in {
        "17 equal": (0.8,) * 17, "50 equal": (0.8,) * 50, "rising .60 to .90": tuple(np.linspace(0.6, 0.9, 17)),
        "3 points down": tuple(0.8 - 0.6 * (0.8 - x) if at > 9 else x for at, x in enumerate(down)),
        "5 points down": down,
    }.items():  # fmt: skip
        population = Population(500, shares)
        for run in range(runs):
            evaluations = population.draw(run)
            candidates = [candidate(one, "mrr") for one in evaluations]
            looks = (fallen(candidates[: last + 1], "mrr") for last in range(1, len(candidates)))
            rates.add(f"a fall is said in a run, {label}", any(one is not None for one in looks))
            if run < 100 and label != "50 equal":
                rates.add(f"before: a fall is said in a run, {label}", accused_before(evaluations, run))
            for trend, way in (("still falls", -1.0), ("rises with the fall", 1.0)):
                losses_seen = [0.5 + way * 0.01 * at for at in range(len(candidates))]
                told = [replace(one, training_loss=loss) for one, loss in zip(candidates, losses_seen, strict=True)]
                said = {diagnose(_JUDGED, run=told[: last + 1]).verdict for last in range(1, len(told))}
                rates.add(f"overfitting is said in a run, {label}, the training loss {trend}", "overfitting" in said)


def clusters(runs: int, rates: Rates) -> None:
    """4. Two equal evaluations where queries share documents."""
    for label, population in {
        "500 queries, up to 8 on a document": Population(500, (0.8, 0.8), sizes=8, shared=0.7),
        "100 queries, up to 20 on a document": Population(100, (0.8, 0.8), sizes=20, shared=0.7),
        "60 queries, each alone": Population(60, (0.8, 0.8)),
    }.items():
        for run in range(runs):
            one, other = population.draw(run)
            rates.add(f"called different, {label}", compared(one, [other], seed=run)["rank1"][0].is_beyond_chance)
            gained, lost = (int(((other.ranks["rank1"] - one.ranks["rank1"]) == sign).sum()) for sign in (1, -1))
            p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
            rates.add(f"before (McNemar): called different, {label}", p <= 0.05)

    _chains(runs, rates)


def _in_a_chain(run: int, n_evaluations: int) -> tuple[np.ndarray, list[np.ndarray], np.random.Generator]:
    """Three documents a query, so that all hang together; each document has luck of its own in each evaluation."""
    rng = np.random.default_rng(run)
    askers = np.repeat(np.arange(300), 3)
    relevance = np.unique(np.stack([askers, np.minimum(rng.geometric(0.02, 900), 400)], axis=1), axis=0)
    n_own, common = np.bincount(relevance[:, 0]), rng.standard_normal(300)
    ill = [
        (common + np.bincount(relevance[:, 0], rng.standard_normal(401)[relevance[:, 1]]) / n_own + own) / 1.6
        for own in 0.6 * rng.standard_normal((n_evaluations, 300))
    ]
    return relevance, ill, rng


def _chains(runs: int, rates: Rates) -> None:
    """The same where chains of shared documents have to be cut."""
    figures = []
    for run in range(runs):
        relevance, ill, rng = _in_a_chain(run, 2)
        sampling = Sampling.of(relevance, 300)
        for gain in (0.0, 0.1):
            one, other = (_evaluation(rng, sampling.groups, part, 0.8 + at * gain, 0.0) for at, part in enumerate(ill))
            linked = [replace(part, sampling=sampling) for part in (one, other)]
            for label, (first, second) in (("", linked), ("before, by the most shared document: ", (one, other))):
                found = compared(first, [second], seed=run)["rank1"][0]
                what = f"{gain:g} apart, 3 of 400 documents a query"
                rates.add(f"{label}called different, {what}", found.is_beyond_chance)
                rates.add(f"{label}the interval of the difference holds, {what}", found.low <= gain <= found.high)
                if not gain:
                    loss = losses(first, second, {"rank1": 0.0})[0]
                    rates.add(f"{label}a loss is shown, {what}", loss.outcome == LOST)
                    figures.append((label, point(first)["rank1"], intervals_of(first, seed=run)["rank1"]))
        one, other = (_evaluation(rng, sampling.groups, part, 0.8, 0.0) for part in ill)
        alone = [part.one_by_one for part in (one, other)]
        found = compared(alone[0], alone[1:], seed=run)["rank1"][0]
        rates.add("by queries alone: called different, 3 of 400 documents a query", found.is_beyond_chance)
    truth = float(np.mean([value for _, value, _ in figures]))
    for label, _, (low, high) in figures:
        rates.add(f"{label}the interval of rank1 holds, 3 of 400 documents a query", low <= truth <= high)
    for run in range(runs):
        relevance, ill, rng = _in_a_chain(run, 17)
        sampling = Sampling.of(relevance, 300)
        plain = [_evaluation(rng, sampling.groups, part, 0.8, 0.0) for part in ill]
        for label, by in (("", sampling), ("before, by the most shared document: ", Sampling(sampling.groups))):
            seen = [candidate(replace(one, sampling=by), "mrr") for one in plain]
            said = (fallen(seen[: last + 1], "mrr") for last in range(1, 17))
            rates.add(f"{label}a fall is said in a run of 17 equal, 3 of 400 documents a query", any(said))


@dataclass(frozen=True)
class Cut:
    """Advice, and relevant and all pairs at or above each cut."""

    advice: tuple[Advice, ...]
    hits: np.ndarray
    shown: np.ndarray


def _cut(seed: int, n: int) -> Cut:
    found = thresholds(near_pairs(seed, n, 0.9, dim=24), draws=2)
    hits = np.nan_to_num(found.recall) * n
    return Cut(found.advice, hits, hits / np.where(found.precision > 0, found.precision, 1.0))


def promises(runs: int, rates: Rates) -> None:
    """5. A threshold's promise on new queries of the same kind, in a pool as large."""
    for n in (50, 200, 500):
        pools = [_cut(1_000_000 + run, n) for run in range(min(200, 4 * runs))]
        hits, shown = (np.sum([getattr(one, part) for one in pools], axis=0) for part in ("hits", "shown"))
        truth = {"precision": hits / np.maximum(shown, 1), "recall": hits / (n * len(pools))}
        for run in range(runs):
            made = _cut(run, n)
            for kind, share in truth.items():
                one = next(found for found in made.advice if (found.kind, found.wanted) == (kind, 0.95))
                rates.add(f"a threshold for {kind} 0.95 is given, {n} queries", not one.reason)
                if not one.reason:
                    kept = share[round((one.threshold.value + 1) * 1000)] >= 0.95
                    rates.add(f"the promise of {kind} 0.95 is kept, {n} queries", kept)
            reached = np.flatnonzero(made.hits / np.maximum(made.shown, 1) >= 0.95)
            if len(reached):
                rates.add(
                    f"before: the promise of precision 0.95 is kept, {n} queries",
                    truth["precision"][reached[0]] >= 0.95,
                )


def _at_thresholds(rng: np.random.Generator, n: int, side: float) -> tuple[Metrics, np.ndarray]:
    """A model that lies just beside every threshold but that of the margin, which follows from the others."""
    ill, ones = rng.standard_normal(n), np.ones(n)
    positive, negative = 0.75 + side * 1e-4 - 0.09 * ill, 0.55 - side * 1e-4 + 0.02 * rng.standard_normal(n)
    within = 0.1**2 - 0.09**2 - 0.02**2 - side * 1e-5
    hit = 0.6 * ill + 0.8 * rng.standard_normal(n) < norm.ppf(0.85 + side * 1e-4)
    bright = 0.6 * ill + 0.8 * rng.standard_normal(n) < norm.ppf(0.85 + side * 1e-4)
    statistics = PerQuery(
        Sampling(np.arange(n)),
        np.stack([ones, positive, positive**2], axis=1),
        n * np.stack([ones, negative, negative**2 + within], axis=1),
        {"rank1": hit.astype(float), "mrr": hit.astype(float)},
        0.0,
    )
    return Metrics(point(statistics) | {"auc": 0.5}, n_queries=n, per_query=statistics), bright.astype(float)


def verdicts(runs: int, rates: Rates) -> None:
    """6. Whole checklists with a false sentence beyond doubt, where five lines lie on their thresholds."""
    for n in (20, 50, 200, 500):
        for side, false in ((-1.0, PASSED), (1.0, FAILED)):
            for run in range(runs):
                metrics, bright = _at_thresholds(np.random.default_rng(run), n, side)
                lines = [line for line in checklist(metrics, {}, (), bright) if line.name != "margin"]
                rates.add(f"a line just {'below' if side < 0 else 'above'} is {false}, {n} queries",
                          any(line.outcome == false for line in lines))  # fmt: skip
    for run in range(runs):
        hits = np.random.default_rng(run).random(20) < 0.8
        rates.add("before: a true rank-1 of 0.80 passes 0.85, 20 queries", hits.mean() > 0.85)


_DEAF = planted.TRUE_WEIGHTS | {"price": 0.0, "area": 0.0, "amenity": 0.0}


def evidence(runs: int, rates: Rates) -> None:
    """9. Candidates for false negatives: paraphrases among near copies that a half deaf model cannot tell apart."""
    for seed in range(max(runs // 50, 1)):
        draw, items = random.Random(seed), planted.records(200, seed, several=False)
        truth = set()
        for at, beside in draw.sample([(at, beside) for at in range(200) for beside in range(6)], 60):
            text = items[at]["pos"].replace("phòng", f"căn hộ kiểu {'abcdef'[beside]}", 1)
            items[at]["hard_neg"][beside]["text"] = text
            truth.add((items[at]["query"], text))
        one = _candidates_among(items, truth, seed, rates, "hard negatives")
        beaten = one.similarity.hard_scores >= one.similarity.best_positive[one.embeddings.hard_pairs[:, 0]]
        for query, row in one.embeddings.hard_pairs[beaten][:20]:
            rates.add("before: one of 20 that the model ranks too high is one",
                      (one.subset.queries[query], one.subset.hard_negatives[row]) in truth)  # fmt: skip
        # Nobody's columns say the price, and of 120 documents 60 are listings of another price.
        items, truth = [item | {"hard_neg": []} for item in planted.records(200, seed, several=False)], set()
        for at, item in enumerate(items[:120]):
            price = item["metadata"]["euro"]
            other = f"price={price + 1:g}" if at % 2 else f"price={price:g}"
            text = item["pos"].replace("phòng", "căn hộ", 1).replace(f"price={price:g}", other.replace("=7", "=0"), 1)
            items.append({"query": f"hỏi {at}", "pos": text})
            truth |= set() if at % 2 else {(item["query"], text), (f"hỏi {at}", item["pos"])}
        _candidates_among(items, truth, seed, rates, "documents, the price in no column", unread="price")


def _candidates_among(
    items: list[dict[str, Any]], truth: set[tuple[str, str]], seed: int, rates: Rates, what: str, unread: str = ""
) -> planted.Evaluation:
    for item in items:
        item.pop("metadata", None)
    one = planted.evaluate(items, planted.LinearEncoder(_DEAF, noise=0.1, seed=seed))
    found = suspects([one], columns_of(one.subset, partial(_read_but, unread)))
    named = [(suspect.query, suspect.negative) for suspect in found]
    for pair in named[:20]:
        rates.add(f"one of the first 20 candidates is one, {what}", pair in truth)
    for pair in truth:
        rates.add(f"a planted one is among the candidates, {what}", pair in named)
    return one


def _read_but(unread: str, text: str) -> dict[str, str]:
    return {name: value for name, value in planted.read_features(text).items() if name != unread}


def families(runs: int, rates: Rates) -> None:
    """10. Many comparisons in one table."""
    names = [f"f{at}" for at in range(8)]
    rule_of_8 = WeightRule(base={name: 1.0 + at / 10 for at, name in enumerate(names)} | {"other": 0.5})
    stated = tuple({"place": f"p{at % 20}"} for at in range(500))
    for run in range(runs):
        rng = np.random.default_rng(run)
        queries, drops = np.repeat(np.arange(60), 8), 0.2 + 0.1 * rng.standard_normal(480)
        fake = np.stack([queries, np.arange(480)], axis=1)
        one = near_pairs(run, 60, 0.5)
        angles = np.arccos(np.clip(0.9 - drops, -1, 1))
        embeddings = replace(
            one,
            hard_negatives=np.stack([np.cos(angles), np.sin(angles)] + [0 * angles] * 30, axis=1).astype(np.float32),
            hard_pairs=fake,
        )
        similarity = replace(scan(one), best_positive=np.full(60, 0.9), hard_scores=0.9 - drops)
        found = importance_of_types(
            embeddings, similarity, [(names[at % 8],) for at in range(480)], rule=rule_of_8, draws=400, seed=run
        )
        rates.add(
            "any of 28 pairs of equal features called out of order", any(pair.is_clear for pair in found.out_of_order)
        )
        # Query by query, each pair of features for itself.
        apart = drops.reshape(60, 8)[:, None, :] - drops.reshape(60, 8)[:, :, None]
        t = np.abs(apart.mean(axis=0)) / np.where(np.eye(8) > 0, np.inf, apart.std(axis=0, ddof=1) / math.sqrt(60))
        rates.add("before: any of 28 pairs of equal features called different", (t > t_quantile(0.975, 59)).any())
        hits = (rng.random(500) < 0.85).astype(float)
        rates.add("20 equal groups called different", _chance_of(stated, hits, run) <= 0.05)
        hits = (rng.random(500) < np.where(np.arange(500) % 20 == 0, 0.5, 0.85)).astype(float)
        rates.add(
            "one group of 20 that is 35 points worse found, 25 queries each", _chance_of(stated, hits, run) <= 0.05
        )


def _chance_of(stated: Sequence[dict[str, str]], hits: np.ndarray, seed: int) -> float:
    n = len(hits)
    # Each query lies on its document or, where it misses, on the next one's.
    rows = np.eye(n, dtype=np.float32)
    queries = np.where(hits[:, None] > 0, rows, 0.5 * rows + 0.8 * np.roll(rows, 1, axis=1))
    one = Embeddings.from_raw(queries, rows, np.stack([np.arange(n)] * 2, axis=1))
    return grouped_by(one, scan(one), Columns(stated, stated, ()), "place", draws=200, seed=seed).chance


def small(runs: int, rates: Rates) -> None:
    """11. Few queries: intervals of one evaluation and of a difference."""
    for n in (20, 50, 200):
        figures, ends, changes = [], [], []
        for run in range(runs):
            one, other = (near_pairs(run, n, noise, own=run) for noise in (1.7, 1.62))
            first, second = (per_query(scan(part), part) for part in (one, other))
            figures.append(point(first))
            ends.append((
                intervals_of(first, draws=400, seed=run),
                {"separation": tuple(np.quantile(draws_of(first, "separation", run), [0.025, 0.975]))},
            ))
            changes.append((compared(first, [second])["mrr"][0], paired_before(first, second, "mrr", run)))
        for name in ("separation", "margin", "rank1", "mrr"):
            truth = float(np.mean([one[name] for one in figures]))
            for own, before in ends:
                rates.add(f"the interval of {name} holds, {n} queries", own[name][0] <= truth <= own[name][1])
                if name in before:
                    rates.add(
                        f"before: the interval of {name} holds, {n} queries",
                        before[name][0] <= truth <= before[name][1],
                    )
        truth = float(np.mean([one.value for one, _ in changes]))
        for one, (low, high) in changes:
            rates.add(f"the interval of a change of MRR holds, {n} queries", one.low <= truth <= one.high)
            rates.add(f"a change of MRR by {truth:.3f} found, {n} queries", one.is_beyond_chance)
            rates.add(f"before: the interval of a change of MRR holds, {n} queries", low <= truth <= high)
            rates.add(f"before: a change of MRR by {truth:.3f} found, {n} queries", low > 0 or high < 0)


def hubs(runs: int, rates: Rates) -> None:
    """12. The error of AUC in pools with hubs, of which a small share is looked at."""
    passes.EXACT_AUC_PAIRS, passes.SAMPLED_PAIRS = 0, 30_000
    for run in range(max(runs // 10, 1)):
        rng = np.random.default_rng(run)
        documents, centre = rng.standard_normal((3000, 16)), rng.standard_normal(16)
        documents[rng.choice(3000, 30, replace=False)] = 3 * centre + 0.3 * rng.standard_normal((30, 16))
        queries = documents[:200] + centre + rng.standard_normal((200, 16))
        one = Embeddings.from_raw(queries, documents, np.stack([np.arange(200)] * 2, axis=1))
        cosines = one.queries.astype(np.float64) @ one.documents.T.astype(np.float64)
        right = np.eye(200, 3000, dtype=bool)
        truth = spread.wins(cosines[right], cosines[~right]) / (2 * right.sum() * (~right).sum())
        for label, sampler in (("", spread.sample), ("before: ", sample_before)):
            passes.sample = sampler  # type: ignore[attr-defined]
            found = scan(one)
            rates.add(f"{label}AUC is farther off than it says", abs(found.auc - truth) > found.auc_error)
    passes.sample = spread.sample  # type: ignore[attr-defined]


def gate(runs: int, rates: Rates) -> None:
    """13. A gate that allows a loss of 1 point, at a true loss of 1, 0 and 5 points."""
    for lost in (0.01, 0.0, 0.05):
        population = Population(500, (0.80, 0.80 - lost), discordance=0.10)
        for run in range(runs):
            baseline, model = population.draw(run)
            outcome = losses(baseline, model, {"rank1": 0.01})[0].outcome
            for word, said in ((LOST, "shown"), (KEPT, "excluded")):
                rates.add(f"a loss of more than 1 point {said}, true loss {100 * lost:g}, 500 queries", outcome == word)

    for label, n_looks, lost in (("20 equal", 20, 0.0), ("50 equal", 50, 0.0), ("20, all 5 points worse", 20, 0.05)):
        population = Population(500, (0.80, *(0.80 - lost,) * n_looks))
        for run in range(runs):
            untrained, *looks = (candidate(one, "rank1") for one in population.draw(run))
            said = [loss_at_look(untrained, one, "rank1", look=k).outcome for k, one in enumerate(looks, start=1)]
            rates.add(f"worse than the untrained model is said in a run of {label}", LOST in said)
    population = Population(500, (0.80, *(0.79,) * 20))
    for run in range(runs):
        untrained, *looks = (candidate(one, "rank1") for one in population.draw(run))
        said = [loss_at_look(untrained, one, "rank1", allowed=0.01, look=k) for k, one in enumerate(looks, start=1)]
        rates.add("the same of more than the allowed point, 20 exactly one point worse",
                  any(one.outcome == LOST for one in said))  # fmt: skip


SECTIONS: dict[str, tuple[int, Callable[[int, Rates], None]]] = {
    "best": (1, best), "rule": (2, rule), "fall": (3, fall), "clusters": (4, clusters), "promises": (5, promises),
    "verdicts": (6, verdicts), "size": (7, size), "scale": (8, scale), "evidence": (9, evidence),
    "families": (10, families), "small": (11, small), "hubs": (12, hubs), "gate": (13, gate),
}  # fmt: skip


def main() -> None:
    """Prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections by name")
    options = parser.parse_args()
    print("| item | what | share | its 95 % interval | runs |\n|---|---|---|---|---|")
    for name in options.only.split(","):
        section, measure = SECTIONS[name]
        rates = Rates()
        measure(options.runs, rates)
        print("\n".join(rates.lines(section)), flush=True)


if __name__ == "__main__":
    main()
