"""The heatmap: sampled queries against their own and each other's documents."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embviz_callback.analysis.maps.projections import heatmap_rows
from embviz_callback.analysis.verdict.checklist import bright_diagonal
from embviz_callback.drawing import style
from embviz_callback.drawing.wording import percent
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot

_TITLE = "Similarity heatmap"
_SCALE = (-0.5, 1.0)  # cosines; what lies lower is drawn in a colour of its own
_SQUARE, _BAR = (60, 124, 618, 618), (694, 179, 28, 541)  # px
_LARGEST_MARK = 22  # points
_RINGS = ("o", "s", "D")  # by grade, the highest first

Cells = NDArray[np.bool_]


@style.styled
def draw_heatmap(snapshot: Snapshot) -> Figure:
    """Cosines of sampled pairs; own documents on the diagonal, other right answers marked.

    Args:
        snapshot: Its settings say how many pairs.

    Returns:
        The heatmap.
    """
    embeddings, settings = snapshot.embeddings, snapshot.settings
    pairs = heatmap_rows(embeddings, settings.heatmap_pairs, settings.seed)
    scores = embeddings.queries[pairs[:, 0]] @ embeddings.documents[pairs[:, 1]].T
    usable = np.outer(embeddings.usable_queries[pairs[:, 0]], embeddings.usable_documents[pairs[:, 1]])
    figure = style.new_figure(820, is_fixed=True)
    style.head(figure, _TITLE, snapshot)
    axes = style.placed_axes(figure, *_SQUARE)
    _paint(figure, axes, np.where(usable, scores, np.nan))
    _mark(axes, np.where(usable, scores, -np.inf), _relevant(snapshot, pairs), _grades(snapshot, pairs))
    share = bright_diagonal(embeddings, pairs[:, 0], pairs[:, 1])
    style.foot(
        figure,
        snapshot,
        f"bright diagonal: in {percent(share)} of the rows the brightest cell is a relevant one",
        f"{counted(len(pairs), 'pair')} with distinct documents, sampled with seed {settings.seed}{_blank(usable)}",
        has_corpus=False,
    )
    return figure


def _blank(usable: Cells) -> str:
    n_blank = int((~usable.any(axis=1)).sum() + (~usable.any(axis=0)).sum())
    return f" · white: {counted(n_blank, 'row')} or columns without a usable embedding" if n_blank else ""


def _relevant(snapshot: Snapshot, pairs: NDArray[np.int64]) -> Cells:
    """``(n, n)``, which of the sampled documents answer which of the sampled queries."""
    known, n_documents = snapshot.embeddings.relevance, len(snapshot.embeddings.documents)
    cells = pairs[:, :1] * n_documents + pairs[None, :, 1]
    answers: Cells = np.isin(cells, known[:, 0] * n_documents + known[:, 1])
    return answers


def _grades(snapshot: Snapshot, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(n, n)``, what was judged of a sampled document for a sampled query, 0 where nothing was."""
    grades = {(query, document): grade for query, document, grade in snapshot.embeddings.grades.tolist()}
    rows = pairs.tolist()
    return np.array([[grades.get((query, document), 0) for _, document in rows] for query, _ in rows], dtype=np.int64)


def _paint(figure: Figure, axes: Axes, scores: NDArray[np.float32]) -> None:
    colours = colormaps["cividis"].with_extremes(under="#000000", bad="#FFFFFF")
    low, high = _SCALE
    image = axes.imshow(scores, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    bar = figure.colorbar(image, cax=style.placed_axes(figure, *_BAR), extend="min")
    bar.set_label("cosine similarity")
    ticks = [tick for tick in (0, 9, 19, 29, 39, 49, 99, 149, 199) if tick < len(scores)]
    axes.set(xticks=ticks, yticks=ticks, xlabel="document", ylabel="query")
    axes.set_xticklabels([str(tick + 1) for tick in ticks])
    axes.set_yticklabels([str(tick + 1) for tick in ticks])


def _mark(axes: Axes, scores: NDArray[np.float32], relevant: Cells, grades: NDArray[np.int64]) -> None:
    """Rings on other relevant documents, of a shape for each grade; crosses where a wrong one is the brightest."""
    side = min(560 / max(len(scores), 1) * 72 / style.DPI, _LARGEST_MARK)  # points of a cell
    others = relevant & ~np.eye(len(scores), dtype=bool)
    brightest = scores.argmax(axis=1)
    rows = np.arange(len(scores))
    wrong = np.flatnonzero(~relevant[rows, brightest] & np.isfinite(scores[rows, brightest]))
    levels = sorted(set(grades[others].tolist()), reverse=True) or [0]
    for at, grade in enumerate(levels[: len(_RINGS)]):
        is_rest = at == len(_RINGS) - 1 and len(levels) > len(_RINGS)
        also = np.argwhere(others & (grades <= grade if is_rest else grades == grade))
        axes.scatter(
            also[:, 1],
            also[:, 0],
            s=(0.8 * side) ** 2,
            marker=_RINGS[at % len(_RINGS)],
            facecolors="none",
            edgecolors=style.INK,
            linewidths=1.8,
            label=f"{_ring(grade, at)}{' or less' * is_rest} ({len(also)})",
        )
    axes.scatter(
        brightest[wrong],
        wrong,
        s=(0.75 * side) ** 2,
        marker="x",
        c=style.MISS,
        linewidths=2.2,
        label=f"brightest of its row, but wrong ({len(wrong)})" if levels == [0] else f"wrong first ({len(wrong)})",
    )
    style.legend_above(axes, ncols=len(levels) + 1, columnspacing=0.9, handletextpad=0.1)


def _ring(grade: int, at: int) -> str:
    """What a ring says: room is for one line."""
    if not grade:
        return "also relevant"
    return f"{'' if at else 'also '}grade {grade}"
