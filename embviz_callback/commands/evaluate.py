"""`embviz --checkpoint ... --data ...`: options in, statistics and exit status out."""

import argparse

import embviz_callback
from embviz_callback.commands.arguments import Parser, UsageError
from embviz_callback.commands.gate import add_gate_options, refuse_gate_without_baseline
from embviz_callback.commands.on_sets import evaluate_checkpoints
from embviz_callback.commands.options import (
    add_choice_option,
    add_evaluation_options,
    add_subject_options,
    add_words_option,
)
from embviz_callback.commands.terminal import Terminal


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
    add_gate_options(made)
    add_words_option(made)
    made.set_defaults(reference=1)
    return made


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done, 3 for a margin below the threshold or a loss against the baseline, 4 for doubt."""
    if options.vectors is None and not options.checkpoint:
        raise UsageError("required: --checkpoint")
    if options.vectors is not None and options.checkpoint:
        raise UsageError("give either --checkpoint or --vectors")
    refuse_gate_without_baseline(options)
    return evaluate_checkpoints(options, terminal)
