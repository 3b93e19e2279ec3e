"""What the options of a command ask for."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.options import MOST_KEPT
from embviz_callback.encoding.serving import Serving
from embviz_callback.pairs.check.importing import load_function
from embviz_callback.pairs.formats.form import Reading
from embviz_callback.pairs.problems import DataLimits, show
from embviz_callback.pairs.weight_rule import WeightRule, default_rule, read_rule
from embviz_callback.settings import Settings

_SERVING = [option.name for option in fields(Serving) if option.name not in ("device", "similarity", "cache")]


@dataclass(frozen=True)
class Request:
    """What is evaluated.

    Attributes:
        checkpoints: At least one path; an ``embeddings.npz`` is measured again without its model.
        data: Path of the pairs, or whatever else `read_pairs` takes; None only where every checkpoint is an
            ``embeddings.npz``.
        settings: Options of the evaluation.
        serving: Names and values of `Serving` that the user gave.
        device: As torch calls it; "auto" for CUDA where there is one, else the CPU.
        reading: How data and corpus are read.
        corpus: As `Evaluator.on` takes it; None for none.
        max_corpus: Most texts of it that are ranked, drawn by their hashes; None for all.
        keeps_vectors: Whether its vectors stay at hand; otherwise they are forgotten as soon as they are ranked.
        is_shared: Whether all processes that a launcher has started ask for this, each for its share.
        vectors: Paths of query and document rows in the order of the records, in place of checkpoints; None for none.
        trec: Whether a run and its judgements are left too.
        bm25: As for `words_beside`.
    """

    checkpoints: tuple[str, ...]
    data: Any
    settings: Settings
    serving: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    reading: Reading = field(default_factory=Reading)
    corpus: Any = None
    max_corpus: int | None = None
    keeps_vectors: bool = False
    is_shared: bool = False
    vectors: tuple[str, ...] | None = None
    trec: bool = False
    bm25: str | None = None


def settings_from(options: argparse.Namespace) -> Settings:
    """The settings that the options give; what no option gives has its default."""
    return Settings(**{
        option.name: getattr(options, option.name)
        for option in fields(Settings)
        if option.name not in _SERVING and getattr(options, option.name, None) is not None
    })


def refuse_several_sets(options: argparse.Namespace) -> None:
    """For what looks at one set.

    Raises:
        UsageError: If there are several.
    """
    if isinstance(options.data, Mapping):
        raise UsageError("--data: expected one path, found several sets. Fix: embviz and embviz compare take them")


def request_from(options: argparse.Namespace, rule: WeightRule | None = None) -> Request:
    """What the options ask to look at.

    Args:
        options: Of all groups but the run's.
        rule: Weighs hard negatives; None for the default.

    Returns:
        The request.
    """
    refuse_several_sets(options)
    sample, most_kept = getattr(options, "corpus_sample", None), _most_kept(options)
    serving = {name: getattr(options, name) for name in _SERVING} | {"cache": not options.no_cache}
    return Request(
        checkpoints=tuple(options.checkpoint or ()),
        vectors=None if getattr(options, "vectors", None) is None else tuple(options.vectors),
        data=options.data,
        settings=settings_from(options),
        serving=serving,
        device=options.device,
        reading=reading_of(options, rule),
        corpus=options.corpus,
        max_corpus=min((most for most in (sample, most_kept) if most is not None), default=None),
        keeps_vectors=most_kept is not None,
        is_shared=True,
        trec=getattr(options, "trec", False),
        bm25=getattr(options, "bm25", None),
    )


def output_of(options: argparse.Namespace) -> Path:
    """The folder that results go to."""
    return Path(options.output).expanduser()


def new_output_of(options: argparse.Namespace) -> Path:
    """The same where nothing may lie yet; a UsageError says that it is a file, or that something is in it."""
    folder = output_of(options)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {options.output} is a file; give a directory")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"--output {options.output} is not empty; give a new directory")
    return folder


def reading_of(options: argparse.Namespace, rule: WeightRule | None = None) -> Reading:
    """What the options of `add_reading_options` say; a `DataError` says if they mean nothing.

    Args:
        options: Of a command.
        rule: Weighs hard negatives that bring no weight; None for the default.

    Returns:
        How data are read.
    """
    pairs = [part.partition("=") for part in options.fields.split(",") if part]
    return Reading(
        format=options.format,
        fields={ours.strip(): theirs.strip() for ours, _, theirs in pairs},
        split=options.split,
        relevant_from=options.relevant_from,
        relevant_label=options.relevant_label,
        skip_bad=getattr(options, "skip_bad_records", False),
        rule=rule,
        limits=limits_named(options.limits),
    )


def extract_of(options: argparse.Namespace) -> Any:
    """The user's function that reads columns from a text, or None."""
    return load_function(options.features) if options.features else None


def rule_of(options: argparse.Namespace) -> WeightRule:
    """The weights to compare effects with."""
    return read_rule(options.weights) if options.weights else default_rule()


def limits_named(given: str) -> DataLimits:
    """What ``--limits records=2000000,columns=300`` says.

    Args:
        given: Empty for the defaults.

    Returns:
        The limits.

    Raises:
        UsageError: If there is no such limit, or its value is no whole number of at least 1.
    """
    known = [one.name for one in fields(DataLimits)]
    found = {}
    for part in filter(None, given.split(",")):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in known or not re.fullmatch("[0-9]{1,15}", value) or not int(value):
            expected = f"--limits: expected NAME=N with a name of {', '.join(known)}, found {show(part)}"
            raise UsageError(f"{expected}. Fix: --limits records=2000000")
        found[name] = int(value)
    return DataLimits(**found)


def _most_kept(options: argparse.Namespace) -> int | None:
    """Texts of a corpus whose vectors stay at hand; None for a command that needs none of them."""
    if not hasattr(options, "most_documents"):
        return None
    if getattr(options, "bm25", "words") is not None:
        return int(options.most_documents or MOST_KEPT)
    if options.most_documents is not None:
        raise UsageError("--most-documents has no use without --bm25; leave it out")
    return None
