"""`embviz analyse`: why an evaluated model fails, from its data, its groups, its errors and its features."""

import argparse
import contextlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embviz_callback.analysis.metrics.pictures import MAPS, wanted_maps
from embviz_callback.commands import evaluate
from embviz_callback.commands.analysis_subject import AnalysisSubject, extract_of, rule_of, subject_from
from embviz_callback.commands.arguments import Parser, UsageError, whole_number
from embviz_callback.commands.ending import ended
from embviz_callback.commands.terminal import Terminal
from embviz_callback.files import write_atomically
from embviz_callback.pairs.importing import load_function

if TYPE_CHECKING:
    from embviz_callback.analysis.maps.projections import Projection, Skipped
    from embviz_callback.analysis.why.answers import Answers, Questions
    from embviz_callback.snapshot import Snapshot

_MOST_EDITS = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: Without the command's name; by default the process's own.

    Returns:
        0 when done, 2 for bad arguments or input, 1 if a figure could not be drawn.
    """
    terminal = Terminal()
    given = list(sys.argv[1:] if arguments is None else arguments)
    return ended("embviz analyse", lambda: _run(parser().read(given), terminal), terminal)


def parser() -> Parser:
    """The runner's options and those of the analysis."""
    made = evaluate.parser()
    made.prog = "embviz analyse"
    made.description = "Says why a model fails. Several checkpoints are one run, oldest first: the last is analysed."
    evaluate.make_optional(made, "checkpoint")  # a run can be analysed instead
    made.add_argument("--run", metavar="DIR", help="folder of a run that was visualised, instead of --checkpoint")
    made.add_argument(
        "--epoch", type=whole_number(0, 10**9), metavar="N", help="with --run: which to analyse (default: the last)"
    )
    made.add_argument("--group-by", action="append", metavar="COLUMN", help="repeatable (default: all groups)")
    made.add_argument("--features", metavar="MODULE:FUNCTION", help="reads columns from a text")
    made.add_argument("--weights", metavar="PATH", help="the weight rule, as configs/weight-config.json")
    made.add_argument("--edits", metavar="MODULE:FUNCTION", help="a listing to (edited listing, feature) pairs")
    made.add_argument("--neighbours", action="append", metavar="A,B,C", help="places that lie together; repeatable")
    made.add_argument("--place", default="district", metavar="COLUMN", help="column of places (default %(default)s)")
    made.add_argument("--train", metavar="PATH", help="the training pairs, to look for leaks into --data")
    made.add_argument("--tensorboard", metavar="DIR", help="write the figures into an event file there, too")
    return made


def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    from embviz_callback.analysis.why.answers import analyse
    from embviz_callback.commands.evaluation import prepare_output

    os.environ["MPLBACKEND"] = "Agg"  # a notebook's backend would break the import of matplotlib here
    output = Path(options.output).expanduser()
    prepare_output(output)
    _check_tensorboard(options.tensorboard)
    # Whatever a library prints must not come between a pipeline and its JSON.
    with contextlib.redirect_stdout(sys.stderr), _quiet():
        subject = subject_from(options, terminal)
        try:
            answers = analyse(subject.history, _questions(options, subject))
        except ValueError as error:
            raise UsageError(str(error)) from None
        snapshot = subject.last.with_maps(_maps(subject.last, options, terminal))
        made, faults = _write(output, subject, snapshot, answers, terminal)
        if options.tensorboard:
            _show_in_tensorboard(Path(options.tensorboard).expanduser(), output, made, snapshot)
    _say(options, output, snapshot, answers)
    return _status(options, snapshot, faults, terminal)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        if not os.environ.get("EMBVIZ_DEBUG"):
            warnings.simplefilter("ignore")
        yield


def _questions(options: argparse.Namespace, subject: AnalysisSubject) -> "Questions":
    from embviz_callback.analysis.why.answers import Questions

    if options.edits and subject.encode is None:
        raise UsageError("--edits needs a model to encode with; give a checkpoint instead of saved embeddings")
    edits: list[tuple[str, str, str]] = []
    if options.edits:
        change = load_function(options.edits)
        documents = subject.last.subset.documents
        edits = [(text, edited, feature) for text in documents for edited, feature in change(text)][:_MOST_EDITS]
    return Questions(
        extract=extract_of(options),
        group_by=options.group_by,
        rule=rule_of(options),
        edits=edits,
        encode=subject.encode,
        neighbours=[[name.strip() for name in one.split(",")] for one in options.neighbours or ()],
        place=options.place,
        seed=options.seed,
    )


def _maps(snapshot: "Snapshot", options: argparse.Namespace, terminal: Terminal) -> "dict[str, Projection | Skipped]":
    """Those that were drawn; else one is enough to carry the colours, the first that is not skipped."""
    from embviz_callback.analysis.maps.projections import Projection, Skipped, project

    wanted = wanted_maps(options)
    drawn = {method: made for method, made in snapshot.maps.items() if method in wanted}
    if any(isinstance(made, Projection) for made in drawn.values()):
        return drawn
    if not wanted:
        return {method: Skipped(f"left out by --skip-{method}") for method in MAPS}
    method = wanted[0]
    return {method: project(snapshot.embeddings, method, seed=snapshot.settings.seed, progress=terminal.bar(method))}


def _write(
    output: Path, subject: AnalysisSubject, snapshot: "Snapshot", answers: "Answers", terminal: Terminal
) -> tuple[list[str], list[str]]:
    """Writes the files; numbers first, so that no figure's failure loses them.

    Returns:
        Names of the figures, and of those that could not be drawn.
    """
    from embviz_callback.delivery.exports import analysis_json, to_json
    from embviz_callback.drawing.figures.catalogue import to_png
    from embviz_callback.drawing.figures.why.analysis_figures import analysis_figures
    from embviz_callback.drawing.reports.analysis_report import analysis_report

    checkup = subject.checkup
    write_atomically(output / "analysis.json", to_json(analysis_json(snapshot, answers, checkup)))
    made, faults = [], []
    for name, draw in analysis_figures(snapshot, answers).items():
        try:
            picture = to_png(draw())
        # One figure must not take the others along.
        except Exception as error:  # noqa: BLE001
            faults.append(name)
            terminal.say(f"{name} could not be drawn: {type(error).__name__}: {error}")
            continue
        write_atomically(output / f"{name}.png", picture)
        made.append(name)
    write_atomically(output / "analysis.md", analysis_report(snapshot, answers, checkup=checkup, figures=made))
    write_atomically(output / "report.html", _page(subject, snapshot, answers))
    return made, faults


def _page(subject: AnalysisSubject, snapshot: "Snapshot", answers: "Answers") -> str:
    """All evaluations with the analysis of the last one."""
    from embviz_callback.delivery.run.run_page import read_views
    from embviz_callback.drawing.page.epoch_view import epoch_view
    from embviz_callback.drawing.page.page import page_from_views
    from embviz_callback.drawing.page.page_analysis import answers_view
    from embviz_callback.drawing.reports.data_section import brief

    views = () if subject.run is None else read_views(subject.run, snapshot.subset.fingerprint)
    return page_from_views(
        views or [epoch_view(one) for one in (*subject.history[:-1], snapshot)],
        snapshot.subset,
        title=f"Analysis of {snapshot.label}" if subject.run is None else f"Run {subject.run.resolve().parent.name}",
        data=None if subject.checkup is None else brief(subject.checkup),
        analysis=answers_view(answers, snapshot.label, n_evaluations=len(subject.history)),
    )


def _check_tensorboard(folder: str | None) -> None:
    """Asked before the work."""
    if folder is None:
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs the package tensorboard; pip install tensorboard, or leave it out")
    path = Path(folder).expanduser()
    if path.exists() and not path.is_dir():
        raise UsageError(f"--tensorboard {folder} is a file; give a directory")


def _show_in_tensorboard(folder: Path, output: Path, names: Sequence[str], snapshot: "Snapshot") -> None:
    """The figures as images ``embviz/analysis_<name>``, under the step of the evaluation or else its epoch."""
    from embviz_callback.delivery.sinks import TensorBoardSink

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


def _say(options: argparse.Namespace, output: Path, snapshot: "Snapshot", answers: "Answers") -> None:
    """The findings in a few lines, or all of them as JSON."""
    if options.json:
        sys.stdout.write((output / "analysis.json").read_text(encoding="utf-8"))
        return
    from embviz_callback.drawing.wording import group_sentence

    errors, metrics = answers.errors, snapshot.metrics
    lines = [f"{len(errors.misses)} of {errors.n_queries} queries find a wrong document first"]
    lines += [f"   {sentence}" for sentence in errors.sentences()[:5]]
    lines += [f"by {slices.column}: {group_sentence(slices)}" for slices in answers.slices if group_sentence(slices)]
    if answers.importance.effects:
        lines.append(f"moves the similarity most: {', '.join(answers.importance.order)}")
    lines += [f"similarity against {curve.column}: {curve.verdict}" for curve in answers.continuity]
    lines.append(f"{len(answers.suspects)} probable false negatives")
    lines.append(f"margin {metrics.margin:.4f}, rank-1 {100 * metrics.rank1:.1f}%; see {output / 'analysis.md'}")
    sys.stdout.write("\n".join(lines) + "\n")


def _status(options: argparse.Namespace, snapshot: "Snapshot", faults: Sequence[str], terminal: Terminal) -> int:
    least = options.fail_below_margin
    # Written so that NaN, which compares false with everything, fails too.
    if least is not None and not snapshot.metrics.margin >= least:
        terminal.say(f"embviz analyse: margin {snapshot.metrics.margin:.4f} is below --fail-below-margin {least:g}")
        return 3
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
