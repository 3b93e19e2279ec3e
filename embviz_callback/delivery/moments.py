"""Where a trainer stands: whether it is time to look, and under which step that is logged."""

from typing import Any


def is_due(trainer: Any, epoch: int, every_n_epochs: int) -> bool:
    """Whether the end of this epoch is evaluated: every n-th, and the last as far as it is known to be."""
    limit = trainer.max_epochs
    is_last = limit is not None and 0 < limit <= epoch + 1
    is_turn = (epoch + 1) % every_n_epochs == 0
    return bool(is_turn or is_last or trainer.should_stop or 0 < trainer.max_steps <= trainer.global_step)


def step_of_epoch(trainer: Any) -> int:
    """The step under which the trainer logs an epoch: that of its last batch, from 0."""
    return max(0, int(trainer.fit_loop.epoch_loop._batches_that_stepped) - 1)


def step_of_validation(trainer: Any) -> int:
    """The same for a validation, during which the trainer has not counted the last batch yet."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def is_whole_epoch(trainer: Any) -> bool:
    """Whether the last batch of the epoch has been trained."""
    return bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)
