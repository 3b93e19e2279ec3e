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
    if wanted and wanted in names:
        return wanted
    last = {name: name.rpartition("-")[2].casefold() for name in names}
    accepted = ((wanted,), (_SAME.get(wanted, wanted),)) if wanted else _PREFERRED
    fitting = ([name for name in names if last[name] in words] for words in accepted)
    found = next(filter(None, fitting), [])
    if len(found) > 1:
        raise DataError(
            f"{where}: expected one split, found {_listed(found)}. Fix: say which is meant: --split {found[0]}"
        )
    if found:
        return found[0]
    of_subset = [name for name in names if wanted and name.startswith(f"{wanted}-")]
    if of_subset:
        return choose_split(of_subset, "", where)
    if not wanted and len(names) == 1 and last[names[0]] not in ("train", "training"):
        return names[0]
    meant = f"the split {show_name(wanted)}" if wanted else "a split called validation, dev or test"
    fix = "" if wanted else "say which is meant: "
    raise DataError(f"{where}: expected {meant}, found {_listed(names)}. Fix: {fix}--split {names[0]}")


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


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(show_name, names))
