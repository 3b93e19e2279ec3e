"""The gate of a pipeline: whether a model is worse than a baseline, beyond chance and beyond what is allowed."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, RANK_NAMES
from embviz_callback.analysis.verdict.best import chosen_metric
from embviz_callback.analysis.verdict.losses import LOST, UNDECIDED, Loss, losses
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.looking import Request, as_usage_error, look_at
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.results.per_query import Standing, read_standing
from embviz_callback.drawing.wording import change
from embviz_callback.snapshot import Snapshot

MISSED, CANNOT_TELL = 3, 4
GATED = (*RANK_NAMES, *(name for name, row in CATALOGUE.items() if row.has_interval and name not in RANK_NAMES))


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


def refuse_gate_without_baseline(options: argparse.Namespace) -> None:
    """What only makes sense against a baseline needs one.

    Raises:
        UsageError: If it is missing.
    """
    if options.baseline is None and (options.allow_loss or options.undecided):
        given = "--allow-loss" if options.allow_loss else "--undecided"
        raise UsageError(f"{given} needs --baseline, the evaluation that the model is held against")


def baseline_of(options: argparse.Namespace, request: Request, terminal: Terminal) -> Standing | None:
    """The evaluation that models are held against; None where none is asked for.

    Args:
        options: Of `add_gate_options`.
        request: How a checkpoint is evaluated.
        terminal: Hears what is going on.

    Returns:
        Its queries one by one; a UsageError says that it cannot be read or evaluated.
    """
    if options.baseline is None:
        return None
    if options.baseline.endswith(".json"):
        with as_usage_error(ValueError, "--baseline: "):
            return read_standing(Path(options.baseline).expanduser())
    looks = look_at(replace(request, checkpoints=(options.baseline,)), terminal)
    return Standing.of(next(iter(looks)).snapshot)


def gate_status(
    snapshots: Sequence[Snapshot], baseline: Standing, options: argparse.Namespace, terminal: Terminal
) -> int:
    """Holds each of one or several models against the baseline, and says what came of it.

    Args:
        snapshots: Of the models.
        baseline: Of the other one.
        options: What is allowed.
        terminal: Is told, a line for each model and metric.

    Returns:
        3 where a loss is shown of any, else 4 where the data cannot tell (or what --undecided asks for), else 0; a
        UsageError says that they are not of the same data, or that there is no such metric.
    """
    outcomes = set()
    for snapshot in snapshots:
        name = f"{snapshot.label}: " if len(snapshots) > 1 else ""
        for one in _losses_of(snapshot, baseline, options):
            ends = " to ".join(change(-end, one.metric) for end in (one.high, one.low))
            told = f"{name}{one.metric} {change(-one.value, one.metric)} ({ends}) against the baseline"
            terminal.say(f"embviz: {told}, {change(-one.allowed, one.metric)} allowed: {one.outcome}")
            outcomes.add(one.outcome)
    if LOST in outcomes:
        return MISSED
    if UNDECIDED in outcomes:
        return {"fail": MISSED, "pass": 0, None: CANNOT_TELL}[options.undecided]
    return 0


def _losses_of(snapshot: Snapshot, baseline: Standing, options: argparse.Namespace) -> tuple[Loss, ...]:
    model = Standing.of(snapshot)
    if model is None or model.fingerprint != baseline.fingerprint:
        raise UsageError(
            f"--baseline: expected an evaluation of subset {snapshot.subset.fingerprint}, found one of"
            f" {baseline.fingerprint}. Fix: evaluate both on the same data, --max-samples, --seed and --corpus"
        )
    decides = chosen_metric(snapshot.embeddings, options.metric)
    allowed: Mapping[str, float] = dict(options.allow_loss or [(decides, 0.0)])
    with as_usage_error(ValueError, "--allow-loss: "):
        return losses(baseline.in_order_of(model), model.statistics, allowed)
