"""`compare`: several models looked at on the same queries."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from embviz_callback.analysis.compare import comparison as analysis
from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import wanted_maps
from embviz_callback.commands.looking import tell_apart
from embviz_callback.delivery.results.comparison_folder import comparison_figures, comparison_page, write_comparison
from embviz_callback.drawing.reports.comparisons.comparison_report import comparison_report
from embviz_callback.notebook.evaluating import Result, called, evaluate, is_path
from embviz_callback.notebook.shown import Page, Pictures, comparison_html
from embviz_callback.session.given import kept
from embviz_callback.snapshot import Snapshot


def compare(
    models: Mapping[str, Any] | Iterable[Any], data: Any = None, *, metric: str = "", reference: int = 0, **options: Any
) -> "Comparison":
    """Looks at several models on the same queries.

    Args:
        models: Two or more of what `evaluate` takes, or of its results; a mapping gives them names.
        data: As for `evaluate`; None where all are results.
        metric: By which the best is chosen; by default MRR, or nDCG@10 for lists.
        reference: Index of the one that the others are held against.
        options: All others of `evaluate`.

    Returns:
        The comparison; a ValueError says if there are fewer than two, or they are not of the same data.
    """
    named = models if isinstance(models, Mapping) else _named(list(models))
    data = kept(data)  # each model reads them
    results = [one if isinstance(one, Result) else evaluate(one, data, **options) for one in named.values()]
    # Nobody says that they are epochs of one training, in this order.
    snapshots = tuple(replace(one.snapshot, label=name, epoch=None) for name, one in zip(named, results, strict=True))
    draws = {"draws": snapshots[0].settings.bootstrap_draws, "seed": snapshots[0].settings.seed} if snapshots else {}
    return Comparison(snapshots, analysis.compare(snapshots, reference=reference, metric=metric, **draws))


def _named(models: list[Any]) -> dict[str, Any]:
    """Under names that tell them apart: the ends of paths, what results and models are called."""
    paths = iter(tell_apart([os.fspath(one) for one in models if is_path(one)]) if any(map(is_path, models)) else ())
    names: list[str] = []
    for one in models:
        name = next(paths) if is_path(one) else one.snapshot.label if isinstance(one, Result) else called(one)
        names.append(f"{name} ({len(names) + 1})" if name in names else name)
    return dict(zip(names, models, strict=True))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several evaluations of the same queries.

    Attributes:
        snapshots: Likewise, in the order given.
        found: Differences, the best, queries gained and lost; see `embviz_callback.analysis.compare.comparison`.
    """

    snapshots: tuple[Snapshot, ...]
    found: analysis.Comparison
    _laid: dict[str, tuple[Projection | Skipped, ...]] = field(default_factory=dict, init=False)

    @property
    def metrics(self) -> dict[str, Metrics]:
        """Name to numbers."""
        return dict(zip(self.found.labels, self.found.metrics, strict=True))

    @property
    def best(self) -> str:
        """Name of the best."""
        return self.found.labels[self.found.best.place]

    @cached_property
    def figures(self) -> Pictures:
        """By name: ``figures["comparison_metrics"]``."""
        drawers = comparison_figures(self.found, self.snapshots, {})
        for method in wanted_maps(self.snapshots[0].settings):
            drawers[f"comparison_{method}"] = partial(self._draw_maps, method)
        return Pictures(drawers)

    @property
    def report(self) -> str:
        """What ``comparison.md`` of `embviz compare` says, markdown."""
        return comparison_report(self.found, figures=list(self.figures))

    def page(self) -> Page:
        """What ``comparison.html`` of `embviz compare` shows."""
        methods = wanted_maps(self.snapshots[0].settings)
        return Page(comparison_page(self.snapshots, {method: self._maps(method) for method in methods}))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes all that `embviz compare` would write of the comparison."""
        best = self.found.best.metric
        maps = wanted_maps(self.snapshots[0].settings)
        write_comparison(self.snapshots, Path(folder), reference=self.found.reference, metric=best, maps=maps)

    def _repr_html_(self) -> str:
        return comparison_html(self.found)

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.found.labels)}; best: {self.best})"

    def _draw_maps(self, method: str) -> Figure:
        laid = {method: self._maps(method)}
        return comparison_figures(self.found, self.snapshots, laid)[f"comparison_{method}"]()

    def _maps(self, method: str) -> tuple[Projection | Skipped, ...]:
        if method not in self._laid:
            self._laid[method] = analysis.common_maps(self.snapshots, method, seed=self.snapshots[0].settings.seed)
        return self._laid[method]
