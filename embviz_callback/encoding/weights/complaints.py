"""How a checkpoint that cannot be used is told; without torch."""

import reprlib
from collections.abc import Sequence

SAFE_AGAIN = (
    "in the program that made it, save the weights alone with torch.save({'state_dict': model.state_dict()}, ...) "
    "or as safetensors"
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, with what to do about it."""


def short(value: object) -> str:
    """A value in one line of at most 100 characters that a terminal cannot mistake for commands, for an error."""
    # A hostile file may nest a list in itself a hundred times, or hold a number of a million digits.
    text = " ".join((value if isinstance(value, str) else reprlib.repr(value)).split())
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 100 else f"{text[:99]}…"


def asks_for_code(path: object, names: Sequence[str]) -> str:
    """The sentence on a file whose weights are objects that only their own program can make.

    Args:
        path: Of the file.
        names: Of classes and functions.

    Returns:
        The sentence.
    """
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"{path} holds pickled objects ({short(listed)}), which can run code when they are read, so it is not opened; "
        f"{SAFE_AGAIN}"
    )
