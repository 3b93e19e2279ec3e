"""Lines of the embedding-training-data sets: ["query", "positive", "negative"] and {"set": [...]}."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, filled, having
from embviz_callback.pairs.formats.identifiers import places_of_identifiers


def lists_of(rows: Sequence[Any]) -> Form:
    """The form of rows that are lists, of which identifiers before or beside the texts are no texts."""
    names = places_of_identifiers([row for row in rows if isinstance(row, list | tuple)], n_texts=2)
    if not names:
        return LISTS
    places = ", ".join(f"[{place}]" for place in sorted(names))
    title = f"lists of texts (query, positive, negatives), in which identifiers stand at {places}"
    return replace(LISTS, title=title, translate=partial(_of_list, names=names))


def _of_list(row: Sequence[Any], reading: Reading, *, names: Collection[int] = ()) -> Iterator[Item]:
    texts = [(place, one) for place, one in enumerate(row) if place not in names]
    called = {ours: f"[{place}]" for ours, (place, _) in zip((".query", ".pos"), texts, strict=False)}
    called |= {f".hard_neg[{at}]": f"[{place}]" for at, (place, _) in enumerate(texts[2:])}
    fields = dict(zip(("query", "pos"), (one for _, one in texts), strict=False))
    fields |= {"hard_neg": [one for _, one in texts[2:]]} if len(texts) > 2 else {}
    yield Item(fields | ({"id": row[0]} if 0 in names else {}), called)


def _of_example(row: Row, reading: Reading) -> Iterator[Item]:
    texts = row.get("texts")
    if not isinstance(texts, list | tuple) or len(texts) < 2:
        yield Item({"query": texts}, {".query": ".texts"})
        return
    called = {".query": ".texts[0]", ".pos": ".texts[1]"} | {
        f".hard_neg[{at}]": f".texts[{at + 2}]" for at in range(len(texts) - 2)
    }
    yield Item(filled(query=texts[0], pos=texts[1], hard_neg=list(texts[2:]) or None), called)


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
EXAMPLES = Form(
    "input-examples",
    "InputExamples of sentence-transformers (texts: query, positive, negatives)",
    lambda names: "texts" in names and names <= {"guid", "texts", "label"},
    among("texts", "guid"),
    _of_example,
)
