"""Arrow and Parquet files, as `datasets` and pandas write them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from embviz_callback.pairs.problems import DataError, DataLimits
from embviz_callback.pairs.texts import clean

MARKS = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
_ROWS = 64  # at a time: each may repeat the longest text of a dictionary


def kind_of(path: Path) -> str:
    """Which of the two a file is by its first bytes, empty for neither and for what is no plain file."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            head = file.read(8)
    except (OSError, ValueError):  # `open_text` says why it cannot be read
        return ""
    return next((kind for mark, kind in MARKS.items() if head.startswith(mark)), "")


def arrow_rows(
    path: Path, name: str, kind: str, limits: DataLimits, *, is_streamed: bool = False
) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow or Parquet file, a few in memory at a time.

    Args:
        path: The file.
        name: As the user calls it.
        kind: "arrow" or "parquet".
        limits: Of its rows, and of how much larger they are than the file.
        is_streamed: Whether nobody keeps the rows, so that there may be any number of them.

    Yields:
        One object per row; a column that is a class label has its names instead of numbers.

    Raises:
        DataError: If pyarrow is not installed or the file is damaged.
    """
    try:
        import pyarrow as pa  # an extra
    except ImportError:
        fix = "pip install 'embviz-callback[arrow]', or export it as JSON Lines"
        raise DataError(f"{name}: is an {kind} file, which needs pyarrow. Fix: {fix}".replace("an p", "a p")) from None
    n_rows = n_bytes = 0
    try:
        for batch, labels in _batches(path, name, kind, limits):
            n_rows, n_bytes = n_rows + batch.num_rows, n_bytes + batch.nbytes
            limits.check_unpacked(n_bytes, path.stat().st_size, name)
            limits.check_records(0 if is_streamed else n_rows, name)
            for row in batch.to_pylist():
                yield with_label_names(row, labels)
    except DataError:  # a ValueError too, and already says what there is to say
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = clean(" ".join(str(error).split())[:120])
        raise DataError(f"{name}: the {kind} data are damaged ({reason}). Fix: copy or download it again") from None


def _batches(path: Path, name: str, kind: str, limits: DataLimits) -> Iterator[tuple[Any, Mapping[str, list[str]]]]:
    import pyarrow as pa
    from pyarrow import ipc, parquet

    if kind == "parquet":
        with parquet.ParquetFile(path) as table:
            groups = (table.metadata.row_group(at) for at in range(table.metadata.num_row_groups))
            limits.check_unpacked(sum(one.total_byte_size for one in groups), path.stat().st_size, name)
            for batch in table.iter_batches(_ROWS):
                yield batch, _label_names(table.schema_arrow.metadata)
        return
    with pa.OSFile(str(path)) as file:
        try:
            stream = ipc.open_stream(file)
        except pa.ArrowInvalid:
            file.seek(0)
            stream = ipc.open_file(file)
        batches = (
            stream if hasattr(stream, "read_next_batch") else map(stream.get_batch, range(stream.num_record_batches))
        )
        for whole in batches:
            for start in range(0, whole.num_rows, _ROWS):
                yield whole.slice(start, _ROWS), _label_names(stream.schema.metadata)


def _label_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of the classes of each column that `datasets` declares to be a class label."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {column: one["names"] for column, one in features.items() if one.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def with_label_names(row: Mapping[str, Any], labels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row in which the classes of some columns have their names instead of numbers."""
    found = dict(row)
    for column, names in labels.items():
        value = row.get(column)
        if isinstance(value, int) and 0 <= value < len(names):
            found[column] = names[value]
    return found
