"""`embviz --checkpoint ... --data ...`: options in, statistics and exit status out."""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import embviz_callback
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.commands.arguments import Parser, UsageError
from embviz_callback.commands.beside import asides_of, refuse_without_bm25s, words_beside
from embviz_callback.commands.ending import answer, status
from embviz_callback.commands.gate import add_gate_options, baseline_of, gate_status, refuse_gate_without_baseline
from embviz_callback.commands.launched import OtherRankDone, is_first
from embviz_callback.commands.options import (
    add_choice_option,
    add_ending_options,
    add_evaluation_options,
    add_model_options,
    add_subject_options,
    add_words_option,
    output_of,
    request_from,
)
from embviz_callback.commands.terminal import Terminal

if TYPE_CHECKING:
    from embviz_callback.analysis.metrics.numbers import Metrics
    from embviz_callback.commands.looking import Look, Request
    from embviz_callback.delivery.results.result_folder import Outcome


def parser() -> Parser:
    """Every option, with its default."""
    made = Parser(prog="embviz", description="Evaluates embedding models on pairs, and draws what they see.")
    made.add_argument("--version", action="version", version=f"embviz {embviz_callback.__version__}")
    add_subject_options(made, is_required=False)
    meaning = "vectors from elsewhere instead of --checkpoint: one row of queries and of documents per record of --data"
    made.add_argument("--vectors", nargs=2, metavar=("Q.npy", "D.npy"), help=meaning)
    made.add_argument("--trec", action="store_true", help="leave run.trec and qrels.trec beside the results")
    add_choice_option(made)
    add_evaluation_options(made)
    add_model_options(made)
    add_ending_options(made)
    add_gate_options(made)
    add_words_option(made)
    return made


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done, 3 for a margin below the threshold or a loss against the baseline, 4 for doubt."""
    if options.vectors is None and not options.checkpoint:
        raise UsageError("required: --checkpoint")
    if options.vectors is not None and options.checkpoint:
        raise UsageError("give either --checkpoint or --vectors")
    refuse_gate_without_baseline(options)
    if options.checkpoint and len(options.checkpoint) > 1:
        from embviz_callback.commands.compare import compare_checkpoints

        return compare_checkpoints(options, terminal)
    if isinstance(options.data, Mapping) and options.checkpoint:
        from embviz_callback.commands.on_sets import evaluate_on_sets

        return evaluate_on_sets(options, terminal)
    with quietly():
        request = request_from(options)
        baseline = baseline_of(options, request, terminal)
        outcome = evaluate(request, output_of(options), terminal, trec=options.trec, bm25=options.bm25)[0]
    text = f"{summary(outcome)}\n{statistics(outcome.metrics)}"
    answer(text, flat(outcome), options, terminal)
    reached = status({outcome.label: outcome.metrics}, options.fail_below_margin, terminal, faults=outcome.faults)
    if baseline is None or reached:
        return reached
    return gate_status([outcome.snapshot], baseline, options, terminal)


def evaluate(
    request: "Request", output: Path, terminal: Terminal, *, trec: bool = False, bm25: str | None = None
) -> "list[Outcome]":
    """Looks at every checkpoint and writes the files of each.

    Args:
        request: What is wanted.
        output: Folder of the results, with a folder in it for each of several checkpoints.
        terminal: Hears what is going on.
        trec: Leave a run and its judgements too.
        bm25: As for `words_beside`.

    Returns:
        One outcome per checkpoint, in the order given.
    """
    return evaluate_each([(request, output)], terminal, trec=trec, bm25=bm25)[0]


def evaluate_each(
    asked: "Sequence[tuple[Request, Path]]", terminal: Terminal, *, trec: bool = False, bm25: str | None = None
) -> "list[list[Outcome]]":
    """The same on several sets, each checkpoint loaded once.

    Args:
        asked: What is wanted of each set, and the folder of its results.
        terminal: Hears what is going on.
        trec: As for `evaluate`.
        bm25: Likewise.

    Returns:
        For each set one outcome per checkpoint.

    Raises:
        OtherRankDone: In every process but the first of several, when all is encoded.
    """
    from embviz_callback.commands.looking import look_at_each, prepared_outputs
    from embviz_callback.files import safe_name

    if trec:
        from embviz_callback.delivery.results.trec import DEPTH

        asked = [(replace(request, depth=DEPTH), output) for request, output in asked]
    if bm25 is not None:
        refuse_without_bm25s()
    looks = look_at_each([request for request, _ in asked], terminal)  # first: a mistyped path leaves no folder behind
    if not is_first():
        for _ in looks:
            pass
        raise OtherRankDone
    outcomes: list[list[Outcome]] = [[] for _ in asked]
    data: list[dict[str, Any]] = [{} for _ in asked]
    with prepared_outputs([output for _, output in asked]):
        for found in looks:
            for place, (look, (request, output)) in enumerate(zip(found, asked, strict=True)):
                folder = output / safe_name(look.snapshot.label) if len(request.checkpoints) > 1 else output
                data[place] = data[place] or _checked(look)
                outcomes[place].append(_written(look, folder, data[place], terminal, bm25))
                if trec:
                    _leave_trec(outcomes[place][-1])
    return outcomes


def _checked(look: "Look") -> dict[str, Any]:
    from embviz_callback.delivery.run.data_check import data_check

    return data_check(look.snapshot)


def _written(look: "Look", folder: Path, data: Mapping[str, Any], terminal: Terminal, bm25: str | None) -> "Outcome":
    # matplotlib, which a mistyped option must not wait for: all is checked before the first look
    from embviz_callback.delivery.results.result_folder import write_results

    words = words_beside(look, bm25, terminal)
    asides, progress = asides_of(look, words), partial(_bar, terminal)
    outcome = replace(write_results(look.snapshot, folder, data, asides=asides, progress=progress), words=words)
    for fault in outcome.faults:
        terminal.say(f"{look.snapshot.label}: {fault}")
    return outcome


def _leave_trec(outcome: "Outcome") -> None:
    from embviz_callback.delivery.results.trec import trec_files
    from embviz_callback.files import write_atomically

    for name, content in trec_files(outcome.snapshot).items():
        write_atomically(outcome.folder / name, content)


def _bar(terminal: Terminal, method: str) -> Any:
    return terminal.bar(MAPS[method].title)


@contextlib.contextmanager
def quietly() -> Any:
    """Keeps libraries from talking over the answer; this process is ours alone."""
    calm(is_watched=sys.stderr.isatty())
    # Whatever a library prints must not come between a pipeline and its JSON.
    with contextlib.redirect_stdout(sys.stderr):
        yield


def calm(*, is_watched: bool) -> None:
    """Sets what libraries read when they are imported, and silences their warnings."""
    import logging

    # A notebook's backend would break the import of matplotlib here.
    os.environ["MPLBACKEND"] = "Agg"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not is_watched:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("embviz_callback").addHandler(logging.NullHandler())
    if not os.environ.get("EMBVIZ_DEBUG"):
        warnings.simplefilter("ignore")


def statistics(metrics: "Metrics") -> str:
    """The block that standard output ends with."""
    return (
        "Similarity Statistics:\n"
        f"   Positive:   {metrics.positive_mean:.4f} ± {metrics.positive_std:.4f}\n"
        f"   Negative:   {metrics.negative_mean:.4f} ± {metrics.negative_std:.4f}\n"
        f"   Margin:     {metrics.margin:.4f}\n"
        f"   Separation: {metrics.separation:.2f}σ\n"
        f"   Rank-1:     {100 * metrics.rank1:.1f}%\n"
    )


def summary(outcome: "Outcome") -> str:
    """What came of one checkpoint, and where its report is."""
    diagnosis = outcome.snapshot.diagnosis
    verdict = outcome.content["conclusion"]
    return (
        f"{outcome.label}: {diagnosis.verdict}, {verdict}\n"
        f"   {diagnosis.reason}; {diagnosis.advice}\n"
        f"   {outcome.folder / 'report.md'}\n"
    )


def flat(outcome: "Outcome") -> dict[str, Any]:
    """Metrics on the first level, so that a pipeline can say ``.margin``."""
    content = dict(outcome.content)
    return {"label": content.pop("label"), **content.pop("metrics"), **content}
