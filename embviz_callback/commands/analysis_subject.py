"""What `embviz analyse` looks at: checkpoints, saved embeddings or the kept evaluations of a run."""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.terminal import Terminal
from embviz_callback.pairs.check.raw import RawPairs
from embviz_callback.pairs.importing import load_function
from embviz_callback.pairs.weights import WeightRule, default_rule, read_rule
from embviz_callback.settings import Settings

if TYPE_CHECKING:
    from embviz_callback.analysis.scan import CorpusScan, Product
    from embviz_callback.embeddings import Embeddings, Vectors
    from embviz_callback.pairs.check.checkup import Demands
    from embviz_callback.pairs.check.findings import Checkup
    from embviz_callback.pairs.corpus import Corpus
    from embviz_callback.pairs.subset import Subset
    from embviz_callback.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class AnalysisSubject:
    """Evaluations of one model, and what is known beside them.

    Attributes:
        history: Oldest first, at least one; the last is analysed.
        checkup: What is wrong with the data; None where only saved embeddings are at hand.
        encode: The last one's model, for more documents; None where only embeddings were saved.
        run: Folder of the run they come from, if they do.
    """

    history: "tuple[Snapshot, ...]"
    checkup: "Checkup | None" = None
    encode: Callable[[list[str]], ArrayLike] | None = None
    run: Path | None = None

    @property
    def last(self) -> "Snapshot":
        """The evaluation that is analysed."""
        return self.history[-1]


def subject_from(options: argparse.Namespace, terminal: Terminal) -> AnalysisSubject:
    """What the options name.

    Args:
        options: Of `embviz analyse`.
        terminal: Hears what is going on.

    Returns:
        The evaluations.

    Raises:
        UsageError: If an option is missing, has no use here, or what it names cannot be used.
    """
    if (options.run is None) == (not options.checkpoint):
        raise UsageError("give either --checkpoint or --run")
    if options.run is None and options.epoch is not None:
        raise UsageError("--epoch picks an evaluation of a run; give its folder with --run")
    if options.run is not None and options.data is not None:
        raise UsageError("--data has no use with --run, whose evaluations hold their pairs; leave it out")
    if options.run is not None and options.corpus is not None:
        raise UsageError(
            "--corpus has no use with --run, whose evaluations hold what they were ranked among; leave it out"
        )
    return _from_run(options) if options.run is not None else _from_checkpoints(options, terminal)


def extract_of(options: argparse.Namespace) -> Any:
    """The user's function that reads columns from a text, or None."""
    return load_function(options.features) if options.features else None


def rule_of(options: argparse.Namespace) -> WeightRule:
    """The weights to compare effects with."""
    return read_rule(options.weights) if options.weights else default_rule()


def _demands(options: argparse.Namespace) -> "Demands":
    from embviz_callback.pairs.check.checkup import Demands

    return Demands(extract=extract_of(options), compare=(options.place, "price"), rule=rule_of(options))


def _checkup(options: argparse.Namespace, own: RawPairs) -> "Checkup":
    from embviz_callback.pairs.check.checkup import check
    from embviz_callback.pairs.check.raw import read_raw

    demands = _demands(options)
    return check(read_raw(options.train), own, demands) if options.train else check(own, None, demands)


def _from_run(options: argparse.Namespace) -> AnalysisSubject:
    from embviz_callback.commands.comparison import kept_snapshots, run_folder
    from embviz_callback.delivery.run.data_check import without_unkept

    folder = run_folder(Path(options.run).expanduser())
    kept = kept_snapshots(folder)
    epochs = [one.epoch for one in kept]
    if options.epoch is None:
        upto = len(kept)
    elif options.epoch in epochs:
        upto = len(kept) - epochs[::-1].index(options.epoch)
    else:
        there = ", ".join(str(epoch) for epoch in dict.fromkeys(epochs) if epoch is not None)
        raise UsageError(f"--epoch: {folder} keeps no snapshot of epoch {options.epoch}; there are: {there}")
    history = tuple(kept[:upto])
    pairs = RawPairs("the evaluated pairs", tuple(history[-1].subset.as_file()))
    return AnalysisSubject(history, without_unkept(_checkup(options, pairs)), run=folder)


def _from_checkpoints(options: argparse.Namespace, terminal: Terminal) -> AnalysisSubject:
    checkup, subset = _data(options)
    corpus = _corpus(options, subset, terminal)
    subset = subset if corpus is None or subset is None else corpus.beside(subset)
    history, encode = [], None
    for path in options.checkpoint:
        if path.endswith(".npz"):
            history.append(_saved(path, subset, options))
            encode = None
        else:
            assert subset is not None  # _data asks for --data unless all are saved embeddings
            made, encode = _encoded(path, subset, corpus, options, terminal)
            history.append(made)
    return AnalysisSubject(tuple(history), checkup, encode)


def _data(options: argparse.Namespace) -> "tuple[Checkup | None, Subset | None]":
    """What is wrong with the data, and the subset; neither where only saved embeddings are given."""
    from embviz_callback.pairs.check.raw import read_raw
    from embviz_callback.pairs.formats.reading import read_pairs
    from embviz_callback.pairs.subset import choose_subset

    if options.data is None:
        if not all(path.endswith(".npz") for path in options.checkpoint):
            raise UsageError("required: --data")
        return None, None
    checkup = _checkup(options, read_raw(options.data))
    records = read_pairs(options.data, rule=rule_of(options), skip_bad=options.skip_bad_records).records
    return checkup, choose_subset(records, max_samples=options.max_samples, seed=options.seed)


def _corpus(options: argparse.Namespace, subset: "Subset | None", terminal: Terminal) -> "Corpus | None":
    from embviz_callback.commands.evaluation import NO_USE_WITHOUT_DATA, read_distractors

    if options.corpus is None:
        return None
    if subset is None:
        raise UsageError(NO_USE_WITHOUT_DATA)
    return read_distractors(options.corpus, subset, terminal, skip_bad=options.skip_bad_records)


def _label(path: str) -> str:
    return Path(path).expanduser().resolve().name


def _saved(path: str, subset: "Subset | None", options: argparse.Namespace) -> "Snapshot":
    from embviz_callback.delivery.exports import read_embeddings
    from embviz_callback.snapshot import take_snapshot

    with _as_usage_error(ValueError):
        saved, embeddings, corpus_scan = read_embeddings(Path(path).expanduser())
    if subset is not None and saved.fingerprint != subset.fingerprint:
        raise UsageError(
            f"{path} was made on subset {saved.fingerprint}, --data gives {subset.fingerprint}: "
            "give the same --data, --max-samples, --seed and --corpus, or leave --data out"
        )
    return take_snapshot(
        label=_label(path),
        subset=saved,
        embeddings=embeddings,
        settings=_settings(options),
        corpus_scan=corpus_scan,
    )


def _scanned(embeddings: "Embeddings", corpus: "Corpus", vectors: "Vectors", product: "Product | None") -> "CorpusScan":
    from embviz_callback.analysis.scan import scan_with_corpus

    return scan_with_corpus(embeddings, corpus, vectors, product=product)


def _encoded(
    path: str, subset: "Subset", corpus: "Corpus | None", options: argparse.Namespace, terminal: Terminal
) -> "tuple[Snapshot, Callable[[list[str]], ArrayLike]]":
    from embviz_callback.commands.evaluation import device_named, features_kept
    from embviz_callback.encoding.checkpoints.loading import CheckpointError, load_checkpoint
    from embviz_callback.encoding.encode import encode_corpus, encode_subset, encode_texts
    from embviz_callback.encoding.product import device_for, with_product
    from embviz_callback.snapshot import take_snapshot

    label = _label(path)
    device = device_named(options.device)
    terminal.say(f"{label}: loading")
    with _as_usage_error(CheckpointError):
        loaded = load_checkpoint(
            path, encoder=options.encoder, device=device, pooling=options.pooling, max_length=options.max_length
        )
    settings = replace(
        _settings(options),
        query_prompt=_prompt(options.query_prompt, loaded.config.get("query_prompt")),
        document_prompt=_prompt(options.document_prompt, loaded.config.get("document_prompt")),
    )
    terminal.say(f"{label}: encoding on {device}")
    with features_kept(loaded, wanted=not options.no_cache) as encode_kept:
        embeddings = encode_subset(encode_kept, subset, settings, progress=terminal.bar("encoding"))
        corpus_scan = None
        if corpus is not None:
            vectors = encode_corpus(encode_kept, corpus, settings, progress=terminal.bar("encoding the corpus"))
            corpus_scan = with_product(
                partial(_scanned, embeddings, corpus, vectors),
                device_for(loaded.model, len(embeddings.documents) + len(vectors)),
                on_fallback=partial(terminal.say, f"{label}: memory ran out; the corpus is ranked on the CPU"),
            )

    def encode(texts: list[str]) -> ArrayLike:
        prompted = [settings.document_prompt + text for text in texts]
        return encode_texts(loaded.model.encode, prompted, batch_size=settings.batch_size)

    snapshot = take_snapshot(
        label=label,
        subset=subset,
        embeddings=embeddings,
        settings=settings,
        epoch=loaded.epoch,
        provenance={"checkpoint": path, "checkpoint_sha256": loaded.sha256, "device": device},
        corpus_scan=corpus_scan,
    )
    return snapshot, encode


def _prompt(given: str | None, noted: object) -> str:
    if given is not None:
        return given
    return noted if isinstance(noted, str) else ""


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        max_samples=options.max_samples,
        seed=options.seed,
        batch_size=options.batch_size,
        skip_tsne=options.skip_tsne,
        skip_umap=options.skip_umap,
    )


@contextlib.contextmanager
def _as_usage_error(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise UsageError(str(error)) from None
