"""The analysis as a page: the data, the groups, the errors, the features, the thresholds."""

import math
from collections.abc import Collection
from typing import Any

from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.analysis.metrics.resampling import Estimate
from embviz_callback.analysis.why.analysis import Analysis
from embviz_callback.analysis.why.groups import Group, Grouping
from embviz_callback.analysis.why.sensitivity import Importance
from embviz_callback.drawing.figures.why.analysis_figures import curve_figure_name, group_figure_name
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.wording import advice_sentence, group_sentence
from embviz_callback.measure import COSINE, TITLES
from embviz_callback.pairs.check.findings import Checkup
from embviz_callback.snapshot import Snapshot

_MOST_GROUPS = 12
_MOST_ROWS = 20

Values = dict[str, Any]


def analysis_report(
    snapshot: Snapshot, analysis: Analysis, *, checkup: Checkup | None = None, figures: Collection[str] = ()
) -> str:
    """Everything that the analysis found, as a page of markdown.

    Args:
        snapshot: The evaluation.
        analysis: Its analysis.
        checkup: What is wrong with the data, for the first section.
        figures: Names of the figures that were made; they stand beside the page as ``<name>.png``.

    Returns:
        Markdown; text from the data is inert in it.
    """
    errors = analysis.errors
    importances = [_importance(analysis.importance, "hard negatives", "importance")]
    if analysis.edits is not None:
        importances.append(_importance(analysis.edits, "controlled edits", "importance_edits"))
    return rendered(
        "analysis_report",
        snapshot=snapshot,
        metrics=snapshot.metrics,
        analysis=analysis,
        subset=analysis.subset,
        checkup=checkup,
        errors=errors,
        miss_share=len(errors.misses) / max(errors.n_queries, 1),
        groups=[_groups(grouping) for grouping in analysis.groupings],
        importances=importances,
        curves=[{"found": curve, "figure": curve_figure_name(curve.column)} for curve in analysis.continuity],
        thresholds=[
            {
                "n_documents": one.n_documents,
                "with_hard_negatives": one.with_hard_negatives,
                "by": "" if one.measure == COSINE else f", by the {TITLES[one.measure]}",
                "sentences": [advice_sentence(advice) for advice in one.advice],
            }
            for one in analysis.thresholds
        ],
        figures=figures,
        most_rows=_MOST_ROWS,
        most_groups=_MOST_GROUPS,
    )


def _groups(grouping: Grouping) -> Values:
    stem = group_figure_name(grouping.column).removeprefix("groups_")
    return {
        "grouping": grouping,
        "sentence": group_sentence(grouping),
        "rows": [_group(group) for group in grouping.groups],
        "silhouette": _known(grouping.silhouette),
        "figures": [f"{prefix}_{stem}" for prefix in ("groups", "affinity", *(f"{method}_by" for method in MAPS))],
    }


def _group(group: Group) -> Values:
    return {
        "label": group.label,
        "is_small": group.is_small,
        "n_queries": group.n_queries,
        "separation": group.figures["separation"],
        **{name: _estimate(group, name) for name in ("rank1", "margin")},
    }


def _estimate(group: Group, name: str) -> Estimate:
    return Estimate(group.figures[name], *group.intervals.get(name, (math.nan, math.nan)))


def _importance(importance: Importance, by: str, figure: str) -> Values:
    return {
        "by": by,
        "figure": figure,
        "effects": importance.effects,
        "spearman": _known(importance.spearman),
        "out_of_order": importance.out_of_order,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
