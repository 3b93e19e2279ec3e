"""Writes what docs/metrics.md takes from the catalogue of metrics: the table at its beginning, and the checklist.

Run: ``python docs/make_metrics.py``; a test says when it is due.
"""

import math
import sys
from pathlib import Path

from embviz_callback.analysis.metrics.catalogue import BANDS, CATALOGUE, HIGHER, LOWER, Metric
from embviz_callback.analysis.metrics.pictures import BRIGHT_SHARE, CLEAR_SHARE, FIGURES, MAPS
from embviz_callback.delivery.tags import PREFIX, scalar_tag

PAGE = Path(__file__).resolve().parent / "metrics.md"
_MARK = "<!-- {}, by make_metrics.py -->\n"
_SIGNS = {HIGHER: ">", LOWER: "<"}


def main() -> int:
    """Writes the page anew."""
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def renewed(page: str) -> str:
    """The page with both parts as the catalogue has them now."""
    for name, text in (("all metrics", _table()), ("checklist", _checklist())):
        begin, end = _MARK.format(name), _MARK.format(f"end of {name}")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{text}{end}{rest.partition(end)[2]}"
    return page


def _table() -> str:
    rows = [_row(row) for row in CATALOGUE.values() if not row.is_bound]
    head = ("name", "what it is", "unit", "good", "95 % interval", "logged as")
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *rows))


def _row(row: Metric) -> tuple[str, ...]:
    group = scalar_tag(PREFIX, row.name).partition("/")[0]
    return f"`{row.name}`", row.says, row.unit, _good(row), "yes" if row.has_interval else "", f"`{group}/`"


def _good(row: Metric) -> str:
    if row.bands is not None:
        edges = ", ".join(f"from {edge:.2f} {word}" for edge, word in zip(row.bands[1:], BANDS[1:], strict=False))
        return f"> {row.threshold:g}; > {row.bands[0]:.2f} {BANDS[0]}, {edges}, below {BANDS[-1]}"
    wanted = row.threshold if row.is_checked else row.good
    if math.isnan(wanted):
        return ""
    return f"{_SIGNS.get(row.better, 'near')} {wanted:g}"


def _checklist() -> str:
    numbers = "; ".join(
        f"`{row.name}` {_SIGNS[row.better]} {row.threshold:g}" for row in CATALOGUE.values() if row.is_checked
    )
    maps = " and in ".join(row.title for row in MAPS.values())
    return (
        f"Passed only if exceeded: all {len(FIGURES)} figures made; {numbers};\n"
        f"clear clusters in {maps} (share of queries with a right document among their ten nearest points) "
        f"> {CLEAR_SHARE:g};\n"
        "bright diagonal (share of queries whose brightest cell in a block of 50 columns is relevant, ties by chance) "
        f"> {BRIGHT_SHARE:g}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
