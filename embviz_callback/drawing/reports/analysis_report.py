"""The analysis as a page: the data, the groups, the errors, the features, the thresholds."""

from collections.abc import Collection
from math import isnan, nan

from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.analysis.metrics.resampling import Estimate
from embviz_callback.analysis.why.analysis import Analysis
from embviz_callback.analysis.why.groups import Group
from embviz_callback.drawing.figures.why.analysis_figures import curve_figure_name, group_figure_name
from embviz_callback.drawing.reports.markdown import rendered
from embviz_callback.drawing.wording import advice_sentence, group_sentence
from embviz_callback.measure import TITLES
from embviz_callback.pairs.check.findings import Checkup
from embviz_callback.snapshot import Snapshot

_MOST_GROUPS = 12
_MOST_ROWS = 20


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
    edits = [] if analysis.edits is None else [("controlled edits", analysis.edits, "importance_edits")]
    return rendered(
        "analysis_report",
        snapshot=snapshot,
        analysis=analysis,
        checkup=checkup,
        importances=[("hard negatives", analysis.importance, "importance"), *edits],
        titles=TITLES,
        figures=figures,
        most_rows=_MOST_ROWS,
        most_groups=_MOST_GROUPS,
        **{word.__name__: word for word in (isnan, advice_sentence, curve_figure_name, group_sentence)},
        figures_by=_figures_by,
        estimate_of=_estimate_of,
    )


def _figures_by(column: str) -> list[str]:
    """Names of the figures of a grouping."""
    stem = group_figure_name(column).removeprefix("groups_")
    return [f"{prefix}_{stem}" for prefix in ("groups", "affinity", *(f"{method}_by" for method in MAPS))]


def _estimate_of(group: Group, name: str) -> Estimate:
    return Estimate(group.figures[name], *group.intervals.get(name, (nan, nan)))
