"""What can be wrong inside a single text, and the text without it."""

import re
import unicodedata

from embviz_callback.pairs.texts import REPLACEMENT, clean, is_blank, without_diacritics

BLANK, NOT_NFC = "blank", "not_nfc"  # flaws that are asked for by name

_NAMES = (
    r"pos|neg|positive|negative|hard_neg|query|text|title|document|doc|passage|answer|question|insert[\w ]*|your[\w ]*"
)
# A field that a template was to fill and did not; braces around a word occur in no listing.
_TEMPLATE = re.compile(
    r"\{\{?\s*[^\W\d][\w .\-]*\}?\}"
    r"|\$\{[^}]+\}"
    r"|%\(\w+\)[sd]"
    rf"|<\s*/?\s*(?:{_NAMES})\s*/?>"
    rf"|\[\s*(?:{_NAMES})\s*\]",
    re.IGNORECASE,
)
_STAND_INS = frozenset(
    {"n/a", "na", "none", "null", "nil", "nan", "undefined", "todo", "tbd", "fixme", "placeholder", "string", "text"}
    | {"lorem ipsum", "lorem ipsum dolor sit amet", "your text here", "test", "xxx", "query", "pos", "neg", "positive"}
    | {"negative", "document", "passage", "#n/a", "#ref!", "#value!", "khong co", "khong co noi dung"}
)
_LONGEST_STAND_IN = 100  # with all the white space and brackets that anybody puts around one
_WORD = re.compile(r"[^\W_]+")
# Marks that nobody sees and that make equal texts unequal: zero-width spaces and joiners, soft
# hyphen, byte order mark, marks and overrides of direction.
_INVISIBLE = re.compile("[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_JOINER = re.compile("[\u200c\u200d]")


def flaws(text: str) -> tuple[str, ...]:
    """Names of what is wrong with a text, worst first.

    A blank text has no other flaw. A text of one word is named too: in a language that writes
    its syllables apart it says next to nothing.

    Returns:
        Some of ``blank``, ``placeholder``, ``damaged`` (U+FFFD: characters lost in a wrong
        conversion), ``not_nfc``, ``zero_width``, ``control_character``, ``one_word``.

    Example:
        >>> flaws("{pos}"), flaws("Phòng trọ 25m²"), flaws("phòng\u200b trọ")
        (('placeholder',), (), ('zero_width',))
    """
    if is_blank(clean(text)):
        return (BLANK,)
    if is_placeholder(text):
        return ("placeholder",)
    found = {
        "damaged": REPLACEMENT in text,
        NOT_NFC: not unicodedata.is_normalized("NFC", text),
        "zero_width": without_invisible(text) != text,
        "control_character": clean(text).count(REPLACEMENT) > text.count(REPLACEMENT),
        "one_word": len(_WORD.findall(text)) < 2,
    }
    return tuple(name for name, holds in found.items() if holds)


def is_placeholder(text: str) -> bool:
    """Whether a text stands for one that was never filled in.

    Returns:
        True for a template field anywhere in it, for words such as "null" or "N/A" alone, and
        for a text without any letter or digit.

    Example:
        >>> [is_placeholder(text) for text in ("{pos}", "Phòng {district} 5tr", "N/A", "...", "5tr")]
        [True, True, True, True, False]
    """
    if _TEMPLATE.search(text) or not _WORD.search(text):
        return True
    if len(text) > _LONGEST_STAND_IN:
        return False
    bare = " ".join(without_diacritics(text).casefold().split()).strip("<>[](){}\"' .:")
    return bare in _STAND_INS


def without_invisible(text: str) -> str:
    """The text without zero-width characters, but for joiners that a script or an emoji needs."""

    def keep(match: re.Match[str]) -> str:
        around = text[max(match.start() - 1, 0) : match.start()] + text[match.end() : match.end() + 1]
        # Between two characters beyond Latin a joiner shapes letters or builds one emoji of two.
        return match.group() if len(around) == 2 and all(character >= "\u0590" for character in around) else ""

    return _JOINER.sub(keep, _INVISIBLE.sub("", text))


def mended(text: str) -> str:
    """The text in NFC, without zero-width and control characters; line breaks become spaces.

    Returns:
        A text with none of the flaws that can be mended without knowing what was meant.

    Example:
        >>> mended("pho\u0300ng\u200b  tro\u0323")
        'phòng  trọ'
    """
    kept = "".join(
        clean(character)
        for character in without_invisible(text)
        if clean(character) != REPLACEMENT or character == REPLACEMENT
    )
    return unicodedata.normalize("NFC", kept)


def words_key(text: str) -> tuple[str, ...]:
    """What two texts share that differ in accents, punctuation or the order of words only.

    Returns:
        The sorted words, without diacritics, ``m²`` as ``m2``.

    Example:
        >>> words_key("Phòng 25m², Quận 3") == words_key("phong quan 3 25m2")
        True
    """
    plain = without_diacritics(unicodedata.normalize("NFKC", text)).casefold()
    return tuple(sorted(re.findall(r"[^\W_]+(?:[.,]\d+)?", plain)))
