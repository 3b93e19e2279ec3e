"""The page of a whole run: one file that opens from disk, loads nothing and runs only its own script."""

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.diagnosis import MARGIN, SEPARATION
from embviz_callback.analysis.projections import Projection, Skipped, heatmap_rows
from embviz_callback.analysis.similarity import Similarity
from embviz_callback.analysis.verdict import Check
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.subset import Subset
from embviz_callback.snapshot import Snapshot

MOST_QUERIES = 1000  # a map of more points is a blot, and the page must stay light
MOST_BYTES = 1_900_000
# The edges of docs/metrics.md, best first; `verdict.band` has the last word, and a test compares.
BANDS = {"margin": (0.40, 0.30, 0.20, 0.10), "separation": (3.0, 2.0, 1.5, 1.0)}
BAND_NAMES = ("excellent", "good", "fair", "poor", "bad")
THRESHOLDS = {
    "margin": MARGIN,
    "separation": SEPARATION,
    "positive_mean": 0.75,
    "negative_mean": 0.55,
    "rank1": 0.85,
}
_SCRIPTS = ("data.js", "state.js", "map.js", "charts.js", "lists.js", "answers.js", "main.js")
_DETAILS = ("top", "top_scores", "depth", "is_wide", "scores", "gaps", "answers", "heatmap", "histogram")
_NOWHERE = -32768
# Every epoch may find others of 100,000 texts, and keeps them beside its numbers.
_CORPUS_PLACES, _CORPUS_CHARACTERS = 3, 200
_HISTOGRAM_BINS = 128

View = Mapping[str, Any]


def epoch_view(snapshot: Snapshot, *, checks: Sequence[Check] = ()) -> dict[str, Any]:
    """What the page shows of one evaluation, small enough to keep one of every epoch.

    Coordinates are rounded to 1/32767 of the map's half width, cosines of the ten first documents
    to 1/32767. Of more than 1,000 queries the first 1,000 are shown: the subset's order is that of
    a hash, so these are a random choice, and the same in every epoch.

    Args:
        snapshot: With its maps.
        checks: The checklist for it.

    Returns:
        Plain JSON, about 45 kB for 500 queries.
    """
    n = min(len(snapshot.subset.queries), MOST_QUERIES)
    metrics = snapshot.metrics.as_dict()
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
        "provenance": dict(snapshot.provenance),
        **_standings(snapshot.similarity, n),
        **_top(snapshot.similarity, n),
        "corpus_texts": _corpus_texts(snapshot, n),
    }
    # JSON knows neither NaN nor infinity; the page reads null, and the word.
    plain: dict[str, Any] = json.loads(json.dumps(view), parse_constant=lambda name: None if name == "NaN" else name)
    return plain


def page(
    snapshots: Sequence[Snapshot],
    *,
    title: str = "Embedding run",
    checks: Sequence[Sequence[Check]] = (),
    alerts: Sequence[str] = (),
    notes: Sequence[str] = (),
    data: View | None = None,
    analysis: View | None = None,
) -> str:
    """The page of snapshots at hand; see `page_from_views`.

    Args:
        snapshots: Of one subset, in the order of training.
        title: Heading.
        checks: A checklist for each snapshot, or none at all.
        alerts: Sentences.
        notes: Sentences for the foot of the page.
        data: What the data check found.
        analysis: Of one of the snapshots.

    Returns:
        HTML.

    Raises:
        ValueError: If there is no snapshot, or they are of different subsets.
    """
    lists = checks or [()] * len(snapshots)
    views = [epoch_view(snapshot, checks=found) for snapshot, found in zip(snapshots, lists, strict=True)]
    if not views:
        raise ValueError("a page needs at least one evaluation, got none")
    subset = snapshots[0].subset
    return page_from_views(views, subset, title=title, alerts=alerts, notes=notes, data=data, analysis=analysis)


def page_from_views(
    views: Sequence[View],
    subset: Subset,
    *,
    title: str = "Embedding run",
    alerts: Sequence[str] = (),
    notes: Sequence[str] = (),
    data: View | None = None,
    analysis: View | None = None,
    most_bytes: int = MOST_BYTES,
) -> str:
    """One HTML file with everything in it.

    Where the evaluations are too many for `most_bytes`, all keep their numbers and ranks, and
    maps, lists, heatmap and distribution are kept of the first, the best, the last and evenly
    spaced ones; the page says so.

    Args:
        views: What `epoch_view` gave, in the order of training.
        subset: The texts.
        title: Heading.
        alerts: Sentences.
        notes: Sentences for the foot of the page.
        data: What the data check found, as `embviz_callback.drawing.data_section.brief` gives it.
        analysis: What `embviz_callback.drawing.page_answers.answers_view` gave for one of the evaluations.
        most_bytes: Of the data in the page.

    Returns:
        HTML that needs no network and whose texts cannot act, whatever they hold.

    Raises:
        ValueError: If there is no view, or one is of another subset.
    """
    if not views:
        raise ValueError("a page needs at least one evaluation, got none")
    for view in views:
        if view["fingerprint"] != subset.fingerprint:
            raise ValueError(
                f"a page shows one subset: {view['label']} is of {view['fingerprint']}, not of {subset.fingerprint}"
            )
    around = {"data_check": data, "analysis": analysis, **_texts(views, subset)}
    if analysis is not None:
        around["columns"] = {**_first(analysis["columns"], len(views[0]["ranks"])), **around["columns"]}
    kept = _thinned(views, most_bytes - _size(around))
    dropped = sum("top" not in view for view in kept)
    remarks = [f"details of {dropped} of {len(views)} evaluations were left out to keep this file small"] * bool(
        dropped
    )
    n = len(views[0]["ranks"])
    if n < len(subset.queries):
        remarks.append(f"lists, maps and ranks show {n} queries chosen at random of {len(subset.queries)}")
    content = {
        "title": title,
        "subset": _facts(subset),
        "thresholds": THRESHOLDS,
        "bands": BANDS,
        "band_names": BAND_NAMES,
        "alerts": list(alerts),
        "notes": [*remarks, *notes],
        **around,
        "views": [_lean(view, is_last=place == len(kept) - 1) for place, view in enumerate(kept)],
    }
    return _assembled(title, _json(content))


def _first(columns: Mapping[str, Sequence[Any]], n: int) -> dict[str, Any]:
    return {name: values[:n] for name, values in columns.items()}


def _assembled(title: str, data: str) -> str:
    folder = files("embviz_callback.drawing") / "page_files"
    read = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *_SCRIPTS)}
    # One scope of its own: nothing of the page can be reached or replaced by name.
    script = '(() => {\n"use strict";\n' + "".join(read[name] for name in _SCRIPTS) + "})();\n"
    parts = {
        "POLICY": _policy(script, read["page.css"]),
        "TITLE": html.escape(title),
        "STYLE": read["page.css"],
        "SCRIPT": script,
        "DATA": data,
    }
    # One pass over the template: a text that holds a placeholder's name is never looked at.
    return re.sub("%([A-Z]+)%", lambda found: parts[found[1]], read["page.html"])


def _policy(script: str, style: str) -> str:
    """Nothing is loaded, and only the very script and style of this file run."""
    rules = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(content: object) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be written to a file


def _size(content: object) -> int:
    """Bytes in the file: a Vietnamese letter takes up to three."""
    return len(_json(content).encode())


def _facts(subset: Subset) -> dict[str, Any]:
    return {
        "fingerprint": subset.fingerprint,
        "seed": subset.seed,
        "n_queries": len(subset.queries),
        "n_documents": len(subset.documents),
        "n_corpus": subset.n_corpus,
        "n_available": subset.n_available,
    }


def _texts(views: Sequence[View], subset: Subset) -> dict[str, Any]:
    """The queries that are shown, and every document that any view names."""
    n = len(views[0]["ranks"])
    shown = _shown_documents(subset, n)
    needed = {*shown, *(row for view in views for row in _named_documents(view))}
    positives: list[list[int]] = [[] for _ in range(n)]
    for query, document in subset.relevance.tolist():
        if query < n:
            positives[query].append(document)
    names = sorted({name for columns in subset.metadata[:n] for name in columns})
    return {
        "queries": subset.queries[:n],
        "ids": subset.ids[:n],
        "positives": positives,
        "columns": {name: [columns.get(name) for columns in subset.metadata[:n]] for name in names},
        "documents": {row: subset.documents[row] for row in sorted(needed) if 0 <= row < len(subset.documents)}
        | {row: text for view in views for row, text in view.get("corpus_texts", ())},
        "shown_documents": shown,
    }


def _shown_documents(subset: Subset, n: int) -> list[int]:
    """Documents on the map: those that answer a query on it."""
    shown: list[int] = np.unique(subset.relevance[subset.relevance[:, 0] < n, 1]).tolist()
    return shown


def _named_documents(view: View) -> list[int]:
    named = [*view["firsts"], *view.get("answers", ())]
    if "top" in view:
        top = np.frombuffer(base64.b64decode(view["top"]), dtype="<i4" if view["is_wide"] else "<i2")
        named += np.unique(top).tolist()
    return named + [document for _, document in (view.get("heatmap") or {"pairs": ()})["pairs"]]


def _thinned(views: Sequence[View], room: int) -> list[View]:
    """The views, without the details of so many that they fit."""
    bare = [_without_details(view) for view in views]
    room -= sum(map(_size, bare))
    cost = [_size(view) - _size(light) for view, light in zip(views, bare, strict=True)]
    keep = set(range(len(views)))
    n = len(views)
    while sum(cost[place] for place in keep) > room and n > 1:
        n -= 1
        keep = _spread(views, n)
    return [view if place in keep else bare[place] for place, view in enumerate(views)]


def _spread(views: Sequence[View], n: int) -> set[int]:
    """About `n` places: the last, the first, the best, then evenly between them."""
    last = len(views) - 1
    best = max(range(len(views)), key=lambda place: (views[place]["ranks"].count(1), -place))
    ends = [last, 0, best][:n]
    even = np.linspace(0, last, max(n - 1, 1)).round().astype(int).tolist() if n > len(ends) else []
    return {*ends, *even[: max(n - 1, 0)]}


def _lean(view: View, *, is_last: bool) -> View:
    """Without what the page shows of the last evaluation only, or holds once for all."""
    lean = {name: value for name, value in view.items() if name != "corpus_texts"}
    return lean if is_last else {**lean, "provenance": {}}


def _without_details(view: View) -> dict[str, Any]:
    light = {name: value for name, value in view.items() if name not in _DETAILS}
    light["maps"] = {
        method: {name: value for name, value in made.items() if name != "points"}
        for method, made in view["maps"].items()
    }
    return light


def _map(made: Projection | Skipped, subset: Subset, n: int) -> dict[str, Any]:
    if isinstance(made, Skipped):
        return {"reason": made.reason}
    points = np.concatenate([made.queries[:n], made.documents[_shown_documents(subset, n)]]).astype(np.float64)
    centre, half = _frame(points)
    places = np.where(np.isnan(points), _NOWHERE, np.round((points - centre) / half * 32767))
    return {
        "points": _packed(places, "<i2"),
        "centre": centre.tolist(),
        "half": half,
        "trustworthiness": made.trustworthiness,
        "continuity": made.continuity,
        "displacement": made.displacement,
        "parameter": made.parameter,
        "seed": made.seed,
        "note": made.note,
    }


def _frame(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    seen = points[~np.isnan(points).any(axis=1)]
    if not len(seen):
        return np.zeros(2), 1.0
    low, high = seen.min(axis=0), seen.max(axis=0)
    return (low + high) / 2, float((high - low).max() / 2) or 1.0


def _standings(similarity: Similarity, n: int) -> dict[str, Any]:
    """Rank, first document and both scores of each query; cosines in 1/10,000."""
    ranks = [_short(rank) for rank in similarity.rank[:n].tolist()]
    has_any = similarity.top_documents.shape[1] > 0
    firsts = similarity.top_documents[:n, 0].tolist() if has_any else [-1] * n
    best = similarity.best_positive[:n]
    lead = similarity.top_scores[:n, 0] - best if has_any else np.full(n, np.nan)
    return {
        "ranks": ranks,
        "firsts": firsts,
        "answers": similarity.best_positive_row[:n].tolist(),
        "scores": _tenthousandths(best),
        "gaps": _tenthousandths(lead),
    }


def _short(rank: float) -> float | int | None:
    if not math.isfinite(rank):
        return None
    # Rounding must not turn a tie for the first place into a hit.
    return int(rank) if rank == int(rank) else max(round(rank, 2), 1.01)


def _tenthousandths(values: NDArray[np.floating[Any]]) -> list[int | None]:
    return [None if math.isnan(value) else round(10_000 * value) for value in values.tolist()]


def _top(similarity: Similarity, n: int) -> dict[str, Any]:
    top = similarity.top_documents[:n]
    is_wide = similarity.n_pool > 32767
    scores = np.round(np.nan_to_num(similarity.top_scores[:n], neginf=-1.0).clip(-1, 1) * 32767)
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
    return [[row, _beginning(snapshot.text(row))] for row in found.tolist()]


def _beginning(text: str) -> str:
    return text if len(text) <= _CORPUS_CHARACTERS else text[: _CORPUS_CHARACTERS - 1] + "…"


def _packed(values: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(dtype).tobytes()).decode()


def _heatmap(snapshot: Snapshot, n: int) -> dict[str, Any] | None:
    embeddings: Embeddings = snapshot.embeddings
    pairs = heatmap_rows(embeddings, snapshot.settings.heatmap_pairs, snapshot.settings.seed)
    if len(pairs) < 2:
        return None
    cosines = embeddings.queries[pairs[:, 0]] @ embeddings.documents[pairs[:, 1]].T
    cells = np.round((cosines.clip(-1, 1) + 1) * 127.5)
    hidden = {place: snapshot.subset.queries[row] for place, row in enumerate(pairs[:, 0].tolist()) if row >= n}
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
