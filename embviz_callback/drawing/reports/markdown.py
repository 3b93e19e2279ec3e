"""Markdown in which text from the data is text and nothing else, and the templates of the reports."""

import functools
import re
import unicodedata

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from embviz_callback.drawing.wording import measured, number, percent, pool, rank_word
from embviz_callback.grammar import counted
from embviz_callback.pairs.texts import clean

_LONGEST = 200  # characters of a cell
_SIGNS = re.compile(r"([\\`*_{}\[\]#!|~$]|^>)")
# Only where a tag, a comment or a character's name could begin; what follows the text may be anything.
_TAG, _NAME = re.compile(r"<(?=[A-Za-z/!?\\]|$)"), re.compile(r"&(?=#?\w+;)")
_LINKS = (("://", "&#58;//"), ("www.", "www&#46;"), ("@", "&#64;"))


def literal(text: str, longest: int = _LONGEST) -> str:
    r"""Text from the data as it may stand anywhere in markdown, a table's cell included.

    Args:
        text: Anything.
        longest: Characters kept.

    Returns:
        One line in which nothing is a tag, a link, a picture, emphasis, code or a cell's end.

    Example:
        >>> literal("5tr > 4tr | <b>![x](http://e)</b>")
        '5tr > 4tr \\| &lt;b>\\!\\[x\\](http&#58;//e)&lt;/b>'
    """
    visible = "".join(sign for sign in clean(text[: 2 * longest]) if unicodedata.category(sign) != "Cf")
    line = " ".join(unicodedata.normalize("NFC", visible).split())
    if len(line) > longest or len(text) > 2 * longest:
        line = line[: longest - 1].rstrip() + "…"
    # Signs first: the entities' own # must not be escaped.
    safe = _TAG.sub("&lt;", _NAME.sub("&amp;", _SIGNS.sub(r"\\\1", line)))
    for sign, entity in _LINKS:
        safe = safe.replace(sign, entity)
    return safe


def rendered(template: str, **values: object) -> str:
    """A page of ``templates/``, in which every value that is printed is made inert by `literal`.

    Args:
        template: Name without its ending.
        values: What the template prints; numbers are best printed through a filter of `wording`.

    Returns:
        Markdown, without blank lines at its end.
    """
    return _templates().get_template(f"{template}.md.j2").render(**values).rstrip() + "\n"


@functools.cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("embviz_callback.drawing.reports"),
        autoescape=True,  # so that what a macro has printed is not escaped again
        finalize=lambda value: value if isinstance(value, Markup) else _inert(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    words = (counted, measured, number, percent, pool, rank_word)
    made.filters |= {word.__name__: word for word in words} | {"upto": _inert, "thousands": "{:,}".format}
    return made


def _inert(value: object, longest: int = _LONGEST) -> Markup:
    # Markup, which Jinja takes for HTML: its own escaping leaves it alone.
    return Markup(literal(str(value), longest))
