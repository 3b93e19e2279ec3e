"""What the callbacks beside ours would take for the numbers of a checkpoint, and is not."""

from typing import Any


def misleading(trainer: Any, own: Any) -> list[str]:
    """What to say before a training, so that no checkpoint is chosen by the numbers of other weights.

    Args:
        trainer: A Lightning trainer whose loops know their data.
        own: Our callback.

    Returns:
        A sentence for each callback, with what mends it.
    """
    monitors = [one for one in trainer.callbacks if f"{getattr(one, 'monitor', None)}".startswith(f"{own.prefix}/")]
    late = [(one, _late(one, trainer, own.when, own.settings.every_n_epochs)) for one in monitors]
    said = [
        f"{_name(one)} looks at {one.monitor} {looks}, when it is still that of earlier weights; {mend}"
        for one, (looks, mend) in late
        if looks
    ]
    return said + [
        f"checkpoints hold the weights that {_name(one)} averages, and the numbers of an epoch are of those that are "
        'trained; to see the averaged ones give EmbeddingVisualizer when="validation_end" and put it before '
        f"{_name(one)}"
        for one in _averaging_apart(trainer.callbacks, own)
    ]


def _late(monitor: Any, trainer: Any, when: str, every_n_epochs: int) -> tuple[str, str]:
    """When a monitor looks at what is no longer true, and what mends it; empty where it does not."""
    asks = getattr(monitor, "_should_save_on_train_epoch_end", None)
    waits_for_end = asks(trainer) if callable(asks) else getattr(monitor, "_check_on_train_epoch_end", True)
    if steps := getattr(monitor, "_every_n_train_steps", 0):
        return f"every {steps} steps", "give it every_n_epochs"
    if not waits_for_end and when == "train_epoch_end":
        return "after a validation", 'give EmbeddingVisualizer when="validation_end"'
    if getattr(monitor, "_every_n_epochs", 1) % every_n_epochs:
        return "in epochs that are left out", "give EmbeddingVisualizer every_n_epochs=1"
    return "", ""


def _averaging_apart(callbacks: list[Any], own: Any) -> list[Any]:
    """Those whose checkpoints hold other weights than we see: one before us has put the live ones back by then."""
    averaging = [one for one in callbacks if "WeightAveraging" in {kind.__name__ for kind in type(one).__mro__}]
    return [one for one in averaging if own.when != "validation_end" or callbacks.index(one) < callbacks.index(own)]


def _name(callback: Any) -> str:
    return type(callback).__name__
