"""Maps of the embeddings on a plane that stay put from epoch to epoch and remain faithful."""

import logging
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.maps.layouts import Layout, open_layout
from embviz_callback.analysis.maps.map_quality import (
    NEIGHBOURS,
    Points,
    Space,
    clear_share,
    mean_displacement,
    registered,
    trustworthiness,
)
from embviz_callback.analysis.maps.tsne import Progress
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.embeddings import Embeddings, Rows, Vectors
from embviz_callback.grammar import counted

_logger = logging.getLogger(__name__)

_FEWEST_POINTS = 5
_COLLAPSED_VARIANCE = 1e-6  # of unit vectors, whose variance is at most 1
_SAME_POINT = 1e-3  # a distance that neither method can show
_LARGE_CHANGE = 0.03  # loss of trustworthiness of the old map in the new space
_TOLERATED = 0.01  # shortfall against a fresh fit
_WATCHFUL = 0.75  # of what may be lost until the next comparison
_OF_RANDOM_MAPS = 0.95
_COMPARE_FIRST = 10  # evaluations after a fit, then 20, 40, 80


@dataclass(frozen=True)
class Skipped:
    """A map that was not made.

    Attributes:
        reason: Why, and how to mend it, for a reader of the figure.
    """

    reason: str


@dataclass(frozen=True, eq=False)
class Projection:
    """Queries and documents of one subset on a plane.

    Attributes:
        method: Key of MAPS.
        queries: ``(n_queries, 2)`` float32; NaN for a row without direction, which is not drawn.
        documents: ``(n_documents, 2)``, likewise.
        trustworthiness: Share of map neighbourhoods that are true in the space.
        continuity: Share of the space's neighbourhoods that the map kept.
        displacement: Mean distance moved since the previous map, in units of its radius (root of
            the mean squared distance from its middle); None without a previous map.
        parameter: The number that shapes it, "perplexity 30" or "15 neighbours".
        seed: Of the optimiser.
        note: How it came about, in words.
        clear_share: Share of queries with a relevant document among the query's 10 nearest
            points on the map (of all points but itself); an unusable query is a miss.
        is_fresh: Fitted from nothing rather than continued from the previous map.
        fresh_trustworthiness: Of the fresh fit it was last compared with.
        compared_trustworthiness: What it had itself at that time.
        since_compared: Evaluations ago; 0 is this one.
        since_fitted: Evaluations since the last fit from nothing.

    Raises:
        ValueError: If the coordinates are not float32 of shape (n, 2).
    """

    method: str
    queries: Vectors
    documents: Vectors
    trustworthiness: float
    continuity: float
    displacement: float | None
    parameter: str
    seed: int
    note: str = ""
    clear_share: float = 0.0
    is_fresh: bool = True
    fresh_trustworthiness: float | None = None
    compared_trustworthiness: float | None = None
    since_compared: int = 0
    since_fitted: int = 0

    @property
    def blind_share(self) -> float:
        """What `clear_share` stays below on 95 of 100 maps drawn at random.

        Ten of all other points are the nearest, so that of n queries a binomial number finds its document there.
        """
        from scipy.special import bdtr

        n_queries, n_documents = (int(np.isfinite(rows).all(axis=1).sum()) for rows in (self.queries, self.documents))
        by_chance = min(NEIGHBOURS / max(n_queries + n_documents - 1, 1), 1.0)
        found = bdtr(np.arange(n_queries + 1.0), n_queries, by_chance)
        return float(np.argmax(found >= _OF_RANDOM_MAPS)) / max(n_queries, 1) if by_chance < 1 else 1.0

    def __post_init__(self) -> None:
        for name in ("queries", "documents"):
            rows = getattr(self, name)
            if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype != np.float32:
                raise ValueError(f"{name} must be float32 of shape (n, 2), got {rows.dtype} {rows.shape}")


def project(
    embeddings: Embeddings,
    method: str,
    *,
    seed: int,
    previous: Projection | None = None,
    progress: Progress | None = None,
) -> Projection | Skipped:
    """A map of queries and documents together, by cosine distance.

    With a previous map it starts from that one's coordinates, so that what did not change stays
    where it was. Continuing must not cost truth: the result may have at most 0.01 less
    trustworthiness than a fresh fit, else the fresh fit is taken and rigidly laid onto the
    previous map. A fresh fit costs several times a continuation, so the comparison is made 10, 20, 40
    and so on evaluations after a fit, and whenever the map's own trustworthiness has drifted by three
    quarters of what it may lose: 0.01, and by how much it was better than the last fit it was compared
    with. A map that lost 0.03 in the new space is refitted without trying.

    Args:
        embeddings: At least 5 distinct usable rows.
        method: Key of MAPS.
        seed: Same embeddings, previous map and seed give the same bytes.
        previous: The last map of the same texts; one of other shapes is ignored.
        progress: Called with steps done and in all.

    Returns:
        The map, or why there is none: too few points, collapsed embeddings, a library that is
        missing or failed.

    Raises:
        ValueError: If `method` is another word.
    """
    if method not in MAPS:
        raise ValueError(f"method must be {' or '.join(map(repr, MAPS))}, got {method!r}")
    rows = np.concatenate([embeddings.queries, embeddings.documents]).astype(np.float64)
    usable = np.any(rows != 0, axis=1)
    obstacle = _obstacle(rows[usable], method)
    if obstacle:
        return Skipped(obstacle)
    before = _coordinates(previous, method, embeddings)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba's about itself
            making = _Making(open_layout(method), Space(rows[usable]), seed, progress or _silent)
            outcome = making.made(previous, None if before is None else before[usable])
    except ModuleNotFoundError as error:
        _logger.warning("%s is skipped", MAPS[method].title, exc_info=True)
        package = f"{error.name}".partition(".")[0]
        return Skipped(f"{MAPS[method].title} cannot be imported ({error}); pip install {package}")
    except (Exception, SystemExit) as error:
        # A map is one of several outputs: whatever a foreign library does must not take the others along.
        _logger.exception("%s is skipped", MAPS[method].title)
        return Skipped(f"{MAPS[method].title} failed ({type(error).__name__}: {error})"[:300])
    return _projection(method, seed, embeddings, usable, outcome, before)


def heatmap_rows(embeddings: Embeddings, n: int, seed: int) -> Rows:
    """Pairs with distinct documents, sampled for the heatmap's diagonal.

    The choice follows from the relevance and the seed alone, so that every epoch shows the
    same cells.

    Args:
        embeddings: Only its relevance is read.
        n: Pairs wanted; fewer come back where there are fewer distinct documents.
        seed: Of the order in which queries are tried.

    Returns:
        ``(at most n, 2)`` int64 pairs (query row, row of one of its relevant documents), no query
        and no document twice.
    """
    order = np.random.default_rng(seed).permutation(len(embeddings.queries))
    starts = np.searchsorted(embeddings.relevance[:, 0], np.arange(len(order) + 1))
    taken: dict[int, int] = {}
    for query in order:
        if len(taken) == n:
            break
        relevant = embeddings.relevance[starts[query] : starts[query + 1], 1]
        free = next((int(row) for row in relevant if int(row) not in taken), None)
        if free is not None:
            taken[free] = int(query)
    return np.array([(query, row) for row, query in taken.items()], dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class _Outcome:
    """Coordinates of the usable rows, and how they came about."""

    placed: Points
    trustworthiness: float
    continuity: float
    parameter: str
    note: str
    is_fresh: bool
    fresh_trustworthiness: float
    compared_trustworthiness: float
    since_compared: int
    since_fitted: int


@dataclass(frozen=True)
class _Making:
    """One map in the making."""

    layout: Layout
    space: Space
    seed: int
    progress: Progress

    def made(self, previous: Projection | None, before: Points | None) -> _Outcome:
        """The map by the rule that `project` states."""
        if previous is None or before is None:
            return self._fresh(self._fitted(), "fitted afresh")
        known: NDArray[np.bool_] = np.all(np.isfinite(before), axis=1)
        if not known.all():
            return self._refitted(self._fitted(), before, known, "it has points that the last one lacked")
        loss = previous.trustworthiness - trustworthiness(self.space, before)
        if loss > _LARGE_CHANGE:
            return self._refitted(self._fitted(), before, known, "the space changed a lot")
        continued = registered(self.layout.resume(self.space, before, loss, self.seed, self.progress), before)
        reached = trustworthiness(self.space, continued)
        if not _is_comparison_due(previous, reached):
            return self._continued(continued, reached, previous)
        fresh = self._fitted()
        best = trustworthiness(self.space, fresh)
        if reached < best - _TOLERATED:
            return self._refitted(fresh, before, known, f"continuing reached {reached:.3f} only")
        return self._compared(continued, reached, best, previous)

    def _fitted(self) -> Points:
        return self.layout.fit(self.space, self.seed, self.progress)

    def _fresh(self, placed: Points, note: str) -> _Outcome:
        reached = trustworthiness(self.space, placed)
        return self._outcome(placed, reached, note, (reached, reached, 0, 0))

    def _refitted(self, fresh: Points, before: Points, known: NDArray[np.bool_], why: str) -> _Outcome:
        laid = registered(fresh, before, known)
        return self._fresh(laid, f"refitted and laid rigidly onto the last map: {why}")

    def _compared(self, placed: Points, reached: float, best: float, previous: Projection) -> _Outcome:
        note = f"continued from the last map (a fresh fit: {best:.3f})"
        return self._outcome(placed, reached, note, (best, reached, 0, previous.since_fitted + 1))

    def _continued(self, placed: Points, reached: float, previous: Projection) -> _Outcome:
        since = previous.since_compared + 1
        best, compared = previous.fresh_trustworthiness or reached, previous.compared_trustworthiness or reached
        note = f"continued from the last map (a fresh fit {counted(since, 'evaluation')} ago: {best:.3f})"
        return self._outcome(placed, reached, note, (best, compared, since, previous.since_fitted + 1))

    def _outcome(self, placed: Points, reached: float, note: str, standing: tuple[float, float, int, int]) -> _Outcome:
        fresh, compared, since, fitted = standing
        return _Outcome(
            placed=placed,
            trustworthiness=reached,
            continuity=trustworthiness(placed, self.space),
            parameter=self.layout.parameter(len(placed)),
            note=note,
            is_fresh=not fitted,
            fresh_trustworthiness=fresh,
            compared_trustworthiness=compared,
            since_compared=since,
            since_fitted=fitted,
        )


def _is_comparison_due(previous: Projection, reached: float) -> bool:
    compared, fresh = previous.compared_trustworthiness, previous.fresh_trustworthiness
    if compared is None or fresh is None:
        return True
    # What the map was better than the fresh fit it may lose as well.
    room = _WATCHFUL * (_TOLERATED + compared - fresh)
    gap = max(_COMPARE_FIRST, previous.since_fitted - previous.since_compared)
    # A fresh fit may have gained more where this map has gained, but less surely than it may have lost less.
    has_drifted = reached < compared - room or reached > compared + 2 * room
    return has_drifted or previous.since_compared + 1 >= gap


def _projection(
    method: str, seed: int, embeddings: Embeddings, usable: NDArray[np.bool_], outcome: _Outcome, before: Points | None
) -> Projection:
    n_queries = len(embeddings.queries)
    coordinates = np.full((len(usable), 2), np.nan, dtype=np.float32)
    coordinates[usable] = outcome.placed
    queries, documents = coordinates[:n_queries].copy(), coordinates[n_queries:].copy()
    facts = {name: value for name, value in vars(outcome).items() if name != "placed"}
    return Projection(
        method=method,
        queries=queries,
        documents=documents,
        seed=seed,
        displacement=None if before is None else _displacement(coordinates, before),
        clear_share=clear_share(queries, documents, embeddings.relevance),
        **facts,
    )


def _displacement(coordinates: Vectors, before: Points) -> float | None:
    """Over the points that both maps show."""
    both = np.isfinite(before).all(axis=1) & np.isfinite(coordinates).all(axis=1)
    return mean_displacement(coordinates[both].astype(np.float64), before[both]) if both.any() else None


def _coordinates(previous: Projection | None, method: str, embeddings: Embeddings) -> Points | None:
    """All rows of an earlier map, if it is one of the same rows."""
    if previous is None or previous.method != method:
        return None
    if (len(previous.queries), len(previous.documents)) != (len(embeddings.queries), len(embeddings.documents)):
        return None
    return np.concatenate([previous.queries, previous.documents]).astype(np.float64)


def _obstacle(points: Points, method: str) -> str:
    """Why there is nothing to map; empty if there is something."""
    # Found before any library sees the points: scikit-learn's t-SNE ends the whole process on
    # constant rows, and both methods make convincing clusters out of rounding errors.
    name, n = MAPS[method].title, len(points)
    if n < _FEWEST_POINTS:
        return f"{name} needs at least {_FEWEST_POINTS} usable points, there are {n}; evaluate more pairs"
    variance = float(np.square(points - points.mean(axis=0)).sum(axis=1).mean())
    if variance < _COLLAPSED_VARIANCE:
        return f"the embeddings have collapsed: all {n} points are nearly the same, so there is nothing to map"
    distinct = _distinct(points)
    if distinct < _FEWEST_POINTS:
        return f"the embeddings have collapsed: {n} points lie on {distinct} places, so there is nothing to map"
    return ""


def _distinct(points: Points) -> int:
    """Places further than 0.001 apart, counted up to 5."""
    count = 0
    while len(points) and count < _FEWEST_POINTS:
        points = points[np.linalg.norm(points - points[0], axis=1) > _SAME_POINT]
        count += 1
    return count


def _silent(_done: int, _total: int) -> None:
    """Progress that nobody asked for."""
