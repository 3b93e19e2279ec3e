"""Where a trainer stands: whether it is time to look, and under which step that is logged."""

from typing import Any


def is_due(trainer: Any, epoch: int, every_n_epochs: int) -> bool:
    """Whether the end of this epoch is evaluated: every n-th, and the last as far as it is known to be."""
    return (epoch + 1) % every_n_epochs == 0 or is_last(trainer, epoch)


def is_last(trainer: Any, epoch: int) -> bool:
    """Whether training ends with this epoch, as far as it is known."""
    limit = trainer.max_epochs
    is_final = limit is not None and 0 < limit <= epoch + 1
    return bool(is_final or trainer.should_stop or 0 < trainer.max_steps <= trainer.global_step)


def is_untrained(trainer: Any) -> bool:
    """Whether no batch has been trained, in this fit, an earlier one of this trainer, or before its checkpoint.

    Its count of steps does not tell: of an optimiser that it does not drive, it counts none.

    Args:
        trainer: A Lightning trainer.

    Returns:
        Yes or no.
    """
    return bool(trainer.global_step == 0 and trainer.fit_loop.epoch_loop.batch_progress.total.ready == 0)


def step_of_epoch(trainer: Any) -> int:
    """The step under which the trainer logs an epoch: that of its last batch, from 0."""
    return max(0, int(trainer.fit_loop.epoch_loop._batches_that_stepped) - 1)


def step_of_validation(trainer: Any) -> int:
    """The same for a validation, during which the trainer has not counted the last batch yet."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def is_whole_epoch(trainer: Any) -> bool:
    """Whether the last batch of the epoch has been trained."""
    return bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)


class Budget:
    """Keeps the evaluations of a fit within a share of its time, as far as the last one's cost foretells.

    Args:
        limit: Evaluations' share of the time since training began, 0 to 1 without 1; 0 for no limit.

    Raises:
        ValueError: If `limit` is out of its range.
    """

    def __init__(self, limit: float) -> None:
        if not 0 <= limit < 1:
            raise ValueError(f"overhead_limit must be at least 0 and below 1, got {limit}")
        self.limit = limit
        self._begun = self._spent = self._last = 0.0

    def begin(self, now: float) -> None:
        """Starts the account of a fit; `now` in seconds, as all times here."""
        self._begun, self._spent, self._last = now, 0.0, 0.0

    def spend(self, cost_s: float) -> None:
        """Books an evaluation."""
        self._spent, self._last = self._spent + cost_s, cost_s

    def share(self, now: float) -> float:
        """What the evaluations would take of the time so far, were one as dear as the last made now."""
        return (self._spent + self._last) / max(now - self._begun + self._last, 1e-9)

    def affords(self, now: float) -> bool:
        """Whether another evaluation keeps within the limit."""
        return not self.limit or self.share(now) <= self.limit
