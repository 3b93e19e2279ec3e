"""Which part of a data set is looked at, where it has several."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from embviz_callback.pairs.problems import DataError, show_name

# What a model is judged by while it is tuned, then what it is judged by at the end; never what it learns from.
_PREFERRED = (("validation", "valid", "val", "dev", "eval"), ("test",))
_KNOWN = (*_PREFERRED[0], *_PREFERRED[1], "train", "training")
_SAME: Mapping[str, str] = {"valid": "validation", "val": "validation", "dev": "validation", "eval": "validation"}


def choose_split(available: Collection[str], wanted: str, where: str) -> str:
    """One of the splits of a data set.

    Args:
        available: Their names; a subset may stand before a split, as in ``vi-test``.
        wanted: As the user named it, or a subset; empty for validation (or dev), then test. Without effect on data
            that have one part without a name, which is all there is.
        where: What the user calls the data set.

    Returns:
        Its name.

    Raises:
        DataError: If there is no such split, several fit, or only training data are there and nobody asked for them.
    """
    names = sorted(available)
    if names == [""]:
        return ""
    listed = ", ".join(map(show_name, names))
    if wanted:
        found = [name for name in names if name == wanted] or [name for name in names if _fits(name, (wanted,))]
        found = found or [name for name in names if _last(name) == _SAME.get(wanted, wanted)]
        of_subset = [name for name in names if name.startswith(f"{wanted}-")]
        if not found and of_subset:
            return choose_split(of_subset, "", where)
        if not found:
            raise DataError(f"{where}: expected the split {show_name(wanted)}, found {listed}. Fix: --split {names[0]}")
        return _only(found, where)
    for preferred in _PREFERRED:
        found = [name for name in names if _fits(name, preferred)]
        if found:
            return _only(found, where)
    if len(names) == 1 and not _fits(names[0], ("train", "training")):
        return names[0]
    raise DataError(
        f"{where}: expected a split called validation, dev or test, found {listed}. "
        f"Fix: say which is meant: --split {names[0]}"
    )


def split_in_rows(rows: Sequence[Any], wanted: str, where: str) -> str:
    """Which rows are looked at, where a column ``split`` says of each to which part it belongs.

    Args:
        rows: JSON values.
        wanted: As for `choose_split`.
        where: Likewise.

    Returns:
        The value of that column, empty without it or where it is the same everywhere.
    """
    if not all(isinstance(row, Mapping) and row.get("split") in _KNOWN for row in rows):
        return ""
    there = {row["split"] for row in rows}
    return choose_split(there, wanted, where) if len(there) > 1 else ""


def _only(found: list[str], where: str) -> str:
    if len(found) > 1:
        listed = ", ".join(map(show_name, found))
        raise DataError(f"{where}: expected one split, found {listed}. Fix: say which is meant: --split {found[0]}")
    return found[0]


def _fits(name: str, wanted: Collection[str]) -> bool:
    return _last(name) in wanted


def _last(name: str) -> str:
    return name.rpartition("-")[2].casefold()
