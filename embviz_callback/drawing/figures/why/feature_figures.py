"""Features, numbers and thresholds as figures."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embviz_callback.analysis.why.continuity import Continuity
from embviz_callback.analysis.why.errors import Errors
from embviz_callback.analysis.why.sensitivity import SMALL, Effect, Importance
from embviz_callback.analysis.why.thresholds import Thresholds
from embviz_callback.drawing import style
from embviz_callback.drawing.wording import number
from embviz_callback.grammar import counted
from embviz_callback.measure import COSINE, TITLES
from embviz_callback.snapshot import Snapshot

_ROW = 34  # px per bar
_ROOM = 170
_MOST_BARS = 20
_REACHES = (0.1, 0.25, 0.5, 1.0, 2.0)  # the first that holds all drops, so that most epochs share one


@style.styled
def draw_importance(
    snapshot: Snapshot, importance: Importance, title: str = "What moves the similarity", *, over: str = "queries"
) -> Figure:
    """Drop of the cosine by feature, beside the weights of the rule.

    Args:
        snapshot: What was measured.
        importance: Its effects, one at least.
        title: For the head.
        over: What the intervals were drawn over.

    Returns:
        The figure.
    """
    effects = importance.effects[:_MOST_BARS]
    weighted = any(effect.weight is not None for effect in effects)
    figure = style.new_figure(220 + _ROW * max(len(effects), 2))
    style.head(figure, title, snapshot)
    panels = figure.subplots(1, 2 if weighted else 1, sharey=True, squeeze=False)[0]
    _drops(panels[0], effects)
    panels[0].set_yticks(range(len(effects)), [_effect_name(effect) for effect in effects], parse_math=False)
    panels[0].invert_yaxis()
    if weighted:
        _weights(panels[1], effects)
    style.foot(figure, snapshot, *_importance_facts(importance, over, weighted=weighted))
    return figure


def _effect_name(effect: Effect) -> str:
    mark = "*" if effect.is_small else ""
    mark += "†" if effect.method == "least squares" else ""
    return f"{style.fitted(effect.feature, _ROOM, 12)} ({effect.count:,}){mark}"


def _drops(axes: Axes, effects: Sequence[Effect]) -> None:
    axes.grid(axis="x")
    axes.axvline(0, color=style.FAINT, linewidth=1)
    for at, effect in enumerate(effects):
        axes.barh(at, effect.drop.value, height=0.6, color=style.FAINT if effect.is_small else style.POSITIVE)
        if math.isfinite(effect.drop.low):
            axes.plot([effect.drop.low, effect.drop.high], [at, at], color=style.INK, linewidth=1.6)
    axes.set_xlabel("drop of the cosine similarity")
    ends = [max(effect.drop.value, effect.drop.high) for effect in effects if math.isfinite(effect.drop.value)]
    reach = np.nanmax([0.0, *ends])
    axes.set_xlim(right=next((limit for limit in _REACHES if reach <= limit), 2.0))


def _weights(axes: Axes, effects: Sequence[Effect]) -> None:
    axes.grid(axis="x")
    for at, effect in enumerate(effects):
        known = effect.weight is not None
        axes.barh(
            at,
            effect.weight or 0.0,
            height=0.6,
            color=style.NEGATIVE,
            hatch=None if effect.has_own_weight or not known else "//",
            edgecolor=style.FAINT,
        )
    axes.set_xlabel("weight of the rule")


def _importance_facts(importance: Importance, over: str, *, weighted: bool) -> tuple[str, ...]:
    facts = [f"lines: 95 % intervals over {over} · in brackets: comparisons"]
    if any(effect.is_small for effect in importance.effects):
        facts.append(f"* fewer than {SMALL} comparisons")
    if any(effect.method == "least squares" for effect in importance.effects):
        facts.append("† hardly ever changes alone: its share in a least-squares fit")
    if weighted:
        facts.append(f"Spearman of drop and weight: {number(importance.spearman, 2)} · hatched: weighs as 'other'")
    clear = [pair for pair in importance.out_of_order if pair.is_clear]
    if clear:
        pairs = ", ".join(f"{pair.lighter} over {pair.heavier}" for pair in clear)
        facts.append(f"against the weights, beyond chance: {pairs}")
    return tuple(facts)


@style.styled
def draw_continuity(snapshot: Snapshot, curve: Continuity) -> Figure:
    """Mean cosine of two documents against the difference of their values.

    Args:
        snapshot: What was measured.
        curve: One column's curve.

    Returns:
        The figure.
    """
    figure = style.new_figure(520)
    style.head(figure, f"Cosine against difference in {curve.column}", snapshot)
    axes = figure.add_subplot()
    axes.grid(axis="y")
    middle = [band.middle for band in curve.bands]
    value = np.array([band.cosine.value for band in curve.bands])
    low = np.array([band.cosine.low for band in curve.bands])
    high = np.array([band.cosine.high for band in curve.bands])
    axes.fill_between(middle, low, high, color=style.POSITIVE, alpha=0.2, linewidth=0)
    axes.plot(middle, value, "o-", color=style.POSITIVE, linewidth=2, markersize=7)
    for at in curve.rises:
        axes.plot([middle[at]], [value[at]], "o", color=style.MISS, markersize=12, fillstyle="none", markeredgewidth=2)
    axes.set_xlabel(f"difference in {style.fitted(curve.column, 300, 13)}", parse_math=False)
    axes.set_ylabel("mean cosine similarity")
    axes.set_ylim(min(-0.2, float(np.nanmin(value)) - 0.05), 1.0)
    facts = (
        f"all pairs of {counted(curve.n_documents, 'document')} · shade: 95 % interval over documents"
        + (" · ringed: rises beyond chance" if curve.rises else ""),
        f"{curve.verdict}: {number(curve.fall.value)} ({number(curve.fall.low)} to {number(curve.fall.high)}), "
        f"Spearman {number(curve.spearman, 2)}",
    )
    style.foot(figure, snapshot, *facts)
    return figure


@style.styled
def draw_thresholds(snapshot: Snapshot, found: Sequence[Thresholds]) -> Figure:
    """Precision and recall over all cut-offs.

    Args:
        snapshot: What was measured.
        found: Against the documents and, if there are any, with hard negatives; at least one.

    Returns:
        The figure.
    """
    figure = style.new_figure(560)
    style.head(figure, "Where to cut", snapshot)
    axes = figure.add_subplot()
    axes.grid()
    axes.plot(found[0].cuts, found[0].recall, color=style.DOCUMENT, linewidth=2, label="recall")
    for one, dashes, name in zip(found, ("-", "--"), ("precision", "precision among hard negatives"), strict=False):
        axes.plot(one.cuts, one.precision, dashes, color=style.POSITIVE, linewidth=2, label=name)
    best = next(advice for advice in found[-1].advice if advice.kind == "F1")
    if math.isfinite(best.threshold.value):
        axes.axvline(best.threshold.value, color=style.MISS, linewidth=1.4, label="largest F1")
    axes.set_xlim(*found[0].telling)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"shown from this {TITLES[found[0].measure]}")
    axes.set_ylabel("share")
    # Left of 0 no cosine has a curve; other similarities leave no such place.
    axes.legend(loc="center left" if found[0].measure == COSINE else "best", frameon=False)
    style.foot(
        figure, snapshot, f"precision is that of a pool of {counted(found[0].n_documents, 'document')}: more want more"
    )
    return figure


@style.styled
def draw_confusions(snapshot: Snapshot, errors: Errors) -> Figure:
    """In which columns the document that came first differs from the one that was expected.

    Args:
        snapshot: What was measured.
        errors: Its misses, of which two documents differ in a column at least.

    Returns:
        The figure.
    """
    rows = errors.confusions[:_MOST_BARS]
    lone = dict(errors.lone_confusions)
    figure = style.new_figure(210 + _ROW * max(len(rows), 2))
    style.head(
        figure, f"What the misses confuse ({len(errors.misses)} of {counted(errors.n_queries, 'query')})", snapshot
    )
    axes = figure.add_subplot()
    axes.grid(axis="x")
    for at, (column, count, _) in enumerate(rows):
        axes.barh(at, count, height=0.6, color=style.MISS, label="differs" if at == 0 else None)
        alone = lone.get(column, 0)
        axes.barh(at, alone, height=0.6, color=style.INK, label="differs, and nothing else" if at == 0 else None)
    names = [f"{style.fitted(column, _ROOM, 12)} ({count} of {total})" for column, count, total in rows]
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("misses")
    axes.legend(loc="lower right", frameon=False)
    style.foot(figure, snapshot, "in brackets: of the misses in which both documents have a value")
    return figure
