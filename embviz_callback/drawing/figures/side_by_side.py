"""Figures of a comparison: numbers with intervals, distributions one below the other, maps with arrows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embviz_callback.analysis.compare.comparison import Comparison
from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.analysis.metrics.catalogue import CATALOGUE, FINAL, RANKS, SPREAD, shown
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.drawing import style
from embviz_callback.drawing.figures.painting import (
    Frame,
    Places,
    Sizes,
    common_frame,
    in_radii,
    outcomes,
    paint_map,
    placed,
)
from embviz_callback.drawing.wording import number, pool
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot

_WIDTH = 1100  # px
_LONG_MOVE = 0.1  # radii; shorter arrows would be specks
_MOST_ARROWS = 40  # what an eye can follow
_LABEL_ROOM = 280  # px
_SIZES = Sizes(document=12, hit=14, miss=26, outline=0.7)


@style.styled
def draw_comparison_metrics(comparison: Comparison) -> Figure:
    """A dot with its 95 % interval for every evaluation, in four panels: the metric that decides is one of them.

    Args:
        comparison: What is compared.

    Returns:
        The figure; the best one's dots are filled.
    """
    n = len(comparison.labels)
    figure = _new_figure(190 + 34 * n, "Metrics with 95 % intervals")
    first, best = comparison.metrics[0], comparison.best.place
    names = _panels(comparison.best.metric)
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        for row, metrics in enumerate(comparison.metrics):
            _dot(axes, metrics.get(name, np.nan), metrics.intervals.get(name), row, is_best=row == best)
        axes.set(title=CATALOGUE[name].label, ylim=(n - 0.5, -0.5), yticks=range(n))
        labels = [style.fitted_to_both_ends(label, _LABEL_ROOM, 12) for label in comparison.labels]
        axes.set_yticklabels(labels, parse_math=False)
        axes.tick_params(axis="y", labelleft=place == 0, length=0)
        axes.grid(visible=True, axis="x")
        axes.margins(x=0.1)
    style.note(
        figure,
        f"filled: the best by {CATALOGUE[comparison.best.metric].title}, {comparison.labels[best]} · intervals of each"
        " alone; whether a difference is beyond chance is in the table of paired intervals",
        f"against {pool(first.n_documents, first.n_corpus)} · subset {comparison.fingerprint}",
    )
    return figure


def _panels(decides: str) -> tuple[str, ...]:
    ranks, spread = shown(FINAL, RANKS), shown(FINAL, SPREAD)
    return (*ranks, *spread) if decides in (*ranks, *spread) else (*ranks[:-1], decides, *spread)


def _dot(axes: Axes, value: float, ends: tuple[float, float] | None, row: int, *, is_best: bool) -> None:
    if ends is not None:
        axes.plot(ends, (row, row), color=style.POSITIVE, linewidth=2.5, solid_capstyle="butt")
    fill = style.POSITIVE if is_best else "white"
    axes.plot([value], [row], marker="o", markersize=9, color=fill, markeredgecolor=style.POSITIVE, markeredgewidth=2)


@style.styled
def draw_comparison_distributions(snapshots: Sequence[Snapshot], labels: Sequence[str]) -> Figure:
    """Positive and negative cosines of each evaluation below each other, the first one's outline behind each.

    Args:
        snapshots: Of one subset.
        labels: One for each.

    Returns:
        The figure; all share one axis.
    """
    figure = _new_figure(150 + 120 * len(snapshots), "Similarity distributions")
    low, high = _range(snapshots)
    for place, (snapshot, label) in enumerate(zip(snapshots, labels, strict=True)):
        axes = figure.add_subplot(len(snapshots), 1, place + 1)
        for name, colour in (("negative", style.NEGATIVE), ("positive", style.POSITIVE)):
            heights, edges = _density(snapshot, name)
            axes.stairs(heights, edges, fill=True, color=colour, alpha=0.45, label=name)
            axes.stairs(heights, edges, color=colour, linewidth=1.5)
            if place:
                axes.stairs(*_density(snapshots[0], name), color=style.FAINT, linewidth=1, linestyle=":")
            axes.axvline(snapshot.metrics[f"{name}_mean"], color=colour, linewidth=1.5, linestyle="--")
        metrics = snapshot.metrics
        text = f"{label}: margin {number(metrics.margin)}, separation {number(metrics.separation, 2)} σ"
        axes.set_title(style.fitted(text, _WIDTH - 60, style.LABEL_SIZE), loc="left", parse_math=False)
        axes.set(xlim=(low, high), yticks=[])
        axes.tick_params(labelbottom=place == len(snapshots) - 1)
        axes.grid(visible=True, axis="x")
    axes.set(xlabel="cosine similarity")
    drawn = f"blue: positive pairs, orange: negative pairs, as densities; dashed: means; dotted: {labels[0]}"
    style.note(figure, drawn, f"subset {snapshots[0].subset.fingerprint}")
    return figure


def _density(snapshot: Snapshot, name: str) -> tuple[Places, Places]:
    """Heights and edges; pairs of fine bins, which fewer than a few thousand positives would make ragged."""
    similarity = snapshot.similarity
    counts = {"positive": similarity.positive_counts, "negative": similarity.negative_counts}[name]
    per_bin = 4 if len(counts) % 4 == 0 else 1
    counts, edges = counts.reshape(-1, per_bin).sum(axis=1), similarity.edges[::per_bin]
    return counts / max(counts.sum(), 1) / np.diff(edges), edges


def _range(snapshots: Sequence[Snapshot]) -> tuple[float, float]:
    ends = []
    for snapshot in snapshots:
        similarity = snapshot.similarity
        used = np.flatnonzero(similarity.positive_counts + similarity.negative_counts)
        if len(used):
            ends += [similarity.edges[used[0]], similarity.edges[used[-1] + 1]]
    return (float(min(ends)) - 0.02, float(max(ends)) + 0.02) if ends else (-1.0, 1.0)


@style.styled
def draw_comparison_maps(
    maps: Sequence[Projection | Skipped], snapshots: Sequence[Snapshot], labels: Sequence[str]
) -> Figure:
    """The maps side by side on common axes; arrows lead from where a query was on the one before.

    Args:
        maps: From `embviz_callback.analysis.compare.comparison.common_maps`.
        snapshots: What they show.
        labels: One for each.

    Returns:
        The figure; a map that was not made says why.
    """
    columns = 2 if len(maps) in (2, 4) else 3
    rows = -(-len(maps) // columns)
    made = [one for one in maps if isinstance(one, Projection)]
    title = f"{MAPS[made[0].method].title if made else 'No'} maps on common axes"
    figure = _new_figure(120 + rows * (_WIDTH // columns + 30), title)
    # Of the first map: the unit in which moves are given.
    places = [in_radii(placed(one), placed(made[0])) for one in made]
    frame = common_frame(places) if places else Frame(np.zeros(2), 1.0)
    panels = iter(zip(made, places, strict=True))
    before: _Panel | None = None
    for at, (one, snapshot, label) in enumerate(zip(maps, snapshots, labels, strict=True)):
        axes = figure.add_subplot(rows, columns, at + 1)
        title = style.fitted_to_both_ends(label, _WIDTH / columns - 40, style.LABEL_SIZE)
        axes.set_title(title, loc="left", parse_math=False)
        axes.set(xticks=[], yticks=[])
        if isinstance(one, Skipped):
            lines = "\n".join(style.wrapped(one.reason, _WIDTH / columns - 60, 12))
            axes.text(0.5, 0.5, lines, ha="center", va="center", color=style.MISS, parse_math=False)
            continue
        panel = _Panel(*next(panels), snapshot.similarity.is_hit, frame)
        panel.draw(axes, before)
        before = panel
    cut = " · far points cut off" if any(map(frame.count_outside, places)) else ""
    style.note(
        figure,
        f"blue: query whose first document is right · red cross: wrong · green diamond: document{cut}",
        f"arrow: from where the query was before; the {_MOST_ARROWS} longest moves over {_LONG_MOVE} radii, those of"
        " queries gained or lost before others",
        f"{counted(len(snapshots[0].subset.queries), 'query')} · subset {snapshots[0].subset.fingerprint}",
    )
    return figure


@dataclass(frozen=True, eq=False)
class _Panel:
    """One map of a comparison."""

    made: Projection
    places: Places
    is_hit: NDArray[np.bool_]
    frame: Frame

    @property
    def queries(self) -> Places:
        return self.places[: len(self.is_hit)]

    def draw(self, axes: Axes, before: "_Panel | None") -> None:
        paint_map(axes, self.places, outcomes(self.places, self.is_hit, _SIZES), above=2)
        self.frame.put(axes)
        axes.set_aspect("equal")
        moved = "" if self.made.displacement is None else f" · moved {number(self.made.displacement, 2)} radii"
        n_outside = self.frame.count_outside(self.places)
        shown = [] if before is None else [f"arrows: {self._arrows(axes, before)}"]
        shown += [f"{counted(n_outside, 'point')} cut off"] if n_outside else []
        facts = f"trust {number(self.made.trustworthiness)}{moved}\n{' · '.join(shown)}"
        axes.set_xlabel(facts.rstrip(), fontsize=style.NOTE_SIZE)

    def _arrows(self, axes: Axes, before: "_Panel") -> str:
        """Draws what an eye can follow; gives how many of how many."""
        moves = self.queries - before.queries
        length = np.hypot(*moves.T)
        long = np.flatnonzero(length > _LONG_MOVE)  # false for NaN
        is_changed = self.is_hit != before.is_hit
        chosen = long[np.lexsort((-length[long], ~is_changed[long]))][:_MOST_ARROWS]
        axes.quiver(
            *before.queries[chosen].T,
            *moves[chosen].T,
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.0035,
            headwidth=6,
            headlength=7,
            color=style.INK,
            alpha=0.55,
            zorder=6,
        )
        return f"{len(chosen)} of {len(long):,}"


def _new_figure(height: int, title: str) -> Figure:
    figure = style.new_figure(height, _WIDTH)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.06)  # inches
    style.entitle(figure, title)
    return figure
