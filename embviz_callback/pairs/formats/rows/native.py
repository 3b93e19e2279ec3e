"""Our own form: query, pos, hard_neg, id, metadata, prompt, judged."""

from collections.abc import Iterator

from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among
from embviz_callback.pairs.formats.rows.anchor_columns import is_negative
from embviz_callback.pairs.records import RECORD_FIELDS


def _is_native(names: frozenset[str]) -> bool:
    return {"query", "pos"} <= names and ("hard_neg" in names or not any(map(is_negative, names)))


def _translate(row: Row, reading: Reading) -> Iterator[Item]:
    yield Item(row)


NATIVE = Form("native", "records of our own form", _is_native, among(*RECORD_FIELDS), _translate)
