"""Markdown in which text from the data is text and nothing else."""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

from embviz_callback.pairs.texts import clean

_LONGEST = 200  # characters of a cell
_SIGNS = re.compile(r"([\\`*_{}\[\]#!|~$])")
_LINKS = (("://", "&#58;//"), ("www.", "www&#46;"), ("@", "&#64;"))


def literal(text: str, longest: int = _LONGEST) -> str:
    r"""Text from the data as it may stand anywhere in markdown, a table's cell included.

    Args:
        text: Anything.
        longest: Characters kept.

    Returns:
        One line in which nothing is a tag, a link, a picture, emphasis, code or a cell's end.

    Example:
        >>> literal("5tr | <b>![x](http://e)</b>")
        '5tr \\| &lt;b&gt;\\!\\[x\\](http&#58;//e)&lt;/b&gt;'
    """
    visible = "".join(sign for sign in clean(text[: 2 * longest]) if unicodedata.category(sign) != "Cf")
    line = " ".join(unicodedata.normalize("NFC", visible).split())
    if len(line) > longest or len(text) > 2 * longest:
        line = line[: longest - 1].rstrip() + "…"
    # Signs first: the entities' own # must not be escaped.
    safe = html.escape(_SIGNS.sub(r"\\\1", line), quote=False)
    for sign, entity in _LINKS:
        safe = safe.replace(sign, entity)
    return safe


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table's lines.

    Args:
        head: Names of the columns.
        rows: Cells, already safe.

    Returns:
        Lines of markdown, with an empty one after them.
    """
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]
