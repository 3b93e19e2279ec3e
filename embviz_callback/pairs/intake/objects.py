"""Objects in Python that hold rows: lists, generators, data frames, tables and data sets."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from embviz_callback.pairs.intake.arrow import with_label_names
from embviz_callback.pairs.intake.parsing import lists_of_records
from embviz_callback.pairs.intake.splits import choose_split
from embviz_callback.pairs.intake.tables import rows_of_columns
from embviz_callback.pairs.problems import DEFAULT_LIMITS, DataError, DataLimits, show

IN_PYTHON = "pairs"  # what such an object is called in messages
_LONGEST_ROW = 3  # query, positive and negative; longer lists in a tuple are columns
_FORM = "give a list of records, a Dataset or a DataFrame, or the path of a file"


def rows_of(given: Any, *, split: str = "", limits: DataLimits = DEFAULT_LIMITS) -> tuple[list[Any], str]:
    """The rows of an object in Python, and what to call it.

    pandas, `datasets`, pyarrow and polars are not imported: an object is known by what it can do.

    Args:
        given: A list or another iterable of rows, a map-style data set of torch, a data frame, a table, a `Dataset`,
            a mapping of columns, or of splits to any of these, such as a `DatasetDict`.
        split: Which of the splits; empty for validation or dev, then test.
        limits: Of the rows.

    Returns:
        The rows and "pairs", with the split behind it if one was chosen.

    Raises:
        DataError: If the object holds no rows.
    """
    if isinstance(given, Mapping) and (lists_of_records(given) or (given and all(map(_is_table, given.values())))):
        chosen = choose_split([str(name) for name in given], split, IN_PYTHON)
        return rows_of(given[chosen], limits=limits)[0], f"{IN_PYTHON}.{chosen}"
    columns = rows_of_columns(given) if isinstance(given, Mapping) else None
    if columns is not None:
        limits.check_records(len(columns), IN_PYTHON)
        return list(columns), IN_PYTHON
    if isinstance(given, tuple) and all(isinstance(one, list) and len(one) > _LONGEST_ROW for one in given):
        expected = f"expected a list of records, found a tuple of {len(given)} lists"
        raise DataError(f"{IN_PYTHON}: {expected}. Fix: list(zip(queries, documents)), or a list of lists")
    found = _rows(given)
    if found is None:
        raise DataError(f"{IN_PYTHON}: expected a list of records, found {show(given)}. Fix: {_FORM}")
    rows = list(islice(found, limits.records + 1))  # a generator may have no end
    limits.check_records(len(rows), IN_PYTHON)
    return rows, IN_PYTHON


def _rows(given: Any) -> Iterable[Any] | None:
    """One after the other, None of what has none."""
    if hasattr(given, "to_dict") and hasattr(given, "iloc"):
        return map(_without_gaps, _with_index(given).to_dict("records"))
    for to_rows in ("to_pylist", "to_dicts"):  # of pyarrow and of polars
        if hasattr(given, to_rows):
            return map(_without_gaps, getattr(given, to_rows)())
    if isinstance(given, str | bytes | Mapping):
        return None
    if _is_dataset(given):
        given = given.with_format(None) if hasattr(given, "with_format") else given  # no tensors
        labels = _label_names(given)
        return (with_label_names(row, labels) if labels and isinstance(row, Mapping) else row for row in given)
    if isinstance(given, Iterable):
        return map(_of_example, given)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        return (_of_example(given[at]) for at in range(len(given)))
    return None


def _is_table(value: Any) -> bool:
    return _is_dataset(value) or hasattr(value, "iloc") or hasattr(value, "to_pylist") or hasattr(value, "to_dicts")


def _is_dataset(value: Any) -> bool:
    return hasattr(value, "features") and isinstance(value, Iterable)


def _with_index(frame: Any) -> Any:
    """A data frame, or one column of it, whose index has a name, such as ``query``, with that as a column too."""
    frame = frame if hasattr(frame, "columns") else frame.to_frame()
    names = [name for name in frame.index.names if name is not None]
    return frame.reset_index(names) if names and not set(names) & set(frame.columns) else frame


def _of_example(row: Any) -> Any:
    """An `InputExample` of sentence-transformers as what it holds; a label that it was not given is 0."""
    # Named tuples, rows of numpy and of sqlite3 say what their places are.
    names = getattr(row, "_fields", None) or getattr(getattr(row, "dtype", None), "names", None)
    names = row.keys() if hasattr(row, "keys") and not isinstance(row, Mapping) else names
    if names:
        return _plain(dict(zip(names, row, strict=True)))
    texts = getattr(row, "texts", None)
    if not isinstance(texts, list) or not hasattr(row, "label"):
        return _plain(row)
    return texts if row.label == 0 else {"sentence1": texts[0], "sentence2": texts[-1], "label": row.label}


def _label_names(given: Any) -> dict[str, list[str]]:
    features = getattr(given, "features", None)
    if not isinstance(features, Mapping):
        return {}
    return {name: list(one.names) for name, one in features.items() if type(one).__name__ == "ClassLabel"}


def _without_gaps(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of a data frame without what pandas puts where nothing is; its arrays as lists."""
    plain = {str(name): _plain(value) for name, value in row.items()}
    return {name: value for name, value in plain.items() if value is not None and not _is_gap(value)}


def _plain(value: Any) -> Any:
    """Arrays, tensors and numbers of numpy, however deep, as Python has them; all else as it is."""
    if isinstance(value, Mapping) and any(_is_deep(one) for one in value.values()):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list) and any(map(_is_deep, value)):
        return [_plain(one) for one in value]
    to_list: Callable[[], Any] | None = getattr(value, "tolist", None)
    return value if to_list is None else _plain(to_list())


def _is_deep(value: Any) -> bool:
    return isinstance(value, Mapping | list) or hasattr(value, "tolist")


def _is_gap(value: Any) -> bool:
    # NaN is unequal to itself, and so is pandas' NaT; pandas.NA refuses to answer.
    return type(value).__name__ == "NAType" or (not isinstance(value, list | str | Mapping) and bool(value != value))
