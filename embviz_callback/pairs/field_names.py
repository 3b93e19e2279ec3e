"""What the fields of a record are called, and which of them was meant by another name."""

import difflib
import re
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from embviz_callback.pairs.texts import fold

# What other formats call our fields.
_ALIASES = {
    "query": ("question", "anchor", "sentence1", "text"),
    "pos": ("positive", "positives", "pos_text", "answer", "passage", "document", "sentence2"),
    "hard_neg": ("neg", "negs", "negative", "negatives", "hard_negative", "hard_negatives"),
}
# Which fields there are, and whether a record cannot do without.
CHECKED_FIELDS = {"query": True, "pos": True, "hard_neg": False, "id": False, "metadata": False}
# Too many columns of people's own are called nearly so to take one for a misspelling.
RECORD_FIELDS = (*CHECKED_FIELDS, "prompt", "judged")
_SHORT = 4  # "id" and "pos" lie near to too many columns of people's own
_MOST_LIKE = 200  # fields among which a misspelt one is looked for


def meant_fields(names: Collection[str]) -> dict[str, str]:
    """Which of our fields were probably meant by names that are none of ours.

    Returns:
        Their names by ours.

    Example:
        >>> meant_fields(["querry", "pos", "price"])
        {'query': 'querry'}
    """
    others = [name for name in names if name not in RECORD_FIELDS]
    found = {name: nearest(name, others) for name in CHECKED_FIELDS if name not in names}
    return {name: meant for name, meant in found.items() if meant is not None}


def is_likely(name: str, column: str) -> bool:
    """Whether a word in the name of a column calls it one of our fields.

    Args:
        name: query, pos or hard_neg.
        column: Of any name.

    Returns:
        What is enough to propose a column, not to read it.

    Example:
        >>> is_likely("pos", "pos_list"), is_likely("pos", "position")
        (True, False)
    """
    words = re.findall(r"[^\W_]+", fold(column))
    # A text may be either of them.
    return not {*words, *(word.removesuffix("s") for word in words)}.isdisjoint({name, *_ALIASES[name]} - {"text"})


def nearest(name: str, others: Iterable[Any]) -> Any:
    """Which of a record's other fields was probably meant by `name`, None if no field was."""
    by_fold = {fold(str(key)).replace("-", "_").replace(" ", "_"): key for key in islice(others, _MOST_LIKE)}
    for alias in (name, *_ALIASES.get(name, ())):
        if alias in by_fold:
            return by_fold[alias]
    if len(name) < _SHORT or not by_fold:
        return None
    close = difflib.get_close_matches(name, by_fold, n=1, cutoff=0.8)
    return by_fold[close[0]] if close else None
