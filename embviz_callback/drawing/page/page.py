"""The page of a whole run: one file that opens from disk, loads nothing and runs only its own script."""

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.catalogue import (
    BANDS,
    CATALOGUE,
    GROUPS,
    PAGE,
    RANKS,
    SPREAD,
    by_tier,
    charts,
    shown,
)
from embviz_callback.analysis.metrics.intervals import Sampling, mean_pseudo_values
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.analysis.verdict.best import MOST, Candidate, best_of, choose_best
from embviz_callback.drawing.page.epoch_view import View, shown_documents
from embviz_callback.drawing.reports.asides import NOTHING, Context
from embviz_callback.grammar import counted
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import beginning

MOST_BYTES = 1_850_000
_SHORTER = ((2_000, 40), (500, 40), (200, 20), (80, 10))  # characters of a text, and columns: the first that fit
_LONGEST_NAME = 80  # of an identifier, or a value of a column
_SECTIONS = (SPREAD, RANKS)
_SCRIPTS = ("data.js", "state.js", "map.js", "charts.js", "lists.js", "analysis.js", "pairs.js", "main.js")


def page(
    views: Sequence[View],
    subset: Subset,
    context: Context = NOTHING,
    *,
    title: str = "Embedding run",
    most_bytes: int = MOST_BYTES,
) -> str:
    """One HTML file with everything in it.

    Where the evaluations are too many for `most_bytes`, all keep their numbers and ranks, and
    maps, lists, heatmap and distribution are kept of the first, the best, the last and evenly
    spaced ones; the page says so.

    Args:
        views: What `epoch_view` gave, in the order of training.
        subset: The texts.
        context: What else stands on it; the analysis is of one of the evaluations.
        title: Heading.
        most_bytes: Of the data in the page.

    Returns:
        HTML that needs no network and whose texts cannot act, whatever they hold.

    Raises:
        ValueError: If there is no view, or one is of another subset.
    """
    if not views:
        raise ValueError("a page needs at least one evaluation, got none")
    for view in views:
        if view.fingerprint != subset.fingerprint:
            raise ValueError(
                f"a page shows one subset: {view.label} is of {view.fingerprint}, not of {subset.fingerprint}"
            )
    analysis = context.analysis
    texts, remarks = _texts_that_fit(views, subset, most_bytes // 2)
    best = _best(views, subset)
    around = {
        "title": title,
        "subset": _facts(subset),
        **_marks(),
        **best,
        "alerts": list(context.alerts),
        "data_check": context.data,
        "analysis": analysis,
        "board": context.board,
        "asides": [asdict(aside) for aside in context.asides],
        **texts,
    }
    if analysis is not None:
        found = {name: values[: len(views[0].ranks)] for name, values in analysis["columns"].items()}
        around["columns"] = {**found, **around["columns"]}
    written = _json(around)
    kept = _thinned(views, best["best"]["place"], most_bytes - len(written.encode()))
    dropped = sum(not view.has_details for view in kept)
    left_out = f"details of {dropped} of {counted(len(views), 'evaluation')} were left out to keep this file small"
    remarks += [left_out] if dropped else []
    n = len(views[0].ranks)
    if n < len(subset.queries):
        remarks.append(f"lists, maps and ranks show {n} queries chosen at random of {len(subset.queries)}")
    shown = ",".join(_view_text(view, view is kept[-1]) for view in kept)
    return _assembled(title, f'{written[:-1]},"notes":{_json([*remarks, *context.notes])},"views":[{shown}]}}')


def _best(views: Sequence[View], subset: Subset) -> dict[str, Any]:
    """The groups of the queries shown, and which of the last evaluations is the best by them."""
    first, metric, candidates = _candidates(views, subset)
    found = choose_best(candidates, metric)
    beside = ", ".join(views[first + place].label for place in found.undecided)
    sampling = _sampled(views, subset)
    return {
        "groups": sampling.groups.tolist(),
        "is_chained": sampling.is_chained,
        "best": {
            "place": first + found.place,
            "metric": metric,
            "sentence": f"By {CATALOGUE[metric].title} it cannot be told from {beside}" if beside else "",
        },
    }


def best_view(views: Sequence[View], subset: Subset) -> int:
    """Place of the best of the last evaluations, by the rule of `embviz compare` and the queries that the page shows.

    Args:
        views: At least one, of this subset.
        subset: The texts.

    Returns:
        An index.
    """
    first, metric, candidates = _candidates(views, subset)
    return first + best_of(candidates, metric)


def _sampled(views: Sequence[View], subset: Subset) -> Sampling:
    """That of the queries which are shown."""
    shown, whole = len(views[0].ranks), Sampling.of(subset.relevance, len(subset.queries))
    return Sampling(whole.groups[:shown], None if whole.chained is None else whole.chained[whole.chained[:, 0] < shown])


def _candidates(views: Sequence[View], subset: Subset) -> tuple[int, str, list[Candidate]]:
    """Place of the first that is asked, the metric that decided last, and those that stand for it."""
    first = max(len(views) - MOST, 0)
    sampling = _sampled(views, subset)
    metric = next((found["metric"] for view in reversed(views) if (found := view.content.get("decides"))), "mrr")
    return first, metric, [_candidate(view, sampling) for view in views[first:]]


def _candidate(view: View, sampling: Sampling) -> Candidate:
    if kept := view.content.get("decides"):
        values = np.frombuffer(base64.b64decode(kept["values"]), dtype="<f4").astype(np.float64)
    else:  # written down before this was kept
        values = np.array([0.0 if rank is None else 1 / rank for rank in view.ranks])
    separation = view.content["metrics"].get("separation")
    known = math.nan if separation is None else float(separation)
    pseudo = mean_pseudo_values(values, sampling.groups) if sampling.sharing is None else values
    return Candidate(float(values.mean()), pseudo, known, sharing=sampling.sharing)


def _marks() -> dict[str, Any]:
    """What a value is held against."""
    order = [row for part in _SECTIONS for name in by_tier(CATALOGUE) if (row := CATALOGUE[name]).section == part]
    return {
        "thresholds": {row.name: row.threshold for row in order if row.is_checked},
        "bands": {row.name: row.bands for row in order if row.bands},
        "band_names": BANDS,
    }


def _catalogue() -> dict[str, Any]:
    """What the scripts need to know of metrics and maps; the data hold what belongs to one run."""
    return {
        "metrics": {
            name: {"title": row.title, "better": row.better, "unit": row.unit, "decimals": row.decimals}
            for name, row in CATALOGUE.items()
        },
        "charts": [
            {"title": chart.title, "line": chart.line, "low": chart.low, "high": chart.high}
            | {"metrics": [row.name for row in rows]}
            for chart, rows in charts(PAGE).items()
        ],
        "compared": shown(GROUPS),
        "maps": {method: row.title for method, row in MAPS.items()},
    }


def _assembled(title: str, data: str) -> str:
    folder = files("embviz_callback.drawing.page") / "page_files"
    read = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *_SCRIPTS)}
    # One scope of its own: nothing of the page can be reached or replaced by name.
    known = f"const CATALOGUE = {_json(_catalogue())}, METHODS = CATALOGUE.maps;\n"
    script = '(() => {\n"use strict";\n' + known + "".join(read[name] for name in _SCRIPTS) + "})();\n"
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


def _texts_that_fit(views: Sequence[View], subset: Subset, room: int) -> tuple[dict[str, Any], list[str]]:
    """Texts and columns, cut until they fit, and sentences that say so."""
    n_columns = len({name for columns in subset.metadata for name in columns})
    for longest, most_columns in _SHORTER:
        texts = _texts(views, subset, longest, most_columns)
        if _size(texts) <= room:
            break
    shown = subset.queries + subset.documents
    remarks = [f"texts are cut at {longest:,} characters"] if any(len(text) > longest for text in shown) else []
    remarks += [f"{most_columns} of {n_columns:,} columns are shown"] if n_columns > most_columns else []
    return texts, remarks


def _texts(views: Sequence[View], subset: Subset, longest: int, most_columns: int) -> dict[str, Any]:
    """The queries that are shown, and every document that any view names, up to so many characters."""
    n = len(views[0].ranks)
    shown = shown_documents(subset, n)
    needed = frozenset(shown).union(*(view.named_documents for view in views))
    positives: list[list[int]] = [[] for _ in range(n)]
    for query, document in subset.relevance.tolist():
        if query < n:
            positives[query].append(document)
    names = sorted({name for columns in subset.metadata[:n] for name in columns})[:most_columns]
    return {
        "queries": [beginning(text, longest) for text in subset.queries[:n]],
        "ids": [None if name is None else beginning(name, _LONGEST_NAME) for name in subset.ids[:n]],
        "positives": positives,
        "columns": {
            beginning(name, _LONGEST_NAME): [_cell(columns.get(name)) for columns in subset.metadata[:n]]
            for name in names
        },
        "documents": {
            row: beginning(subset.documents[row], longest) for row in sorted(needed) if 0 <= row < len(subset.documents)
        }
        | {row: text for view in views for row, text in view.corpus_texts},
        "shown_documents": shown,
    }


def _cell(value: str | float | None) -> str | float | None:
    return beginning(value, _LONGEST_NAME) if isinstance(value, str) else value


def _thinned(views: Sequence[View], best: int, room: int) -> list[View]:
    """The views, without the details of so many that they fit."""
    bare = [view.without_details for view in views]
    sizes, least = ([len(_view_text(view, False).encode()) for view in some] for some in (views, bare))
    room -= sum(least)
    cost = [size - low for size, low in zip(sizes, least, strict=True)]
    keep = set(range(len(views)))
    n = len(views)
    while sum(cost[place] for place in keep) > room and n > 1:
        n -= 1
        keep = _spread(len(views), best, n)
    return [view if place in keep else bare[place] for place, view in enumerate(views)]


def _spread(n_views: int, best: int, n: int) -> set[int]:
    """About `n` places: the last, the first, the best, then evenly between them."""
    last = n_views - 1
    ends = [last, 0, best][:n]
    even = np.linspace(0, last, max(n - 1, 1)).round().astype(int).tolist() if n > len(ends) else []
    return {*ends, *even[: max(n - 1, 0)]}


@lru_cache(maxsize=160)  # from one evaluation to the next only the newest changes
def _view_text(view: View, is_last: bool) -> str:
    """JSON without what the page shows of the last evaluation only, or holds once for all."""
    lean = {name: value for name, value in view.content.items() if name not in ("corpus_texts", "decides")}
    return _json(lean if is_last else {**lean, "provenance": {}})
