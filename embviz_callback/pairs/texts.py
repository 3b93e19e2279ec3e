"""Texts: when two are the same, what is taken out of one, and how to find one without its accents."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence

REPLACEMENT = "\ufffd"

_LINE_BREAKS = re.compile("\r\n|[\t\n\v\f\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
# Letters to Unicode, but drawn as nothing: a text of Hangul fillers is blank to every reader.
_FILLERS = "\u115f\u1160\u3164\uffa0\u2800" + REPLACEMENT
_PLAINLY_VISIBLE = re.compile(f"[^\\W{_FILLERS}]")
_ACCENTS = re.compile("[\u0300-\u036f]")
_KEPT, _LONGEST_KEPT = 8192, 512  # folds, and characters of one: a few MB
# What a terminal obeys instead of showing it: controls, their 8-bit twins, and what turns the direction of writing.
_ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BARRED_D = str.maketrans("đĐ", "dD")


def fold(text: str) -> str:
    """The form in which equal texts are equal: Unicode NFC, case and white space folded.

    Returns:
        A text that is its own fold; texts of equal folds are one text everywhere in the package.

    Example:
        >>> fold("  Phòng   TRỌ ")
        'phòng trọ'
    """
    # The same few texts are asked for over and over.
    return _kept_fold(text) if len(text) <= _LONGEST_KEPT else fold_once(text)


def fold_once(text: str) -> str:
    """The same of a text that nobody will ask for again, such as one of millions."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(folded.split())


_kept_fold = functools.lru_cache(maxsize=_KEPT)(fold_once)


def places_of(wanted: Iterable[str], there: Sequence[str]) -> list[int]:
    """Where each of some texts stands among others, the first of equal ones.

    Args:
        wanted: Each of them is there.
        there: Where they are looked for.

    Returns:
        Places, from 0.

    Example:
        >>> places_of(["Phòng B", "phòng a"], ["Phòng A", "phòng  a", "phòng b"])
        [2, 0]
    """
    place = {fold(text): at for at, text in reversed([*enumerate(there)])}
    return [place[fold(text)] for text in wanted]


def clean(text: str) -> str:
    r"""The text without what no figure, page or file can hold.

    Returns:
        The text with U+FFFD for lone surrogates and control characters, NUL among them, and spaces
        for tabs and line breaks; all else as it was, spaces at the ends included.

    Example:
        >>> clean("5tr\n25m\x00")
        '5tr 25m�'
    """
    # Most texts hold nothing of the kind, which is seen at once.
    return text if text.isprintable() else without_unprintable(_LINE_BREAKS.sub(" ", text))


def without_unprintable(text: str) -> str:
    """The text with U+FFFD for lone surrogates and control characters; tabs and line breaks stay."""
    return _UNPRINTABLE.sub(REPLACEMENT, text)


def beginning(text: str, longest: int) -> str:
    """The text, or of a longer one so many characters, an ellipsis among them."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def is_blank(text: str) -> bool:
    """Whether a reader would see nothing: white space, zero-width or replaced characters only."""
    if _PLAINLY_VISIBLE.search(text):
        return False
    return all(_is_invisible(character) for character in text)


def _is_invisible(character: str) -> bool:
    # Z: spaces; Cc, Cf, Cs: controls, zero-width marks, surrogates; M: marks with no letter to stand on.
    category = unicodedata.category(character)
    return character in _FILLERS or category[0] in "ZM" or category in ("Cc", "Cf", "Cs")


def without_diacritics(text: str) -> str:
    """The text as typed without accents, for searching and for counting shared words.

    Returns:
        The text without combining accents, đ as d.

    Example:
        >>> without_diacritics("Tìm trọ Đống Đa")
        'Tim tro Dong Da'
    """
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", text))
    return unicodedata.normalize("NFC", bare).translate(_BARRED_D)


def inert(text: str) -> str:
    r"""Text that a terminal shows and does not obey.

    Args:
        text: Anything, such as the name of a file.

    Returns:
        The text with its controls spelt out; tabs and line ends stay.

    Example:
        >>> inert("model\x1b[2J.pt")
        'model\\x1b[2J.pt'
    """
    return _ORDERS.sub(lambda sign: ascii(sign.group())[1:-1], text)
