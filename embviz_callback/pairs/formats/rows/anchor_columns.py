"""Columns as sentence-transformers trains on them: anchor, positive, negative_1 ... negative_n, under many names."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, filled
from embviz_callback.pairs.formats.labels import ALL_LABELS, column_called
from embviz_callback.pairs.texts import fold

_NEGATIVE = re.compile(r"(hard_)?neg(ative)?s?(_?\d+)?")
_POSITIVE = re.compile(r"pos(itive)?_?\d+")
# Two texts of which a label says whether they belong together.
CLASSIFIED = ("premise", "sentence1", "sentence_1", "sentence_a", "text1", "text_a", "question1")
QUERIES = ("anchor", "query", "question", *CLASSIFIED, "sentence", "sent0", "query_text")
ANSWERS = (
    *("positive", "positives", "pos", "answer", "passage", "document", "hypothesis", "response", "context"),
    *("sentence2", "sentence_2", "sentence_b", "text2", "text_b", "question2", "sent1", "positive_text"),
)
# Where a question has both, the answer may be a span of the passage, or a passage of its own.
_SPANS = ("answer", "response")
PASSAGES = ("context", "contexts", "passage", "document", "paragraph")
_LOOKED_AT = 1000  # rows by which that is told
_MOST_WORDS, _TIMES_LONGER, _MOST_SHARED = 4, 5, 0.8
_OTHERS = ("id", "prompt", "metadata")
_INDEX = re.compile(r"(unnamed: \d+|__index_level_\d+__)?", re.IGNORECASE)  # what pandas calls its rows


@dataclass(frozen=True)
class Roles:
    """Which columns hold what; None for none. Further positives are numbered."""

    query: str | None
    answer: str | None
    negatives: tuple[str, ...]
    positives: tuple[str, ...] = ()


def is_negative(name: str) -> bool:
    """Whether a column holds negatives: ``neg``, ``negative``, ``negative_3``, ``hard_negatives``; not ``hard_neg``."""
    return name != "hard_neg" and _NEGATIVE.fullmatch(name.casefold()) is not None


def _is_known(names: frozenset[str]) -> bool:
    listed_names = sorted(names)
    has_answer = column_called(listed_names, ANSWERS) is not None or any(map(_is_positive, names))
    return column_called(listed_names, QUERIES) is not None and has_answer


def _is_positive(name: str) -> bool:
    return _POSITIVE.fullmatch(name.casefold()) is not None


def columns_of(rows: Iterable[Any]) -> Form:
    """The form of rows of such columns.

    Which column holds what is asked of all rows together: where one has no positive, its negative is none.

    Args:
        rows: JSON values.

    Returns:
        The form with the roles that their columns have.
    """
    schemas = dict.fromkeys(tuple(row) for row in rows if isinstance(row, Mapping))
    names = list(dict.fromkeys(name for schema in schemas for name in schema if isinstance(name, str)))
    main, told = _on_passages(rows, names, _roles(names))
    every = [_roles_of(schema, main) for schema in schemas]
    roles = (name for one in every for name in (one.query, one.answer, *one.negatives, *one.positives))
    read = {*_OTHERS, *filter(None, roles)}
    title = COLUMNS.title if _is_known(frozenset(names)) else "columns in their order (query, positive, negatives)"
    reads = read.__contains__
    return replace(COLUMNS, title=title + told, reads=reads, translate=partial(_translate, main))


def _on_passages(rows: Iterable[Any], names: Sequence[str], main: Roles) -> tuple[Roles, str]:
    """The roles where answers are parts of passages that stand beside them, and what to say of it."""
    span, passage = column_called(names, _SPANS), column_called(names, PASSAGES)
    if span is None or passage is None or main.query is None or main.answer not in (span, passage):
        return main, ""
    both = [(row.get(span), row.get(passage)) for row in rows if isinstance(row, Mapping)][:_LOOKED_AT]
    given = [(answer, text) for answer, text in both if answer is not None and text is not None]
    if not given:
        return replace(main, answer=span), ""
    n_parts = sum(_is_part(answer, text) for answer, text in given)
    chosen, other = (passage, span) if n_parts * 2 > len(given) else (span, passage)
    said = f"{span} is a part of {passage} in {n_parts:,} of {counted(len(given), 'record')}"
    way_out = f"--fields query={main.query},pos={other} for the other"
    return replace(main, answer=chosen), f"; the positive is {chosen}: {said} ({way_out})"


def _is_part(answer: Any, passage: Any) -> bool:
    """Whether an answer stands in a passage, word by word or nearly, or says too little to be one; or is no text."""
    if not isinstance(answer, str):
        return not isinstance(answer, list | Mapping)
    there = fold(" ".join(_texts_in(passage)))
    words, around = fold(answer).split(), there.split()
    if len(words) >= len(around):
        return False
    is_short = len(words) <= _MOST_WORDS and len(around) >= _TIMES_LONGER * len(words)
    known = set(around)
    return is_short or fold(answer) in there or sum(word in known for word in words) >= _MOST_SHARED * len(words)


def _texts_in(value: Any) -> Iterator[str]:
    """The texts of a passage that may be a list of texts, or an object of such lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts_in(one)


def _roles_of(row: Iterable[Any], main: Roles) -> Roles:
    """Those of the source, but for a row that has neither of its two columns and both of others."""
    own = [name for name in row if isinstance(name, str)]
    if main.query in own or main.answer in own or not _is_known(frozenset(own)):
        return main
    return _roles(own)


def _roles(names: Sequence[str]) -> Roles:
    """Columns of query, positive and negatives: by name, or else by their order."""
    query, answer = column_called(names, QUERIES), column_called(names, ANSWERS)
    numbered = sorted(filter(_is_positive, names), key=_in_order)
    answer = answer or next(iter(numbered), None)
    if query is not None and answer is not None:
        negatives = (name for name in names if is_negative(name) or name.casefold() == "hard_neg")
        further = tuple(name for name in numbered if name != answer)
        return Roles(query, answer, tuple(sorted(negatives, key=_in_order)), further)
    texts = [name for name in names if name not in (*ALL_LABELS, *_OTHERS) and not _INDEX.fullmatch(name)]
    return Roles(texts[0], texts[1], tuple(texts[2:])) if len(texts) > 1 else Roles(query, answer, ())


def _in_order(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _translate(main: Roles, row: Row, reading: Reading) -> Iterator[Item]:
    roles = _roles_of(row, main)
    hard: list[Any] = []
    called = {".query": f".{roles.query or 'query'}", ".pos": f".{roles.answer or 'positive'}"}
    for name in roles.negatives:
        if row.get(name) is None:  # a query may have fewer negatives than the others
            continue
        is_list = isinstance(row[name], list | tuple)
        for at, one in enumerate(row[name] if is_list else [row[name]]):
            if one is not None:
                called[f".hard_neg[{len(hard)}]"] = f".{name}[{at}]" if is_list else f".{name}"
                hard.append(one)
    pos, further = row.get(roles.answer or ""), [row[name] for name in roles.positives if row.get(name) is not None]
    fields = filled(
        query=row.get(roles.query or ""),
        pos=[*(pos if isinstance(pos, list) else [pos]), *further] if further else pos,
        hard_neg=hard or None,
        id=row.get("id"),
    )
    yield Item(fields | filled(prompt=row.get("prompt"), metadata=row.get("metadata")), called)


COLUMNS = Form(
    "sentence-transformers",
    "columns of sentence-transformers (query, positive, negatives)",
    _is_known,
    among(),
    partial(_translate, Roles(None, None, ())),
)
