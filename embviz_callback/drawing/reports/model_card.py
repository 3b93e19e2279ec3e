"""The README.md of an exported model."""

from collections.abc import Mapping, Sequence
from typing import Any

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, by_tier
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.analysis.verdict.checklist import CANNOT_TELL, FAILED, PASSED
from embviz_callback.drawing.reports.markdown import rendered


def model_card(
    name: str,
    facts: Mapping[str, str],
    metrics: Mapping[str, Any] | None = None,
    *,
    has_prompts: bool = False,
    pictures: Sequence[str] = (),
) -> str:
    """What the model is, how to load it, and what it was measured at.

    Args:
        name: Of the directory.
        facts: What the model is: its encoder, its dimensions and so on.
        metrics: Content of the runner's ``metrics.json``; None leaves the evaluation out.
        has_prompts: Whether queries and documents are encoded each in their own way.
        pictures: Names of the maps that stand beside the card.

    Returns:
        Markdown with a front matter for the hub.
    """
    titles = {f"{row.figure}.png": row.title for row in MAPS.values()}
    return rendered(
        "model_card",
        name=name,
        name_in_code=repr(name),
        facts=facts,
        has_prompts=has_prompts,
        evaluation=None if metrics is None else _evaluation(metrics),
        pictures={picture: titles.get(picture, picture) for picture in pictures},
    )


def _evaluation(content: Mapping[str, Any]) -> dict[str, Any]:
    values, intervals = content["metrics"], content.get("intervals", {})
    told = [name for name in by_tier(values) if not CATALOGUE[name].is_bound]
    shown = [name for name in told if isinstance(values[name], int | float)]
    counts = {name: content.get(name, "?") for name in ("n_queries", "n_documents", "fingerprint")}
    return counts | {
        "n_corpus": content.get("n_corpus"),
        "metrics": [(name, _number(values[name]), _interval(intervals.get(name))) for name in shown],
        "checks": [
            {"name": str(item["name"]), "outcome": _outcome(item), "reason": str(item["reason"])}
            for item in content.get("checklist") or []
        ],
    }


def _outcome(item: Mapping[str, Any]) -> str:
    """As the checklist says it; a file of version 0.1 knows only whether a line is passed."""
    before = {True: PASSED, False: FAILED}.get(item.get("passed"), CANNOT_TELL)  # type: ignore[arg-type]
    return str(item.get("outcome", before))


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"


def _interval(ends: Any) -> str:
    return f"{_number(ends[0])} to {_number(ends[1])}" if isinstance(ends, list) and len(ends) == 2 else "-"
