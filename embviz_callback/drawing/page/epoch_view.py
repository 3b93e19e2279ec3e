"""What the page of a run shows of one evaluation: plain JSON, small enough to keep one of every epoch."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.maps.projections import Projection, Skipped, heatmap_rows
from embviz_callback.analysis.scan import Similarity
from embviz_callback.analysis.verdict.best import chosen_metric
from embviz_callback.analysis.verdict.checklist import Check
from embviz_callback.embeddings import Embeddings
from embviz_callback.measure import COSINE, TITLES
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import beginning
from embviz_callback.snapshot import Snapshot

MOST_QUERIES = 1000  # a map of more points is a blot, and the page must stay light
_NOWHERE = -32768
# Every epoch may find others of 100,000 texts, and keeps them beside its numbers.
_CORPUS_PLACES, _CORPUS_CHARACTERS = 3, 200
_HISTOGRAM_BINS = 128
_MAP_FACTS = ("trustworthiness", "continuity", "displacement", "parameter", "seed", "note")
_DETAILS = ("top", "top_scores", "depth", "is_wide", "scores", "gaps", "answers", "heatmap", "histogram")


@dataclass(frozen=True, eq=False)
class View:
    """One evaluation as the page shows it; the page's own script reads the content, Python these properties.

    Attributes:
        content: Plain JSON.
    """

    content: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """Of the subset."""
        return str(self.content["fingerprint"])

    @property
    def label(self) -> str:
        """Of the evaluation."""
        return str(self.content["label"])

    @property
    def step(self) -> int | None:
        """Under which it is logged; None outside training."""
        return self.content["step"]  # type: ignore[no-any-return]

    @property
    def ranks(self) -> Sequence[float | None]:
        """Of each query that is shown; None for an infinite one."""
        return self.content["ranks"]  # type: ignore[no-any-return]

    @property
    def has_details(self) -> bool:
        """Whether its maps, lists, heatmap and distribution are there, and not its numbers and ranks alone."""
        return "top" in self.content

    @property
    def corpus_texts(self) -> Sequence[tuple[int, str]]:
        """Row and text of what it names of a corpus."""
        return self.content.get("corpus_texts", ())  # type: ignore[no-any-return]

    def map_of(self, method: str) -> Mapping[str, Any]:
        """The map by a method: its points and facts, or the ``reason`` why there is none; empty where nobody says."""
        return self.content["maps"].get(method, {})  # type: ignore[no-any-return]

    @cached_property
    def named_documents(self) -> frozenset[int]:
        """Rows of the pool that it names anywhere."""
        content = self.content
        named = [*content["firsts"], *content.get("answers", ())]
        if self.has_details:
            packed = np.frombuffer(base64.b64decode(content["top"]), dtype="<i4" if content["is_wide"] else "<i2")
            named += np.unique(packed).tolist()
        return frozenset(named + [document for _, document in (content.get("heatmap") or {"pairs": ()})["pairs"]])

    @cached_property
    def without_details(self) -> "View":
        """Its numbers and ranks alone, for a page of so many that all would not fit."""
        light = {name: value for name, value in self.content.items() if name not in _DETAILS}
        light["maps"] = {
            method: {name: value for name, value in made.items() if name != "points"}
            for method, made in self.content["maps"].items()
        }
        return View(light)

    def to_json(self) -> dict[str, Any]:
        """The content."""
        return dict(self.content)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "View":
        """The view that `to_json` gave.

        Returns:
            The view.

        Raises:
            ValueError: If something else was stored.
        """
        missing = [name for name in ("fingerprint", "label", "step", "ranks", "maps") if name not in stored]
        if missing:
            raise ValueError(f"a view must hold {', '.join(missing)}, there are {', '.join(map(str, stored))}")
        return cls(stored)


def epoch_view(snapshot: Snapshot, *, checks: Sequence[Check] = ()) -> View:
    """What the page shows of one evaluation, small enough to keep one of every epoch.

    Coordinates are rounded to 1/32767 of the map's half width, cosines of the ten first documents
    to 1/32767, as another similarity is of its largest value. Of more than 1,000 queries the first
    1,000 are shown: the subset's order is that of a hash, so these are a random choice, and the
    same in every epoch.

    Args:
        snapshot: With its maps.
        checks: The checklist for it.

    Returns:
        The view, about 45 kB of JSON for 500 queries.
    """
    n = min(len(snapshot.subset.queries), MOST_QUERIES)
    metrics, unit = snapshot.metrics.as_dict(), _unit(snapshot.similarity)
    view = {
        "format": 1,
        "fingerprint": snapshot.subset.fingerprint,
        "label": snapshot.label,
        "epoch": snapshot.epoch,
        "step": snapshot.step,
        "metrics": metrics["metrics"],
        "intervals": metrics["intervals"],
        "diagnosis": asdict(snapshot.diagnosis),
        "checks": [asdict(check) for check in checks],
        "maps": {name: _map(made, snapshot.subset, n) for name, made in snapshot.maps.items()},
        "heatmap": _heatmap(snapshot, n),
        "histogram": _histogram(snapshot.similarity),
        "provenance": snapshot.provenance.to_json(),
        **_named(snapshot.similarity),
        **_standings(snapshot.similarity, n, unit),
        "decides": _deciding(snapshot, n),
        **_top(snapshot.similarity, n, unit),
        "corpus_texts": _corpus_texts(snapshot, n),
    }
    # JSON knows neither NaN nor infinity; the page reads null, and the word.
    return View(json.loads(json.dumps(view), parse_constant=lambda name: None if name == "NaN" else name))


def shown_documents(subset: Subset, n: int) -> list[int]:
    """Documents on the map: those that answer a query on it.

    Args:
        subset: The texts.
        n: How many queries are shown, the first of the subset.

    Returns:
        Rows, ascending.
    """
    shown: list[int] = np.unique(subset.relevance[subset.relevance[:, 0] < n, 1]).tolist()
    return shown


def _map(made: Projection | Skipped, subset: Subset, n: int) -> dict[str, Any]:
    if isinstance(made, Skipped):
        return {"reason": made.reason}
    points = np.concatenate([made.queries[:n], made.documents[shown_documents(subset, n)]]).astype(np.float64)
    centre, half = _frame(points)
    places = np.where(np.isnan(points), _NOWHERE, np.round((points - centre) / half * 32767))
    return {
        "points": _packed(places, "<i2"),
        "centre": centre.tolist(),
        "half": half,
        **{name: getattr(made, name) for name in _MAP_FACTS},
    }


def _frame(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    seen = points[~np.isnan(points).any(axis=1)]
    if not len(seen):
        return np.zeros(2), 1.0
    low, high = seen.min(axis=0), seen.max(axis=0)
    return (low + high) / 2, float((high - low).max() / 2) or 1.0


def _deciding(snapshot: Snapshot, n: int) -> dict[str, Any] | None:
    """What each query contributes to the metric that decides which evaluation is the best."""
    metric, statistics = chosen_metric(snapshot.embeddings, snapshot.settings.metric), snapshot.metrics.per_query
    if statistics is None or metric not in statistics.ranks:
        return None
    return {"metric": metric, "values": _packed(statistics.ranks[metric][:n], "<f4")}


def _unit(similarity: Similarity) -> float:
    """What scores are told in: 1 for cosines."""
    if similarity.measure == COSINE:
        return 1.0
    scores = np.abs([*similarity.top_scores.ravel(), *similarity.best_positive])
    return float(np.nanmax(scores, initial=0.0)) or 1.0


def _named(similarity: Similarity) -> dict[str, Any]:
    """By what is ranked, where it is not the cosine."""
    if similarity.measure == COSINE:
        return {}
    return {"similarity": TITLES[similarity.measure], "unit": _unit(similarity)}


def _standings(similarity: Similarity, n: int, unit: float) -> dict[str, Any]:
    """Rank, first document and both scores of each query, in 1/10,000 of the unit."""
    ranks = [_short(rank) for rank in similarity.rank[:n].tolist()]
    best = similarity.best_positive[:n] / unit
    return {
        "ranks": ranks,
        "firsts": similarity.came_first[:n].tolist(),
        "answers": similarity.best_positive_row[:n].tolist(),
        "scores": _tenthousandths(best),
        "gaps": _tenthousandths(similarity.first_score[:n] / unit - best),
    }


def _short(rank: float) -> float | int | None:
    if not math.isfinite(rank):
        return None
    # Rounding must not turn a tie for the first place into a hit.
    return int(rank) if rank == int(rank) else max(round(rank, 2), 1.01)


def _tenthousandths(values: NDArray[np.floating[Any]]) -> list[int | None]:
    return [None if math.isnan(value) else round(10_000 * value) for value in values.tolist()]


def _top(similarity: Similarity, n: int, unit: float) -> dict[str, Any]:
    top = similarity.top_documents[:n]
    is_wide = similarity.n_pool > 32767
    scores = np.round(np.nan_to_num(similarity.top_scores[:n] / unit, neginf=-1.0).clip(-1, 1) * 32767)
    return {
        "top": _packed(top, "<i4" if is_wide else "<i2"),
        "top_scores": _packed(scores, "<i2"),
        "depth": top.shape[1],
        "is_wide": is_wide,
    }


def _corpus_texts(snapshot: Snapshot, n: int) -> list[list[Any]]:
    """Row and beginning of what the queries shown have found in the corpus among their first three."""
    found = np.unique(snapshot.similarity.top_documents[:n, :_CORPUS_PLACES])
    found = found[found >= len(snapshot.subset.documents)]
    return [[row, beginning(snapshot.text(row), _CORPUS_CHARACTERS)] for row in found.tolist()]


def _packed(values: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(dtype).tobytes()).decode()


def _heatmap(snapshot: Snapshot, n: int) -> dict[str, Any] | None:
    embeddings: Embeddings = snapshot.embeddings
    pairs = heatmap_rows(embeddings, snapshot.settings.heatmap_pairs, snapshot.settings.seed)
    if len(pairs) < 2:
        return None
    cosines = embeddings.queries[pairs[:, 0]] @ embeddings.documents[pairs[:, 1]].T
    cells = np.round((cosines.clip(-1, 1) + 1) * 127.5)
    hidden = {
        place: beginning(snapshot.subset.queries[row], _CORPUS_CHARACTERS)
        for place, row in enumerate(pairs[:, 0].tolist())
        if row >= n
    }
    return {"pairs": pairs.tolist(), "cells": _packed(cells, "u1"), "queries": hidden}


def _histogram(similarity: Similarity) -> dict[str, Any] | None:
    """Counts of both groups over one grid of all epochs, cut to where there is anything."""
    per_bin = max(1, len(similarity.negative_counts) // _HISTOGRAM_BINS)
    starts = np.arange(0, len(similarity.negative_counts), per_bin)
    negative = np.add.reduceat(similarity.negative_counts, starts)
    positive = np.add.reduceat(similarity.positive_counts, starts)
    used = np.flatnonzero(negative + positive)
    if not len(used):
        return None
    edges = [*similarity.edges[starts].tolist(), float(similarity.edges[-1])]
    first, last = int(used[0]), int(used[-1]) + 1
    return {
        "low": round(edges[first], 6),
        "high": round(edges[last], 6),
        "negative": negative[first:last].tolist(),
        "positive": positive[first:last].tolist(),
    }
