"""`embviz demo`: what this package does, seen on a small training on invented pairs."""

import argparse
import contextlib
import logging
import random
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.commands.ending import write_out
from embviz_callback.commands.evaluate import evaluate_each
from embviz_callback.commands.looking import as_usage_error
from embviz_callback.commands.request import Request, new_output_of
from embviz_callback.commands.terminal import Terminal, calm
from embviz_callback.commands.told import statistics, summary
from embviz_callback.delivery.run.history import epoch_table, read_history
from embviz_callback.demo.rental_pairs import generate_pairs
from embviz_callback.files import to_json, write_atomically
from embviz_callback.grammar import counted
from embviz_callback.settings import Settings

if TYPE_CHECKING:
    from embviz_callback.delivery.results.result_folder import Outcome

_VALIDATION_SHARE = 0.2
_SEED = 7
_INTRODUCTION = (
    "{n:,} invented Vietnamese rental pairs; a linear head on hashed character n-grams, trained on the CPU. "
    "Nothing is downloaded, and the model has no pretrained knowledge of any language."
)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    output = new_output_of(options)
    calm(is_watched=sys.stderr.isatty())
    logging.getLogger("embviz_callback").addHandler(logging.StreamHandler())  # a low margin is to be heard of
    training, validation = _write_pairs(output, options.pairs)
    terminal.say(_INTRODUCTION.format(n=options.pairs))
    from embviz_callback.demo.training import train  # Lightning takes seconds

    # Only now: its import sets a level of its own.
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    terminal.say(f"training {counted(options.epochs, 'epoch')}, each looked at by the callback")
    with contextlib.redirect_stdout(sys.stderr):
        train(training, validation, output, epochs=options.epochs)
        terminal.say("evaluating the last epoch's checkpoint as `embviz` does")
        outcome = _evaluate(output, terminal)
    table = epoch_table(read_history(output / "run" / "embviz" / "history.jsonl"))
    write_out(f"{table}\n{summary(outcome)}\n{statistics(outcome.metrics)}\n{_next_steps(output)}")
    return 1 if outcome.faults else 0


def _write_pairs(folder: Path, n: int) -> tuple[list[dict[str, Any]], Path]:
    """The training pairs and the file of the validation pairs; no text is on both sides, since none occurs twice."""
    with as_usage_error(ValueError, "--pairs: "):
        items = generate_pairs(n, seed=_SEED, hard_negatives=2)
    random.Random(_SEED).shuffle(items)
    n_validation = round(_VALIDATION_SHARE * n)
    sides = {"val.json": items[:n_validation], "train.json": items[n_validation:]}
    folder.mkdir(parents=True, exist_ok=True)
    for name, side in sides.items():
        write_atomically(folder / name, to_json(side))
    return sides["train.json"], folder / "val.json"


def _evaluate(folder: Path, terminal: Terminal) -> "Outcome":
    request = Request((str(folder / "model.pt"),), str(folder / "val.json"), Settings(), device="cpu")
    return evaluate_each([(request, folder / "evaluation")], terminal)[0][0]


def _next_steps(folder: Path) -> str:
    def file(*parts: str) -> str:
        return shlex.quote(str(folder.joinpath(*parts)))

    model, data = file("model.pt"), file("val.json")
    return (
        "Look at:\n"
        f"   {folder / 'run' / 'embviz' / 'report.html'}   the training, epoch by epoch; opens in a browser\n"
        f"   {folder / 'evaluation' / 'report.md'}   the checkpoint, with figures beside it\n"
        "Go on with:\n"
        f"   embviz analyse --checkpoint {model} --data {data} --output {file('analysis')}\n"
        f"   embviz compare --run {file('run')} --output {file('comparison')}\n"
        f"   embviz check --data {file('train.json')} --val {data}\n"
        f"   tensorboard --logdir {file()} --samples_per_plugin images=100\n"
        'Your own model: Trainer(callbacks=[EmbeddingVisualizer("val.json")]), see the README\n'
    )
