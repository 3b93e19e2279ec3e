"""What is wrong with a dataset, in words that say where it is and how to mend it."""

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field

from embviz_callback.pairs.texts import clean

_SHOWN_PROBLEMS = 20
_SHOWN_CHARACTERS = 40


class DataError(ValueError):
    """A file or list of pairs that cannot be used; the message lists up to 20 problems and their total."""


@dataclass
class Problems:
    """The problems of one source, collected until it has been read to its end.

    Attributes:
        source: What the user calls it: a path, or "pairs" for a list in Python.
        n_records: Records in the source, None if not known.
        lines: The first problems, one sentence each.
        total: How many there were.
        replaced: Characters that no output could hold and U+FFFD stands for.
    """

    source: str
    n_records: int | None = None
    lines: list[str] = field(default_factory=list)
    total: int = 0
    replaced: int = 0

    def add(self, index: int, place: str, expected: str, found: str, fix: str) -> None:
        """Takes down one problem of the record at `index`, counted from 0."""
        self.total += 1
        if len(self.lines) == _SHOWN_PROBLEMS:
            return
        of_all = "" if self.n_records is None else f" of {self.n_records:,}"
        self.lines.append(
            f"{self.source}[{index}]{place}: expected {expected}, found {found} "
            f"(record {index + 1:,}{of_all}). Fix: {fix}"
        )

    def error(self) -> DataError:
        """All of it as one message: a lone problem on one line, several below a line that counts them."""
        if self.total == 1:
            return DataError(self.lines[0])
        first = f", the first {len(self.lines)}" if self.total > len(self.lines) else ""
        return DataError("\n  ".join([f"{self.source}: {self.total:,} problems{first}:", *self.lines]))


@dataclass(frozen=True)
class Spot:
    """One place in a source: a record, a field of it, an element of that.

    Attributes:
        problems: Where a problem is taken down.
        index: The record, counted from 0.
        place: The way from the record to the value, such as ``.hard_neg[2].weight``.
        called: What the source calls a place, by what we call it, such as ``.hard_neg[1]``: ``.negative_2``.
    """

    problems: Problems
    index: int
    place: str = ""
    called: Mapping[str, str] = field(default_factory=dict)

    def at(self, step: str | int) -> "Spot":
        """The field or element one step further in."""
        suffix = f"[{step}]" if isinstance(step, int) else f".{show_name(step)}"
        return Spot(self.problems, self.index, self.place + suffix, self.called)  # replace() takes three times as long

    @property
    def their_place(self) -> str:
        """The place as the source calls it."""
        for at in range(len(self.place), 0, -1):
            # Only whole steps have names: .hard_neg, .hard_neg[1], never .hard_n.
            if self.place[:at] in self.called and self.place[at : at + 1] in ("", ".", "["):
                return self.called[self.place[:at]] + self.place[at:]
        return self.place

    @property
    def name(self) -> str:
        """The last field on the way, as the source calls it."""
        return self.their_place.rpartition(".")[2].partition("[")[0]

    def refuse(self, *, expected: str, found: str, fix: str) -> None:
        """Takes down that this place holds something else than it should."""
        self.problems.add(self.index, self.their_place, expected, found, fix)


def show(value: object) -> str:
    """A value as an error may show it: short, on one line, in the words of JSON.

    Returns:
        A noun phrase of at most about fifty characters.

    Example:
        >>> show(None), show(True), show("5tr"), show([1, 2])
        ('null', 'true', "the text '5tr'", 'a list of 2')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"the text {_clip(ascii(value) if not clean(value).isprintable() else repr(value))}"
    if isinstance(value, Mapping):
        return f"an object with {show_names(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return _show_other(value)


def _show_other(value: object) -> str:
    if isinstance(value, int) and abs(value) > 10**_SHOWN_CHARACTERS:  # Python will not print 5,000 digits
        return "an integer of very many digits"
    if isinstance(value, int | float):
        return f"the number {value}"
    size = f" of {len(value)}" if isinstance(value, Sized) else ""
    return f"{type(value).__name__}{size}"


def show_names(names: Mapping[object, object] | Mapping[str, object]) -> str:
    """Up to eight field names, or that there are none."""
    shown = [show_name(name) for name in list(names)[:8]]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{', '.join(shown)}{more}" if shown else "no fields"


def show_name(name: object) -> str:
    """A field name that cannot break the line it stands on."""
    text = clean(str(name))
    return _clip(text if text.isprintable() else ascii(text))


def _clip(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
