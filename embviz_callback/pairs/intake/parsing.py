"""From text to items: a JSON array, JSON Lines, or an object around one of them."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from embviz_callback.pairs.intake.opening import JSON_LINES, Opened, suffix_of
from embviz_callback.pairs.intake.splits import choose_split
from embviz_callback.pairs.intake.tables import rows_of_cells, rows_of_columns
from embviz_callback.pairs.problems import DEFAULT_LIMITS, DataError, DataLimits, Spot, show, show_names

WRAPPERS = ("data", "records", "rows", "pairs", "examples", "train", "validation", "test")

_BLANK = " \t\r\n"
_WHITE = re.compile(r"[ \t\r\n]*")
_SHOWN_PLACE = 120  # a hundred brackets say no more than these
_MAX_DIGITS = 300  # such an integer still fits a float; Python itself refuses beyond 4,300 digits

IsWhole = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Expected:
    """What a source may hold, as far as its reader knows.

    Attributes:
        is_whole: Whether an object is a data set by itself, without a list of records in it.
        known: Names by which records are known that stand in an object under names of their own, and the first line
            of a TSV file for one of names.
        split: Which of several lists.
        limits: Of its size and its rows.
        form: How a list is to look, for errors.
    """

    is_whole: IsWhole = lambda value: False
    known: Collection[str] = ()
    split: str = ""
    limits: DataLimits = DEFAULT_LIMITS
    form: str = 'give a list of records such as {"query": "...", "pos": "..."}'


@dataclass(frozen=True)
class Material:
    """What lies in one file or one object, before its form is known.

    Attributes:
        rows: JSON values, `Broken` where a line was none; or what they are in Python.
        name: The source with the way to the rows in it, such as ``data.json.train``, for errors.
        path: As the user gave it, "pairs" for an object in Python.
        sha256: Of the file as it is on disk, empty for an object.
        has_odd: Whether a value is one that JSON allows and a data set must not hold.
        notes: What was unwrapped or assumed, in words.
        around: What stands beside the rows in the file.
    """

    rows: Sequence[Any]
    name: str
    path: str
    sha256: str = ""
    has_odd: bool = False
    notes: tuple[str, ...] = ()
    around: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Broken:
    """What is no record, such as a line of JSON Lines that could not be parsed.

    Attributes:
        found: What stands there.
        fix: How to mend it.
        expected: What should; empty for a JSON object.
    """

    found: str
    fix: str
    expected: str = ""


@dataclass(frozen=True)
class OddNumber:
    """A number that is not finite or absurdly long."""

    found: str


class RepeatedNames(dict[str, Any]):
    """An object that gave a name twice; the first such name stands in `name`."""

    name: str = ""


@dataclass
class _Decoder:
    """A JSON decoder that marks what plain Python would accept or die of, instead of losing it."""

    n_odd: int = 0
    _json: json.JSONDecoder = field(init=False)

    def __post_init__(self) -> None:
        self._json = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_float=self._float,
            parse_int=self._int,
            parse_constant=self._odd,
            # Raw control characters inside a text are replaced later, as escaped ones are.
            strict=False,
        )

    def one(self, text: str, start: int = 0) -> tuple[Any, int]:
        """The value that begins at or after `start`, and where the text goes on behind it."""
        value, end = self._json.raw_decode(text, _skip(text, start))
        return value, _skip(text, end)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        self.n_odd += 1
        repeated = RepeatedNames(found)
        counts = Counter(name for name, _ in pairs)
        repeated.name = next(name for name, count in counts.items() if count > 1)
        return repeated

    def _float(self, digits: str) -> float | OddNumber:
        number = float(digits)
        return number if math.isfinite(number) else self._odd(digits)

    def _int(self, digits: str) -> int | OddNumber:
        return int(digits) if len(digits) <= _MAX_DIGITS else self._odd(f"an integer of {len(digits):,} digits")

    def _odd(self, found: str) -> OddNumber:
        self.n_odd += 1
        return OddNumber(found)


def parse_items(opened: Opened, expected: Expected) -> Material:
    """The items of a dataset; JSON Lines are recognised by suffix or by content.

    Args:
        opened: The whole file.
        expected: What it may hold.

    Returns:
        The items, unchecked but for their syntax.

    Raises:
        DataError: If the text is no JSON, or JSON that holds no list of records.
    """
    decoder, text, name = _Decoder(), opened.text, opened.path
    try:
        if _is_lines(text) or (text[_skip(text, 0)] != "[" and suffix_of(name) in JSON_LINES):
            found = _lines(decoder, text, name, expected)
        else:
            found = _document(decoder, text, name, expected)
    except RecursionError:
        raise DataError(
            f"{name}: is nested too deeply to be a dataset. Fix: give a list of records as the format describes"
        ) from None
    expected.limits.check_records(len(found.rows), found.name)
    notes = (*opened.notes, *found.notes)
    return replace(found, sha256=opened.sha256, has_odd=decoder.n_odd > 0, notes=notes)


def _are_named(value: Mapping[str, Any], known: Collection[str]) -> bool:
    """Whether an object holds records under names of their own, as ``to_json(orient="index")`` writes them."""
    rows = list(value.values())
    return bool(rows) and all(isinstance(row, Mapping) and set(known) & row.keys() for row in rows)


def parse_document(text: str, name: str) -> Any:
    """The one JSON value of a text, such as a configuration.

    Args:
        text: The whole file.
        name: Its path, for errors.

    Returns:
        The value, free of odd numbers and repeated names.

    Raises:
        DataError: If the text is no JSON or holds what JSON cannot mean.
    """
    decoder = _Decoder()
    try:
        value, end = decoder.one(text)
    except json.JSONDecodeError as error:
        raise DataError(_syntax(error, name)) from None
    except RecursionError:
        raise DataError(f"{name}: is nested too deeply. Fix: check the file") from None
    if end < len(text):
        raise DataError(f"{name}: goes on behind its end at {_position(text, end)}. Fix: remove what follows")
    _check_whole(value, name, decoder.n_odd)
    return value


def _document(decoder: _Decoder, text: str, name: str, expected: Expected) -> Material:
    try:
        value, end = decoder.one(text)
        if isinstance(value, Mapping) and text.startswith("{", end):
            return Material([value, *_further(decoder, text, end)], name, name)
    except json.JSONDecodeError as error:
        raise DataError(_syntax(error, name)) from None
    if end < len(text):
        raise DataError(f"{name}: goes on behind its end at {_position(text, end)}. Fix: keep one list per file")
    if isinstance(value, list) or (isinstance(value, Mapping) and expected.is_whole(value)):
        return Material(value if isinstance(value, list) else [value], name, name)
    return _unwrap(decoder, value, name, expected)


def _further(decoder: _Decoder, text: str, end: int) -> Iterator[Any]:
    """The objects behind the first of a file that holds one after the other, each over several lines."""
    while end < len(text):
        value, end = decoder.one(text, end)
        yield value


def lists_of_records(value: Mapping[Any, Any]) -> dict[str, list[Any]]:
    """The lists of records in an object: those under names that say so, or else all that it holds.

    Returns:
        Lists by their names; none of an object that is something else, such as columns or a record.

    Example:
        >>> list(lists_of_records({"train": [{"query": "a"}], "version": 2}))
        ['train']
    """
    lists = {name: one for name, one in value.items() if isinstance(one, list)}
    named = {name: lists[name] for name in WRAPPERS if name in lists}
    if named or len(lists) < len(value):
        return named
    return lists if all(one and isinstance(one[0], Mapping) for one in lists.values()) else {}


def _unwrap(decoder: _Decoder, value: Any, name: str, expected: Expected) -> Material:
    is_object = isinstance(value, Mapping)
    table = rows_of_cells(value) if is_object else None
    if table is not None:
        _check_whole(value, name, decoder.n_odd)
        return Material(table, name, name, notes=("the file holds names of columns and rows of cells",))
    lists = lists_of_records(value) if is_object else {}
    if lists:
        chosen = choose_split(lists, expected.split, name) if len(lists) > 1 else next(iter(lists))
        around = copy(value)  # remembers a name that stands in it twice
        around[chosen] = None
        _check_whole(around, name, decoder.n_odd)
        note = f"read from the field {chosen!r} of the object in the file"
        return Material(lists[chosen], f"{name}.{chosen}", name, notes=(note,), around=around)
    if is_object and _are_named(value, expected.known):
        named = [{"id": str(key), **row} for key, row in value.items()]
        return Material(named, name, name, notes=("the file holds records under names; read as their ids",))
    rows = rows_of_columns(value) if is_object else None
    if rows is not None:
        return Material(rows, name, name, notes=("the file holds columns; read row by row",))
    if is_object and "query" in value:
        return Material([value], name, name, notes=("the file holds one record and no list",))
    raise DataError(f"{name}: expected a list of records, found {show(value)}. Fix: {expected.form}")


def _check_whole(value: Any, name: str, n_odd: int) -> None:
    """For values that are no records: the first odd thing in them ends the reading."""
    if n_odd == 0:
        return
    for place, expected, found, fix in odd_values(value):
        raise DataError(f"{name}{place}: expected {expected}, found {found}. Fix: {fix}")


def _is_lines(text: str) -> bool:
    """Whether the first line is an object or a list of its own and others follow it."""
    first, _, rest = text.lstrip(_BLANK).partition("\n")
    # What follows a pretty-printed list is its end.
    if not rest.strip(_BLANK) or (first.startswith("[") and not rest.lstrip(_BLANK).startswith("[")):
        return False
    try:
        value, end = _Decoder().one(first)
    except json.JSONDecodeError:
        return False
    return end == len(first) and isinstance(value, Mapping | list)


def _lines(decoder: _Decoder, text: str, name: str, expected: Expected) -> Material:
    # Only \n ends a line: other line separators are legal inside a JSON text.
    numbered = [(at, line) for at, line in enumerate(text.split("\n"), start=1) if line.strip(_BLANK)]
    expected.limits.check_records(len(numbered), name)
    last = len(numbered) - 1
    items = [_line(decoder, line, at, is_last=row == last) for row, (at, line) in enumerate(numbered)]
    if items and all(isinstance(item, Broken) for item in items):
        raise DataError(f"{name}: no line is a JSON object, the first has {items[0].found}. Fix: {expected.form}")
    return Material(items, name, name)


def _line(decoder: _Decoder, line: str, at: int, *, is_last: bool) -> Any:
    try:
        value, end = decoder.one(line)
    except json.JSONDecodeError as error:
        what, fix = _diagnose(error)
        fix = fix if "ends" not in what or is_last else "put every record on one line of its own"
        return Broken(f"{what} at line {at:,}, column {error.colno:,}", fix)
    if end < len(line):
        return Broken(f"more behind it at line {at:,}, column {end + 1:,}", "put every record on one line of its own")
    return value


def _syntax(error: json.JSONDecodeError, name: str) -> str:
    what, fix = _diagnose(error)
    fix = fix if error.doc[: error.pos].strip() else f"{fix}; the name of a table ends in .csv or .tsv"
    return f"{name}: {what} at {_position(error.doc, error.pos)}. Fix: {fix}"


def _diagnose(error: json.JSONDecodeError) -> tuple[str, str]:
    text, at = error.doc, error.pos
    before, behind = text[:at].rstrip(_BLANK), text[at:].lstrip(_BLANK)
    if not behind or error.msg.startswith("Unterminated string"):
        return "the text ends in the middle of a value", "copy or download it again"
    if before.endswith(",") and behind[0] in "]}":
        return "a comma before the closing bracket", "remove that comma"
    if behind[0] == "," and behind[1:].lstrip(_BLANK)[:1] in ("]", "}"):  # Python 3.13 points at the comma itself
        return "a comma before the closing bracket", "remove that comma"
    if behind[0] == "'":
        return "a text in single quotes", "write it with json.dump: JSON wants double quotes"
    return f"no valid JSON ({error.msg})", "write the file with json.dump, or correct that place"


def _position(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    return f"line {line:,}, column {at - text.rfind(chr(10), 0, at):,}"


def _skip(text: str, start: int) -> int:
    found = _WHITE.match(text, start)
    assert found is not None  # the pattern matches the empty text
    return found.end()


def odd_values(value: Any) -> Iterator[tuple[str, str, str, str]]:
    """Every value that JSON allows and a dataset must not hold, however deep.

    Args:
        value: What the decoder made.

    Yields:
        The way to it, what was expected, what was found, how to mend it.
    """
    waiting = [("", value)]
    # A list and not recursion: a field that nobody reads may be nested deeper than Python can call.
    while waiting:
        place, inner = waiting.pop()
        if isinstance(inner, OddNumber):
            yield place, "a finite number", inner.found, "write a number, or leave the field out"
        elif isinstance(inner, Mapping):
            if isinstance(inner, RepeatedNames):
                name = show_names([inner.name])
                yield place, "every name once", f"{name} twice", "remove one of the two"
            waiting.extend((f"{place}.{show_names([key])}", inner[key]) for key in reversed(inner))
        elif isinstance(inner, list):
            waiting.extend((f"{place}[{at}]", inner[at]) for at in range(len(inner) - 1, -1, -1))


def refuse_odd(item: Any, spot: Spot) -> bool:
    """Whether a record holds an odd value; each is taken down."""
    n_before = spot.problems.total
    for place, expected, found, fix in odd_values(item):
        shown = place if len(place) <= _SHOWN_PLACE else f"{place[:_SHOWN_PLACE]}…"
        Spot(spot.problems, spot.index, shown).refuse(expected=expected, found=found, fix=fix)
    return spot.problems.total > n_before
