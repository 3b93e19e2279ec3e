"""Who hears what happens during an evaluation, and in which words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from embviz_callback.grammar import counted

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Listener:
    """Who hears what happens during an evaluation: a training's face warns, a command writes a line.

    Attributes:
        warn: Takes the stage and a sentence when memory ran out and the work went on in another way.
        progress: Takes the name of a stage and gives what is told of steps done and in all; None for nobody.
        known: Takes what is known so far, a few words, while a stage goes on.
    """

    warn: Callable[[str, str], None] = lambda stage, message: None
    progress: Callable[[str], Progress | None] = lambda stage: None
    known: Callable[[str], None] = lambda words: None

    def say_halved(self, size: int) -> None:
        """Warns that batches had to become smaller."""
        message = f"memory ran out, encoding went on with {size} texts at a time; a smaller batch_size avoids the retry"
        self.warn("encoding", message)

    def say_fallback(self) -> None:
        """Warns that scores are no longer computed on the device."""
        message = (
            "memory ran out on the device, the rest of the corpus is ranked on the CPU; it costs time, nothing else"
        )
        self.warn("ranking", message)

    def say_woken(self, names: Sequence[str]) -> None:
        """Warns of modules that the model itself has put into training mode; of none, nothing."""
        if names:
            message = (
                f"encode put {counted(len(names), 'module[s]')} into training mode (first: {names[0]}), so that "
                "dropout may have been on in what was measured; take train() out of encode, eval mode is set and put "
                "back for it"
            )
            self.warn("training mode", message)


SILENCE = Listener()
