"""The gate of a pipeline: whether a model is worse than a baseline, beyond chance and beyond what is allowed."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from embviz_callback.analysis.verdict.best import chosen_metric
from embviz_callback.analysis.verdict.losses import LOST, UNDECIDED, Loss, losses
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.looking import as_usage_error, look_at
from embviz_callback.commands.request import Request
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.results.per_query import ByQuery, read_by_query
from embviz_callback.drawing.wording import change
from embviz_callback.snapshot import Snapshot

MISSED, CANNOT_TELL = 3, 4


def refuse_gate_without_baseline(options: argparse.Namespace) -> None:
    """What only makes sense against a baseline needs one.

    Raises:
        UsageError: If it is missing.
    """
    if options.baseline is None and (options.allow_loss or options.undecided):
        given = "--allow-loss" if options.allow_loss else "--undecided"
        raise UsageError(f"{given} needs --baseline, the evaluation that the model is held against")


def baseline_of(options: argparse.Namespace, request: Request, terminal: Terminal) -> ByQuery | None:
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
            return read_by_query(Path(options.baseline).expanduser())
    looks = look_at(replace(request, checkpoints=(options.baseline,), vectors=None, trec=False), terminal)
    return ByQuery.of(next(iter(looks)).snapshot)


def gate_status(
    snapshots: Sequence[Snapshot], baseline: ByQuery, options: argparse.Namespace, terminal: Terminal
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


def _losses_of(snapshot: Snapshot, baseline: ByQuery, options: argparse.Namespace) -> tuple[Loss, ...]:
    model = ByQuery.of(snapshot)
    if model is None or model.fingerprint != baseline.fingerprint:
        raise UsageError(
            f"--baseline: expected an evaluation of subset {snapshot.subset.fingerprint}, found one of"
            f" {baseline.fingerprint}. Fix: evaluate both on the same data, --max-samples, --seed and --corpus"
        )
    decides = chosen_metric(snapshot.embeddings, options.metric)
    allowed: Mapping[str, float] = dict(options.allow_loss or [(decides, 0.0)])
    with as_usage_error(ValueError, "--allow-loss: "):
        return losses(baseline.in_order_of(model), model.statistics, allowed)
