"""The distribution: how far the cosines of right pairs stand from those of wrong ones."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embviz_callback.analysis.scan import Similarity, exact_scores
from embviz_callback.analysis.verdict.checklist import band
from embviz_callback.drawing import style
from embviz_callback.drawing.wording import interval, measured, number, percent, sigmas
from embviz_callback.embeddings import Embeddings
from embviz_callback.snapshot import Snapshot

_TITLE = "Similarity distribution"
_N_BINS = 64  # over [-1, 1]
_HEIGHTS = (10.0, 20.0, 40.0)  # the first that holds all bars, so that most epochs share one
_ABOVE, _BELOW = (130, 335, 647, 367), (130, 132, 647, 184)  # px
_LABEL_REACH = 0.85  # of the axis: a label in the middle of an arrow at its end would leave the picture
_MOST_GRADES = 3  # of the highest, whose means fit a line
_BOX = (0.05, 0.25, 0.5, 0.75, 0.95)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Group:
    """The cosines of one kind of pair.

    Attributes:
        name: For the legend.
        colour: The same in every figure.
        counts: ``(n_bins,)`` over [-1, 1].
        mean: Of the cosines, NaN without any.
        quantiles: 5, 25, 50, 75 and 95 %; NaN without any.
    """

    name: str
    colour: str
    counts: Floats
    mean: float
    quantiles: Floats

    @property
    def n(self) -> int:
        """Pairs."""
        return int(self.counts.sum())

    @property
    def density(self) -> Floats:
        """Share of the pairs per unit of cosine, so that 500 positives stand beside 250,000 negatives."""
        shares: Floats = self.counts / max(self.n, 1) * (_N_BINS / 2)
        return shares


def groups(similarity: Similarity, embeddings: Embeddings) -> tuple[Group, ...]:
    """Positive, negative and, where the data have any, hard negative pairs."""
    positive = similarity.positive_scores[~np.isnan(similarity.positive_scores)]
    hard = exact_scores(embeddings.queries, embeddings.hard_negatives, embeddings.hard_pairs)
    hard = hard[~np.isnan(hard)]
    found = [
        _counted("negative", style.NEGATIVE, similarity),
        _listed("positive", style.POSITIVE, positive),
    ]
    if len(hard):
        found.insert(1, _listed("hard negative", style.HARD, hard))
    return tuple(found)


@style.styled
def draw_distribution(snapshot: Snapshot) -> Figure:
    """Densities over the whole range of the cosine, and a box for each kind of pair.

    Args:
        snapshot: Its metrics give margin and separation.

    Returns:
        Two panels on one axis of cosines.
    """
    metrics = snapshot.metrics
    kinds = groups(snapshot.similarity, snapshot.embeddings)
    figure = style.new_figure(820, is_fixed=True)
    style.head(figure, _TITLE, snapshot)
    above, below = (style.placed_axes(figure, *place) for place in (_ABOVE, _BELOW))
    _densities(above, kinds)
    _margin(above, kinds)
    _boxes(below, kinds)
    style.foot(
        figure,
        snapshot,
        f"margin {number(metrics.margin)} ({band('margin', metrics.margin)}, 95 %: {interval(metrics, 'margin')})"
        f" · separation {sigmas(metrics.separation)} ({band('separation', metrics.separation)})",
        f"AUC {measured(metrics.auc, 'auc')} · overlap of positive and negative {percent(snapshot.similarity.overlap)}",
        f"box: quartiles and median, whiskers: 5 and 95 %, diamond: mean{_by_grade(snapshot.embeddings)}",
    )
    return figure


def _by_grade(embeddings: Embeddings) -> str:
    """The mean of every grade, nothing where none tells more than relevant or not."""
    grades = embeddings.grades
    if not len(grades):
        return ""
    scores = exact_scores(embeddings.queries, embeddings.documents, grades[:, :2])
    usable = ~np.isnan(scores)
    listed = sorted(set(grades[usable, 2].tolist()), reverse=True)[:_MOST_GRADES]
    means = (f"{grade} {number(float(scores[usable & (grades[:, 2] == grade)].mean()))}" for grade in listed)
    return f" (grade {', '.join(means)})"


def _listed(name: str, colour: str, scores: Floats) -> Group:
    counts, _ = np.histogram(np.clip(scores, -1, 1), bins=_N_BINS, range=(-1, 1))
    quantiles = np.quantile(scores, _BOX) if len(scores) else np.full(len(_BOX), np.nan)
    mean = float(scores.mean()) if len(scores) else float("nan")
    return Group(name, colour, counts.astype(np.float64), mean, quantiles)


def _counted(name: str, colour: str, similarity: Similarity) -> Group:
    """The negatives, known by a fine histogram only: quantiles are interpolated within its bins."""
    fine = similarity.negative_counts.astype(np.float64)
    steps = np.concatenate([[0.0], np.cumsum(fine)])
    quantiles = np.interp(np.array(_BOX) * steps[-1], steps, similarity.edges)
    if not steps[-1]:
        quantiles = np.full(len(_BOX), np.nan)
    return Group(name, colour, fine.reshape(_N_BINS, -1).sum(axis=1), similarity.negative_mean, quantiles)


def _densities(axes: Axes, kinds: tuple[Group, ...]) -> None:
    edges = np.linspace(-1, 1, _N_BINS + 1)
    for kind in kinds:
        label = f"{kind.name}: mean {number(kind.mean)}, median {number(kind.quantiles[2])}, n = {kind.n:,}"
        axes.stairs(kind.density, edges, fill=True, color=kind.colour, alpha=0.35)
        axes.stairs(kind.density, edges, color=kind.colour, linewidth=2.2, label=label)
        axes.axvline(kind.mean, color=kind.colour, linewidth=2, linestyle="--")
    peak = max(float(kind.density.max()) for kind in kinds)
    height = next((height for height in _HEIGHTS if peak <= 0.85 * height), 1.25 * _N_BINS / 2)
    axes.set(xlim=(-1, 1), ylim=(0, height), ylabel="density of pairs")
    axes.tick_params(labelbottom=False)
    axes.grid(visible=True)
    style.legend_above(axes, reverse=True)


def _margin(axes: Axes, kinds: tuple[Group, ...]) -> None:
    """An arrow from the negative to the positive mean."""
    negative, positive = kinds[0].mean, kinds[-1].mean
    if not np.isfinite(positive - negative):
        return
    height = 0.88 * axes.get_ylim()[1]
    axes.annotate(
        "",
        (positive, height),
        (negative, height),
        arrowprops={"arrowstyle": "<->", "linewidth": 2, "shrinkA": 0, "shrinkB": 0},
    )
    axes.text(
        float(np.clip((negative + positive) / 2, -_LABEL_REACH, _LABEL_REACH)),
        1.03 * height,
        f"margin {number(positive - negative)}",
        ha="center",
        va="bottom",
        fontsize=style.LABEL_SIZE,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
    )


def _boxes(axes: Axes, kinds: tuple[Group, ...]) -> None:
    for row, kind in enumerate(kinds):
        low, first, middle, third, high = kind.quantiles
        axes.hlines(row, low, high, colors=kind.colour, linewidth=2.5)
        axes.barh(row, third - first, left=first, height=0.55, facecolor=kind.colour, edgecolor=style.INK, alpha=0.75)
        axes.vlines(middle, row - 0.275, row + 0.275, colors=style.INK, linewidth=2.5)
        axes.plot(kind.mean, row, marker="D", color="white", markeredgecolor=style.INK, markersize=8)
    axes.set(xlim=(-1, 1), ylim=(-0.6, len(kinds) - 0.4), yticks=range(len(kinds)), xlabel="cosine similarity")
    axes.set_yticklabels([kind.name for kind in kinds])
    axes.grid(visible=True, axis="x")
