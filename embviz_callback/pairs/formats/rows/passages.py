"""Passages with titles and identifiers, as tevatron and DPR train on them."""

from collections.abc import Iterator
from typing import Any

from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, filled, having


def _tevatron(row: Row, reading: Reading) -> Iterator[Item]:
    called = {".pos": ".positive_passages", ".hard_neg": ".negative_passages", ".id": ".query_id"}
    fields = filled(query=row.get("query"), id=row.get("query_id"), prompt=row.get("prompt"))
    yield _with_passages(fields, row.get("positive_passages"), row.get("negative_passages"), called)


def _dpr(row: Row, reading: Reading) -> Iterator[Item]:
    called = {".query": ".question", ".pos": ".positive_ctxs", ".hard_neg": ".hard_negative_ctxs"}
    hard, random = row.get("hard_negative_ctxs") or [], row.get("negative_ctxs") or []
    if isinstance(hard, list) and isinstance(random, list):
        called |= {f".hard_neg[{len(hard) + at}]": f".negative_ctxs[{at}]" for at in range(len(random))}
        hard = [*hard, *random]
    yield _with_passages(filled(query=row.get("question"), id=row.get("id")), row.get("positive_ctxs"), hard, called)


def _with_passages(fields: dict[str, Any], positives: Any, negatives: Any, called: dict[str, str]) -> Item:
    if isinstance(positives, list) and not positives:
        return Item({}, left_out="without a positive passage")
    return Item(fields | filled(pos=positives, hard_neg=negatives), called)


TEVATRON = Form(
    "tevatron",
    "tevatron training data (query, positive_passages, negative_passages)",
    having("query", "positive_passages"),
    among("query_id", "query", "positive_passages", "negative_passages", "prompt"),
    _tevatron,
)
DPR = Form(
    "dpr",
    "DPR training data (question, positive_ctxs, hard_negative_ctxs, negative_ctxs)",
    having("question", "positive_ctxs"),
    among("question", "positive_ctxs", "negative_ctxs", "hard_negative_ctxs", "id"),
    _dpr,
)
