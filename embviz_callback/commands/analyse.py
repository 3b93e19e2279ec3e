"""`embviz analyse`: why an evaluated model fails, from its data, its groups, its errors and its features."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from embviz_callback.analysis.maps.projections import Projection, Skipped, project
from embviz_callback.analysis.metrics.pictures import MAPS, wanted_maps
from embviz_callback.analysis.why.analysis import Analysis, Questions, analyse
from embviz_callback.commands.analysed import Analysed, analysed_by
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.ending import status
from embviz_callback.commands.looking import as_usage_error, prepared_outputs
from embviz_callback.commands.request import extract_of, output_of, rule_of
from embviz_callback.commands.terminal import Terminal, quietly
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.sinks import TensorBoardSink
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.page.page import page
from embviz_callback.drawing.page.page_analysis import analysis_view
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.drawing.reports.data_section import brief
from embviz_callback.drawing.wording import group_sentence
from embviz_callback.files import write_atomically
from embviz_callback.grammar import agreeing, counted
from embviz_callback.pairs.check.importing import load_function
from embviz_callback.snapshot import Snapshot

_MOST_EDITS = 1000


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done, 3 for a margin below the threshold, 1 for a figure that could not be drawn."""
    output = output_of(options)
    with quietly():
        with prepared_outputs([output]):
            _check_tensorboard(options.tensorboard)
            found = analysed_by(options, terminal)
            with as_usage_error(ValueError):
                analysis = analyse(found.history, _questions(options, found))
        snapshot = found.last.with_maps(_maps(found.last, options, terminal))
        made, faults = _write(output, found, snapshot, analysis, terminal)
        if options.tensorboard:
            _show_in_tensorboard(Path(options.tensorboard).expanduser(), output, made, snapshot)
    _say(options, output, snapshot, analysis)
    return status({snapshot.label: snapshot.metrics}, options.fail_below_margin, terminal, faults=faults)


def _questions(options: argparse.Namespace, found: Analysed) -> Questions:
    if options.edits and found.encode is None:
        raise UsageError("--edits needs a model to encode with; give a checkpoint instead of saved embeddings")
    edits: list[tuple[str, str, str]] = []
    if options.edits:
        change = load_function(options.edits)
        documents = found.last.subset.documents
        edits = [(text, edited, feature) for text in documents for edited, feature in change(text)][:_MOST_EDITS]
    return Questions(
        extract=extract_of(options),
        group_by=options.group_by,
        rule=rule_of(options),
        edits=edits,
        encode=found.encode,
        neighbours=[[name.strip() for name in one.split(",")] for one in options.neighbours or ()],
        place=options.place,
        seed=options.seed,
    )


def _maps(snapshot: Snapshot, options: argparse.Namespace, terminal: Terminal) -> dict[str, Projection | Skipped]:
    """Those that were drawn; else one is enough to carry the colours, the first that is not skipped."""
    wanted = wanted_maps(options)
    drawn = {method: made for method, made in snapshot.maps.items() if method in wanted}
    if any(isinstance(made, Projection) for made in drawn.values()):
        return drawn
    if not wanted:
        return {method: Skipped(f"left out by --skip-{method}") for method in MAPS}
    method = wanted[0]
    return {method: project(snapshot.embeddings, method, seed=snapshot.settings.seed, progress=terminal.bar(method))}


def _write(
    output: Path, found: Analysed, snapshot: Snapshot, analysis: Analysis, terminal: Terminal
) -> tuple[Sequence[str], Sequence[str]]:
    """Writes the files, and gives the names of the figures and what could not be drawn."""
    # matplotlib, which a mistyped path must not wait for
    from embviz_callback.delivery.results.analysis_folder import write_analysis

    guard = Guard()
    made = write_analysis(output, snapshot, analysis, found.checkup, guard=guard)
    for fault in guard.faults:
        terminal.say(fault)
    write_atomically(output / "report.html", _page(found, snapshot, analysis))
    return made, guard.faults


def _page(found: Analysed, snapshot: Snapshot, analysis: Analysis) -> str:
    """All evaluations with the analysis of the last one."""
    views = () if found.run is None else found.run.views(snapshot.subset.fingerprint)
    return page(
        views or [epoch_view(one) for one in (*found.history[:-1], snapshot)],
        snapshot.subset,
        Context(
            data=None if found.checkup is None else brief(found.checkup),
            analysis=analysis_view(analysis, snapshot.label, n_evaluations=len(found.history)),
        ),
        title=f"Analysis of {snapshot.label}" if found.run is None else found.run.title,
    )


def _check_tensorboard(folder: str | None) -> None:
    """Asked before the work."""
    if folder is None:
        return
    path = Path(folder).expanduser()
    if path.exists() and not path.is_dir():
        raise UsageError(f"--tensorboard {folder} is a file; give a directory")


def _show_in_tensorboard(folder: Path, output: Path, names: Sequence[str], snapshot: Snapshot) -> None:
    """The figures as images ``embviz/analysis_<name>``, under the step of the evaluation or else its epoch."""
    sink = TensorBoardSink(folder)
    step = snapshot.step if snapshot.step is not None else snapshot.epoch or 0
    for name in names:
        sink.figure(f"analysis_{name}", (output / f"{name}.png").read_bytes(), step)
    try:
        sink.flush()
    except OSError as error:
        raise UsageError(
            f"--tensorboard {folder} cannot be written to ({error.strerror or error}); give another directory"
        ) from None


def _say(options: argparse.Namespace, output: Path, snapshot: Snapshot, analysis: Analysis) -> None:
    """The findings in a few lines, or all of them as JSON."""
    if options.json:
        sys.stdout.write((output / "analysis.json").read_text(encoding="utf-8"))
        return
    errors, metrics = analysis.errors, snapshot.metrics
    find = agreeing(len(errors.misses), "find[|s] a wrong document first")
    lines = [f"{len(errors.misses)} of {counted(errors.n_queries, 'query')} {find}"]
    lines += [f"   {sentence}" for sentence in errors.sentences()[:5]]
    lines += [
        f"by {grouping.column}: {group_sentence(grouping)}"
        for grouping in analysis.groupings
        if group_sentence(grouping)
    ]
    if analysis.importance.effects:
        lines.append(f"moves the similarity most: {', '.join(analysis.importance.order)}")
    lines += [f"similarity against {curve.column}: {curve.verdict}" for curve in analysis.continuity]
    lines.append(f"{counted(len(analysis.suspects), 'candidate')} for false negatives")
    lines.append(f"margin {metrics.margin:.4f}, rank-1 {100 * metrics.rank1:.1f}%; see {output / 'analysis.md'}")
    sys.stdout.write("\n".join(lines) + "\n")
