"""Lines of the embedding-training-data sets: ["query", "positive", "negative"] and {"set": [...]}."""

from collections.abc import Iterator, Sequence
from typing import Any

from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, having


def _of_list(row: Sequence[Any], reading: Reading) -> Iterator[Item]:
    called = {".query": "[0]", ".pos": "[1]"} | {f".hard_neg[{at}]": f"[{at + 2}]" for at in range(len(row) - 2)}
    fields = dict(zip(("query", "pos"), row, strict=False))
    yield Item(fields | ({"hard_neg": list(row[2:])} if len(row) > 2 else {}), called)


def _of_set(row: Row, reading: Reading) -> Iterator[Item]:
    texts = row.get("set")
    if not isinstance(texts, list | tuple) or len(texts) < 2:
        yield Item({"query": texts}, {".query": ".set"})
        return
    called = {".query": ".set[0]"} | {f".pos[{at}]": f".set[{at + 1}]" for at in range(len(texts) - 1)}
    yield Item({"query": texts[0], "pos": list(texts[1:])}, called)


LISTS = Form(
    "lists",
    "lists of embedding-training-data (query, positive, negatives)",
    lambda names: False,
    among(),
    _of_list,
    takes=(list, tuple),
)
SETS = Form("sets", "sets of equivalent texts (the first is the query)", having("set"), among("set"), _of_set)
