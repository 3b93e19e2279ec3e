"""ms-swift's embedding data: conversations, or query, response and rejected_response."""

from collections.abc import Iterator, Mapping
from typing import Any

from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, each, filled, having, renaming
from embviz_callback.pairs.formats.rows.anchor_columns import PASSAGES


def _said(messages: Any) -> Any:
    """What the last speaker but the system says; what is no conversation stays as it is."""
    if not isinstance(messages, list | tuple):
        return messages
    spoken = [one for one in messages if isinstance(one, Mapping) and one.get("role") != "system"]
    return spoken[-1].get("content") if spoken else None


def _of_messages(row: Row, reading: Reading) -> Iterator[Item]:
    called = {".query": ".messages", ".pos": ".positive_messages", ".hard_neg": ".negative_messages"}
    positives, negatives = each(row.get("positive_messages"), _said), each(row.get("negative_messages"), _said)
    query = _said(row.get("messages"))
    yield Item(filled(query="" if query is None else query, pos=positives, hard_neg=negatives or None), called)


MESSAGES = Form(
    "ms-swift",
    "ms-swift conversations (messages, positive_messages, negative_messages; the last turn of each)",
    having("messages", "positive_messages"),
    among("messages", "positive_messages", "negative_messages"),
    _of_messages,
)
RESPONSES = renaming(
    "ms-swift-responses",
    "ms-swift data (query, response, rejected_response)",
    lambda names: {"query", "response"} <= names and names.isdisjoint(PASSAGES),
    query="query",
    pos="response",
    hard_neg="rejected_response",
)
