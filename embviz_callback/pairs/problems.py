"""What is wrong with a dataset, in words that say where it is and how to mend it; and how much one may hold."""

from collections.abc import Collection, Mapping, Sized
from dataclasses import dataclass, field, fields
from functools import lru_cache

from embviz_callback.grammar import agreeing, counted
from embviz_callback.pairs.texts import beginning, clean

_SHOWN_PROBLEMS = 20
ENOUGH_PROBLEMS = 1000  # after which a source that is refused need not be read to its end
LONGEST_NAME = 1000  # characters of an identifier or a column's name, which would be another's if it were cut
_WORTH_A_LOOK = 2_000_000  # bytes of text, below which nobody minds how well a file was compressed
_SHOWN_CHARACTERS = 40


class DataError(ValueError):
    """A file or list of pairs that cannot be used; the message lists up to 20 problems and their total."""


@dataclass(frozen=True)
class DataLimits:
    """How much a source of data may hold, each a whole number of at least 1.

    Attributes:
        megabytes: Text of one file that is read as a whole, unpacked; Python takes about ten times as much.
        ratio: By how much text may be larger than the compressed file that holds it, once it is larger than 2 MB.
        records: Rows of a source.
        documents: Texts of one field of a record: positives, hard negatives, judged documents.
        columns: Of metadata, over all records; further ones are left out.
        characters: Of one text; a longer one is cut.

    Raises:
        ValueError: If one is below 1.
    """

    megabytes: int = 512
    ratio: int = 100
    records: int = 1_000_000
    documents: int = 10_000
    columns: int = 100
    characters: int = 100_000

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{one.name} must be a whole number of at least 1, got {value!r}")

    def more(self, name: str) -> str:
        """How to raise a limit."""
        return f"--limits {name}=N (Reading(limits=DataLimits({name}=N)) in Python) allows more"

    def check_unpacked(self, n_unpacked: int, n_packed: int, name: str) -> None:
        """A `DataError` where a small file unpacks to a large text, before that has filled the memory."""
        if n_unpacked > max(_WORTH_A_LOOK, self.ratio * n_packed):
            expected = f"expected text at most {self.ratio:,} times as large as the compressed file, found more"
            raise DataError(f"{name}: {expected}. Fix: check the file; {self.more('ratio')}")

    def check_records(self, n_records: int, name: str) -> None:
        """A `DataError` where there are too many rows."""
        if n_records > self.records:
            raise DataError(
                f"{name}: expected at most {self.records:,} records, found more. "
                f"Fix: give a part of them; {self.more('records')}"
            )


DEFAULT_LIMITS = DataLimits()


@dataclass
class Problems:
    """The problems of one source, collected until it has been read to its end.

    Attributes:
        source: What the user calls it: a path, or "pairs" for a list in Python.
        n_records: Records in the source, None if not known.
        lines: The first problems, one sentence each.
        total: How many there were.
        replaced: Characters that no output could hold and U+FFFD stands for.
        limits: Of the source.
        is_cut_short: Whether it was not read to its end, because there are enough.
        n_cut: Texts that were longer than they may be, and are cut.
        columns: Names of metadata, at most so many as there may be.
        has_more_columns: Whether there are others, which are left out.
    """

    source: str
    n_records: int | None = None
    lines: list[str] = field(default_factory=list)
    total: int = 0
    replaced: int = 0
    limits: DataLimits = DEFAULT_LIMITS
    is_cut_short: bool = False
    n_cut: int = 0
    columns: set[str] = field(default_factory=set)
    has_more_columns: bool = False

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

    def takes_column(self, name: str) -> bool:
        """Whether a column of metadata is read; the first ones of a source are."""
        if name in self.columns:
            return True
        if len(self.columns) == self.limits.columns or len(name) > LONGEST_NAME:
            self.has_more_columns = True
            return False
        self.columns.add(name)
        return True

    def cut(self, text: str) -> str:
        """A text, or the beginning of one that is longer than it may be."""
        if len(text) <= self.limits.characters:
            return text
        self.n_cut += 1
        return text[: self.limits.characters]

    def remarks(self, skipped: int, of_all: str) -> list[str]:
        """What was left out of so many records or items, replaced and cut, one sentence each."""
        found = []
        if skipped:
            found.append(f"{skipped:,} of {of_all} left out, the first because of {self.lines[0]}")
        if self.replaced:
            found.append(counted(self.replaced, "character[s] that cannot be shown [were|was] replaced by U+FFFD"))
        if self.n_cut:
            longer = counted(self.n_cut, "text[s] longer than")
            cut = agreeing(self.n_cut, "[are|is] cut")
            found.append(f"{longer} {self.limits.characters:,} characters {cut}; {self.limits.more('characters')}")
        if self.has_more_columns:
            read = f"metadata: {counted(self.limits.columns, 'column[s] [are|is] read')}, the others are left out"
            found.append(f"{read}; {self.limits.more('columns')}")
        return found

    def error(self) -> DataError:
        """All of it as one message: a lone problem on one line, several below a line that counts them."""
        if self.total == 1:
            return DataError(self.lines[0])
        first = f", the first {len(self.lines)}" if self.total > len(self.lines) else ""
        at_least = "at least " if self.is_cut_short else ""
        return DataError("\n  ".join([f"{self.source}: {at_least}{self.total:,} problems{first}:", *self.lines]))


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
        suffix = f"[{step}]" if isinstance(step, int) else f".{_shown_step(step)}"
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
    try:
        size = f" of {len(value)}" if isinstance(value, Sized) else ""
    except TypeError:  # a tensor of no axis
        size = ""
    return f"{type(value).__name__}{size}"


def show_names(names: Collection[object], *, most: int = 8) -> str:
    """Some field names, and how many there are more; or that there are none."""
    shown = [show_name(name) for name in list(names)[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(shown)}{more}" if shown else "no fields"


def show_name(name: object) -> str:
    """A field name that cannot break the line it stands on."""
    text = clean(str(name))
    return _clip(text if text.isprintable() and text.strip() else ascii(text))


# A million records have the same few fields.
_shown_step = lru_cache(maxsize=1024)(show_name)


def _clip(text: str) -> str:
    return beginning(text, _SHOWN_CHARACTERS)
