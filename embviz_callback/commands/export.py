"""`embviz export`: a checkpoint as a directory that sentence-transformers loads."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.looking import as_usage_error
from embviz_callback.commands.request import new_output_of
from embviz_callback.commands.terminal import Terminal
from embviz_callback.drawing.reports.model_card import model_card
from embviz_callback.files import read_json

if TYPE_CHECKING:
    from embviz_callback.encoding.checkpoints.loading import LoadedModel


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    output = new_output_of(options).absolute()
    metrics = None if options.metrics is None else _read_metrics(options.metrics)
    from embviz_callback.encoding.checkpoints.export import check_exportable, export_model, prompts_of  # torch
    from embviz_callback.encoding.checkpoints.loading import CheckpointError, load_checkpoint

    serving = {name: value for name, value in vars(options).items() if name not in ("checkpoint", "output", "metrics")}
    with as_usage_error(CheckpointError):
        loaded = load_checkpoint(options.checkpoint, **serving)
        check_exportable(loaded, options.checkpoint)
    for note in loaded.notes:
        terminal.say(f"{options.checkpoint}: {note}")
    maps = () if metrics is None else _maps_beside(Path(options.metrics).expanduser())
    if metrics is not None:
        _check_belongs(metrics, loaded.origin.sha256, options, terminal)
    try:
        has_prompts = bool(prompts_of(loaded))
        pictures = [found.name for found in maps]
        card = model_card(output.name, _facts(loaded), metrics, has_prompts=has_prompts, pictures=pictures)
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f"--metrics {options.metrics} is no metrics.json of an evaluation") from None
    try:
        export_model(loaded, output, card=card, pictures=maps)
    except OSError as error:
        raise UsageError(f"--output {options.output} cannot be written ({error.strerror or error})") from None
    sys.stdout.write(f"{output}\n")
    return 0


def _facts(loaded: "LoadedModel") -> dict[str, str]:
    model = loaded.model
    head: Any = model.head
    encoder = (
        Path(loaded.origin.encoder).name if Path(loaded.origin.encoder).expanduser().exists() else loaded.origin.encoder
    )
    facts = {
        "Base encoder": encoder,
        "Features of the encoder": str(model.backbone.dim),
        "Dimensions": str(model.backbone.dim if head is None else head.linear.out_features),
        "Pooling": model.pooling,
        "Head": "none" if head is None else "linear" if head.ln is None else "linear with layer norm",
        "Tokens per text": str(model.max_length),
        "Unit length": "yes" if model.normalise else "no",
    }
    if loaded.origin.epoch is not None:
        facts["Epoch"] = str(loaded.origin.epoch)
    if chosen := loaded.config.get("chosen"):
        facts["Chosen"] = str(chosen)
    return facts | {"SHA-256 of the checkpoint": loaded.origin.sha256}


def _maps_beside(metrics: Path) -> tuple[Path, ...]:
    maps = (metrics.with_name(f"{row.figure}.png") for row in MAPS.values())
    return tuple(found for found in maps if found.is_file())


def _check_belongs(metrics: Mapping[str, Any], sha256: str, options: argparse.Namespace, terminal: Terminal) -> None:
    """A card with another model's figures would be believed."""
    provenance = metrics.get("provenance")
    measured = provenance.get("checkpoint_sha256") if isinstance(provenance, dict) else None
    if measured is None:
        terminal.say(f"{options.metrics} does not say on which checkpoint it was measured; the card takes your word")
    elif measured != sha256:
        raise UsageError(
            f"--metrics {options.metrics} was measured on another file than {options.checkpoint} "
            f"(SHA-256 {str(measured)[:12]}, not {sha256[:12]}); evaluate this checkpoint first"
        )


def _read_metrics(path: str) -> Mapping[str, Any]:
    try:
        content = read_json(Path(path).expanduser())
    except OSError as error:
        raise UsageError(f"--metrics {path} cannot be read ({error.strerror or error})") from None
    except ValueError:
        raise UsageError(f"--metrics {path} is no JSON; give the metrics.json of an evaluation") from None
    if not isinstance(content, dict) or not isinstance(content.get("metrics"), dict):
        raise UsageError(f"--metrics {path} has no metrics; give the metrics.json of an evaluation")
    return content
