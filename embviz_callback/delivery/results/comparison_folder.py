"""The folder of a comparison: its tables, figures and page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from embviz_callback.analysis.compare.comparison import Comparison, common_maps, compare
from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.drawing.figures.png import to_png
from embviz_callback.drawing.figures.side_by_side import (
    draw_comparison_distributions,
    draw_comparison_maps,
    draw_comparison_metrics,
)
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.page.page import page
from embviz_callback.drawing.reports.asides import Aside, Context
from embviz_callback.drawing.reports.comparisons.comparison_report import comparison_report
from embviz_callback.files import to_json, without_nan, write_atomically
from embviz_callback.snapshot import Snapshot


def write_comparison(
    snapshots: Sequence[Snapshot],
    output: Path,
    *,
    reference: int = 0,
    metric: str = "",
    maps: Sequence[str] = tuple(MAPS),
    asides: Sequence[Aside] = (),
    shown: Sequence[int] | None = None,
) -> Comparison:
    """Compares snapshots and writes ``comparison.md``, ``comparison.json``, its figures and a page.

    Args:
        snapshots: Two or more; a ValueError says that the subsets differ.
        output: Folder; made if it is not there.
        reference: Index, among those that are shown, of the one that the others are held against.
        metric: By which the best is chosen; empty for the one that the last of them was made with.
        maps: Keys of those to draw.
        asides: Sections of report and page.
        shown: Places of those that tables and figures show, as `Comparison.of` takes them; all if None.

    Returns:
        The comparison of those that are shown.
    """
    chosen = metric or snapshots[-1].settings.metric
    snapshots = [replace(one, settings=replace(one.settings, metric=chosen)) for one in snapshots]
    settings = snapshots[0].settings
    places = range(len(snapshots)) if shown is None else shown
    comparison = compare(
        snapshots, reference=places[reference], metric=chosen, draws=settings.bootstrap_draws, seed=settings.seed
    ).of(places)
    snapshots = [snapshots[place] for place in places]
    laid = {method: common_maps(snapshots, method, seed=settings.seed) for method in maps}
    figures = comparison_figures(comparison, snapshots, laid)
    for name, draw in figures.items():
        write_atomically(output / f"{name}.png", to_png(draw()))
    write_atomically(output / "comparison.html", comparison_page(snapshots, laid, asides))
    write_atomically(output / "comparison.json", to_json(comparison_json(comparison)))
    write_atomically(output / "comparison.md", comparison_report(comparison, figures=list(figures), asides=asides))
    return comparison


def comparison_figures(
    comparison: Comparison, snapshots: Sequence[Snapshot], laid: Mapping[str, Sequence[Projection | Skipped]]
) -> dict[str, Callable[[], Figure]]:
    """What a comparison shows.

    Args:
        comparison: What was found.
        snapshots: What is compared.
        laid: Key of the method to the maps of all of them on common axes.

    Returns:
        Name to what draws it.
    """
    made: dict[str, Callable[[], Figure]] = {
        "comparison_metrics": partial(draw_comparison_metrics, comparison),
        "comparison_distributions": partial(draw_comparison_distributions, snapshots, comparison.labels),
    }
    for method, maps in laid.items():
        made[f"comparison_{method}"] = partial(draw_comparison_maps, maps, snapshots, comparison.labels)
    return made


def comparison_page(
    snapshots: Sequence[Snapshot], laid: Mapping[str, Sequence[Projection | Skipped]], asides: Sequence[Aside] = ()
) -> str:
    """The page of a comparison; arguments as for `comparison_figures`."""
    mapped = [
        one.with_maps({method: made[place] for method, made in laid.items()}) for place, one in enumerate(snapshots)
    ]
    return page(list(map(epoch_view, mapped)), snapshots[0].subset, Context(asides=asides), title="Comparison")


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Everything that was found, as plain JSON; what cannot be judged is null."""
    facts = {
        "fingerprint": comparison.fingerprint,
        "best": comparison.labels[comparison.best.place],
        "choice": asdict(comparison.best),
        "unshown": list(comparison.unshown),
        "reference": comparison.labels[comparison.reference],
        "fall": None if comparison.fall is None else asdict(comparison.fall),
        "evaluations": {
            label: {
                **comparison.metrics[place].as_dict(),
                "differences": {name: asdict(one) for name, one in comparison.differences[place].items()},
                "changes": asdict(comparison.changes[place]),
            }
            for place, label in enumerate(comparison.labels)
        },
    }
    return without_nan(facts)
