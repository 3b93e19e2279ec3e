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
    add_loss_option,
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
        options: Adds its arguments; help says of it what stands in this function's docstring.
        room: Module that has ``run(options, terminal) -> exit status``; imported when the arguments are read, since
            ``--help`` and a mistyped option must not wait for what a command works with.
        says: What it does, in a few words.
    """

    options: Callable[[Parser], None]
    room: str
    says: str

    def parser(self, prog: str = "") -> Parser:
        """What reads its arguments; `prog` is what the user types."""
        made = Parser(prog=prog, description=self.options.__doc__)
        self.options(made)
        return made


def _evaluation(made: Parser) -> None:
    """Evaluates embedding models on pairs, and draws what they see."""
    made.add_argument("--version", action="version", version=f"embviz {embviz_callback.__version__}")
    add_subject_options(made, is_required=False)
    meaning = "vectors from elsewhere instead of --checkpoint: one row of queries and of documents per record of --data"
    made.add_argument("--vectors", nargs=2, metavar=("Q.npy", "D.npy"), help=meaning)
    made.flag("--trec", "leave run.trec and qrels.trec beside the results")
    add_choice_option(made)
    add_evaluation_options(made)
    made.option(
        "--baseline PATH",
        "metrics.json, embeddings.npz or checkpoint of another model on the same data; exit status 3 where a loss"
        " against it is shown, 4 where the data cannot tell",
    )
    add_loss_option(made, "none in the metric that decides")
    made.option(
        "--undecided",
        "with --baseline: exit status 3 or 0 where the data cannot tell (default: 4)",
        choices=("fail", "pass"),
    )
    add_words_option(made)
    made.set_defaults(reference=1)


def _demo(made: Parser) -> None:
    """A small training with the callback on, and its evaluation."""
    made.option("--output DIR", "new or empty (default %(default)s)", default="embviz-demo")
    made.option(
        "--pairs N",
        "invented, a fifth of them for validation (default %(default)s)",
        type=whole_number(20),
        default=2500,
    )
    made.option("--epochs N", "of the training (default %(default)s)", type=whole_number(1, 100), default=4)


def _check(made: Parser) -> None:
    """Looks for what is wrong in a file of pairs."""
    made.option("--data PATH", "the (training) pairs", required=True)
    made.option("--val PATH", "the validation pairs, to look for leaks")
    add_reading_options(made)
    made.option("--batch-size B", "pairs in a training batch", type=whole_number(1), default=128)
    made.flag("--strict", "exit with 3 when something is wrong or suspect")
    made.option("--ignore KIND", "leave this finding out; repeatable", action="append", default=[])
    made.flag("--json", "everything as one JSON object on standard output")
    made.option("--fix OUT", "write the mended --data here, and OUT.changes.json beside it")
    made.flag("--drop-leaks", "with --fix: drop records that have a text of --val")
    made.option("--weights PATH", "the weight rule, as configs/weight-config.json")
    made.option("--encoder NAME", "an encoder whose tokenizer counts tokens")
    made.option("--max-length N", "tokens that are read (default: the encoder's)", type=whole_number(1))
    made.option("--features MODULE:FUNCTION", "reads columns from a text, to compare them")
    made.option("--compare COLUMNS", "columns to compare, with commas (default district,price)")


def _convert(made: Parser) -> None:
    """Writes data of any known form in another."""
    made.option("source IN", "a file or folder of data")
    made.option("out OUT", "the file to write; for beir and trec a folder")
    made.option("--to", "the form to write", required=True, choices=tuple(OUT_FORMS))
    add_reading_options(made)


def _compare(made: Parser) -> None:
    """Compares checkpoints, epochs of a run or runs."""
    add_subject_options(made, is_required=False)
    add_run_option(made, "its epochs compared, or several runs with one another,", several=True)
    made.option(
        "--group NAME[=VALUE,...]",
        "with several --run: runs with one value of this hyperparameter are averaged, such as seeds of one"
        " learning rate; only those with the given values; repeatable",
        action="append",
    )
    made.option(
        "--epochs N",
        "with --run: which, 'untrained' or numbers (default: the untrained model, the best and the last)",
        nargs="+",
        type=_epoch,
    )
    made.option("--reference N", "compare with the n-th (default 1)", type=whole_number(1, 10**6), default=1)
    add_choice_option(made)
    add_evaluation_options(made)
    add_words_option(made)
    made.set_defaults(baseline=None, trec=False)


def _epoch(text: str) -> int | None:
    return None if text == "untrained" else _EPOCH_NUMBER(text)


def _analyse(made: Parser) -> None:
    """Says why a model fails.

    Several checkpoints are one run, oldest first: the last is analysed.
    """
    add_subject_options(made, is_required=False)
    add_run_option(made, "analysed")
    made.option("--epoch N", "with --run: which to analyse (default: the last)", type=whole_number(0, 10**9))
    made.option("--group-by COLUMN", "repeatable (default: all groups)", action="append")
    made.option("--features MODULE:FUNCTION", "reads columns from a text")
    made.option("--weights PATH", "the weight rule, as configs/weight-config.json")
    made.option("--edits MODULE:FUNCTION", "a listing to (edited listing, feature) pairs")
    made.option("--neighbours A,B,C", "places that lie together; repeatable", action="append")
    made.option("--place COLUMN", "column of places (default %(default)s)", default="district")
    made.option("--train PATH", "the training pairs, to look for leaks into --data")
    made.option("--tensorboard DIR", "write the figures into an event file there, too")
    add_evaluation_options(made)


def _query(made: Parser) -> None:
    """Answers a SELECT about the evaluations that a run keeps; without one it lists the tables."""
    made.option("sql SQL", '"select query, rank from ranks where epoch = 7"', nargs="?")
    made.option("--run DIR", "folder of a run that was visualised")
    made.option("--format", "of the answer (default %(default)s)", choices=("table", "csv", "json"), default="table")
    made.option("--time-limit S", "seconds (default %(default)g)", type=finite_number, default=10.0)


def _ship(made: Parser) -> None:
    """Says what fewer dimensions and a lower precision cost a model, and names the smallest setting that is not worse.

    Of several checkpoints the first, as it is, is what all are held against.
    """
    add_subject_options(made, is_required=True)
    add_at_hand_options(made)


def _compat(made: Parser) -> None:
    """Says whether queries of a new model may search documents that an old one has indexed."""
    what = "a checkpoint, a model directory, or an embeddings.npz of the same texts"
    made.option("--old PATH", f"whose documents are indexed: {what}", required=True)
    made.option("--new PATH", "the other, likewise", required=True)
    add_data_options(made)
    made.option(
        "--threshold X",
        "score from which documents are shown; what it becomes is said (default 0.6, of cosines)",
        type=finite_number,
    )
    add_at_hand_options(made)


def _power(made: Parser) -> None:
    """Says how many queries show a difference in rank-1 in 80 % of cases."""
    made.option("--data PATH", "the pairs: what a comparison on them can show")
    made.option("--difference X", "default %(default)s", type=finite_number, default=0.02)
    made.option("--discordance X", "share of the queries that two models disagree on", type=finite_number)
    made.option("--run DIR", "measure it between the last two evaluations that a run keeps")
    made.option("--checkpoint PATH", "measure it between two checkpoints on --data", nargs=2)
    add_sampling_options(made)
    add_reading_options(made)
    add_model_options(made)


def _export(made: Parser) -> None:
    """A checkpoint as a sentence-transformers directory."""
    made.option("--checkpoint PATH", ".pt, .ckpt, .safetensors or a directory", required=True)
    made.option("--output DIR", "must not exist, or be empty", required=True)
    add_encoder_options(made)
    made.option("--metrics PATH", "metrics.json of its evaluation; numbers, checklist and maps go into the card")


def _cache(made: Parser) -> None:
    """Features of frozen encoders, kept between runs."""
    made.add_argument("action", choices=("list", "size", "clear"), nargs="?", default="list")
    made.option("--dir", "the cache folder (default: $EMBVIZ_CACHE, else the user's cache folder)")


def _selfcheck(made: Parser) -> None:
    """Fits your model three times, twice without and once with the callback, and compares hashes."""
    made.option("factory FACTORY", "path/file.py:function or module:function; it is called")
    made.option("--data PATH", "the pairs that the callback evaluates", required=True)
    made.option("--steps", "batches in an epoch (default 4)", type=whole_number(1, 100_000), default=4)
    made.option("--epochs", "(default 2)", type=whole_number(1, 1000), default=2)
    made.option("--seed", "of every run (default 7)", type=whole_number(0, 2**32 - 1), default=7)
    made.option("--accelerator", "as in Lightning's Trainer: cpu, gpu (default auto)", default="auto")
    made.option("--precision", "as in Lightning's Trainer (default 32-true)", default="32-true")
    made.flag("--deterministic", "PyTorch's deterministic algorithms, in every run")
    made.flag("--json", "one JSON object on standard output")
    made.epilog = "The function takes nothing and returns (LightningModule, what Trainer.fit takes as data)."


def _completion(made: Parser) -> None:
    """Prints a completion script. bash: eval "$(embviz completion bash)", also in ~/.bashrc."""
    made.add_argument("shell", choices=("bash", "zsh", "tcsh"))


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
