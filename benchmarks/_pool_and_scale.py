"""Points 7 and 8 of `benchmarks.conclusions`: verdicts that pool, size, one query or the scale must not decide.

Run by ``python -m benchmarks.conclusions --only size,scale``.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from embviz_callback.analysis.maps.map_quality import clear_share
from embviz_callback.analysis.maps.projections import Projection
from embviz_callback.analysis.metrics.geometry import blind_hubness, hubness
from embviz_callback.analysis.metrics.numbers import Metrics, compute_metrics
from embviz_callback.analysis.scan import Similarity, scan
from embviz_callback.analysis.verdict.checklist import CLEAR_SHARE, checklist
from embviz_callback.analysis.verdict.diagnosis import diagnose
from embviz_callback.delivery.alerts.rule import AlertState, MarginAlert, Reading, judge
from embviz_callback.embeddings import Embeddings

if TYPE_CHECKING:
    from benchmarks.conclusions import Rates

_ABOVE_CHANCE = 1.5  # times the hubness of blind drawing


def pairs_of(seed: int, n: int, noise: float, dim: int = 32) -> Embeddings:
    """Documents, and queries that lie near them."""
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((n, dim))
    queries = documents + noise * rng.standard_normal((n, dim))
    return Embeddings.from_raw(queries, documents, np.stack([np.arange(n)] * 2, axis=1))


def squeezed(one: Embeddings, around: float) -> Embeddings:
    """The same with every cosine c made around + (1 - around) c, which changes no rank."""
    rows = [np.sqrt(1 - around) * part for part in (one.queries, one.documents)]
    queries, documents = (np.column_stack([part, np.full(len(part), np.sqrt(around))]) for part in rows)
    return Embeddings.from_raw(queries, documents, one.relevance)


def _measured(one: Embeddings) -> tuple[Similarity, Metrics]:
    found = scan(one)
    return found, compute_metrics(found, one, draws=0)


def size(runs: int, rates: "Rates") -> None:
    """7. Corpora, large pools, maps of few points, single hard negatives."""
    for run in range(min(runs, 200)):
        one = pairs_of(run, 200, 1.5)
        own = compute_metrics(scan(one), one, draws=0)
        corpus = pairs_of(100_000 + run, 4000, 1.0).documents
        among = replace(compute_metrics(scan(one, corpus=corpus), one, draws=0), own=own)
        rates.add("another verdict because a corpus was added", diagnose(among).verdict != diagnose(own).verdict)
        before = diagnose(replace(among, own=None)).verdict != diagnose(own).verdict
        rates.add("before: another verdict because a corpus was added", before)
        lists = np.random.default_rng(run).integers(0, 20_000, (500, 10))
        skewness, chance = hubness(lists, 20_000)[0], blind_hubness(500, 10, 20_000)
        rates.add("hubs are said of lists drawn blindly, 20,000 documents", skewness > _ABOVE_CHANCE * chance)
        rates.add("before: hubs are said of lists drawn blindly (hubness above 2)", skewness > 2)
        few = replace(own, figures=dict(own) | {"hard_accuracy": 0.0, "rank1": 0.9}, n_hard_queries=1 + run % 19)
        rates.add("1 to 19 queries with hard negatives make the data suspicious",
                  diagnose(few).verdict == "suspicious data")  # fmt: skip
        many = replace(few, n_hard_queries=20 + run % 20)
        rates.add("20 and more that all fail do", diagnose(many).verdict == "suspicious data")
    for n in (5, 10, 50):
        for run in range(runs):
            _random_map(n, run, rates)


def _random_map(n: int, run: int, rates: "Rates") -> None:
    points = np.random.default_rng(run).standard_normal((2, n, 2)).astype(np.float32)
    share = clear_share(points[0], points[1], np.stack([np.arange(n)] * 2, axis=1))
    drawn = Projection("tsne", *points, 1.0, 1.0, None, "", 0, clear_share=share)
    line = next(one for one in checklist(_measured(pairs_of(1, n, 0.5))[1], {"tsne": drawn}, (), np.ones(n))
                if one.name == "clear_clusters_tsne")  # fmt: skip
    rates.add(f"a random map of {n} pairs has clear clusters", line.meets)
    rates.add(f"before: a random map of {n} pairs has clear clusters", share > CLEAR_SHARE)


def scale(runs: int, rates: "Rates") -> None:
    """8. Margins below the threshold where ranking is intact, and where it is not."""
    alert = MarginAlert(stop_training=True)
    for run in range(min(runs, 300)):
        good, bad = pairs_of(run, 200, 0.5), pairs_of(run, 200, 8.0)
        for label, one in (("a good model, cosines squeezed around 0.8", squeezed(good, 0.8)), ("a bad model", bad)):
            similarity, metrics = _measured(one)
            said = diagnose(metrics)
            reading = Reading(0, 0, metrics.margin, metrics.separation, metrics.rank1,
                              verdict=said.verdict, reason=said.reason)  # fmt: skip
            _, event = judge(alert, AlertState(), reading)
            rates.add(f"the margin alert fires: {label}", event is not None)
            rates.add(f"it says that only the scale is squeezed: {label}", event is not None and event.cause == "scale")
            is_ended = event is not None and event.stops
            rates.add(f"it ends the training (before: as often as it fires): {label}", is_ended)
            margin = next(line for line in checklist(metrics, {}, (), np.ones(200)) if line.name == "margin")
            rates.add(f"the checklist fails the margin: {label}", margin.outcome == "failed")
            if one is not bad:
                apart = abs(similarity.overlap - scan(good).overlap)
                rates.add("the overlap of the distributions changes by more than 0.02 under a squeeze", apart > 0.02)
