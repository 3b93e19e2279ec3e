"""What the page of a run shows of an analysis: the findings of `analysis.json`, short enough to travel in it."""

import math
from typing import Any

from embviz_callback.analysis.why.analysis import Analysis
from embviz_callback.analysis.why.columns import Value
from embviz_callback.analysis.why.thresholds import Thresholds
from embviz_callback.drawing.wording import group_sentence
from embviz_callback.files import with_leaves
from embviz_callback.measure import TITLES
from embviz_callback.pairs.texts import beginning

_MOST_ROWS = 30  # of a list; analysis.json holds them all
_MOST_VIOLATIONS = 5
_MOST_CHARACTERS = 301  # of a text in a list
_MOST_LABEL = 80  # of a value to filter by
_DIGITS = 4
_EVERY_CUT = 20  # the curves have 2,000 points, the page's charts 300 pixels
_MOST_COLUMNS = 12


def analysis_view(analysis: Analysis, label: str, *, n_evaluations: int = 1) -> dict[str, Any]:
    """An analysis for a page.

    Args:
        analysis: Of one evaluation.
        label: That evaluation's.
        n_evaluations: How many of the run said which negatives keep outranking.

    Returns:
        Plain JSON, named as in ``analysis.json``; long lists and texts are cut.
    """
    whole = analysis.as_dict()
    errors, suspects = whole["errors"], whole["false_negative_suspects"]
    view = whole | {
        "label": label,
        "n_evaluations": n_evaluations,
        "columns": _columns(analysis),
        "groups": [
            plain | {"sentence": group_sentence(grouping)}
            for grouping, plain in zip(analysis.groupings, whole["groups"], strict=True)
        ],
        "errors": errors | {"misses": errors["misses"][:_MOST_ROWS], "crowders": errors["crowders"][:_MOST_ROWS]},
        "false_negative_suspects": suspects[:_MOST_ROWS],
        "n_suspects": len(suspects),
        "continuity": [one | {"violations": one["violations"][:_MOST_VIOLATIONS]} for one in whole["continuity"]],
        "thresholds": [
            plain | {"curve": _curve(found), "unit": TITLES[found.measure], "telling": list(found.telling)}
            for found, plain in zip(analysis.thresholds, whole["thresholds"], strict=True)
        ],
    }
    return with_leaves(view, _light)


def _columns(analysis: Analysis) -> dict[str, list[Any]]:
    """What is known of each query, to colour and filter the map by."""
    rows = analysis.columns.queries
    names = list(dict.fromkeys(name for row in rows for name in row))[:_MOST_COLUMNS]
    return {name: [_cell(row.get(name)) for row in rows] for name in names}


def _cell(value: Value | None) -> str | float | None:
    text = ", ".join(value) if isinstance(value, tuple) else value
    return text[:_MOST_LABEL] if isinstance(text, str) else text


def _curve(found: Thresholds) -> dict[str, list[float]]:
    return {name: getattr(found, name)[::_EVERY_CUT].tolist() for name in ("cuts", "precision", "recall")}


def _light(value: Any) -> Any:
    """Without NaN, with four decimals and no text longer than a reader reads."""
    if isinstance(value, float):
        return round(value, _DIGITS) if math.isfinite(value) else None
    return beginning(value, _MOST_CHARACTERS) if isinstance(value, str) else value
