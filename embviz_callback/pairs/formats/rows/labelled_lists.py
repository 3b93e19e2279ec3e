"""Lists of documents with a label or a grade each: query, docs, labels; and MS MARCO's passages with is_selected."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from embviz_callback.pairs.formats.collections.parts import as_document
from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, each, filled
from embviz_callback.pairs.formats.labels import label_column, says_relevant
from embviz_callback.pairs.intake.parsing import Broken
from embviz_callback.pairs.problems import show
from embviz_callback.pairs.weight_rule import is_number

_QUERIES = ("query", "question", "anchor")
_DOCUMENTS = ("docs", "documents", "passages", "candidates", "texts", "results", "hits")
_LABELS = ("labels", "scores", "label", "score", "relevance")


def _first(names: frozenset[str] | Row, wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _is_known(names: frozenset[str]) -> bool:
    return all(_first(names, wanted) for wanted in (_QUERIES, _DOCUMENTS, _LABELS)) and "pos" not in names


def _translate(row: Row, reading: Reading) -> Iterator[Item | Broken]:
    query, documents, labels = (_first(row, wanted) or wanted[0] for wanted in (_QUERIES, _DOCUMENTS, _LABELS))
    texts, given = each(row.get(documents), as_document), row.get(labels)
    if given is None and (own := _own_label(row.get(documents))) is not None:
        labels, given = own, [one.get(own) for one in row[documents]]
    called = {".query": f".{query}", ".pos": f".{documents}"}
    fields = filled(query=row.get(query), id=row.get("id"), prompt=row.get("prompt"))
    if not (isinstance(texts, list) and isinstance(given, list) and len(texts) == len(given)):
        found = f"{show(given)} for {show(texts)}"
        yield Broken(found, "give one label for each document", expected=f"as many {labels} as {documents}")
        return
    yield _judged(fields, texts, given, labels, reading, called)


def hold_labels(rows: Sequence[Any]) -> bool:
    """Whether the documents in the lists of some rows are objects that bring their labels with them."""
    first = next((row for row in rows if isinstance(row, Mapping)), {})
    is_other = _first(first, _QUERIES) is None or "pos" in first
    return not is_other and _own_label(first.get(_first(first, _DOCUMENTS) or "")) is not None


def _own_label(documents: Any) -> str | None:
    """The field of each of some documents that judges it, None without."""
    if not isinstance(documents, list) or not documents or not all(isinstance(one, Mapping) for one in documents):
        return None
    return label_column(frozenset(documents[0]), is_bare_pair=True)


def _is_msmarco(names: frozenset[str]) -> bool:
    return {"query", "query_id", "passages"} <= names and "pos" not in names


def _of_msmarco(row: Row, reading: Reading) -> Iterator[Item | Broken]:
    given = row.get("passages")
    if isinstance(given, list):  # as Microsoft published them; on the hub they are columns
        names = ("passage_text", "is_selected")
        given = {name: [one.get(name) if isinstance(one, Mapping) else None for one in given] for name in names}
    passages: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    texts: Any = passages.get("passage_text")
    selected: Any = passages.get("is_selected")
    fields = filled(query=row.get("query"), id=row.get("query_id"))
    are_lists = isinstance(texts, list) and isinstance(selected, list)
    if are_lists and len(texts) == len(selected) and all(map(is_number, selected)):
        yield _judged(fields, texts, selected, "is_selected", reading, {".pos": ".passages", ".id": ".query_id"})
    else:
        expected = "passages, each with passage_text and is_selected (0 or 1)"
        fix = "correct them, or, if all passages answer, --fields query=query,pos=passages"
        yield Broken(show(row.get("passages")), fix, expected)


def _judged(
    fields: dict[str, Any], texts: list[Any], given: list[Any], labels: str, reading: Reading, called: dict[str, str]
) -> Item:
    are_grades = not reading.relevant_label and all(is_number(one) and float(one) == int(one) for one in given)
    if are_grades:
        relevant = [one >= reading.least_grade for one in given]
    else:
        relevant = [says_relevant(one, labels, reading) for one in given]
    if not any(relevant):
        return Item({}, left_out="without a relevant document")
    fields |= {"pos": [text for text, is_in in zip(texts, relevant, strict=True) if is_in]}
    others = [text for text, is_in in zip(texts, relevant, strict=True) if not is_in]
    if are_grades and len(set(given)) > 2:
        graded = zip(texts, given, strict=True)
        return Item(fields | {"judged": [{"text": text, "grade": int(grade)} for text, grade in graded]}, called)
    return Item(fields | ({"hard_neg": others} if others else {}), called)


def _reads(name: str) -> bool:
    return name in (*_QUERIES, *_DOCUMENTS, *_LABELS, "id", "prompt")


LABELLED_LISTS = Form(
    "labelled-lists", "lists of documents with labels (query, docs, labels)", _is_known, _reads, _translate
)
MSMARCO_RECORDS = Form(
    "msmarco-records",
    "MS MARCO's questions (selected passages answer them, the others are hard negatives)",
    _is_msmarco,
    among("query", "query_id", "passages"),
    _of_msmarco,
)
