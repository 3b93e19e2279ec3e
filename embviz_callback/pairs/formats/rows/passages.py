"""Passages with titles and identifiers, as tevatron and DPR train on them."""

from collections.abc import Iterator
from typing import Any

from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, each, filled, having, passage, text_id
from embviz_callback.pairs.texts import is_blank

_IDS = ("docid", "psg_id", "passage_id", "doc_id", "_id", "id")


def _tevatron(row: Row, reading: Reading) -> Iterator[Item]:
    called = {".pos": ".positive_passages", ".hard_neg": ".negative_passages", ".id": ".query_id"}
    fields = filled(query=row.get("query"), id=text_id(row.get("query_id")), prompt=row.get("prompt"))
    yield _with_passages(fields, row.get("positive_passages"), row.get("negative_passages"), called)


def _dpr(row: Row, reading: Reading) -> Iterator[Item]:
    called = {".query": ".question", ".pos": ".positive_ctxs", ".hard_neg": ".hard_negative_ctxs"}
    hard, random = row.get("hard_negative_ctxs") or [], row.get("negative_ctxs") or []
    if isinstance(hard, list) and isinstance(random, list):
        called |= {f".hard_neg[{len(hard) + at}]": f".negative_ctxs[{at}]" for at in range(len(random))}
        hard = [*hard, *random]
    yield _with_passages(
        filled(query=row.get("question"), id=text_id(row.get("id"))), row.get("positive_ctxs"), hard, called
    )


def _with_passages(fields: dict[str, Any], positives: Any, negatives: Any, called: dict[str, str]) -> Item:
    if isinstance(positives, list) and not positives:
        return Item({}, left_out="without a positive passage")
    found = [one for one in positives if _has_id(one)] if isinstance(positives, list) else []
    judged = [{"text": passage(one), "grade": 1, "id": _id_of(one)} for one in found]
    fields |= filled(pos=each(positives, passage), hard_neg=each(negatives, passage), judged=judged or None)
    return Item(fields, called)


def _has_id(one: Any) -> bool:
    """Whether the passage can be named: what has no text is refused as a positive."""
    if not isinstance(one, dict) or not isinstance(_id_of(one), str) or is_blank(_id_of(one)):
        return False
    return isinstance(passage(one), str) and not is_blank(passage(one))


def _id_of(one: dict[str, Any]) -> Any:
    return text_id(next((one[name] for name in _IDS if one.get(name) is not None), None))


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
