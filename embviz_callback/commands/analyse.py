"""`embviz analyse`: why an evaluated model fails, from its data, its groups, its errors and its features."""

import argparse
import contextlib
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from embviz_callback.commands import evaluate
from embviz_callback.commands.arguments import Parser, UsageError
from embviz_callback.commands.ending import ended
from embviz_callback.commands.loading import load_function
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.files import write_atomically
from embviz_callback.pairs.weights import WeightRule, default_rule, read_rule
from embviz_callback.settings import Settings

if TYPE_CHECKING:
    from embviz_callback.analysis.answers import Answers, Questions
    from embviz_callback.analysis.projections import Projection, Skipped
    from embviz_callback.pairs.findings import Checkup
    from embviz_callback.pairs.subset import Subset
    from embviz_callback.snapshot import Snapshot

_MOST_EDITS = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: Without the command's name; by default the process's own.

    Returns:
        0 when done, 2 for bad arguments or input, 1 if a figure could not be drawn.
    """
    terminal = Terminal()
    given = list(sys.argv[1:] if arguments is None else arguments)
    return ended("embviz analyse", lambda: _run(parser().read(given), terminal), terminal)


def parser() -> Parser:
    """The runner's options and those of the analysis."""
    made = evaluate.parser()
    made.prog = "embviz analyse"
    made.description = "Says why a model fails. Several checkpoints are one run, oldest first: the last is analysed."
    made.add_argument("--group-by", action="append", metavar="COLUMN", help="repeatable (default: all groups)")
    made.add_argument("--features", metavar="MODULE:FUNCTION", help="reads columns from a text")
    made.add_argument("--weights", metavar="PATH", help="the weight rule, as configs/weight-config.json")
    made.add_argument("--edits", metavar="MODULE:FUNCTION", help="a listing to (edited listing, feature) pairs")
    made.add_argument("--neighbours", action="append", metavar="A,B,C", help="places that lie together; repeatable")
    made.add_argument("--place", default="district", metavar="COLUMN", help="column of places (default %(default)s)")
    made.add_argument("--train", metavar="PATH", help="the training pairs, to look for leaks into --data")
    made.add_argument("--tensorboard", metavar="DIR", help="write the figures into an event file there, too")
    return made


@dataclass(frozen=True, eq=False)
class _Loaded:
    """An evaluation, and how to encode more documents with the same model.

    Attributes:
        snapshot: Without maps.
        encode: None where only embeddings were saved.
    """

    snapshot: "Snapshot"
    encode: Callable[[list[str]], ArrayLike] | None = None


def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    from embviz_callback.analysis.answers import analyse
    from embviz_callback.commands.evaluation import prepare_output

    os.environ["MPLBACKEND"] = "Agg"  # a notebook's backend would break the import of matplotlib here
    output = Path(options.output).expanduser()
    prepare_output(output)
    _check_tensorboard(options.tensorboard)
    # Whatever a library prints must not come between a pipeline and its JSON.
    with contextlib.redirect_stdout(sys.stderr), _quiet():
        checkup, subset = _data(options)
        loaded = [_load(path, subset, options, terminal) for path in options.checkpoint]
        with _as_usage_error(ValueError):
            answers = analyse([one.snapshot for one in loaded], _questions(options, loaded[-1]))
        snapshot = loaded[-1].snapshot.with_maps(_maps(loaded[-1].snapshot, terminal))
        made, faults = _write(output, snapshot, answers, checkup, terminal)
        if options.tensorboard:
            _show_in_tensorboard(Path(options.tensorboard).expanduser(), output, made, snapshot)
    _say(options, output, snapshot, answers)
    return _status(options, snapshot, faults, terminal)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        if not os.environ.get("EMBVIZ_DEBUG"):
            warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _as_usage_error(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise UsageError(str(error)) from None


def _data(options: argparse.Namespace) -> "tuple[Checkup | None, Subset | None]":
    """What is wrong with the data, and the subset; neither where only saved embeddings are given."""
    from embviz_callback.pairs.checkup import Demands, check
    from embviz_callback.pairs.raw import read_source
    from embviz_callback.pairs.reading import read_pairs
    from embviz_callback.pairs.subset import choose_subset

    if options.data is None:
        if not all(path.endswith(".npz") for path in options.checkpoint):
            raise UsageError("required: --data")
        return None, None
    own = read_source(options.data)
    demands = Demands(extract=_extract(options), compare=(options.place, "price"), rule=_rule(options))
    checkup = check(read_source(options.train), own, demands) if options.train else check(own, None, demands)
    records = read_pairs(options.data, rule=demands.rule, skip_bad=options.skip_bad_records).records
    return checkup, choose_subset(records, max_samples=options.max_samples, seed=options.seed)


def _extract(options: argparse.Namespace) -> Any:
    return load_function(options.features) if options.features else None


def _rule(options: argparse.Namespace) -> WeightRule:
    return read_rule(options.weights) if options.weights else default_rule()


def _load(path: str, subset: "Subset | None", options: argparse.Namespace, terminal: Terminal) -> _Loaded:
    from embviz_callback.snapshot import take_snapshot

    label = Path(path).expanduser().resolve().name
    if path.endswith(".npz"):
        from embviz_callback.delivery.exports import read_embeddings

        with _as_usage_error(ValueError):
            saved, embeddings = read_embeddings(Path(path).expanduser())
        if subset is not None and saved.fingerprint != subset.fingerprint:
            raise UsageError(
                f"{path} was made on subset {saved.fingerprint}, --data gives {subset.fingerprint}: "
                "give the same --data, --max-samples and --seed, or leave --data out"
            )
        made = take_snapshot(label=label, subset=saved, embeddings=embeddings, settings=_settings(options))
        return _Loaded(made)
    assert subset is not None  # _data asks for --data unless all are saved embeddings
    return _encode(path, label, subset, options, terminal)


def _encode(path: str, label: str, subset: "Subset", options: argparse.Namespace, terminal: Terminal) -> _Loaded:
    import torch  # seconds, which a mistyped option must not wait for

    from embviz_callback.encoding.checkpoints import CheckpointError, load_checkpoint
    from embviz_callback.encoding.encode import encode_subset, encode_texts
    from embviz_callback.snapshot import take_snapshot

    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
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
    embeddings = encode_subset(loaded.model.encode, subset, settings, progress=terminal.bar("encoding"))

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
    )
    return _Loaded(snapshot, encode)


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


def _questions(options: argparse.Namespace, last: _Loaded) -> "Questions":
    from embviz_callback.analysis.answers import Questions

    if options.edits and last.encode is None:
        raise UsageError("--edits needs a model to encode with; give a checkpoint instead of saved embeddings")
    edits: list[tuple[str, str, str]] = []
    if options.edits:
        change = load_function(options.edits)
        documents = last.snapshot.subset.documents
        edits = [(text, edited, feature) for text in documents for edited, feature in change(text)][:_MOST_EDITS]
    return Questions(
        extract=_extract(options),
        group_by=options.group_by,
        rule=_rule(options),
        edits=edits,
        encode=last.encode,
        neighbours=[[name.strip() for name in one.split(",")] for one in options.neighbours or ()],
        place=options.place,
        seed=options.seed,
    )


def _maps(snapshot: "Snapshot", terminal: Terminal) -> "dict[str, Projection | Skipped]":
    """One map is enough to carry the colours: t-SNE, or UMAP where that is skipped."""
    from embviz_callback.analysis.projections import Skipped, project

    settings = snapshot.settings
    method = "umap" if settings.skip_tsne else "tsne"
    if settings.skip_tsne and settings.skip_umap:
        return {"tsne": Skipped("left out by --skip-tsne"), "umap": Skipped("left out by --skip-umap")}
    return {method: project(snapshot.embeddings, method, seed=settings.seed, progress=terminal.bar(method))}


def _write(
    output: Path, snapshot: "Snapshot", answers: "Answers", checkup: "Checkup | None", terminal: Terminal
) -> tuple[list[str], list[str]]:
    """Writes the files; numbers first, so that no figure's failure loses them.

    Returns:
        Names of the figures, and of those that could not be drawn.
    """
    from embviz_callback.drawing.analysis_figures import analysis_figures
    from embviz_callback.drawing.analysis_report import analysis_report
    from embviz_callback.drawing.figures import to_png

    write_atomically(output / "analysis.json", _as_json(snapshot, answers, checkup))
    made, faults = [], []
    for name, draw in analysis_figures(snapshot, answers).items():
        try:
            picture = to_png(draw())
        # One figure must not take the others along.
        except Exception as error:  # noqa: BLE001
            faults.append(name)
            terminal.say(f"{name} could not be drawn: {type(error).__name__}: {error}")
            continue
        write_atomically(output / f"{name}.png", picture)
        made.append(name)
    write_atomically(output / "analysis.md", analysis_report(snapshot, answers, checkup=checkup, figures=made))
    return made, faults


def _check_tensorboard(folder: str | None) -> None:
    """Asked before the work."""
    if folder is None:
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs the package tensorboard; pip install tensorboard, or leave it out")
    path = Path(folder).expanduser()
    if path.exists() and not path.is_dir():
        raise UsageError(f"--tensorboard {folder} is a file; give a directory")


def _show_in_tensorboard(folder: Path, output: Path, names: Sequence[str], snapshot: "Snapshot") -> None:
    """The figures as images ``embviz/analysis_<name>``, under the step of the evaluation or else its epoch."""
    from embviz_callback.delivery.sinks import TensorBoardSink

    sink = TensorBoardSink(folder)
    step = snapshot.step if snapshot.step is not None else snapshot.epoch or 0
    for name in names:
        sink.figure(f"analysis_{name}", (output / f"{name}.png").read_bytes(), step)
    try:
        sink.flush()
    except OSError as error:
        raise UsageError(
            f"--tensorboard {folder} cannot be written to ({error.strerror or error}); give another directory"
        ) from None


def _as_json(snapshot: "Snapshot", answers: "Answers", checkup: "Checkup | None") -> str:
    content = {
        "label": snapshot.label,
        "metrics": snapshot.metrics.as_dict(),
        "provenance": dict(snapshot.provenance),
        "data": None if checkup is None else checkup.as_dict(),
        **answers.as_dict(),
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _say(options: argparse.Namespace, output: Path, snapshot: "Snapshot", answers: "Answers") -> None:
    """The findings in a few lines, or all of them as JSON."""
    if options.json:
        sys.stdout.write((output / "analysis.json").read_text(encoding="utf-8"))
        return
    from embviz_callback.drawing.slices import group_sentence

    errors, metrics = answers.errors, snapshot.metrics
    lines = [f"{len(errors.misses)} of {errors.n_queries} queries find a wrong document first"]
    lines += [f"   {sentence}" for sentence in errors.sentences()[:5]]
    lines += [f"by {slices.column}: {group_sentence(slices)}" for slices in answers.slices if group_sentence(slices)]
    if answers.importance.effects:
        lines.append(f"moves the similarity most: {', '.join(answers.importance.order)}")
    lines += [f"similarity against {curve.column}: {curve.verdict}" for curve in answers.continuity]
    lines.append(f"{len(answers.suspects)} probable false negatives")
    lines.append(f"margin {metrics.margin:.4f}, rank-1 {100 * metrics.rank1:.1f}%; see {output / 'analysis.md'}")
    sys.stdout.write("\n".join(lines) + "\n")


def _status(options: argparse.Namespace, snapshot: "Snapshot", faults: Sequence[str], terminal: Terminal) -> int:
    least = options.fail_below_margin
    # Written so that NaN, which compares false with everything, fails too.
    if least is not None and not snapshot.metrics.margin >= least:
        terminal.say(f"embviz analyse: margin {snapshot.metrics.margin:.4f} is below --fail-below-margin {least:g}")
        return 3
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
