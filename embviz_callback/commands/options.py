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
from embviz_callback.commands.arguments import finite_number, whole_number
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


def add_subject_options(made: argparse.ArgumentParser, *, is_required: bool) -> None:
    """What is looked at, and where results go.

    Args:
        made: Takes them.
        is_required: Whether there is no other way to say what is looked at.
    """
    made.add_argument(
        "--checkpoint",
        nargs="+",
        required=is_required,
        metavar="PATH",
        help=".pt, .ckpt, .safetensors, a model directory, a name on the hub, or an embeddings.npz to draw again; "
        "several are compared",
    )
    add_data_options(made)


def add_data_options(made: argparse.ArgumentParser) -> None:
    """On what it is looked at, and where results go."""
    made.add_argument(
        "--data",
        nargs="+",
        action=_Data,
        metavar="PATH",
        help="file or folder of pairs, docs/data.md (not needed for embeddings.npz); NAME=PATH for each of several",
    )
    made.add_argument(
        "--corpus",
        metavar="PATH",
        help="further documents that answer no query, ranked beside those of --data; auto: those the data bring",
    )
    made.add_argument(
        "--corpus-sample",
        type=whole_number(1, 10**9),
        metavar="N",
        help="rank among so many texts of the corpus only, drawn by hash; of the whole only bounds are told",
    )
    add_reading_options(made)
    made.add_argument("--output", default="visualizations/", metavar="DIR", help="default %(default)s")


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


def add_run_option(made: argparse.ArgumentParser, what: str, *, several: bool = False) -> None:
    """A run that was visualised, or several of them, instead of checkpoints; `what` is done with it."""
    meaning = f"folder of a run that was visualised, {what} instead of --checkpoint"
    made.add_argument("--run", metavar="DIR", action="append" if several else "store", help=meaning)


def add_choice_option(made: argparse.ArgumentParser) -> None:
    """By which the best of several is chosen, and what a gate looks at where nobody says."""
    made.add_argument(
        "--metric",
        choices=CHOOSABLE,
        default="",
        metavar="NAME",
        help="the metric that decides (default: mrr, or ndcg_at_10 for lists and grades)",
    )


def add_evaluation_options(made: argparse.ArgumentParser) -> None:
    """How it is evaluated (the fields of `Settings` that are of use outside a training), served and answered."""
    add_sampling_options(made, tuple(_AMOUNTS))
    for method, row in MAPS.items():
        made.add_argument(f"--skip-{method}", action="store_true", help=f"leave the {row.title} map out")
    add_model_options(made)
    _add_ending_options(made)


def add_sampling_options(
    made: argparse.ArgumentParser, amounts: Sequence[str] = ("max_samples", "batch_size", "seed")
) -> None:
    """Which queries are evaluated, and other amounts among the fields of `Settings`."""
    ranges = {name: (low, high) for name, low, high in RANGES}
    for name in amounts:
        made.add_argument(
            f"--{name.replace('_', '-')}",
            type=whole_number(*ranges[name]),
            default=getattr(_DEFAULTS, name),
            metavar="N",
            help=f"{_AMOUNTS[name]} (default %(default)s)",
        )
    made.add_argument("--skip-bad-records", action="store_true", help="leave out and count records with a problem")


def add_words_option(made: argparse.ArgumentParser) -> None:
    """Words beside the model."""
    made.add_argument(
        "--bm25",
        nargs="?",
        const="words",
        choices=("words", "folded"),
        help="rank by words too (BM25, extra bm25), and by both fused; folded: without diacritics",
    )
    add_keeping_option(made, "with --bm25: ")


def add_keeping_option(made: argparse.ArgumentParser, when: str = "") -> None:
    """How much of a corpus stays in memory, and when that matters."""
    made.add_argument(
        "--most-documents",
        type=whole_number(1, 10**9),
        metavar="N",
        help=f"{when}texts of the corpus that are ranked; of more a sample, which is said (default {MOST_KEPT})",
    )


def add_reading_options(made: argparse.ArgumentParser) -> None:
    """Options for how data are read, where they cannot be recognised or should be read otherwise."""
    made.add_argument("--format", default="", metavar="NAME", help="the form of the data (default: recognised)")
    made.add_argument(
        "--fields",
        default="",
        metavar="OURS=THEIRS,...",
        help="columns that hold query, pos, hard_neg, id, prompt, label",
    )
    made.add_argument("--split", default="", metavar="NAME", help="part of a folder (default: validation, then test)")
    made.add_argument(
        "--relevant-from", type=finite_number, metavar="X", help="least grade, label or score of a relevant document"
    )
    made.add_argument("--relevant-label", default="", metavar="L", help="the label of a relevant pair")
    sizes = ",".join(f"{one.name}={one.default}" for one in fields(DataLimits))
    made.add_argument("--limits", default="", metavar="NAME=N,...", help=f"how much data may hold (default {sizes})")


def add_model_options(made: argparse.ArgumentParser) -> None:
    """How a checkpoint is served, as far as it does not say so itself."""
    made.add_argument("--device", default="auto", help="cuda, cpu, ... (default: CUDA where there is one)")
    add_encoder_options(made)
    made.add_argument("--no-cache", action="store_true", help="neither keep nor look up the encoder's features")
    made.add_argument("--query-prompt", metavar="TEXT", help="put before queries (default: what the checkpoint says)")
    made.add_argument("--document-prompt", metavar="TEXT", help="put before documents, likewise")
    made.add_argument(
        "--document-encoder",
        metavar="PATH",
        help="the checkpoint that encodes documents, where queries have one of their own (DPR)",
    )
    made.add_argument(
        "--similarity", choices=SIMILARITIES, help="what ranks (default: what the checkpoint declares, else cosine)"
    )


def add_encoder_options(made: argparse.ArgumentParser) -> None:
    """What a checkpoint may leave open about its encoder."""
    made.add_argument(
        "--encoder",
        metavar="NAME|PATH",
        help="the encoder, where the checkpoint does not name one (default BAAI/bge-m3)",
    )
    made.add_argument(
        "--pooling",
        choices=("mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", "pooler"),
        help="default: what the checkpoint says, else mean",
    )
    made.add_argument(
        "--max-length",
        type=whole_number(1, 1_000_000),
        metavar="N",
        help="tokens per text (default: what the checkpoint says, else 256)",
    )
    made.add_argument("--tokenizer", metavar="NAME|PATH", help="the tokenizer, where the model brings none")
    made.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="float32",
        help="of the encoder's weights, auto for that of the checkpoint (default %(default)s)",
    )
    made.add_argument("--prefix", metavar="NAME", help="where several encoders fit a file, the module that is meant")
    made.add_argument(
        "--head-activation", choices=_ACTIVATIONS, help="what stands between the layers of a head that has several"
    )
    made.add_argument(
        "--lora-alpha", type=finite_number, metavar="X", help="of LoRA weights in a file that does not say it"
    )


def _add_ending_options(made: argparse.ArgumentParser) -> None:
    """How a pipeline takes the answer."""
    made.add_argument(
        "--fail-below-margin", type=finite_number, metavar="X", help="exit status 3 when a margin is below X"
    )
    add_json_option(made)


def add_json_option(made: argparse.ArgumentParser) -> None:
    """The answer for a program."""
    made.add_argument(
        "--json",
        action="store_true",
        help="the numbers as one JSON object on standard output, all else on standard error",
    )


def add_gate_options(made: argparse.ArgumentParser) -> None:
    """What the model is held against."""
    made.add_argument(
        "--baseline",
        metavar="PATH",
        help="metrics.json, embeddings.npz or checkpoint of another model on the same data; exit status 3 where a loss"
        " against it is shown, 4 where the data cannot tell",
    )
    add_loss_option(made, "none in the metric that decides")
    made.add_argument(
        "--undecided",
        choices=("fail", "pass"),
        help="with --baseline: exit status 3 or 0 where the data cannot tell (default: 4)",
    )


def add_loss_option(made: argparse.ArgumentParser, otherwise: str, names: Sequence[str] = GATED) -> None:
    """What may be lost of the metrics `names`; `otherwise` is what may where nothing is said."""
    made.add_argument(
        "--allow-loss",
        action="append",
        type=partial(_allowed, names),
        metavar="METRIC=SHARE",
        help=f"loss that is accepted, such as rank1=0.01; repeatable (default: {otherwise})",
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


def add_at_hand_options(made: argparse.ArgumentParser) -> None:
    """What may be lost of the metric that decides, and how models at hand are evaluated."""
    add_loss_option(made, "0.01 in the metric that decides", RANK_NAMES)
    add_keeping_option(made)
    add_sampling_options(made)
    add_model_options(made)
    add_json_option(made)
