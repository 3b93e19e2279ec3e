"""The work behind `embviz --checkpoint ... --data ...`: each checkpoint on the same pairs."""

import contextlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import embviz_callback
from embviz_callback.analysis.scan import CorpusScan, scan_with_corpus
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.results import Outcome, write_results
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.exports import read_embeddings
from embviz_callback.delivery.run.data_check import data_check
from embviz_callback.embeddings import Embeddings, Vectors
from embviz_callback.encoding.checkpoints.hub import is_hub_name
from embviz_callback.encoding.checkpoints.missing import explain_missing
from embviz_callback.files import safe_name
from embviz_callback.pairs.corpus import Corpus, corpus_for, read_corpus
from embviz_callback.pairs.formats.reading import DataError, PairFile, read_pairs
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot

if TYPE_CHECKING:
    from embviz_callback.encoding.checkpoints.loading import LoadedModel

NO_USE_WITHOUT_DATA = "--corpus has no use without --data: an embeddings.npz keeps what it was ranked among"
Saved = tuple[Subset, Embeddings, CorpusScan | None]

_PACKAGES = ("torch", "transformers", "numpy", "scikit-learn", "umap-learn", "matplotlib")


@dataclass(frozen=True)
class Request:
    """What is evaluated, and where the results go.

    Attributes:
        checkpoints: At least one path; an ``embeddings.npz`` is drawn again without its model.
        data: Path of the pairs; None only where every checkpoint is an ``embeddings.npz``.
        output: Folder of the results, with a folder in it for each of several checkpoints.
        settings: Options of the evaluation.
        device: As torch calls it; "auto" for CUDA where there is one, else the CPU.
        encoder: Where the checkpoint does not name one, or another than it names.
        pooling: None for what the checkpoint says.
        max_length: Likewise.
        query_prompt: Likewise; "" for none.
        document_prompt: Likewise.
        skip_bad_records: Leave out records with a problem.
        cache: Keep the encoder's features, and take those that an earlier run kept.
        corpus: Path of further documents that answer no query; None for none.
    """

    checkpoints: tuple[str, ...]
    data: str | None
    output: Path
    settings: Settings
    device: str = "auto"
    encoder: str | None = None
    pooling: str | None = None
    max_length: int | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    skip_bad_records: bool = False
    cache: bool = True
    corpus: str | None = None


def evaluate(request: Request, terminal: Terminal) -> list[Outcome]:
    """Evaluates every checkpoint on the same subset and writes the files of each.

    Args:
        request: What is wanted; checked before anything slow begins.
        terminal: Hears what is going on.

    Returns:
        One outcome per checkpoint, in the order given.

    Raises:
        UsageError: If a path, the data, the device or a checkpoint cannot be used.
    """
    labels = tell_apart(request.checkpoints)
    saved = {path: _saved(path) for path in request.checkpoints if path.endswith(".npz")}
    for path in request.checkpoints:
        if not is_hub_name(path) and not Path(path).expanduser().exists():
            raise UsageError(explain_missing(path))
    pairs, subset, corpus = _pairs(request, saved, terminal)
    prepare_output(request.output)
    device = device_named(request.device) if len(saved) < len(labels) else "none"
    data: dict[str, Any] = {}
    outcomes = []
    for path, label in zip(request.checkpoints, labels, strict=True):
        folder = request.output / safe_name(label) if len(labels) > 1 else request.output
        job = _Job(request, path, label, folder, device, pairs, corpus, terminal)
        snapshot = job.measured(subset) if path not in saved else job.remeasured(*saved[path])
        data = data or data_check(snapshot)
        outcomes.append(write_results(snapshot, job.label, job.folder, terminal, data))
    return outcomes


def tell_apart(paths: Sequence[str]) -> list[str]:
    """The shortest ends of paths that differ from one another.

    Args:
        paths: Of checkpoints.

    Returns:
        One label per path.

    Raises:
        UsageError: If two paths lead to the same place.

    Example:
        >>> tell_apart(["runs/a/best_model.pt", "runs/b/best_model.pt"])
        ['a/best_model.pt', 'b/best_model.pt']
    """
    parts = [Path(path).expanduser().resolve().parts for path in paths]
    if len(set(parts)) < len(parts):
        twice = next(path for place, path in enumerate(paths) if parts[place] in parts[:place])
        raise UsageError(f"--checkpoint: {twice} is given twice")
    for length in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(part[-length:]) for part in parts]
        if len(set(ends)) == len(ends):
            break
    return ends


def _saved(path: str) -> Saved:
    with _as_usage_error(ValueError):
        return read_embeddings(Path(path).expanduser())


def _pairs(
    request: Request, saved: Mapping[str, Saved], terminal: Terminal
) -> tuple[PairFile | None, Subset, Corpus | None]:
    """The pairs, the one subset that every checkpoint is judged by, and what it is ranked among."""
    corpus = None
    if request.data is None:
        if len(saved) < len(request.checkpoints):
            raise UsageError("required: --data")
        if request.corpus is not None:
            raise UsageError(NO_USE_WITHOUT_DATA)
        pairs, subset = None, next(iter(saved.values()))[0]
    else:
        with _as_usage_error(DataError):
            pairs = read_pairs(request.data, skip_bad=request.skip_bad_records)
        subset = choose_subset(pairs.records, max_samples=request.settings.max_samples, seed=request.settings.seed)
        for note in pairs.notes:
            terminal.say(f"{request.data}: {note}")
        if request.corpus is not None:
            corpus = read_distractors(request.corpus, subset, terminal, skip_bad=request.skip_bad_records)
            subset = corpus.beside(subset)
    for path, (other, *_) in saved.items():
        if other.fingerprint != subset.fingerprint:
            raise UsageError(
                f"{path} was made on subset {other.fingerprint}, the others on {subset.fingerprint}: "
                "their figures cannot be compared; evaluate each by itself"
            )
    return pairs, subset, corpus


def read_distractors(path: str, subset: Subset, terminal: Terminal, *, skip_bad: bool = False) -> Corpus:
    """The corpus of a file, as far as it answers no query of a subset.

    Args:
        path: Of the file.
        subset: What is evaluated.
        terminal: Hears what became of the texts.
        skip_bad: Leave items with a problem out.

    Returns:
        The corpus; a `UsageError` says what is wrong with the file.
    """
    with _as_usage_error(DataError):
        source = read_corpus(path, skip_bad=skip_bad)
        corpus = corpus_for(subset, source)
    for note in source.notes:
        terminal.say(f"{path}: {note}")
    terminal.say(corpus.sentence)
    return corpus


def prepare_output(folder: Path) -> None:
    """Makes the output folder and makes sure that it can be written to, before hours of work.

    Args:
        folder: Need not exist.

    Raises:
        UsageError: If it is a file or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder} is a file; give a directory")
    probe = folder / f".probe.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"--output {folder} cannot be written to ({error.strerror or error}); give another directory"
        ) from None


def device_named(name: str) -> str:
    """The device that ``--device`` names, tried out; "auto" is what there is."""
    import torch  # seconds, which --help and a mistyped option must not wait for

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise UsageError("--device meta has no memory; leave --device out")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        if torch.cuda.is_available() or not name.startswith("cuda"):
            reason = " ".join(str(error).split())[:100]
        else:
            reason = f"torch {torch.__version__} finds no CUDA device"
        raise UsageError(
            f"--device {name} cannot be used here ({reason}); leave --device out to take what there is"
        ) from None
    return str(device)


@dataclass(frozen=True, eq=False)
class _Job:
    """One checkpoint on its way."""

    request: Request
    path: str
    label: str
    folder: Path
    device: str
    pairs: PairFile | None
    corpus: Corpus | None
    terminal: Terminal

    def measured(self, subset: Subset) -> Snapshot:
        """Loads, encodes, measures; the model's memory is free again when it returns."""
        self.terminal.say(f"{self.label}: loading")
        loaded = self._loaded()
        for note in loaded.notes:
            self.terminal.say(f"{self.label}: {note}")
        settings = self._settings(loaded.config)
        n_texts = len({*subset.queries, *subset.documents, *subset.hard_negatives})
        self.terminal.say(f"{self.label}: encoding {n_texts + subset.n_corpus:,} texts on {self.device}")
        embeddings, corpus_scan = self._encoded(loaded, subset, settings)
        return take_snapshot(
            label=self.label,
            subset=subset,
            embeddings=embeddings,
            corpus_scan=corpus_scan,
            settings=settings,
            epoch=loaded.epoch,
            provenance=_model_facts(self.path, loaded) | self._circumstances(),
        )

    def remeasured(self, subset: Subset, embeddings: Embeddings, corpus_scan: CorpusScan | None) -> Snapshot:
        """From saved embeddings."""
        return take_snapshot(
            label=self.label,
            subset=subset,
            embeddings=embeddings,
            corpus_scan=corpus_scan,
            settings=self.request.settings,
            provenance={"embeddings": self.path} | self._circumstances(),
        )

    def _loaded(self) -> "LoadedModel":
        from embviz_callback.encoding.checkpoints.loading import CheckpointError, load_checkpoint

        request = self.request
        with _as_usage_error(CheckpointError):
            return load_checkpoint(
                self.path,
                encoder=request.encoder,
                device=self.device,
                pooling=request.pooling,
                max_length=request.max_length,
            )

    def _settings(self, config: Mapping[str, Any]) -> Settings:
        """The user's prompts before the checkpoint's."""
        request = self.request
        return replace(
            request.settings,
            query_prompt=_prompt(request.query_prompt, config.get("query_prompt")),
            document_prompt=_prompt(request.document_prompt, config.get("document_prompt")),
        )

    def _encoded(
        self, loaded: "LoadedModel", subset: Subset, settings: Settings
    ) -> tuple[Embeddings, CorpusScan | None]:
        from embviz_callback.encoding.encode import encode_corpus, encode_subset

        def on_halved(size: int) -> None:
            self.terminal.say(f"{self.label}: memory ran out; going on with batches of {size}")

        bar = self.terminal.bar("encoding")
        with features_kept(loaded, wanted=self.request.cache) as encode:
            embeddings = encode_subset(encode, subset, settings, progress=bar, on_halved=on_halved)
            if self.corpus is None:
                return embeddings, None
            bar = self.terminal.bar("encoding the corpus")
            vectors = encode_corpus(encode, self.corpus, settings, progress=bar, on_halved=on_halved)
        return embeddings, self._scan(loaded, self.corpus, embeddings, vectors)

    def _scan(self, loaded: "LoadedModel", corpus: Corpus, embeddings: Embeddings, vectors: Vectors) -> CorpusScan:
        from embviz_callback.encoding.product import device_for, with_product

        return with_product(
            lambda product: scan_with_corpus(embeddings, corpus, vectors, product=product),
            device_for(loaded.model, len(embeddings.documents) + len(vectors)),
            on_fallback=lambda: self.terminal.say(f"{self.label}: memory ran out; the corpus is ranked on the CPU"),
        )

    def _circumstances(self) -> dict[str, Any]:
        data = {} if self.pairs is None else {"data": self.pairs.path, "data_sha256": self.pairs.sha256}
        skipped = {} if self.pairs is None else {"skipped_records": self.pairs.skipped}
        versions = {"embviz_callback": embviz_callback.__version__, "python": platform.python_version()}
        for package in _PACKAGES:
            with contextlib.suppress(ModuleNotFoundError):
                versions[package] = version(package)
        return data | skipped | {"device": self.device, "precision": "float32", "versions": versions}


@contextlib.contextmanager
def features_kept(loaded: "LoadedModel", *, wanted: bool) -> Iterator[Any]:
    """The model's encode, with the features of its encoder looked up and kept where that pays.

    Args:
        loaded: From a checkpoint.
        wanted: False for the model's own encode.

    Yields:
        A function from ``n`` texts to their embeddings.
    """
    from embviz_callback.encoding.cache.cached_features import CachedFeatures
    from embviz_callback.encoding.cache.feature_store import default_cache_folder
    from embviz_callback.encoding.models.biencoder import SELF_POOLING

    model = loaded.model
    if not wanted or isinstance(model.encoder, SELF_POOLING):
        yield model.encode
        return
    cached = CachedFeatures(model, default_cache_folder())
    try:
        yield lambda texts: model.project(cached(texts))
    finally:
        cached.flush()


def _prompt(given: str | None, noted: object) -> str:
    if given is not None:
        return given
    return noted if isinstance(noted, str) else ""


def _model_facts(path: str, loaded: "LoadedModel") -> dict[str, Any]:
    head = loaded.model.head
    facts = {
        "checkpoint": path,
        "checkpoint_kind": loaded.kind,
        "checkpoint_sha256": loaded.sha256,
        "checkpoint_bytes": loaded.size_bytes,
        "checkpoint_loss": loaded.loss,
        "encoder": loaded.encoder,
        "head_input": None if head is None else head.linear.in_features,
        "pooling": loaded.model.pooling,
        "max_length": loaded.model.max_length,
        "stripped_prefix": loaded.stripped_prefix,
        "notes": list(loaded.notes),
    }
    return {name: value for name, value in facts.items() if value not in (None, "", [])}


@contextlib.contextmanager
def _as_usage_error(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except kind as error:
        raise UsageError(str(error)) from None
