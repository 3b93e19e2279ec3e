"""Several checkpoints on the same pairs: the files of a comparison, and its table."""

import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.analysis.compare.comparison import RULE
from embviz_callback.analysis.metrics.catalogue import CATALOGUE, COURSE, shown
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.commands.arguments import UsageError
from embviz_callback.drawing.reports.markdown import literal
from embviz_callback.drawing.wording import interval, measured, pool
from embviz_callback.grammar import counted

if TYPE_CHECKING:
    from embviz_callback.analysis.compare.comparison import Comparison
    from embviz_callback.commands.results import Outcome
    from embviz_callback.settings import Settings
    from embviz_callback.snapshot import Snapshot


_COLUMNS = shown(COURSE)


def comparison_table(outcomes: Sequence["Outcome"], best: "Outcome") -> str:
    """The figures side by side, in the order given.

    Args:
        outcomes: Of one subset.
        best: One of them, by the rule of `embviz_callback.analysis.compare.comparison`.

    Returns:
        Markdown.
    """
    head = ("checkpoint", *(CATALOGUE[name].title for name in _COLUMNS), "95 % of the margin", "ready", "reading")
    lines = [
        f"# Comparison of {counted(len(outcomes), 'checkpoint')}",
        "",
        f"Subset {best.content['fingerprint']}, {counted(best.metrics.n_queries, 'query')}, "
        f"{pool(best.metrics.n_documents, best.metrics.n_corpus)}.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *map(_row, outcomes))),
        "",
        f"Best: {literal(best.label)}. Rule: {RULE}.",
    ]
    return "\n".join(lines) + "\n"


def _row(outcome: "Outcome") -> list[str]:
    metrics = outcome.metrics
    return [
        literal(outcome.label),
        *(measured(metrics.get(name), name) for name in _COLUMNS),
        interval(metrics, "margin", decimals=None),
        "yes" if outcome.content["ready"] else "no",
        outcome.content["diagnosis"]["verdict"],
    ]


def remeasured(label: str, folder: Path, settings: "Settings") -> "Snapshot":
    """The snapshot of an evaluation that has been written down, from its ``embeddings.npz``.

    Args:
        label: Of the checkpoint.
        folder: Of its results.
        settings: Under which it was made.

    Returns:
        A snapshot without maps.
    """
    from embviz_callback.delivery.exports import read_embeddings
    from embviz_callback.snapshot import take_snapshot

    subset, embeddings, corpus_scan = read_embeddings(folder / "embeddings.npz")
    return take_snapshot(label=label, subset=subset, embeddings=embeddings, settings=settings, corpus_scan=corpus_scan)


def run_folder(given: Path) -> Path:
    """The folder that a run's pictures are in; the run's own, one above it, will do.

    Args:
        given: Either.

    Returns:
        The folder that holds ``snapshots``.

    Raises:
        UsageError: If there is none, or there are several.
    """
    from embviz_callback.delivery.run.keeping import kept_folders

    below = [given, *sorted(given.glob("embviz*/"))]
    found = [folder for folder in below if kept_folders(folder)]
    if not found:
        raise UsageError(f"--run: {given} keeps no evaluations; give the folder of a run, which holds snapshots/")
    if found[0] != given and len(found) > 1:
        raise UsageError(f"--run: {given} holds several; give one of {', '.join(map(str, found))}")
    return found[0]


def kept_snapshots(folder: Path) -> list["Snapshot"]:
    """What a run keeps of its evaluations, in the order of training.

    Args:
        folder: Of the run's pictures.

    Returns:
        Snapshots with the maps that were drawn.

    Raises:
        UsageError: If one cannot be read.
    """
    from embviz_callback.delivery.run.keeping import kept_folders
    from embviz_callback.snapshot import load_snapshot

    snapshots = []
    for path in kept_folders(folder):
        try:
            snapshots.append(load_snapshot(path))
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise UsageError(f"--run: {path} cannot be read ({error}); move it away to compare the others") from None
    return sorted(snapshots, key=lambda one: (-1 if one.epoch is None else one.epoch, one.step or 0))


def first_best_last(snapshots: Sequence["Snapshot"]) -> list["Snapshot"]:
    """The untrained model (or the first that is kept), the best by the rule of a comparison, and the last.

    Args:
        snapshots: Of one run, in the order of training.

    Returns:
        Up to three of them, none twice.

    Raises:
        UsageError: If the subsets differ.
    """
    from embviz_callback.analysis.compare.comparison import best_checkpoint

    if not snapshots:
        return []
    settings = snapshots[0].settings
    try:
        best = best_checkpoint(snapshots, draws=settings.bootstrap_draws, seed=settings.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return [snapshots[place] for place in sorted({0, best, len(snapshots) - 1})]


def write_comparison(
    snapshots: Sequence["Snapshot"], output: Path, *, reference: int = 0, maps: Sequence[str] = tuple(MAPS)
) -> "Comparison":
    """Compares snapshots and writes ``comparison.md``, ``comparison.json``, its figures and a page.

    Args:
        snapshots: Two or more of one subset.
        output: Folder; made if it is not there.
        reference: Index of the one that the others are held against.
        maps: Keys of those to draw.

    Returns:
        The comparison.

    Raises:
        UsageError: If the subsets differ.
    """
    from embviz_callback.analysis.compare.comparison import common_maps, compare
    from embviz_callback.drawing.figures.catalogue import to_png
    from embviz_callback.drawing.figures.side_by_side import draw_comparison_distributions, draw_comparison_metrics
    from embviz_callback.drawing.page.page import page
    from embviz_callback.drawing.reports.comparison_report import comparison_report
    from embviz_callback.files import write_atomically

    settings = snapshots[0].settings
    try:
        comparison = compare(snapshots, reference=reference, draws=settings.bootstrap_draws, seed=settings.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    figures = {
        "comparison_metrics": draw_comparison_metrics(comparison),
        "comparison_distributions": draw_comparison_distributions(snapshots, comparison.labels),
    }
    laid = {method: common_maps(snapshots, method, seed=settings.seed) for method in maps}
    figures |= {f"comparison_{method}": _drawn(laid[method], snapshots, comparison) for method in maps}
    for name, figure in figures.items():
        write_atomically(output / f"{name}.png", to_png(figure))
    mapped = [one.with_maps({method: laid[method][place] for method in maps}) for place, one in enumerate(snapshots)]
    write_atomically(output / "comparison.html", page(mapped, title="Comparison"))
    facts = json.dumps(comparison_json(comparison), ensure_ascii=False, allow_nan=False, indent=1)
    write_atomically(output / "comparison.json", facts)
    write_atomically(output / "comparison.md", comparison_report(comparison, figures=list(figures)))
    return comparison


def _drawn(maps: Any, snapshots: Sequence["Snapshot"], comparison: "Comparison") -> Any:
    from embviz_callback.drawing.figures.side_by_side import draw_comparison_maps

    return draw_comparison_maps(maps, snapshots, comparison.labels)


def comparison_json(comparison: "Comparison") -> dict[str, Any]:
    """Everything that was found, as plain JSON; what cannot be judged is null."""
    facts = {
        "fingerprint": comparison.fingerprint,
        "best": comparison.labels[comparison.best],
        "reference": comparison.labels[comparison.reference],
        "falls": [asdict(fall) for fall in comparison.falls],
        "evaluations": {
            label: {
                **comparison.metrics[place].as_dict(),
                "differences": {name: asdict(one) for name, one in comparison.differences[place].items()},
                "changes": asdict(comparison.changes[place]),
            }
            for place, label in enumerate(comparison.labels)
        },
    }
    plain: dict[str, Any] = _without_nan(facts)
    return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
