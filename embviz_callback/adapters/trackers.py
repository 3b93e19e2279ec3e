"""The trackers of transformers: what each of them can be given, and how."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, TensorBoardCallback, WandbCallback

TRACKERS: tuple[type, ...] = tuple(INTEGRATION_TO_CALLBACK.values())


class WandbLogger:
    """W&B as transformers' callback has opened it, under the name by which figures and alerts find their way.

    Args:
        wandb: The library, with a run.
    """

    def __init__(self, wandb: Any) -> None:
        self._wandb = wandb

    @property
    def experiment(self) -> Any:
        """The run."""
        return self._wandb.run

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Adds a row, under the trainer's step as transformers writes it: W&B's own may only rise."""
        self._wandb.log({**metrics, "train/global_step": step})


def loggers_of(trackers: Sequence[Any]) -> list[WandbLogger]:
    """Those trackers that can be given figures and alerts beside numbers.

    Args:
        trackers: Of a trainer, open.

    Returns:
        W&B, where it has a run; TensorBoard needs none, its figures stand in a sub-run.
    """
    libraries = [getattr(one, "_wandb", None) for one in trackers if isinstance(one, WandbCallback)]
    return [WandbLogger(library) for library in libraries if getattr(library, "run", None) is not None]


def report(tracker: Any, named: Mapping[str, float], step: int, told: Any) -> None:
    """Gives a tracker numbers, under their own names where that can be.

    Args:
        tracker: One of `TRACKERS`.
        named: Tag to value.
        step: The trainer's.
        told: With args, state, control and model of the event.
    """
    if isinstance(tracker, TensorBoardCallback):
        # Its own on_log would put "train/" before each tag. After the training its file is closed.
        if tracker.tb_writer is not None:
            for tag, value in named.items():
                tracker.tb_writer.add_scalar(tag, value, step)
            tracker.tb_writer.flush()
    elif found := loggers_of([tracker]):
        found[0].log_metrics(named, step)
    else:
        tracker.on_log(told.args, told.state, told.control, logs=dict(named), model=told.model)
