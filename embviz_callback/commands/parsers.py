"""Every command of `embviz` and its options: what reading them takes, and nothing of what the commands do."""

from collections.abc import Callable
from dataclasses import dataclass

import embviz_callback
from embviz_callback.commands.arguments import Parser, finite_number, whole_number
from embviz_callback.commands.options import (
    add_at_hand_options,
    add_choice_option,
    add_data_options,
    add_encoder_options,
    add_evaluation_options,
    add_gate_options,
    add_model_options,
    add_reading_options,
    add_run_option,
    add_sampling_options,
    add_subject_options,
    add_words_option,
)
from embviz_callback.pairs.formats.writing import OUT_FORMS

_ROOMS = "embviz_callback.commands"
_EPOCH_NUMBER = whole_number(0, 10**9)


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        parser: Makes what reads its arguments.
        room: Module that has ``run(options, terminal) -> exit status``; imported when the arguments are read, since
            ``--help`` and a mistyped option must not wait for what a command works with.
        says: What it does, in a few words.
    """

    parser: Callable[[], Parser]
    room: str
    says: str


def _evaluation() -> Parser:
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


def _demo() -> Parser:
    """Where to, and how much."""
    made = Parser(prog="embviz demo", description="A small training with the callback on, and its evaluation.")
    made.add_argument("--output", default="embviz-demo", metavar="DIR", help="new or empty (default %(default)s)")
    made.add_argument(
        "--pairs",
        type=whole_number(20),
        default=2500,
        metavar="N",
        help="invented, a fifth of them for validation (default %(default)s)",
    )
    made.add_argument(
        "--epochs", type=whole_number(1, 100), default=4, metavar="N", help="of the training (default %(default)s)"
    )
    return made


def _check() -> Parser:
    """The command's options."""
    made = Parser(prog="embviz check", description="Looks for what is wrong in a file of pairs.")
    made.add_argument("--data", required=True, metavar="PATH", help="the (training) pairs")
    made.add_argument("--val", metavar="PATH", help="the validation pairs, to look for leaks")
    add_reading_options(made)
    made.add_argument("--batch-size", type=whole_number(1), default=128, metavar="B", help="pairs in a training batch")
    made.add_argument("--strict", action="store_true", help="exit with 3 when something is wrong or suspect")
    made.add_argument(
        "--ignore", action="append", default=[], metavar="KIND", help="leave this finding out; repeatable"
    )
    made.add_argument("--json", action="store_true", help="everything as one JSON object on standard output")
    made.add_argument("--fix", metavar="OUT", help="write the mended --data here, and OUT.changes.json beside it")
    made.add_argument("--drop-leaks", action="store_true", help="with --fix: drop records that have a text of --val")
    made.add_argument("--weights", metavar="PATH", help="the weight rule, as configs/weight-config.json")
    made.add_argument("--encoder", metavar="NAME", help="an encoder whose tokenizer counts tokens")
    made.add_argument(
        "--max-length", type=whole_number(1), metavar="N", help="tokens that are read (default: the encoder's)"
    )
    made.add_argument("--features", metavar="MODULE:FUNCTION", help="reads columns from a text, to compare them")
    made.add_argument("--compare", metavar="COLUMNS", help="columns to compare, with commas (default district,price)")
    return made


def _convert() -> Parser:
    """The command's options."""
    made = Parser(prog="embviz convert", description="Writes data of any known form in another.")
    made.add_argument("source", metavar="IN", help="a file or folder of data")
    made.add_argument("out", metavar="OUT", help="the file to write; for beir and trec a folder")
    made.add_argument("--to", required=True, choices=tuple(OUT_FORMS), help="the form to write")
    add_reading_options(made)
    return made


def _compare() -> Parser:
    """The evaluation's options, and where epochs of a run come from."""
    made = Parser(prog="embviz compare", description="Compares checkpoints, epochs of a run or runs.")
    add_subject_options(made, is_required=False)
    add_run_option(made, "its epochs compared, or several runs with one another,", several=True)
    made.add_argument(
        "--group",
        action="append",
        metavar="NAME[=VALUE,...]",
        help="with several --run: runs with one value of this hyperparameter are averaged, such as seeds of one"
        " learning rate; only those with the given values; repeatable",
    )
    made.add_argument(
        "--epochs",
        nargs="+",
        type=_epoch,
        metavar="N",
        help="with --run: which, 'untrained' or numbers (default: the untrained model, the best and the last)",
    )
    made.add_argument(
        "--reference", type=whole_number(1, 10**6), default=1, metavar="N", help="compare with the n-th (default 1)"
    )
    add_choice_option(made)
    add_evaluation_options(made)
    add_words_option(made)
    made.set_defaults(baseline=None, trec=False)
    return made


def _epoch(text: str) -> int | None:
    return None if text == "untrained" else _EPOCH_NUMBER(text)


def _analyse() -> Parser:
    """The runner's options and those of the analysis."""
    made = Parser(
        prog="embviz analyse",
        description="Says why a model fails. Several checkpoints are one run, oldest first: the last is analysed.",
    )
    add_subject_options(made, is_required=False)
    add_run_option(made, "analysed")
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
    add_evaluation_options(made)
    return made


def _query() -> Parser:
    """Whose evaluations, what is asked, and how the answer is written."""
    made = Parser(
        prog="embviz query",
        description="Answers a SELECT about the evaluations that a run keeps; without one it lists the tables.",
    )
    made.add_argument("sql", nargs="?", metavar="SQL", help='"select query, rank from ranks where epoch = 7"')
    made.add_argument("--run", metavar="DIR", help="folder of a run that was visualised")
    made.add_argument(
        "--format", choices=("table", "csv", "json"), default="table", help="of the answer (default %(default)s)"
    )
    made.add_argument(
        "--time-limit", type=finite_number, default=10.0, metavar="S", help="seconds (default %(default)g)"
    )
    return made


def _ship() -> Parser:
    """What is measured, and what may be lost."""
    made = Parser(
        prog="embviz ship",
        description="Says what a model loses with fewer dimensions and at a lower precision, and names the smallest"
        " setting that is not worse. Of several checkpoints the first, as it is, is what all are held against.",
    )
    add_subject_options(made, is_required=True)
    add_at_hand_options(made)
    return made


def _compat() -> Parser:
    """Which two, and what may be lost."""
    made = Parser(
        prog="embviz compat",
        description="Says whether queries of a new model may search documents that an old one has indexed.",
    )
    what = "a checkpoint, a model directory, or an embeddings.npz of the same texts"
    made.add_argument("--old", required=True, metavar="PATH", help=f"whose documents are indexed: {what}")
    made.add_argument("--new", required=True, metavar="PATH", help="the other, likewise")
    add_data_options(made)
    made.add_argument(
        "--threshold",
        type=finite_number,
        metavar="X",
        help="score from which documents are shown; what it becomes is said (default 0.6, of cosines)",
    )
    add_at_hand_options(made)
    return made


def _power() -> Parser:
    """What difference is looked for, and where the discordance comes from."""
    made = Parser(
        prog="embviz power", description="Says how many queries show a difference in rank-1 in 80 % of cases."
    )
    made.add_argument("--data", metavar="PATH", help="the pairs: what a comparison on them can show")
    made.add_argument("--difference", type=finite_number, default=0.02, metavar="X", help="default %(default)s")
    made.add_argument(
        "--discordance", type=finite_number, metavar="X", help="share of the queries that two models disagree on"
    )
    made.add_argument("--run", metavar="DIR", help="measure it between the last two evaluations that a run keeps")
    made.add_argument("--checkpoint", nargs=2, metavar="PATH", help="measure it between two checkpoints on --data")
    add_sampling_options(made)
    add_reading_options(made)
    add_model_options(made)
    return made


def _export() -> Parser:
    """What is exported, and where to."""
    made = Parser(prog="embviz export", description="A checkpoint as a sentence-transformers directory.")
    made.add_argument("--checkpoint", required=True, metavar="PATH", help=".pt, .ckpt, .safetensors or a directory")
    made.add_argument("--output", required=True, metavar="DIR", help="must not exist, or be empty")
    add_encoder_options(made)
    made.add_argument(
        "--metrics",
        metavar="PATH",
        help="metrics.json of its evaluation; numbers, checklist and maps go into the card",
    )
    return made


def _cache() -> Parser:
    """What to do with the cache."""
    made = Parser(prog="embviz cache", description="Features of frozen encoders, kept between runs.")
    made.add_argument("action", choices=("list", "size", "clear"), nargs="?", default="list")
    made.add_argument("--dir", help="the cache folder (default: $EMBVIZ_CACHE, else the user's cache folder)")
    return made


def _selfcheck() -> Parser:
    """Which training, on which pairs."""
    made = Parser(
        prog="embviz selfcheck",
        description="Fits your model three times, twice without and once with the callback, and compares hashes.",
    )
    made.add_argument("factory", metavar="FACTORY", help="path/file.py:function or module:function; it is called")
    made.add_argument("--data", required=True, metavar="PATH", help="the pairs that the callback evaluates")
    made.add_argument("--steps", type=whole_number(1, 100_000), default=4, help="batches in an epoch (default 4)")
    made.add_argument("--epochs", type=whole_number(1, 1000), default=2, help="(default 2)")
    made.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=7, help="of every run (default 7)")
    made.add_argument("--accelerator", default="auto", help="as in Lightning's Trainer: cpu, gpu (default auto)")
    made.add_argument("--precision", default="32-true", help="as in Lightning's Trainer (default 32-true)")
    made.add_argument("--deterministic", action="store_true", help="PyTorch's deterministic algorithms, in every run")
    made.add_argument("--json", action="store_true", help="one JSON object on standard output")
    made.epilog = "The function takes nothing and returns (LightningModule, what Trainer.fit takes as data)."
    return made


def _completion() -> Parser:
    """Which shell."""
    made = Parser(
        prog="embviz completion",
        description='Prints a completion script. bash: eval "$(embviz completion bash)", also in ~/.bashrc.',
    )
    made.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return made


EVALUATION = Command(_evaluation, f"{_ROOMS}.evaluate", "metrics, five figures and a report")
COMMANDS = {
    "demo": Command(_demo, "embviz_callback.demo.command", "all of it on a small training, in a minute"),
    "check": Command(_check, f"{_ROOMS}.check", "what is wrong in a file of pairs"),
    "convert": Command(_convert, f"{_ROOMS}.convert", "data in another form"),
    "compare": Command(_compare, f"{_ROOMS}.compare", "checkpoints, epochs or runs, with intervals"),
    "analyse": Command(_analyse, f"{_ROOMS}.analyse", "why queries fail: groups, errors, features"),
    "query": Command(_query, f"{_ROOMS}.query", "a question in SQL about a run's evaluations"),
    "ship": Command(_ship, f"{_ROOMS}.ship", "which dimensions and precision are good enough"),
    "compat": Command(_compat, f"{_ROOMS}.compat", "whether a new model may search an old index"),
    "power": Command(_power, f"{_ROOMS}.power", "how many queries show a difference"),
    "export": Command(_export, f"{_ROOMS}.export", "a checkpoint for sentence-transformers"),
    "cache": Command(_cache, f"{_ROOMS}.cache", "features kept on disk: list, size, clear"),
    "selfcheck": Command(_selfcheck, f"{_ROOMS}.selfcheck", "whether the callback changes your own training"),
    "completion": Command(_completion, f"{_ROOMS}.completion", "completion for bash, zsh or tcsh"),
}
