"""What an eye would read off the figures, computed and put into words."""

import numpy as np

from embviz_callback.analysis.maps.projections import Skipped
from embviz_callback.analysis.metrics.catalogue import ONE_CLUSTER
from embviz_callback.analysis.metrics.pictures import BRIGHT_SHARE, CLEAR_SHARE, MAPS, TRUSTED
from embviz_callback.analysis.verdict.checklist import bright_cells
from embviz_callback.drawing.wording import number, percent
from embviz_callback.grammar import counted
from embviz_callback.snapshot import Snapshot

_APART, _MIXED = 0.1, 0.3  # overlap of the distributions
_NO_SEPARATION = 1.0
_ALIKE = 0.05  # standard deviation of all cosines


def readings(snapshot: Snapshot) -> tuple[str, ...]:
    """Every figure in one sentence."""
    maps = (map_reading(snapshot, method) for method in MAPS)
    return (*maps, heatmap_reading(snapshot), distribution_reading(snapshot), top_k_reading(snapshot))


def map_reading(snapshot: Snapshot, method: str) -> str:
    """Whether queries and their documents form clear clusters on a map, in one sentence."""
    name, made = MAPS[method].title, snapshot.map_of(method)
    if isinstance(made, Skipped):
        return f"{name}: no map, {made.reason}"
    least = max(CLEAR_SHARE, made.blind_share)
    word = "clear" if made.clear_share > least else "not clear"
    doubt = "; with so little trust its distances say little" if made.trustworthiness < TRUSTED else ""
    return (
        f"{name}: clusters are {word}, {percent(made.clear_share)} of the queries have a relevant document among"
        f" their 10 nearest points (needed: more than {percent(least)}); trustworthiness"
        f" {number(made.trustworthiness)}, continuity {number(made.continuity)}{doubt}"
    )


def heatmap_reading(snapshot: Snapshot) -> str:
    """Whether the diagonal of the heatmap is bright, in one sentence."""
    if np.isnan(snapshot.metrics.rank1):
        return "Heatmap: there are no pairs to compare"
    cells = bright_cells(snapshot.embeddings, seed=snapshot.settings.seed)
    word = "bright" if cells.mean() > BRIGHT_SHARE else "not bright"
    return (
        f"Heatmap: the diagonal is {word}, for {percent(float(cells.mean()))} of {counted(len(cells), 'query')} the"
        f" brightest cell among 50 columns is a relevant one (needed: more than {percent(BRIGHT_SHARE)})"
    )


def distribution_reading(snapshot: Snapshot) -> str:
    """How far positive and negative cosines overlap, in one sentence."""
    share, metrics = snapshot.similarity.overlap, snapshot.metrics
    if np.isnan(share):
        return "Distribution: there are not both positive and negative pairs to compare"
    word = "stand apart" if share < _APART else "overlap in part" if share < _MIXED else "overlap largely"
    return (
        f"Distribution: positive and negative cosines {word}, {percent(share)} of their areas are common;"
        f" means {number(metrics.positive_mean)} and {number(metrics.negative_mean)}"
    )


def top_k_reading(snapshot: Snapshot) -> str:
    """How many queries find their document first, among ten, or later, in one sentence."""
    rank = snapshot.similarity.rank
    n_hits = int(snapshot.similarity.is_hit.sum())
    near = int(((rank > 1) & (rank <= 10)).sum())
    return (
        f"Top-10: {n_hits} of {counted(len(rank), 'query')} have a relevant document first, {near} more among the"
        f" first ten, {len(rank) - n_hits - near} later or never"
    )


def oddities(snapshot: Snapshot) -> tuple[str, ...]:
    """What makes the pictures look weird, in sentences; none for a model that is as it should be."""
    metrics = snapshot.metrics
    found = []
    if metrics.get("mean_off_diagonal", 0.0) > ONE_CLUSTER:
        found.append(
            "One cluster: two different documents have a mean cosine of"
            f" {number(metrics.mean_off_diagonal)}, so a map shows structure in next to nothing"
        )
    if np.isnan(metrics.margin):
        found.append("No separation: there are not both positive and negative pairs to compare")
    elif np.isnan(metrics.separation):
        found.append("No separation: positive and negative cosines have neither a margin nor a spread")
    elif metrics.separation < _NO_SEPARATION:
        found.append(
            f"No separation: positive and negative pairs are not {number(_NO_SEPARATION, 0)}σ apart, the separation is"
            f" {number(metrics.separation, 2)}"
        )
    spread = _spread(snapshot)
    if spread < _ALIKE:
        found.append(f"All similarities alike: the cosines of all pairs have a standard deviation of {number(spread)}")
    if metrics.non_finite or metrics.zero:
        found.append(
            f"Unusable embeddings: {counted(metrics.non_finite, 'row')} with NaN or infinity and"
            f" {metrics.zero} of length zero; each counts as a miss and is not drawn"
        )
    return tuple(found)


def _spread(snapshot: Snapshot) -> float:
    """Standard deviation of the cosines of all pairs, positive and negative."""
    similarity, metrics = snapshot.similarity, snapshot.metrics
    n_positive = np.count_nonzero(~np.isnan(similarity.positive_scores))
    weights = np.array([n_positive, similarity.negative_count], dtype=np.float64)
    means = np.nan_to_num([metrics.positive_mean, metrics.negative_mean])
    squares = np.nan_to_num([metrics.positive_std, metrics.negative_std]) ** 2 + means**2
    if not weights.any():
        return float("nan")
    return float(np.sqrt(max(np.average(squares, weights=weights) - np.average(means, weights=weights) ** 2, 0.0)))
