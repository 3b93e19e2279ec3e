"""What Weights & Biases wrote in offline mode, read from its file: a log of LevelDB's form in blocks of 32 KiB."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEADER = struct.Struct("<IHB")  # checksum, length, and whether a record is whole or a part of one
_FILE_HEADER = 7
_BLOCK = 32 * 1024
_ENDS = (1, 4)  # whole, or the last part


def read_wandb(folder: Path) -> tuple[list[dict[str, Any]], list[tuple[str, str, str]]]:
    """Rows as ``name -> value`` (of a picture its description), and alerts as title, text and level."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.rglob("*.wandb")
    rows, alerts = [], []
    for record in _whole(path, Record):
        if record.HasField("history"):
            rows.append(_nested({tuple(item.nested_key) or (item.key,): item for item in record.history.item}))
        elif record.HasField("alert"):
            alerts.append((record.alert.title, record.alert.text, record.alert.level))
    return rows, alerts


def _whole(path: Path, kind: Any) -> list[Any]:
    """All records of a run that has ended; its own process may still be writing when ``wandb.finish`` returns."""
    records: list[Any] = []
    until = time.monotonic() + 60
    while not any(record.HasField("exit") for record in records) and time.monotonic() < until:
        records = [kind.FromString(content) for content in _contents(path.read_bytes())]
        time.sleep(0.1)
    return records


def _nested(items: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, item in items.items():
        value = json.loads(item.value_json)
        if len(key) == 1:
            row[key[0]] = value
        else:
            row.setdefault(key[0], {})[key[1]] = value
    return row


def _contents(data: bytes) -> Iterator[bytes]:
    at, parts = _FILE_HEADER, b""
    while at + _HEADER.size <= len(data):
        room = _BLOCK - at % _BLOCK
        if room < _HEADER.size:
            at += room
            continue
        _, length, kind = _HEADER.unpack_from(data, at)
        if at + _HEADER.size + length > len(data):
            return  # still being written
        parts += data[at + _HEADER.size : at + _HEADER.size + length]
        at += _HEADER.size + length
        if kind in _ENDS:
            yield parts
            parts = b""
