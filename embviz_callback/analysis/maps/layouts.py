"""The two ways of laying points out on a plane, from nothing or from an earlier layout.

numba is imported where it is used: the training process, which computes metrics only, must never load it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from embviz_callback.analysis.maps import tsne, umap
from embviz_callback.analysis.maps.map_quality import Points, Space
from embviz_callback.analysis.maps.tsne import Phase, Progress
from embviz_callback.analysis.maps.umap import Pace
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.files import cache_home, user_cache
from embviz_callback.grammar import counted

_PERPLEXITY = 30.0
_NEIGHBOURS = 15
# Measured on 1,000 real points over 11 epochs: 150 + 350 steps are as trustworthy as 250 + 500 (0.962 and 0.963).
_TSNE_PHASES = (Phase(150, exaggeration=12.0), Phase(350))
# A little exaggeration first loosens what has to move. Over 12 epochs of three trainings the worst map so continued has
# 0.004 less trustworthiness than a fresh fit, most have more, and the points move as far as in 100 plain steps, which
# fall behind by 0.010 (benchmarks/maps.py).
_TSNE_RESUMED = (Phase(100, exaggeration=1.5), Phase(100))
_UMAP_FIT = Pace(500, 1.0)
# Where the space has changed, more has to move: continued calmly, the worst map of three trainings fell back by 0.03.
_UMAP_CALM, _UMAP_STIRRED = Pace(100, 0.05), Pace(150, 0.1)
_CALM = 0.01  # trustworthiness that the start may have lost in the new space


@dataclass(frozen=True)
class Layout:
    """One way of laying points out.

    Attributes:
        fit: (space, seed, progress) to a fresh layout ``(n, 2)``.
        resume: (space, start, loss, seed, progress) to a layout continued from `start`, which in this space has so
            much less trustworthiness than it had in its own.
        parameter: (n points) to the one number that shapes it, in words.
    """

    fit: Callable[[Space, int, Progress], Points]
    resume: Callable[[Space, Points, float, int, Progress], Points]
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
    """t-SNE's; a missing or broken numba is noticed here."""
    _open_numba()
    return Layout(_fit_tsne, _resume_tsne, lambda n: f"perplexity {_perplexity(n):.3g}")


def umap_layout() -> Layout:
    """UMAP's; likewise."""
    _open_numba()
    return Layout(_fit_umap, _resume_umap, lambda n: counted(_n_neighbours(n), "neighbour"))


def _open_numba() -> None:
    """Imports numba; where there is no home it gets another folder for what it compiles."""
    if user_cache() is None:
        os.environ.setdefault("NUMBA_CACHE_DIR", f"{cache_home() / 'numba'}")
    import_module("numba")


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
    start = _principal_plane(space.points, spread=1e-4, seed=seed)
    return tsne.optimise(space, start, _perplexity(len(start)), _TSNE_PHASES, progress)


def _resume_tsne(space: Space, start: Points, _loss: float, _seed: int, progress: Progress) -> Points:
    return tsne.optimise(space, start, _perplexity(len(start)), _TSNE_RESUMED, progress)


def _fit_umap(space: Space, seed: int, progress: Progress) -> Points:
    return _optimise_umap(space, _principal_plane(space.points, spread=4.0, seed=seed), _UMAP_FIT, seed, progress)


def _resume_umap(space: Space, start: Points, loss: float, seed: int, progress: Progress) -> Points:
    return _optimise_umap(space, start, _UMAP_STIRRED if loss > _CALM else _UMAP_CALM, seed, progress)


def _optimise_umap(space: Space, start: Points, pace: Pace, seed: int, progress: Progress) -> Points:
    placed = umap.optimise(space, start, _n_neighbours(len(start)), pace, seed)
    progress(pace.epochs, pace.epochs)
    return placed
