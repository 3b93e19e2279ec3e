"""What the options of a command name, looked at: checkpoints and saved embeddings on one subset."""

import contextlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.analysis.scan import CorpusScan
from embviz_callback.analysis.ship.sheet import Shipped
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.launched import joined, own_device
from embviz_callback.commands.request import Request
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.provenance import versions
from embviz_callback.delivery.results.plain_vectors import embeddings_in_order, load_rows
from embviz_callback.delivery.results.result_files import read_embeddings
from embviz_callback.delivery.results.trec import DEPTH
from embviz_callback.embeddings import Embeddings
from embviz_callback.encoding.checkpoints.hub import explain_missing, is_hub_name
from embviz_callback.evaluator import Encoded, Evaluator, Listener, Moment
from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import beginning
from embviz_callback.snapshot import Provenance, Snapshot

if TYPE_CHECKING:
    from embviz_callback.encoding.checkpoints.loading import LoadedModel
    from embviz_callback.encoding.encode import Block
    from embviz_callback.encoding.subject import Subject

    _Served = tuple[Subject, LoadedModel]  # the model, and what it was read as

_Saved = tuple[Subset, Embeddings, CorpusScan | None]  # what an embeddings.npz holds

_LARGE = 2**26  # bytes of a corpus that are read in some seconds
_PACKAGES = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "numba", "matplotlib")


@dataclass(frozen=True, eq=False)
class Look:
    """One of the checkpoints, looked at.

    Attributes:
        snapshot: Without maps.
        subject: The model; None for saved embeddings. Its memory is free when nobody holds this any more.
        kept: All of the corpus with its vectors, where they were to be kept; None without.
    """

    snapshot: Snapshot
    subject: "Subject | None" = None
    kept: "Block | None" = None

    @property
    def is_whole(self) -> bool:
        """Whether all vectors are at hand; a saved evaluation keeps none of its corpus."""
        return self.kept is not None or not self.snapshot.subset.n_corpus

    @property
    def shipped(self) -> Shipped:
        """With the vectors that are at hand."""
        corpus = None if self.kept is None else self.kept.vectors
        return Shipped(self.snapshot.label, self.snapshot.embeddings, corpus)


def look_at(request: Request, terminal: Terminal) -> Iterator[Look]:
    """Every checkpoint on the same subset, one after the other.

    Args:
        request: What is wanted; its paths are checked at once, the rest before anything slow begins.
        terminal: Hears what is going on.

    Returns:
        Gives one look per checkpoint, in the order given; a UsageError says if a path, the data, the device or a
        checkpoint cannot be used.
    """
    looks = look_at_each([request], terminal)
    return (look for (look,) in looks)


def look_at_each(requests: Sequence[Request], terminal: Terminal) -> Iterator[tuple[Look, ...]]:
    """Every checkpoint on each of several sets, loaded once for all of them.

    Args:
        requests: One for each set, alike but for what they are on.
        terminal: Hears what is going on.

    Returns:
        Gives the looks of one checkpoint after the other, one per set.

    Raises:
        UsageError: As for `look_at`.
    """
    checkpoints, vectors = requests[0].checkpoints, requests[0].vectors
    if vectors is not None:
        return iter([(_from_vectors(requests[0], vectors, terminal),)])
    labels = tell_apart(checkpoints)
    for path in checkpoints:
        if not is_hub_name(path) and not Path(path).expanduser().exists():
            raise UsageError(explain_missing(path))
    return _looks(requests, labels, terminal)


def _looks(requests: Sequence[Request], labels: Sequence[str], terminal: Terminal) -> Iterator[tuple[Look, ...]]:
    first = requests[0]
    with as_usage_error(ValueError):
        files = {path: Path(path).expanduser() for path in first.checkpoints if path.endswith(".npz")}
        saved = {path: read_embeddings(file) for path, file in files.items()}
    evaluators = [_evaluator(one, saved, terminal) for one in requests]
    device = device_named(first.device) if len(saved) < len(labels) else "none"
    device = own_device(device) if first.is_shared else device
    facts = {"device": device, "precision": "float32", "versions": _versions()}
    for path, label in zip(first.checkpoints, labels, strict=True):
        if path in saved:
            yield tuple(_recalled(path, label, saved[path], evaluator, facts) for evaluator in evaluators)
        else:
            served = _served(path, label, first, facts, terminal)
            yield tuple(_measured(served, label, one, first, facts, terminal) for one in evaluators)


def _recalled(path: str, label: str, saved: _Saved, evaluator: Evaluator, facts: Mapping[str, Any]) -> Look:
    subset, embeddings, corpus_scan = saved
    wanted = evaluator.settings.similarity
    if corpus_scan is not None and wanted not in (None, corpus_scan.similarity.measure):
        raise UsageError(
            f"--similarity {wanted}: {path} was ranked among a corpus, whose vectors it does not keep. Fix: "
            "evaluate the checkpoint itself"
        )
    provenance = Provenance({"embeddings": path, **evaluator.source, **facts})
    own = Evaluator(subset, evaluator.settings)
    return Look(own.measure(Encoded(embeddings, corpus_scan), Moment(name=label), provenance))


def _from_vectors(request: Request, paths: Sequence[str], terminal: Terminal) -> Look:
    """Vectors that somebody else has made of the data's records, one of the query and one of the document each."""
    if request.data is None:
        raise UsageError("--vectors: needs the records that they are of. Fix: add --data PATH")
    if request.corpus is not None:
        raise UsageError("--corpus: its documents have no vectors among --vectors. Fix: leave it out")
    with as_usage_error(ValueError):
        queries, documents = (load_rows(Path(path).expanduser()) for path in paths)
    pairs = read_pairs(request.data, replace(request.reading, skip_bad=False))
    if any(record.hard_negatives for record in pairs.records):
        terminal.say(f"{request.data}: hard negatives have no vectors and are left out")
        records = tuple(replace(record, hard_negatives=()) for record in pairs.records)
        pairs = replace(pairs, records=records)
    evaluator = Evaluator.on(pairs, request.settings)
    for note in evaluator.notes:
        terminal.say(note)
    with as_usage_error(ValueError):
        embeddings = embeddings_in_order(evaluator.subset, pairs.records, queries, documents)
    provenance = Provenance({"vectors": list(paths), **evaluator.source, "versions": _versions()})
    return Look(evaluator.measure(Encoded(embeddings), Moment(name="vectors"), provenance))


def tell_apart(paths: Sequence[str], option: str = "--checkpoint") -> list[str]:
    """The shortest ends of paths that differ from one another.

    Args:
        paths: Of checkpoints or runs.
        option: That gave them, for the message.

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
        raise UsageError(f"{option}: {twice} is given twice")
    for length in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(part[-length:]) for part in parts]
        if len(set(ends)) == len(ends):
            break
    return ends


def _evaluator(request: Request, saved: Mapping[str, _Saved], terminal: Terminal) -> Evaluator:
    """On the one subset that every checkpoint is judged by, and what it is ranked among."""
    if request.data is None:
        if len(saved) < len(request.checkpoints):
            raise UsageError("required: --data")
        if request.corpus is not None:
            raise UsageError("--corpus has no use without --data: an embeddings.npz keeps what it was ranked among")
        evaluator = Evaluator(next(iter(saved.values()))[0], request.settings)
    else:
        # DataErrors say where and how by themselves, and end a command with 2.
        pairs = read_pairs(request.data, request.reading)
        if _is_large(request.corpus):
            terminal.say(f"{request.corpus}: reading its texts a first time")
        evaluator = Evaluator.on(
            pairs, request.settings, corpus=request.corpus, max_corpus=request.max_corpus, reading=request.reading
        )
        for note in evaluator.notes:
            terminal.say(note)
    other = f"{next(iter(saved), '')} on" if request.data is None else "--data gives"
    instead = "evaluate each by itself" if request.data is None else "leave --data out"
    for path, (subset, *_) in saved.items():
        if subset.fingerprint != evaluator.subset.fingerprint:
            raise UsageError(
                f"{path} was made on subset {subset.fingerprint}, {other} {evaluator.subset.fingerprint}: give the "
                f"same --data, --max-samples, --seed and --corpus, or {instead}"
            )
    return replace(evaluator, depth=DEPTH if request.trec else 0, keeps_vectors=request.keeps_vectors)


def _served(path: str, label: str, request: Request, facts: Mapping[str, Any], terminal: Terminal) -> "_Served":
    from embviz_callback.encoding.checkpoints.loading import CheckpointError
    from embviz_callback.encoding.checkpoints.served import serve_checkpoint
    from embviz_callback.encoding.serving import Serving

    terminal.say(f"{label}: loading")
    with as_usage_error(CheckpointError):
        own = {"device": str(facts["device"]), "similarity": request.settings.similarity}
        return serve_checkpoint(path, Serving(**{**request.serving, **own}), facts)


def _is_large(corpus: Any) -> bool:
    """Whether somebody who waits for a corpus to be read should be told."""
    return isinstance(corpus, str) and Path(corpus).is_file() and Path(corpus).stat().st_size >= _LARGE


def _measured(
    served: "_Served", label: str, evaluator: Evaluator, request: Request, facts: Mapping[str, Any], terminal: Terminal
) -> Look:
    device = str(facts["device"])
    subset = evaluator.subset
    subject = _with_reach(served, subset)
    for note in subject.notes:
        terminal.say(f"{label}: {note}")
    n_texts = len({*subset.queries, *subset.documents, *subset.hard_negatives}) + subset.n_corpus
    terminal.say(f"{label}: encoding {counted(n_texts, 'text')} on {device}")
    queries, documents = subject.queries.prompt, subject.documents.prompt
    settings = replace(evaluator.settings, query_prompt=queries, document_prompt=documents)
    evaluator = replace(evaluator, settings=settings)
    progress = partial(terminal.bar, unit=" texts")
    listener = Listener(lambda stage, message: terminal.say(f"{label}: {message}"), progress, terminal.known)
    subject = replace(subject, ranks=joined(device) if request.is_shared else None)
    with evaluator.exchange(subject) as exchange:
        encoded = evaluator.encode(subject, exchange, listener)
    moment, provenance = Moment(served[1].origin.epoch, name=label), evaluator.provenance(subject)
    snapshot = evaluator.measure(encoded, moment, provenance)
    return Look(snapshot, subject, encoded.kept)


def _with_reach(served: "_Served", subset: Subset) -> "Subject":
    """The subject, which says how many of these texts are longer than what it reads, or bring its prompt already."""
    from embviz_callback.encoding.subject import notes_on_prompts

    subject, loaded = served
    share = loaded.truncated_share(subset.queries, (*subset.documents, *subset.hard_negatives))
    cut = f"{100 * share:.1f} % of the texts are longer than what is read of them; --max-length reads more"
    more = (*([cut] if share else []), *notes_on_prompts(subject, subset.queries, subset.documents))
    if not more:
        return subject
    notes = (*subject.notes, *more)
    facts = {"notes": list(notes), **({"truncated_share": share} if share else {})}
    return replace(subject, notes=notes, origin={**subject.origin, **facts})


def _versions() -> dict[str, str]:
    found = versions(*_PACKAGES)
    return {"embviz_callback": found.pop("embviz_callback"), "python": platform.python_version(), **found}


def _prepare_output(folder: Path) -> list[Path]:
    """Makes the output folder and makes sure that it can be written to; returns what was made."""
    probe = folder / f".probe.{os.getpid()}"
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"--output {folder} is a file; give a directory")
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        shown, reason = beginning(str(folder), 100), error.strerror or error
        raise UsageError(f"--output {shown} cannot be written to ({reason}); give another directory") from None
    return made


@contextlib.contextmanager
def prepared_outputs(folders: Sequence[Path]) -> Iterator[None]:
    """Output folders that can be written to, made before hours of work; a UsageError says that one cannot.

    Args:
        folders: Need not exist. After an error or Ctrl-C those that were made and are still empty are taken away.
    """
    made: list[Path] = []
    try:
        for folder in folders:
            made += _prepare_output(folder)
        yield
    except BaseException:
        for one in sorted(made, key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):  # one that holds results stays
                one.rmdir()
        raise


def device_named(name: str) -> str:
    """The device that ``--device`` names, tried out; "auto" is what there is."""
    import torch  # seconds, which a mistyped path must not wait for

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


@contextlib.contextmanager
def as_usage_error(kind: type[Exception], before: str = "") -> Iterator[None]:
    """Errors of a kind that say what the user can do are theirs to read, in one line, with `before` before them."""
    try:
        yield
    except kind as error:
        raise UsageError(f"{before}{error}") from None
