"""`embviz --checkpoint ... --data ...`: options in, statistics and exit status out."""

import argparse
import contextlib
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import embviz_callback
from embviz_callback.analysis.metrics.pictures import wanted_maps
from embviz_callback.commands.arguments import Parser, add_encoder_options, finite_number, whole_number
from embviz_callback.commands.ending import ended
from embviz_callback.commands.terminal import Terminal
from embviz_callback.settings import Settings

if TYPE_CHECKING:
    from embviz_callback.commands.evaluation import Request
    from embviz_callback.commands.results import Outcome

_DEFAULTS = Settings()


def main(arguments: Sequence[str]) -> int:
    """Runs the evaluation.

    Args:
        arguments: Without the program's name.

    Returns:
        0 when done, 2 for bad arguments or input, 3 if a margin is below the threshold, 1 for anything else.
    """
    terminal = Terminal()
    return ended(
        "embviz",
        lambda: _run(parser().read(arguments), terminal),
        terminal,
        interrupted="interrupted; what was finished is in the output directory",
    )


def parser() -> Parser:
    """Every option, with its default."""
    made = Parser(prog="embviz", description="Evaluates embedding models on pairs, and draws what they see.")
    made.add_argument("--version", action="version", version=f"embviz {embviz_callback.__version__}")
    made.add_argument(
        "--checkpoint",
        nargs="+",
        required=True,
        metavar="PATH",
        help=".pt, .ckpt, .safetensors, a model directory, a name on the hub, or an embeddings.npz to draw again; "
        "several are compared",
    )
    made.add_argument("--data", metavar="PATH", help="the pairs, JSON or JSON Lines (required, but for embeddings.npz)")
    made.add_argument(
        "--corpus",
        metavar="PATH",
        help="further documents that answer no query, ranked beside those of --data: JSON, JSON Lines or .txt",
    )
    made.add_argument("--output", default="visualizations/", metavar="DIR", help="default %(default)s")
    _add_amounts(made)
    _add_model_options(made)
    made.add_argument("--skip-umap", action="store_true", help="leave the UMAP map out")
    made.add_argument("--skip-tsne", action="store_true", help="leave the t-SNE map out")
    made.add_argument("--skip-bad-records", action="store_true", help="leave out and count records with a problem")
    made.add_argument(
        "--fail-below-margin", type=finite_number, metavar="X", help="exit status 3 when a margin is below X"
    )
    made.add_argument(
        "--json",
        action="store_true",
        help="the metrics as one JSON object on standard output, all else on standard error",
    )
    return made


def make_optional(made: Parser, name: str) -> None:
    """Lets an option of `parser` be left out by a command that knows another way.

    Args:
        made: What `parser` gave.
        name: Of the option, without hyphens.
    """
    for action in made._actions:
        if action.dest == name:
            action.required = False


def _add_amounts(made: argparse.ArgumentParser) -> None:
    for name, default, high, meaning in (
        ("max-samples", _DEFAULTS.max_samples, 1_000_000, "queries that are evaluated"),
        ("batch-size", _DEFAULTS.batch_size, 1_000_000, "texts per forward pass; halved when memory runs out"),
    ):
        made.add_argument(
            f"--{name}", type=whole_number(1, high), default=default, metavar="N", help=f"{meaning} (default {default})"
        )
    made.add_argument(
        "--seed",
        type=whole_number(0, 2**32 - 1),
        default=_DEFAULTS.seed,
        metavar="N",
        help="chooses the queries and starts the maps (default %(default)s)",
    )


def _add_model_options(made: argparse.ArgumentParser) -> None:
    made.add_argument("--device", default="auto", help="cuda, cpu, ... (default: CUDA where there is one)")
    add_encoder_options(made)
    made.add_argument("--no-cache", action="store_true", help="neither keep nor look up the encoder's features")
    made.add_argument("--query-prompt", metavar="TEXT", help="put before queries (default: what the checkpoint says)")
    made.add_argument("--document-prompt", metavar="TEXT", help="put before documents, likewise")


def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    request = request_from(options)
    calm(is_watched=sys.stderr.isatty())
    from embviz_callback.commands.comparison import comparison_table
    from embviz_callback.commands.evaluation import evaluate

    # Whatever a library prints must not come between a pipeline and its JSON.
    with contextlib.redirect_stdout(sys.stderr):
        outcomes = evaluate(request, terminal)
        best = _best(outcomes, request)
    table = comparison_table(outcomes, best) + "\n" if len(outcomes) > 1 else ""
    text = table + "".join(summary(outcome) for outcome in outcomes) + "\n" + statistics(best)
    if options.json:
        terminal.say(text)
        write_out(_as_json(outcomes, best))
    else:
        write_out(text)
    return _status(outcomes, options.fail_below_margin, terminal)


def _best(outcomes: Sequence["Outcome"], request: "Request") -> "Outcome":
    """The only one, or the best of several, which are then compared in files of their own."""
    if len(outcomes) == 1:
        return outcomes[0]
    from embviz_callback.commands.comparison import remeasured, write_comparison

    settings = request.settings
    snapshots = [remeasured(outcome.label, outcome.folder, settings) for outcome in outcomes]
    return outcomes[write_comparison(snapshots, request.output, maps=wanted_maps(settings)).best]


def request_from(options: argparse.Namespace) -> "Request":
    """What the options ask for."""
    from embviz_callback.commands.evaluation import Request

    settings = Settings(
        max_samples=options.max_samples,
        seed=options.seed,
        batch_size=options.batch_size,
        skip_tsne=options.skip_tsne,
        skip_umap=options.skip_umap,
    )
    return Request(
        checkpoints=tuple(options.checkpoint),
        data=options.data,
        output=Path(options.output).expanduser(),
        settings=settings,
        device=options.device,
        encoder=options.encoder,
        pooling=options.pooling,
        max_length=options.max_length,
        query_prompt=options.query_prompt,
        document_prompt=options.document_prompt,
        skip_bad_records=options.skip_bad_records,
        cache=not options.no_cache,
        corpus=options.corpus,
    )


def calm(*, is_watched: bool) -> None:
    """Keeps libraries from talking over the answer; this process is ours alone."""
    import logging

    # A notebook's backend would break the import of matplotlib here.
    os.environ["MPLBACKEND"] = "Agg"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not is_watched:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("embviz_callback").addHandler(logging.NullHandler())
    if not os.environ.get("EMBVIZ_DEBUG"):
        warnings.simplefilter("ignore")


def statistics(outcome: "Outcome") -> str:
    """The block that standard output ends with."""
    metrics = outcome.metrics
    return (
        "Similarity Statistics:\n"
        f"   Positive:   {metrics.positive_mean:.4f} ± {metrics.positive_std:.4f}\n"
        f"   Negative:   {metrics.negative_mean:.4f} ± {metrics.negative_std:.4f}\n"
        f"   Margin:     {metrics.margin:.4f}\n"
        f"   Separation: {metrics.separation:.2f}σ\n"
        f"   Rank-1:     {100 * metrics.rank1:.1f}%\n"
    )


def summary(outcome: "Outcome") -> str:
    """What came of one checkpoint, and where its report is."""
    diagnosis = outcome.content["diagnosis"]
    verdict = "ready" if outcome.content["ready"] else "not ready, see the checklist"
    return (
        f"{outcome.label}: {diagnosis['verdict']}, {verdict}\n"
        f"   {diagnosis['reason']}; {diagnosis['advice']}\n"
        f"   {outcome.folder / 'report.md'}\n"
    )


def _as_json(outcomes: Sequence["Outcome"], best: "Outcome") -> str:
    flat = {outcome.label: _flat(outcome) for outcome in outcomes}
    content: Any = flat if len(flat) > 1 else next(iter(flat.values()))
    if len(flat) > 1:
        content = {"best": best.label, "checkpoints": flat}
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


def _flat(outcome: "Outcome") -> dict[str, Any]:
    """Metrics on the first level, so that a pipeline can say ``.margin``."""
    content = dict(outcome.content)
    return {"label": content.pop("label"), **content.pop("metrics"), **content}


def _status(outcomes: Sequence["Outcome"], least: float | None, terminal: Terminal) -> int:
    # Written so that NaN, which compares false with everything, fails too.
    missed = [] if least is None else [outcome for outcome in outcomes if not outcome.metrics.margin >= least]
    if missed:
        found = ", ".join(f"{outcome.metrics.margin:.4f} ({outcome.label})" for outcome in missed)
        terminal.say(f"embviz: margin {found} is below --fail-below-margin {least:g}")
        return 3
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def write_out(text: str) -> None:
    """Writes an answer on standard output."""
    with contextlib.suppress(AttributeError):
        # A terminal that knows no ± must not cost the user the result.
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.stdout.write(text)
    sys.stdout.flush()
