"""Arrow and Parquet files, as `datasets` and pandas write them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from embviz_callback.pairs.problems import DataError
from embviz_callback.pairs.texts import clean

MARKS = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
_ROWS = 4096  # at a time: texts of a few MB


def kind_of(head: bytes) -> str:
    """Which of the two a file is by its first bytes, empty for neither."""
    return next((kind for mark, kind in MARKS.items() if head.startswith(mark)), "")


def arrow_rows(path: Path, name: str, kind: str) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow or Parquet file, a few thousand in memory at a time.

    Args:
        path: The file.
        name: As the user calls it.
        kind: "arrow" or "parquet".

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
    try:
        for batch, labels in _batches(path, kind):
            for row in batch.to_pylist():
                yield {column: _named(value, labels.get(column)) for column, value in row.items()}
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = clean(" ".join(str(error).split())[:120])
        raise DataError(f"{name}: the {kind} data are damaged ({reason}). Fix: copy or download it again") from None


def _batches(path: Path, kind: str) -> Iterator[tuple[Any, Mapping[str, list[str]]]]:
    import pyarrow as pa
    from pyarrow import ipc, parquet

    if kind == "parquet":
        with parquet.ParquetFile(path) as table:
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


def _named(value: Any, names: list[str] | None) -> Any:
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value
