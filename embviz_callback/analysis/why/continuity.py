"""Whether similarity falls smoothly as a number moves away, and whether neighbours lie close."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.resampling import Estimate, estimate, simultaneous, spearman, told
from embviz_callback.analysis.why.columns import Row
from embviz_callback.embeddings import Floats, Rows, Vectors
from embviz_callback.pairs.texts import fold
from embviz_callback.pairs.weight_rule import is_number

_MOST_DOCUMENTS = 600
_BANDS = 8
_LEAST_PAIRS = 20
_SHOWN = 10
_DRAWS = 200  # resamples of documents

Similarities = NDArray[np.float64]


@dataclass(frozen=True)
class Band:
    """Pairs of documents whose values differ by about the same.

    Attributes:
        difference: Smallest and largest in it.
        middle: Mean difference.
        n_pairs: Pairs of documents.
        cosine: Their mean cosine, with an interval drawn over documents.
    """

    difference: tuple[float, float]
    middle: float
    n_pairs: int
    cosine: Estimate


@dataclass(frozen=True)
class Violation:
    """A document that lies closer to one of a distant value than to one of a near value.

    Attributes:
        document: Its text.
        near: Text of the document with the near value.
        far: Text of the one with the distant value.
        near_difference: Difference of the values.
        far_difference: Difference of the values.
        excess: By how much the distant one's cosine is larger.
    """

    document: str
    near: str
    far: str
    near_difference: float
    far_difference: float
    excess: float


@dataclass(frozen=True)
class Continuity:
    """Cosine of two documents against the difference of their values.

    Attributes:
        column: Whose values.
        verdict: "falls smoothly", "falls with rises" or "no fall shown".
        spearman: Rank correlation of difference and cosine over all pairs: -1 a perfect fall.
        fall: Cosine of the first band minus that of the last.
        rises: Bands, counted from 0, whose cosine is above the one before, beyond chance in any of the steps.
        n_documents: Documents with a value, of which at most 600 are used.
        bands: From the smallest difference to the largest, about equally many pairs each.
        violations: One per document at most, worst first.
    """

    column: str
    verdict: str
    spearman: float
    fall: Estimate
    rises: tuple[int, ...]
    n_documents: int
    bands: tuple[Band, ...]
    violations: tuple[Violation, ...]


def continuity(
    documents: Vectors, texts: Sequence[str], rows: Sequence[Row], column: str, *, seed: int = 0
) -> Continuity | None:
    """The curve of one numeric column.

    Args:
        documents: ``(n, dim)`` unit rows; zero rows are left out.
        texts: Of the documents.
        rows: One row of columns per document.
        column: Whose values; documents without a number in it are left out.
        seed: Of the resamples, and of the choice where there are more than 600 documents.

    Returns:
        The curve; None if fewer than two different values make fewer than twenty pairs of them.
    """
    chosen, n_known, cosines = _known(documents, rows, column, is_number, seed)
    if len(chosen) < 2:
        return None
    values = np.array([float(rows[at][column]) for at in chosen])  # type: ignore[arg-type]
    differences = np.round(np.abs(values[:, None] - values[None, :]), 9)  # 5.5 - 5 and 6 - 5.5 are equal
    left, right = np.triu_indices(len(chosen), 1)
    edges = _edges(differences[left, right])
    if len(edges) < 3 or len(left) < _LEAST_PAIRS:
        return None
    code = np.searchsorted(edges[1:-1], differences, side="right")
    means, replicates = _curve(cosines, code, len(edges) - 1, seed)
    bands = _bands(differences[left, right], code[left, right], means, replicates)
    steps = means[1:] - means[:-1], replicates[:, 1:] - replicates[:, :-1]
    rises = tuple(at + 1 for at, step in enumerate(simultaneous(*steps)) if step.low > 0)
    fall = estimate(float(means[0] - means[-1]), replicates[:, 0] - replicates[:, -1])
    return Continuity(
        column=column,
        bands=bands,
        spearman=spearman(differences[left, right], cosines[left, right]),
        fall=fall,
        rises=rises,
        verdict=_verdict(fall, rises),
        violations=_violations(differences, cosines, edges, [texts[row] for row in chosen]),
        n_documents=n_known,
    )


def _known(
    documents: Vectors, rows: Sequence[Row], column: str, fits: Callable[[object], bool], seed: int
) -> tuple[list[int], int, Similarities]:
    """At most 600 rows with a direction and a value that fits, how many there are, and the cosines of the chosen."""
    usable = np.any(documents != 0, axis=1)
    known = [at for at, row in enumerate(rows) if usable[at] and fits(row.get(column))]
    chosen = known
    if len(known) > _MOST_DOCUMENTS:
        chosen = sorted(np.random.default_rng(seed).choice(known, _MOST_DOCUMENTS, replace=False).tolist())
    vectors = documents[chosen].astype(np.float64)
    return chosen, len(known), vectors @ vectors.T


def _edges(differences: Floats) -> Floats:
    """Bounds of bands with about equally many pairs; equal values are a band of their own."""
    moved = differences[differences > 0]
    if not len(moved):
        return np.empty(0)
    # "higher" gives differences that occur, so that no band is empty.
    inner = np.quantile(moved, np.arange(1, _BANDS) / _BANDS, method="higher")
    first = [] if (differences > 0).all() else [float(moved.min())]
    cuts = np.unique([*first, *inner[inner > moved.min()]])
    return np.concatenate([[0.0], cuts[(cuts > 0) & (cuts <= moved.max())], [np.inf]])


def _curve(cosines: Similarities, code: Rows, n_bands: int, seed: int) -> tuple[Floats, Floats]:
    """Mean cosine per band, and for resampled documents: a pair counts as often as both were drawn."""
    n = len(cosines)
    rng = np.random.default_rng(seed)
    weights = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=_DRAWS)]).astype(np.float32)
    means = np.empty((_DRAWS + 1, n_bands))
    off = ~np.eye(n, dtype=bool)
    for band in range(n_bands):
        # float32: the products are counts and cosines, and nothing is subtracted.
        inside = ((code == band) & off).astype(np.float32)
        count = ((weights @ inside) * weights).sum(axis=1, dtype=np.float64)
        total = ((weights @ (inside * cosines.astype(np.float32))) * weights).sum(axis=1, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            means[:, band] = total / count
    return means[0], means[1:]


def _bands(differences: Floats, code: Rows, means: Floats, replicates: Floats) -> tuple[Band, ...]:
    found = []
    for band in range(len(means)):
        inside = differences[code == band]
        cosine = estimate(float(means[band]), replicates[:, band])
        ends = float(inside.min()), float(inside.max())
        found.append(Band(ends, float(inside.mean()), len(inside), cosine))
    return tuple(found)


def _verdict(fall: Estimate, rises: Sequence[int]) -> str:
    if not fall.low > 0:
        return "no fall shown"
    return "falls with rises" if rises else "falls smoothly"


def _violations(
    differences: Floats, cosines: Similarities, edges: Floats, texts: Sequence[str]
) -> tuple[Violation, ...]:
    """Per document: the least alike of the two nearest bands against the most alike of the farther half."""
    # The first band may hold equal values only, which no distant one can outdo.
    near_end, far_start = edges[2 if len(edges) > 3 else 1], edges[len(edges) // 2]
    found = []
    for at in range(len(texts)):
        near = np.flatnonzero(differences[at] < near_end)
        near = near[near != at]
        far = np.flatnonzero(differences[at] >= far_start)
        if not len(near) or not len(far):
            continue
        worst, best = near[cosines[at, near].argmin()], far[cosines[at, far].argmax()]
        excess = float(cosines[at, best] - cosines[at, worst])
        if excess > 0:
            gaps = float(differences[at, worst]), float(differences[at, best])
            found.append(Violation(texts[at], texts[worst], texts[best], *gaps, excess))
    return tuple(sorted(found, key=lambda one: -one.excess)[:_SHOWN])


@dataclass(frozen=True)
class Neighbourhood:
    """Mean cosine of documents by how far their places lie apart.

    Attributes:
        column: The column of places.
        same: Of one place.
        neighbouring: Of two places that were named as neighbours.
        distant: Of two other places.
        gain: `neighbouring` minus `distant`, with an interval drawn over documents.
        closer_than_neighbours: (place, place, cosine) of distant places that lie closer than the mean of
            neighbours, closest first.
    """

    column: str
    same: Estimate
    neighbouring: Estimate
    distant: Estimate
    gain: Estimate
    closer_than_neighbours: tuple[tuple[str, str, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        closer = [{"places": [one, other], "cosine": cosine} for one, other, cosine in self.closer_than_neighbours]
        return told(self, "column", "same", "neighbouring", "distant", "gain") | {"closer_than_neighbours": closer}


def neighbourhood(
    documents: Vectors,
    rows: Sequence[Row],
    column: str,
    neighbours: Collection[Collection[str]],
    *,
    seed: int = 0,
) -> Neighbourhood | None:
    """Whether documents of neighbouring places lie closer than those of distant ones.

    Args:
        documents: ``(n, dim)`` unit rows.
        rows: One row of columns per document.
        column: The column of places.
        neighbours: Sets of places, any two of which are neighbours.
        seed: Of the resamples.

    Returns:
        The comparison; None if no two documents are of neighbouring places.
    """
    chosen, _, cosines = _known(documents, rows, column, lambda value: isinstance(value, str), seed)
    names = [str(rows[at][column]) for at in chosen]
    places = {fold(name): name for name in names}
    index = {folded: at for at, folded in enumerate(places)}
    place = np.array([index[fold(name)] for name in names], dtype=np.int64)
    relation = _relations(index, neighbours)
    between = relation[np.ix_(place, place)]
    if not (between == 1).any():
        return None
    means, replicates = _curve(cosines, between, 3, seed)
    same, near, far = (estimate(float(means[at]), replicates[:, at]) for at in range(3))
    return Neighbourhood(
        column=column,
        same=same,
        neighbouring=near,
        distant=far,
        gain=estimate(float(means[1] - means[2]), replicates[:, 1] - replicates[:, 2]),
        closer_than_neighbours=_too_close(cosines, place, relation, list(places.values()), float(means[1])),
    )


def _relations(index: Mapping[str, int], neighbours: Collection[Collection[str]]) -> Rows:
    """``(n_places, n_places)``: 0 the same place, 1 neighbours, 2 distant."""
    relation = np.full((len(index), len(index)), 2, dtype=np.int64)
    for group in neighbours:
        inside = [index[fold(name)] for name in group if fold(name) in index]
        relation[np.ix_(inside, inside)] = 1
    np.fill_diagonal(relation, 0)
    return relation


def _too_close(
    cosines: Similarities, place: Rows, relation: Rows, names: Sequence[str], level: float
) -> tuple[tuple[str, str, float], ...]:
    table = np.zeros((len(names), len(place)))
    table[place, np.arange(len(place))] = 1.0
    counts = table.sum(axis=1)
    means = (table @ cosines @ table.T) / (counts[:, None] * counts[None, :])
    pairs = [
        (names[one], names[other], float(means[one, other]))
        for one, other in np.argwhere(np.triu((relation == 2) & (means > level), 1)).tolist()
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair[2])[:_SHOWN])
