"""Whether quotes in a table stand around its cells, as writers of CSV put them, or are part of its texts."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

_LONGEST_CELL = 1 << 27
_MOST_LINES = 10_000  # of one cell; behind a quote that nobody closed stands the rest of the file


def are_around_cells(lines: Iterable[str], separator: str, *, is_usual: bool) -> bool:
    """Whether the quotes of a table are its writer's.

    A writer quotes a cell if a separator, a quote or a line break is in it (or a comma, in spreadsheets), or quotes
    all cells of a column, and doubles the quotes within. One cell that no writer would have written so shows that
    quotes are texts here, as in MS MARCO; so do lines that have all the same number of cells as they stand while some
    of them would have to be joined.

    Args:
        lines: All of the table, with their ends.
        separator: Between its cells.
        is_usual: Whether quotes are around cells unless that cannot be, as in CSV.

    Returns:
        False for what can be read as quoted only with an error, and evenly without.
    """
    csv.field_size_limit(_LONGEST_CELL)
    seen = _Seen(separator, is_usual)
    given = seen.lines(lines)
    try:
        for cells in csv.reader(given, delimiter=separator, strict=True):
            if cells and not seen.is_written(cells) and not is_usual:
                return False
    except csv.Error:
        if is_usual:  # whether the whole of it is even as it stands
            seen.is_even = seen.is_even and all(map(seen.fits, lines))
        return is_usual and not seen.is_even
    return is_usual or (len(seen.row_widths) < 2 and (not seen.is_even or seen.looks_quoted))


@dataclass
class _Seen:
    """What has been seen of a table.

    Attributes:
        separator: Between its cells.
        is_usual: Whether a separator between quotes on one line parts no cells.
        is_even: Whether every line has as many cells as the first, if quotes are texts.
        width: So many.
        row_widths: Cells of its rows, if quotes are around them; two different ones are enough.
        n_joined: Rows of several lines.
        n_rows: So many.
        bare: Columns with a cell that has no quotes around it, the first row aside.
        needless: Columns with a cell in quotes that needs none.
        of_commas: Columns with a cell in quotes that needs them for a comma at most.
        has_bare_comma: Whether a cell without quotes has a comma.
    """

    separator: str
    is_usual: bool
    is_even: bool = True
    width: int = 0
    row_widths: set[int] = field(default_factory=set)
    n_joined: int = 0
    n_rows: int = 0
    bare: set[int] = field(default_factory=set)
    needless: set[int] = field(default_factory=set)
    of_commas: set[int] = field(default_factory=set)
    has_bare_comma: bool = False
    _kept: list[str] = field(default_factory=list)

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines, of which those of the row that is being read are kept."""
        for line in lines:
            self.is_even = self.is_even and self.fits(line)
            self._kept.append(line)
            if len(self._kept) > _MOST_LINES:
                raise csv.Error("a cell of too many lines")
            yield line.replace("\0", "\ufffd")

    def fits(self, line: str) -> bool:
        """Whether a line has as many cells as the first, if quotes are texts; a blank one has none."""
        if self.is_usual and '"' in line and self._held.search(line.rstrip("\r\n")):
            return False
        width = line.count(self.separator) + 1 if line.strip("\r\n") else self.width
        self.width = self.width or width
        return width == self.width

    @cached_property
    def _held(self) -> re.Pattern[str]:
        """A cell between quotes that holds the separator."""
        part = re.escape(self.separator)
        return re.compile(rf'(?:^|{part})"[^"]*{part}[^"]*"(?:{part}|$)')

    def is_written(self, cells: list[str]) -> bool:
        """Whether a writer could have written the row that was read last; what it says of the table is kept."""
        raw, n_lines = "".join(self._kept).replace("\0", "\ufffd"), len(self._kept)
        self._kept.clear()
        self.n_joined += n_lines > 1
        self.n_rows += 1
        self.row_widths.add(len(cells))
        at = 0
        for column, cell in enumerate(cells):
            quoted = '"' + cell.replace('"', '""') + '"'
            if raw.startswith(quoted, at):
                self._take_quoted(column, cell)
                at += len(quoted) + 1
                continue
            if '"' in cell:
                return False
            self._take_bare(column, cell)
            at += len(cell) + 1
        return True

    def _take_quoted(self, column: int, cell: str) -> None:
        if not any(sign in cell for sign in (self.separator, '"', "\n", "\r")):
            (self.of_commas if "," in cell else self.needless).add(column)

    def _take_bare(self, column: int, cell: str) -> None:
        if self.n_rows > 1 and cell:
            self.bare.add(column)
            self.has_bare_comma = self.has_bare_comma or "," in cell

    @property
    def looks_quoted(self) -> bool:
        """Whether a writer put quotes around cells of an even table, where both ways of reading it are possible."""
        needless = self.needless | (self.of_commas if self.has_bare_comma else set())
        return not self.n_joined and not needless & self.bare
