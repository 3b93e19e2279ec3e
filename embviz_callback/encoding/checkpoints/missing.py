"""What to say about a path that leads nowhere; without torch, so that a slip is answered at once."""

import difflib
from pathlib import Path


def explain_missing(path: str | Path) -> str:
    """One sentence with the nearest names beside a path that does not exist.

    Args:
        path: As the user gave it.

    Returns:
        The sentence, without a full stop.
    """
    place = Path(path).expanduser()
    folder = place.parent
    if not folder.is_dir():
        return f"{path} does not exist, nor does its folder {folder} (working directory {Path.cwd()})"
    close = difflib.get_close_matches(place.name, [entry.name for entry in folder.iterdir()], n=3, cutoff=0.5)
    if close:
        return f"{path} does not exist; in {folder.resolve()} there is {', '.join(close)}"
    return f"{path} does not exist (working directory {Path.cwd()})"
