"""Columns of identifiers: what names texts that stand elsewhere, and is no text itself."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from math import inf
from typing import Any

from embviz_callback.pairs.formats.form import Item
from embviz_callback.pairs.formats.labels import is_verdict
from embviz_callback.pairs.problems import DataError, show_name
from embviz_callback.pairs.records import text_id
from embviz_callback.pairs.texts import fold

_LOOKED_AT = 1000  # texts by which a column is known
_MOST = 0.9  # of them that must look like identifiers
_MANY = 20  # distinct ones that share a prefix which is no word for an identifier: GPT-2, GPT-3 and F-16 are fewer
_SHORTEST_CODE, _FEWEST_CODES = 8, 5  # codes of one length, such as ASINs
_WORDS = frozenset(
    {"d", "doc", "docs", "docid", "document", "p", "pid", "psg", "passage", "para", "paragraph", "q", "qid", "query"}
    | {"id", "idx", "item", "text", "chunk", "node", "row", "rec", "record", "sent", "sentence", "article", "page"}
    | {"file", "prod", "product", "sku", "listing", "post", "entry", "corpus", "pmc", "pmid", "med", "answer", "ans"}
)
# Letters that also stand for districts and wards ("Q1", "P12").
_ABBREVIATIONS = ("q", "p")
_DIGEST = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{12,}"
_NUMBER = r"-?\d+(?:[.,]\d+)?|\d+(?:[_#]\d+)+|\d{5,}(?:-\d+)+"
_ADDRESS = r"[a-z][a-z0-9+.\-]*://\S+|www\.\S+"
_PATH = r"/?(?:[\w.\-]+/)+[\w.\-]*\.\w{1,5}|/(?:[\w.\-]+/)+[\w.\-]*|\S+\.(?:pdf|txt|md|html?|json|xml|docx?|png|jpe?g)"
_CERTAIN = re.compile("|".join((_DIGEST, _NUMBER, _ADDRESS, _PATH)))
_NO_TEXT = re.compile("|".join((_DIGEST, _ADDRESS, _PATH)))
_NAMED = re.compile(r"(?P<name>[^\W\d_]+(?:[_\-.:#/]+[^\W\d_]+)*)(?P<mark>[_\-.:#/]*)(?P<number>\d+)(?:[_\-.:#/]+\d+)*")
_CODE = re.compile(rf"[a-z0-9_\-]{{{_SHORTEST_CODE},}}")
_NAMES = "name the columns, such as sentence1, sentence2, label or query, positive, id"
_FOLDER = "put the texts in their place, or give the folder in which queries, corpus and qrels lie"
_WAYS_OUT = {"identifiers": _FOLDER, "numbers": f"{_FOLDER}, or {_NAMES}", "labels": _NAMES}
_DIGITS, _PIECE = re.compile(r"\d+"), re.compile(r"[^\W_]+")


def are_identifiers(values: Sequence[str], beside: Sequence[str] = ()) -> bool:
    """Whether the texts of a column are identifiers of texts.

    An identifier has no white space, nothing of it is said by the text beside it, and a program made it: it is a
    number, a UUID, a digest, an address, a path, or a word for an identifier with a number (``doc_12``, ``d93``), or
    padded with zeros; or many of a column share one prefix before their numbers (``MED-10``), or one length of
    letters mixed with digits. tests/pairs/formats/test_identifiers.py
    counts how often short texts are taken for some, and how many kinds of identifiers are found.

    Args:
        values: The texts.
        beside: What each of them goes with, such as its query; a code that its query asks for is a text. Without it,
            neither a shared prefix nor a shared length is enough.

    Returns:
        True if nine of ten are.

    Example:
        >>> are_identifiers(["doc_12", "doc_7"]), are_identifiers(["A4", "iPhone 12", "Nike"])
        (True, False)
    """
    looked = [fold(value) for value in values[:_LOOKED_AT]]
    if not looked or _most(any(sign.isspace() for sign in value) for value in looked[:20]):
        return False
    said = [_is_said(value, fold(text)) for value, text in zip_longest(looked, beside[: len(looked)], fillvalue="")]
    if sum(said) * 2 > len(looked):
        return False
    distinct = list(dict.fromkeys(looked))
    certain = {value for value in distinct if _CERTAIN.fullmatch(value)} | _named(
        distinct, least=_MANY if beside else inf
    )
    return _most(value in certain for value in looked) or (bool(beside) and _are_codes(distinct))


def _most(hold: Iterable[Any]) -> bool:
    found = [bool(one) for one in hold]
    return sum(found) >= _MOST * len(found)


def _named(distinct: Sequence[str], *, least: float) -> set[str]:
    """Those that are a name and a number, as far as their names or all of them together say that they name texts."""
    found = {value: match for value in distinct if (match := _NAMED.fullmatch(value)) is not None}
    kinds = Counter(_DIGITS.sub("#", value) for value in found)
    is_one_kind = max(kinds.values(), default=0) >= _MOST * len(distinct)
    are_few_kinds = len(kinds) <= max(1, len(distinct) // 3)
    return {
        value
        for value, match in found.items()
        if _is_word(match, len(distinct))
        or (is_one_kind and len(distinct) >= least)
        or (are_few_kinds and not {"_", ":", "#", "/"}.isdisjoint(match["mark"]))
        or (are_few_kinds and len(distinct) > 1 and match["number"].startswith("0") and len(match["number"]) > 1)
    }


def _is_word(match: re.Match[str], n_distinct: int) -> bool:
    """Whether a name is a word for an identifier; one letter is if more than one digit or others say so."""
    pieces = _PIECE.findall(match["name"].replace("_", " "))
    if match["name"] not in _WORDS and not (len(pieces) > 1 and pieces[-1] in _WORDS):
        return False
    return len(match["name"]) > 1 or len(match["number"]) > 1 or n_distinct > 1


def _are_codes(distinct: Sequence[str]) -> bool:
    """Whether they are of one length, and most are letters mixed with digits."""
    lengths = Counter(len(value) for value in distinct if _CODE.fullmatch(value))
    mixed = [value for value in distinct if _DIGITS.search(value) and len(_PIECE.findall(_DIGITS.sub(" ", value))) > 1]
    is_even = max(lengths.values(), default=0) >= _MOST * len(distinct)
    return is_even and len(distinct) >= _FEWEST_CODES and len(mixed) * 2 > len(distinct)


def _is_said(value: str, text: str) -> bool:
    """Whether a text says what may be an identifier, word by word; of "Q1" the number is enough."""
    pieces = _PIECE.findall(text)
    if value[:1] in _ABBREVIATIONS and value[1:].lstrip(".").isdigit():
        return value[1:].lstrip(".") in _DIGITS.findall(text)
    return bool(value) and f" {' '.join(_PIECE.findall(value))} " in f" {' '.join(pieces)} "


def places_of_identifiers(lists: Sequence[Sequence[Any]], *, n_texts: int = 1) -> frozenset[int]:
    """The places in lists, such as ``["q17", "phòng Q1", "d93", "Phòng"]``, at which identifiers stand before texts.

    Args:
        lists: Cells, of which those that are no texts may be numbers.
        n_texts: How many texts must be left.

    Returns:
        Places from 0; none where too few texts would be left.
    """
    lists = [one for one in islice(lists, _LOOKED_AT) if len(one) > 1]
    width = max(map(len, lists), default=0)
    found = {place for place in range(width) if _are_places_of_names(lists, range(place, place + 1))}
    for every_other in (range(0, width, 2), range(1, width, 2)):  # together more is known of a lone d4
        if not found.isdisjoint(every_other) and _are_places_of_names(lists, every_other):
            found.update(every_other)
    return frozenset(found) if width - len(found) >= n_texts else frozenset()


def _are_places_of_names(lists: Sequence[Sequence[Any]], places: Sequence[int]) -> bool:
    """Whether each list has identifiers there; a number is one if a text follows and most of them differ."""
    there = [(one[at], one[(at + 1) % len(one)]) for one in lists for at in places if len(one) > at]
    if not all(isinstance(text_id(value), str) for value, _ in there):
        return False
    values = [text_id(value) for value, _ in there]
    are_numbers = all(map(_is_number, values))  # which may be labels
    if are_numbers and (places[-1] + 1 == max(map(len, lists)) or len(set(values)) * 2 < len(values)):
        return False
    return are_identifiers(values, [text if isinstance(text, str) else "" for _, text in there])


def refuse_identifiers(entries: Iterable[tuple[int, Any]], name: str, form: str) -> Iterator[str]:
    """Refuses records of which a field holds identifiers where texts are expected.

    Where what stands beside them is nothing that people wrote (``q1`` and ``d1``, "query 1" and ``doc_1``), they may be
    the texts of an experiment: they are read, and it is said.

    Args:
        entries: Row and `Item`; all else passes.
        name: Of the source.
        form: By which the user says that they are texts.

    Yields:
        What looks like identifiers and is read all the same.

    Raises:
        DataError: If queries, positives or hard negatives are identifiers.
    """
    # A record that lacks one of the two is refused or left out, and says nothing of those that are read.
    given = ((row, item) for row, item in entries if isinstance(item, Item))
    items = [(row, item) for row, item in given if all(map(item.fields.get, ("query", "pos")))][:_LOOKED_AT]
    for field, other in (("query", "pos"), ("pos", "query"), ("hard_neg", "query")):
        found = [(row, item, text) for row, item in items for text in _texts(item.fields.get(field))]
        beside = [next(iter(_texts(item.fields.get(other))), "") for _, item, _ in found]
        texts = [text for *_, text in found]
        are_labels = bool(texts) and all(map(is_verdict, texts))
        if are_labels or are_identifiers(texts, beside):
            row, item, text = found[0]
            kind = "labels" if are_labels else "numbers" if all(map(_is_number, texts)) else "identifiers"
            if not are_labels and may_be_texts(texts, beside):
                yield f"texts of {field} look like {kind}, such as {show_name(text)}, and are read as they are"
                continue
            called = (item.called.get(f".{field}{at}") for at in ("", "[0]"))
            place = f"{name}[{row}]{next(filter(None, called), f'.{field}')}"
            raise DataError(
                f"{place}: expected texts, found {kind} such as {show_name(text)} (record {row + 1:,}). "
                f"Fix: {_WAYS_OUT[kind]}; if they are texts, say so: --format {form}"
            )


def may_be_texts(texts: Sequence[str], beside: Sequence[str]) -> bool:
    """Whether what looks like identifiers may be the texts of an experiment.

    Args:
        texts: No UUIDs, digests, addresses or paths, which nobody would write.
        beside: As for `are_identifiers`; what people wrote goes with texts that people wrote.

    Returns:
        False where they must be identifiers.
    """
    return not (_are_written(beside) or _most(_NO_TEXT.fullmatch(fold(text)) for text in texts[:_LOOKED_AT]))


def _are_written(texts: Sequence[str]) -> bool:
    """Whether people wrote them: several words each, and not the same ones with another number."""
    distinct = {*map(fold, texts)}
    kinds = {_DIGITS.sub("#", text) for text in distinct}
    return _most(len(text.split()) > 1 for text in distinct) and len(kinds) * 2 > len(distinct)


def _is_number(text: str) -> bool:
    return re.fullmatch(_NUMBER, text.strip()) is not None


def _texts(value: Any) -> list[str]:
    found = value if isinstance(value, list | tuple) else [value]
    return [one for one in found if isinstance(one, str)]
