"""The numbers of an evaluation in a Lightning trainer: where monitors find them, and in its loggers."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from embviz_callback.adapters.either_lightning import pl
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.tags import scalar_tag


def log_scalars(
    trainer: pl.Trainer,
    pl_module: pl.LightningModule,
    prefix: str,
    values: Mapping[str, float],
    *,
    step: int | None,
    guard: Guard,
) -> None:
    """Hands numbers to monitors on every rank, and to the loggers on the first.

    Args:
        trainer: Whose `callback_metrics` monitors read.
        pl_module: On whose device the numbers are.
        prefix: What stands before the slash in every tag.
        values: Name to number.
        step: Under which they are logged; None for monitors alone.
        guard: Catches what goes wrong in a logger.
    """
    named = _named(values, prefix, pl_module)
    trainer.callback_metrics.update(named)
    if step is None:
        return
    trainer.logged_metrics.update(named)
    tags = {scalar_tag(prefix, name): value for name, value in values.items()}
    # Not through the module's log: it would leave the step to the trainer, warn once per name
    # under several ranks, and let a failing logger's exception end the training.
    for logger in trainer.loggers if trainer.is_global_zero else ():
        write, kind = partial(_log_to, logger, tags, step), f"logging to {type(logger).__name__}"
        guard.attempt(kind, write, where=f"step {step}", skipped="the scalars")


def carry_on(trainer: pl.Trainer, pl_module: pl.LightningModule, prefix: str, known: Mapping[str, float]) -> None:
    """Gives monitors the last known values, so that none dies of a missing name."""
    named = _named(known, prefix, pl_module)
    trainer.callback_metrics.update({name: one for name, one in named.items() if name not in trainer.callback_metrics})


def _named(values: Mapping[str, float], prefix: str, pl_module: pl.LightningModule) -> dict[str, torch.Tensor]:
    """Numbers as monitors expect them."""
    device = pl_module.device
    return {
        f"{prefix}/{name}": torch.tensor(value, dtype=torch.float32, device=device) for name, value in values.items()
    }


def _log_to(logger: Any, values: Mapping[str, float], step: int) -> None:
    logger.log_metrics(metrics=dict(values), step=step)
    logger.save()
