"""How many of a thing, in words that agree with the number."""

import re

_CHOICE = re.compile(r"\[([^\[\]|]*)(?:\|([^\[\]]*))?\]")


def counted(count: int, what: str) -> str:
    """A number and what it counts.

    Args:
        count: Not below 0.
        what: A noun in the singular, or words that mark what differs: ``[of several|of one]``, ``[of several]``.

    Returns:
        The number with thousands set apart, and the words that agree with it.

    Example:
        >>> counted(1, "query"), counted(1200, "query"), counted(2, "document")
        ('1 query', '1,200 queries', '2 documents')
        >>> counted(1, "hard negative[s] [have|has] no type"), counted(0, "hard negative[s] [have|has] no type")
        ('1 hard negative has no type', '0 hard negatives have no type')
    """
    return f"{count:,} {agreeing(count, what)}"


def agreeing(count: int, what: str) -> str:
    """The words of `counted` alone.

    Args:
        count: As there.
        what: As there.

    Returns:
        Words.

    Example:
        >>> agreeing(1, "text[s] [are|is] blank")
        'text is blank'
    """
    if "[" in what:
        return _CHOICE.sub(lambda found: (found[2] or "") if count == 1 else found[1], what)
    if count == 1:
        return what
    return f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
