"""Groups of options that several commands share: what is looked at, how, and how the command ends."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, CHOOSABLE, RANK_NAMES
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.commands.arguments import Parser, finite_number, whole_number
from embviz_callback.delivery.tags import SET_NAME, set_names
from embviz_callback.pairs.problems import DataLimits
from embviz_callback.settings import RANGES, SIMILARITIES, Settings

MOST_KEPT = 200_000  # texts of a corpus whose vectors are kept: 200 MB at 256 dimensions
GATED = (*RANK_NAMES, *(name for name, row in CATALOGUE.items() if row.has_interval and name not in RANK_NAMES))
_DEFAULTS = Settings()
_AMOUNTS = {
    "max_samples": "queries that are evaluated",
    "batch_size": "texts per forward pass; halved when memory runs out",
    "seed": "chooses the queries and starts the maps",
    "heatmap_pairs": "rows and columns of the heatmap",
    "bootstrap_draws": "resamplings behind an interval",
}
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")


def add_subject_options(made: Parser, *, is_required: bool) -> None:
    """What is looked at, and where results go.

    Args:
        made: Takes them.
        is_required: Whether there is no other way to say what is looked at.
    """
    made.option(
        "--checkpoint PATH",
        ".pt, .ckpt, .safetensors, a model directory, a name on the hub, or an embeddings.npz to draw again; "
        "several are compared",
        nargs="+",
        required=is_required,
    )
    add_data_options(made)


def add_data_options(made: Parser) -> None:
    """On what it is looked at, and where results go."""
    made.option(
        "--data PATH",
        "file or folder of pairs, docs/data.md (not needed for embeddings.npz); NAME=PATH for each of several",
        nargs="+",
        action=_Data,
    )
    made.option(
        "--corpus PATH",
        "further documents that answer no query, ranked beside those of --data; auto: those the data bring",
    )
    made.option(
        "--corpus-sample N",
        "rank among so many texts of the corpus only, drawn by hash; of the whole only bounds are told",
        type=whole_number(1, 10**9),
    )
    add_reading_options(made)
    made.option("--output DIR", "default %(default)s", default="visualizations/")


class _Data(argparse.Action):
    """A path stays one, and several sets are name to path."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if len(values) == 1 and not is_named(values[0]):
            setattr(namespace, self.dest, values[0])
            return
        sets = dict(value.partition("=")[::2] for value in values)
        for value in values:
            if not is_named(value):
                raise argparse.ArgumentError(self, f"expected one path, or NAME=PATH for each, found {value}")
        try:
            set_names(None, sets)
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from None
        if len(sets) < len(values):
            raise argparse.ArgumentError(self, f"expected a name for each, found {', '.join(values)}")
        setattr(namespace, self.dest, sets)


def is_named(value: str) -> bool:
    """Whether a value of ``--data`` is NAME=PATH: a file that is called so goes before."""
    name, sign, path = value.partition("=")
    return bool(sign and path and SET_NAME.fullmatch(name)) and not Path(value).expanduser().exists()


def add_run_option(made: Parser, what: str, *, several: bool = False) -> None:
    """A run that was visualised, or several of them, instead of checkpoints; `what` is done with it."""
    meaning = f"folder of a run that was visualised, {what} instead of --checkpoint"
    made.option("--run DIR", meaning, action="append" if several else "store")


def add_choice_option(made: Parser) -> None:
    """By which the best of several is chosen, and what a gate looks at where nobody says."""
    made.option(
        "--metric NAME",
        "the metric that decides (default: mrr, or ndcg_at_10 for lists and grades)",
        choices=CHOOSABLE,
        default="",
    )


def add_evaluation_options(made: Parser) -> None:
    """How it is evaluated (the fields of `Settings` that are of use outside a training), served and answered."""
    add_sampling_options(made, tuple(_AMOUNTS))
    for method, row in MAPS.items():
        made.flag(f"--skip-{method}", f"leave the {row.title} map out")
    add_model_options(made)
    made.option("--fail-below-margin X", "exit status 3 when a margin is below X", type=finite_number)
    add_json_option(made)


def add_sampling_options(made: Parser, amounts: Sequence[str] = ("max_samples", "batch_size", "seed")) -> None:
    """Which queries are evaluated, and other amounts among the fields of `Settings`."""
    ranges = {name: (low, high) for name, low, high in RANGES}
    for name in amounts:
        made.option(
            f"--{name.replace('_', '-')} N",
            f"{_AMOUNTS[name]} (default %(default)s)",
            type=whole_number(*ranges[name]),
            default=getattr(_DEFAULTS, name),
        )
    made.flag("--skip-bad-records", "leave out and count records with a problem")


def add_words_option(made: Parser) -> None:
    """Words beside the model."""
    made.option(
        "--bm25",
        "rank by words too (BM25, extra bm25), and by both fused; folded: without diacritics",
        nargs="?",
        const="words",
        choices=("words", "folded"),
    )
    add_keeping_option(made, "with --bm25: ")


def add_keeping_option(made: Parser, when: str = "") -> None:
    """How much of a corpus stays in memory, and when that matters."""
    made.option(
        "--most-documents N",
        f"{when}texts of the corpus that are ranked; of more a sample, which is said (default {MOST_KEPT})",
        type=whole_number(1, 10**9),
    )


def add_reading_options(made: Parser) -> None:
    """Options for how data are read, where they cannot be recognised or should be read otherwise."""
    made.option("--format NAME", "the form of the data (default: recognised)", default="")
    made.option("--fields OURS=THEIRS,...", "columns that hold query, pos, hard_neg, id, prompt, label", default="")
    made.option("--split NAME", "part of a folder (default: validation, then test)", default="")
    made.option("--relevant-from X", "least grade, label or score of a relevant document", type=finite_number)
    made.option("--relevant-label L", "the label of a relevant pair", default="")
    sizes = ",".join(f"{one.name}={one.default}" for one in fields(DataLimits))
    made.option("--limits NAME=N,...", f"how much data may hold (default {sizes})", default="")


def add_model_options(made: Parser) -> None:
    """How a checkpoint is served, as far as it does not say so itself."""
    made.option("--device", "cuda, cpu, ... (default: CUDA where there is one)", default="auto")
    add_encoder_options(made)
    made.flag("--no-cache", "neither keep nor look up the encoder's features")
    made.option("--query-prompt TEXT", "put before queries (default: what the checkpoint says)")
    made.option("--document-prompt TEXT", "put before documents, likewise")
    made.option(
        "--document-encoder PATH", "the checkpoint that encodes documents, where queries have one of their own (DPR)"
    )
    made.option("--similarity", "what ranks (default: what the checkpoint declares, else cosine)", choices=SIMILARITIES)


def add_encoder_options(made: Parser) -> None:
    """What a checkpoint may leave open about its encoder."""
    made.option("--encoder NAME|PATH", "the encoder, where the checkpoint does not name one (default BAAI/bge-m3)")
    made.option(
        "--pooling",
        "default: what the checkpoint says, else mean",
        choices=("mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", "pooler"),
    )
    made.option(
        "--max-length N",
        "tokens per text (default: what the checkpoint says, else 256)",
        type=whole_number(1, 1_000_000),
    )
    made.option("--tokenizer NAME|PATH", "the tokenizer, where the model brings none")
    made.option(
        "--dtype",
        "of the encoder's weights, auto for that of the checkpoint (default %(default)s)",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="float32",
    )
    made.option("--prefix NAME", "where several encoders fit a file, the module that is meant")
    made.option("--head-activation", "what stands between the layers of a head that has several", choices=_ACTIVATIONS)
    made.option("--lora-alpha X", "of LoRA weights in a file that does not say it", type=finite_number)


def add_json_option(made: Parser) -> None:
    """The answer for a program."""
    made.flag("--json", "the numbers as one JSON object on standard output, all else on standard error")


def add_loss_option(made: Parser, otherwise: str, names: Sequence[str] = GATED) -> None:
    """What may be lost of the metrics `names`; `otherwise` is what may where nothing is said."""
    made.option(
        "--allow-loss METRIC=SHARE",
        f"loss that is accepted, such as rank1=0.01; repeatable (default: {otherwise})",
        action="append",
        type=partial(_allowed, names),
    )


def _allowed(names: Sequence[str], text: str) -> tuple[str, float]:
    """Refused before hours of work, and not after them."""
    name, _, share = text.partition("=")
    try:
        least = float(share)
    except ValueError:
        least = math.nan
    if not (math.isfinite(least) and least >= 0):
        raise argparse.ArgumentTypeError(
            f"expected METRIC=SHARE of at least 0, such as rank1=0.01, found {text!r}"
        ) from None
    if name not in names:
        raise argparse.ArgumentTypeError(f"expected a loss of one of {', '.join(names)}, found {name!r}")
    return name, least


def add_at_hand_options(made: Parser) -> None:
    """What may be lost of the metric that decides, and how models at hand are evaluated."""
    add_loss_option(made, "0.01 in the metric that decides", RANK_NAMES)
    add_keeping_option(made)
    add_sampling_options(made)
    add_model_options(made)
    add_json_option(made)
