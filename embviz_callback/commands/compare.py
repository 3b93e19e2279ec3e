"""`embviz compare`: checkpoints or epochs side by side on one subset."""

import argparse
import contextlib
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.commands import evaluate
from embviz_callback.commands.arguments import UsageError, whole_number
from embviz_callback.commands.terminal import Terminal

if TYPE_CHECKING:
    from embviz_callback.analysis.comparison import Comparison
    from embviz_callback.settings import Settings
    from embviz_callback.snapshot import Snapshot

_MAPS = {"tsne": "comparison_tsne", "umap": "comparison_umap"}


def main(arguments: Sequence[str]) -> int:
    """Runs the command.

    Args:
        arguments: Without the command's name.

    Returns:
        0 when done, 2 for bad arguments or input, 1 for anything else.
    """
    terminal = Terminal()
    try:
        options = parser().parse_args(arguments)
        return _run(options, terminal)
    except UsageError as error:
        terminal.say(f"embviz compare: {error}")
        return 2
    except KeyboardInterrupt:
        terminal.say("embviz compare: interrupted")
        return 1
    # The last line of defence: a traceback helps nobody who did not write this program.
    except Exception as error:
        if os.environ.get("EMBVIZ_DEBUG"):
            raise
        terminal.say(f"embviz compare: {type(error).__name__}: {error} (EMBVIZ_DEBUG=1 shows where)")
        return 1


def parser() -> argparse.ArgumentParser:
    """The evaluation's options, and where epochs of a run come from."""
    made = evaluate.parser()
    made.prog = "embviz compare"
    made.description = "Compares checkpoints, or epochs of a run, on the same queries."
    for action in made._actions:
        if action.dest == "checkpoint":
            action.required = False  # a run can be compared instead
    made.add_argument("--run", metavar="DIR", help="folder of a run that kept its snapshots, instead of --checkpoint")
    made.add_argument(
        "--epochs", nargs="+", type=whole_number(0, 10**9), metavar="N", help="with --run: which (default: all kept)"
    )
    made.add_argument(
        "--reference", type=whole_number(1, 10**6), default=1, metavar="N", help="compare with the n-th (default 1)"
    )
    return made


def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    if (options.run is None) == (not options.checkpoint):
        raise UsageError("give either --checkpoint with two or more paths, or --run")
    if options.checkpoint and len(options.checkpoint) < 2:
        raise UsageError("--checkpoint needs two or more paths to compare")
    with contextlib.redirect_stdout(sys.stderr):
        snapshots = _from_run(options) if options.run is not None else _from_checkpoints(options, terminal)
        if options.reference > len(snapshots):
            raise UsageError(f"--reference must be at most {len(snapshots)}, got {options.reference}")
        output = Path(options.output).expanduser()
        skipped = {method for method in _MAPS if getattr(options, f"skip_{method}")}
        comparison = write_comparison(snapshots, output, reference=options.reference - 1, skipped=skipped)
    from embviz_callback.drawing.comparison_report import sentences

    if options.json:
        sys.stdout.write(json.dumps(comparison_json(comparison), ensure_ascii=False, allow_nan=False) + "\n")
    else:
        sys.stdout.write("\n".join([*sentences(comparison), f"{output / 'comparison.md'}", ""]))
    return 0


def _from_run(options: argparse.Namespace) -> list["Snapshot"]:
    from embviz_callback.snapshot import load_snapshot

    folder = Path(options.run).expanduser()
    kept = sorted(path.parent for path in (folder / "snapshots").glob("*/snapshot.json"))
    snapshots = sorted((load_snapshot(path) for path in kept), key=lambda one: (_or_first(one.epoch), one.step or 0))
    epochs = [one.epoch for one in snapshots]
    missing = [epoch for epoch in options.epochs or () if epoch not in epochs]
    if missing:
        there = ", ".join("untrained" if epoch is None else str(epoch) for epoch in epochs) or "none"
        raise UsageError(f"--epochs: {folder} keeps no snapshot of epoch {missing[0]}; there are: {there}")
    chosen = [one for one in snapshots if options.epochs is None or one.epoch in options.epochs]
    if len(chosen) < 2:
        raise UsageError(f"--run: {folder} keeps {len(chosen)} of these snapshots; two or more are needed to compare")
    return chosen


def _or_first(epoch: int | None) -> int:
    return -1 if epoch is None else epoch


def _from_checkpoints(options: argparse.Namespace, terminal: Terminal) -> list["Snapshot"]:
    from embviz_callback.commands.evaluation import evaluate as evaluated

    request = evaluate._request(options)
    return [remeasured(one.label, one.folder, request.settings) for one in evaluated(request, terminal)]


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

    subset, embeddings = read_embeddings(folder / "embeddings.npz")
    return take_snapshot(label=label, subset=subset, embeddings=embeddings, settings=settings)


def write_comparison(
    snapshots: Sequence["Snapshot"], output: Path, *, reference: int = 0, skipped: set[str] | None = None
) -> "Comparison":
    """Compares snapshots and writes ``comparison.md``, ``comparison.json``, its figures and a page.

    Args:
        snapshots: Two or more of one subset.
        output: Folder; made if it is not there.
        reference: Index of the one that the others are held against.
        skipped: Maps to leave out, "tsne" or "umap".

    Returns:
        The comparison.

    Raises:
        UsageError: If the subsets differ.
    """
    from embviz_callback.analysis.comparison import common_maps, compare
    from embviz_callback.delivery.files import write_atomically
    from embviz_callback.drawing.comparison import draw_comparison_distributions, draw_comparison_metrics
    from embviz_callback.drawing.comparison_report import comparison_report
    from embviz_callback.drawing.figures import to_png
    from embviz_callback.drawing.page import page

    settings = snapshots[0].settings
    try:
        comparison = compare(snapshots, reference=reference, draws=settings.bootstrap_draws, seed=settings.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    figures = {
        "comparison_metrics": draw_comparison_metrics(comparison),
        "comparison_distributions": draw_comparison_distributions(snapshots, comparison.labels),
    }
    wanted = [method for method in _MAPS if method not in (skipped or ())]
    maps = {method: common_maps(snapshots, method, seed=settings.seed) for method in wanted}
    figures |= {_MAPS[method]: _drawn(maps[method], snapshots, comparison) for method in wanted}
    for name, figure in figures.items():
        write_atomically(output / f"{name}.png", to_png(figure))
    mapped = [one.with_maps({method: maps[method][place] for method in wanted}) for place, one in enumerate(snapshots)]
    write_atomically(output / "comparison.html", page(mapped, title="Comparison"))
    facts = json.dumps(comparison_json(comparison), ensure_ascii=False, allow_nan=False, indent=1)
    write_atomically(output / "comparison.json", facts)
    write_atomically(output / "comparison.md", comparison_report(comparison, figures=list(figures)))
    return comparison


def _drawn(maps: Any, snapshots: Sequence["Snapshot"], comparison: "Comparison") -> Any:
    from embviz_callback.drawing.comparison import draw_comparison_maps

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
