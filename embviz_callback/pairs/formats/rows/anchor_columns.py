"""Columns as sentence-transformers trains on them: anchor, positive, negative_1 ... negative_n, under many names."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, filled, text_id
from embviz_callback.pairs.formats.labels import ALL_LABELS

_NEGATIVE = re.compile(r"(hard_)?neg(ative)?s?(_?\d+)?")
_QUERIES = ("anchor", "query", "question", "premise", "sentence1", "sentence_1", "sentence_a", "text1", "sentence")
_ANSWERS = (
    *("positive", "positives", "pos", "answer", "passage", "document", "hypothesis", "response", "context"),
    *("sentence2", "sentence_2", "sentence_b", "text2"),
)
_OTHERS = ("id", "prompt", "metadata")


def is_negative(name: str) -> bool:
    """Whether a column holds negatives: ``neg``, ``negative``, ``negative_3``, ``hard_negatives``; not ``hard_neg``."""
    return name != "hard_neg" and _NEGATIVE.fullmatch(name.casefold()) is not None


def _column(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    by_fold = {name.casefold(): name for name in names}
    return next((by_fold[name] for name in wanted if name in by_fold), None)


def _is_known(names: frozenset[str]) -> bool:
    listed_names = sorted(names)
    return _column(listed_names, _QUERIES) is not None and _column(listed_names, _ANSWERS) is not None


def _roles(row: Row) -> tuple[str | None, str | None, list[str]]:
    """Columns of query, positive and negatives: by name, or else by their order."""
    names = [name for name in row if isinstance(name, str)]
    query, answer = _column(names, _QUERIES), _column(names, _ANSWERS)
    if query is None or answer is None:
        texts = [name for name in names if name not in (*ALL_LABELS, *_OTHERS)]
        return (texts[0], texts[1], texts[2:]) if len(texts) > 1 else (query, answer, [])
    return query, answer, sorted(filter(is_negative, names), key=_in_order)


def _in_order(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _translate(row: Row, reading: Reading) -> Iterator[Item]:
    query, answer, negatives = _roles(row)
    hard: list[Any] = []
    called = {".query": f".{query or 'query'}", ".pos": f".{answer or 'positive'}"}
    for name in negatives:
        is_list = isinstance(row[name], list | tuple)
        for at, one in enumerate(row[name] if is_list else [row[name]]):
            if one is not None:  # a query may have fewer negatives than the others
                called[f".hard_neg[{len(hard)}]"] = f".{name}[{at}]" if is_list else f".{name}"
                hard.append(one)
    fields = filled(
        query=row.get(query or ""), pos=row.get(answer or ""), hard_neg=hard or None, id=text_id(row.get("id"))
    )
    yield Item(fields | filled(prompt=row.get("prompt"), metadata=row.get("metadata")), called)


def _reads(name: str) -> bool:
    return name.casefold() in (*_QUERIES, *_ANSWERS, *_OTHERS) or is_negative(name)


COLUMNS = Form(
    "sentence-transformers",
    "columns of sentence-transformers (query, positive, negatives)",
    _is_known,
    _reads,
    _translate,
)
