"""Objects in Python that hold rows: lists, generators, data frames and data sets."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from embviz_callback.pairs.intake.parsing import rows_of_columns
from embviz_callback.pairs.intake.splits import choose_split
from embviz_callback.pairs.problems import DEFAULT_LIMITS, DataError, DataLimits, show


def rows_of(given: Any, *, split: str = "", limits: DataLimits = DEFAULT_LIMITS) -> tuple[list[Any], str]:
    """The rows of an object in Python, and what to call it.

    pandas and `datasets` are not imported: an object is known by what it can do.

    Args:
        given: A list or another iterable of rows, a pandas DataFrame, a `Dataset`, or a `DatasetDict` of them.
        split: Which part of a `DatasetDict`; empty for validation or dev, then test.
        limits: Of the rows.

    Returns:
        The rows and "pairs", with the split behind it if one was chosen.

    Raises:
        DataError: If the object holds no rows.
    """
    if isinstance(given, Mapping) and given and all(_is_dataset(one) for one in given.values()):
        chosen = choose_split([str(name) for name in given], split, "pairs")
        return rows_of(given[chosen], limits=limits)[0], f"pairs.{chosen}"
    if hasattr(given, "to_dict") and hasattr(given, "iloc"):  # a DataFrame
        limits.check_records(len(given), "pairs")
        return [_without_gaps(row) for row in given.to_dict("records")], "pairs"
    columns = rows_of_columns(given) if isinstance(given, Mapping) else None
    if columns is not None:
        limits.check_records(len(columns), "pairs")
        return list(columns), "pairs"
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise DataError(f"pairs: expected a list of records, found {show(given)}. Fix: use read_pairs for a file")
    labels = _label_names(given)
    rows = list(islice(given, limits.records + 1))  # a generator may have no end
    limits.check_records(len(rows), "pairs")
    return ([_with_names(row, labels) for row in rows] if labels else rows), "pairs"


def _is_dataset(value: Any) -> bool:
    return hasattr(value, "features") and isinstance(value, Iterable)


def _label_names(given: Any) -> dict[str, list[str]]:
    features = getattr(given, "features", None)
    if not isinstance(features, Mapping):
        return {}
    return {name: list(one.names) for name, one in features.items() if type(one).__name__ == "ClassLabel"}


def _with_names(row: Any, labels: Mapping[str, list[str]]) -> Any:
    if not isinstance(row, Mapping):
        return row
    return {name: _name(value, labels[name]) if name in labels else value for name, value in row.items()}


def _name(value: Any, names: list[str]) -> Any:
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _without_gaps(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of a data frame without what pandas puts where nothing is; its arrays as lists."""
    plain = {str(name): value.tolist() if hasattr(value, "tolist") else value for name, value in row.items()}
    return {name: value for name, value in plain.items() if value is not None and not _is_gap(value)}


def _is_gap(value: Any) -> bool:
    # NaN is unequal to itself, and so is pandas' NaT; pandas.NA refuses to answer.
    return type(value).__name__ == "NAType" or (not isinstance(value, list | str | Mapping) and bool(value != value))
