"""The two ways of laying points out on a plane, from nothing or from an earlier layout.

Every library is imported where it is used: umap and numba take seconds, and the training
process, which computes metrics only, must never load them.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from embviz_callback.analysis.maps.map_quality import Points, Space, nearest
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.files import cache_home, user_cache
from embviz_callback.grammar import counted

Progress = Callable[[int, int], None]

_PERPLEXITY = 30.0
_NEIGHBOURS = 15
# Measured on 1,000 real points over 11 epochs: an angle of 0.8 is as trustworthy as openTSNE's 0.5 and a third
# faster; 150 + 350 steps reach a mean trustworthiness of 0.962, 250 + 500 reach 0.963 in 1.3 times the time.
_BARNES_HUT_ANGLE = 0.8
_TSNE_STEPS = ((150, 12.0), (350, 1.0))  # steps and exaggeration of a fit from nothing
_TSNE_RESUMED = ((100, 1.0),)
_TSNE_MOMENTUM = 0.8
_UMAP_EPOCHS, _UMAP_RATE = 500, 1.0
# Measured over a head's training: a rate of 0.1 moves points by 0.12 of the radius, 0.05 by 0.09, equally trustworthy.
_UMAP_RESUMED_EPOCHS, _UMAP_RESUMED_RATE = 100, 0.05
_MIN_DISTANCE = 0.1


@dataclass(frozen=True)
class Layout:
    """One way of laying points out.

    Attributes:
        fit: (space, seed, progress) to a fresh layout ``(n, 2)``.
        resume: (space, start, seed, progress) to a layout continued from `start`; None where
            the installed library cannot continue one.
        parameter: (n points) to the one number that shapes it, in words.
    """

    fit: Callable[[Space, int, Progress], Points]
    resume: Callable[[Space, Points, int, Progress], Points] | None
    parameter: Callable[[int], str]


def open_layout(method: str) -> Layout:
    """The layout of a method, with its library imported.

    Args:
        method: Key of MAPS.

    Returns:
        The layout.

    Raises:
        ValueError: If `method` is another word.
    """
    if method not in MAPS:
        raise ValueError(f"method must be {' or '.join(map(repr, MAPS))}, got {method!r}")
    layout: Layout = MAPS[method].opener()()
    return layout


def tsne_layout() -> Layout:
    """openTSNE's; without it scikit-learn's, which cannot be resumed."""
    has_open_tsne = find_spec("openTSNE") is not None
    import_module("openTSNE" if has_open_tsne else "sklearn.manifold")
    fit, resume = (_fit_tsne, _resume_tsne) if has_open_tsne else (_fit_sklearn_tsne, None)
    return Layout(fit, resume, lambda n: f"perplexity {_perplexity(n):.3g}")


def umap_layout() -> Layout:
    """UMAP's; a missing or broken library is noticed here."""
    _compile_umap_for_us()
    return Layout(_fit_umap, _resume_umap, lambda n: counted(_n_neighbours(n), "neighbour"))


def _compile_umap_for_us() -> None:
    """Lets numba keep on disk what it compiles of UMAP for us: 4 of the 6 s that a process's first map takes.

    UMAP asks that for half of its functions itself; these are the rest of what is called here.
    The one in which the time is spent is compiled to run beside other threads of Python too: a
    t-SNE map made at the same time then costs no time of its own.
    """
    _give_numba_a_folder()
    from umap import layouts, umap_

    step = getattr(layouts, "_nb_optimize_layout_euclidean_single_epoch", None)
    if (options := getattr(step, "targetoptions", None)) is not None:
        options["nogil"] = True
    for function in (
        getattr(umap_, "smooth_knn_dist", None),
        getattr(umap_, "compute_membership_strengths", None),
        step,
    ):
        if (keep := getattr(function, "enable_caching", None)) is not None:
            with suppress(RuntimeError):  # no folder can be written to
                keep()


def _give_numba_a_folder() -> None:
    """Where neither the libraries' own folder nor a home can be written to, UMAP cannot even be imported."""
    if user_cache() is None:
        os.environ.setdefault("NUMBA_CACHE_DIR", f"{cache_home() / 'numba'}")


def _perplexity(n: int) -> float:
    return min(_PERPLEXITY, (n - 1) / 3)


def _n_neighbours(n: int) -> int:
    return min(_NEIGHBOURS, n - 1)


def _principal_plane(points: Points, *, spread: float, seed: int) -> Points:
    """The two directions of largest variance, the larger of standard deviation `spread`."""
    centred = points - points.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    plane = centred @ directions[:, -1:-3:-1]
    # An eigenvector's sign is arbitrary; its largest entry shall be positive.
    plane *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])][-1:-3:-1])
    if plane.shape[1] < 2:
        plane = np.column_stack([plane, np.zeros(len(plane))])
    # Neither method can part points that start on one another.
    noise = np.random.default_rng(seed).normal(size=plane.shape)
    placed: Points = plane * (spread / max(plane.std(axis=0).max(), 1e-12)) + noise * (spread * 1e-3)
    return placed


def _fit_tsne(space: Space, seed: int, progress: Progress) -> Points:
    return _optimise_tsne(space, _principal_plane(space.points, spread=1e-4, seed=seed), _TSNE_STEPS, seed, progress)


def _resume_tsne(space: Space, start: Points, seed: int, progress: Progress) -> Points:
    return _optimise_tsne(space, start.copy(), _TSNE_RESUMED, seed, progress)


def _optimise_tsne(
    space: Space, start: Points, phases: tuple[tuple[int, float], ...], seed: int, progress: Progress
) -> Points:
    from openTSNE import TSNEEmbedding

    placed = TSNEEmbedding(
        start,
        _affinities(space),
        negative_gradient_method="bh",
        theta=_BARNES_HUT_ANGLE,
        n_jobs=1,
        random_state=seed,
    )
    total, done = sum(steps for steps, _ in phases), 0
    for steps, exaggeration in phases:
        tick = _ticker(progress, done, total)
        placed.optimize(
            steps,
            exaggeration=exaggeration,
            momentum=_TSNE_MOMENTUM,
            inplace=True,
            callbacks=[tick],
            callbacks_every_iters=50,
        )
        done += steps
    progress(total, total)
    return np.asarray(placed, dtype=np.float64)


def _ticker(progress: Progress, done: int, total: int) -> Callable[[int, float, Any], None]:
    """What openTSNE calls every 50 steps; answering True would stop it."""

    def tick(step: int, _error: float, _placed: Any) -> None:
        progress(done + step, total)

    return tick


def _affinities(space: Space) -> Any:
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    perplexity = _perplexity(len(space.points))
    rows, lengths = nearest(space, min(len(space.points) - 1, int(3 * perplexity)))
    return PerplexityBasedNN(
        perplexity=perplexity, knn_index=PrecomputedNeighbors(rows, lengths), n_jobs=1, random_state=0
    )


def _fit_sklearn_tsne(space: Space, seed: int, progress: Progress) -> Points:
    from sklearn.manifold import TSNE

    # Its own start (init="pca") ends the process on constant rows; ours carries a trace of noise.
    start = _principal_plane(space.points, spread=1e-4, seed=seed).astype(np.float32)
    tsne = TSNE(perplexity=_perplexity(len(space.points)), init=start, random_state=seed, n_jobs=1)
    placed = tsne.fit_transform(space.points.astype(np.float32))
    progress(1, 1)
    return np.asarray(placed, dtype=np.float64)


def _fit_umap(space: Space, seed: int, progress: Progress) -> Points:
    start = _principal_plane(space.points, spread=4.0, seed=seed)
    return _optimise_umap(space, start, _UMAP_EPOCHS, _UMAP_RATE, seed, progress)


def _resume_umap(space: Space, start: Points, seed: int, progress: Progress) -> Points:
    return _optimise_umap(space, start, _UMAP_RESUMED_EPOCHS, _UMAP_RESUMED_RATE, seed, progress)


def _optimise_umap(space: Space, start: Points, n_epochs: int, rate: float, seed: int, progress: Progress) -> Points:
    """UMAP's own optimisation; `simplicial_set_embedding` would squeeze each axis of the start into 0..10."""
    from umap.layouts import optimize_layout_euclidean
    from umap.umap_ import find_ab_params, make_epochs_per_sample

    random = np.random.RandomState(seed)  # the kind that umap takes
    graph = _fuzzy_graph(space, n_epochs, random)
    a, b = find_ab_params(1.0, _MIN_DISTANCE)
    placed = np.array(start, dtype=np.float32, order="C")
    placed = optimize_layout_euclidean(
        placed,
        placed,
        graph.row,
        graph.col,
        n_epochs,
        len(space.points),
        make_epochs_per_sample(graph.data, n_epochs),
        a,
        b,
        random.randint(-(2**31) + 1, 2**31 - 1, 3).astype(np.int64),
        initial_alpha=rate,
        parallel=False,
        move_other=True,
    )
    progress(n_epochs, n_epochs)
    return np.asarray(placed, dtype=np.float64)


def _fuzzy_graph(space: Space, n_epochs: int, random: Any) -> Any:
    """Weighted neighbours as coordinates; edges too weak to be drawn even once are left out."""
    from umap.umap_ import fuzzy_simplicial_set

    points = space.points
    k = _n_neighbours(len(points))
    rows, lengths = nearest(space, k - 1)
    # UMAP counts a point as the first of its own neighbours.
    rows = np.column_stack([np.arange(len(points)), rows])
    lengths = np.column_stack([np.zeros(len(points)), lengths]).astype(np.float32)
    graph = fuzzy_simplicial_set(
        points.astype(np.float32), k, random, "euclidean", knn_indices=rows, knn_dists=lengths
    )[0].tocoo()
    graph.sum_duplicates()
    graph.data[graph.data < graph.data.max() / n_epochs] = 0.0
    graph.eliminate_zeros()
    return graph
