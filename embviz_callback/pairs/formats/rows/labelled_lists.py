"""Lists of documents with a label or a grade each: query, docs, labels; and MS MARCO's passages with is_selected."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from embviz_callback.pairs.formats.collections.parts import as_document, document_text
from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, cell, each, filled
from embviz_callback.pairs.formats.labels import are_scores, label_column, says_relevant
from embviz_callback.pairs.intake.parsing import Broken
from embviz_callback.pairs.problems import DataError, show, show_name
from embviz_callback.pairs.weight_rule import is_number

_QUERIES = ("query", "question", "anchor")
_DOCUMENTS = ("docs", "documents", "passages", "candidates", "texts", "results", "hits")
_LABELS = ("labels", "scores", "label", "score", "relevance")


def _first(names: frozenset[str] | Row, wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _is_known(names: frozenset[str]) -> bool:
    return all(_first(names, wanted) for wanted in (_QUERIES, _DOCUMENTS, _LABELS)) and "pos" not in names


def _translate(row: Row, reading: Reading) -> Iterator[Item | Broken]:
    query, documents = (_first(row, wanted) or wanted[0] for wanted in (_QUERIES, _DOCUMENTS))
    texts, (labels, given) = each(row.get(documents), as_document), _labels_of(row)
    called = {".query": f".{query}", ".pos": f".{documents}"}
    fields = filled(query=row.get(query), id=row.get("id"), prompt=row.get("prompt"))
    if not (isinstance(texts, list) and isinstance(given, list) and len(texts) == len(given)):
        found = f"{show(given)} for {show(texts)}"
        yield Broken(found, "give one label for each document", expected=f"as many {labels} as {documents}")
        return
    yield _judged(fields, texts, given, labels, reading, called)


def _labels_of(row: Row) -> tuple[str, Any]:
    """What judges the documents of a row, and its name."""
    labels = _first(row, _LABELS) or _LABELS[0]
    given = row.get(labels)
    own = scored_by(row.get(_first(row, _DOCUMENTS) or "")) if given is None else None
    return own or (labels, given)


def hold_labels(rows: Sequence[Any]) -> bool:
    """Whether the documents in the lists of some rows bring their labels with them."""
    first = next((row for row in rows if isinstance(row, Mapping)), {})
    is_other = _first(first, _QUERIES) is None or "pos" in first
    return not is_other and scored_by(first.get(_first(first, _DOCUMENTS) or "")) is not None


def labelled_lists_of(rows: Iterable[Any], reading: Reading) -> Form:
    """The form of rows of documents and labels; a `DataError` says that these are no grades but a search's scores."""
    _check_grades((_labels_of(row) for row in rows if isinstance(row, Mapping)), reading)
    return LABELLED_LISTS


def judged_by_scores(form: Form, field: str, rows: Iterable[Any], reading: Reading) -> Form:
    """A form whose positives are hits of a search, of which each brings a score: that says which of them are relevant.

    Args:
        form: It gives the hits as positives.
        field: Where they stand.
        rows: JSON values.
        reading: Says from which score on, or which label.

    Returns:
        The form as it is where hits bring no scores; a `DataError` says that these are no grades.
    """
    given = [found for row in rows if isinstance(row, Mapping) and (found := scored_by(cell(row, field))) is not None]
    if not given:
        return form
    hits = next(cell(row, field) for row in rows if isinstance(row, Mapping) and scored_by(cell(row, field)))
    text = document_text(hits[0])[0] if isinstance(hits[0], Mapping) else None
    _check_grades(given, reading, f"; if all of them answer, pos={field}.{text}" if text else "")

    def translate(row: Row, reading: Reading) -> Iterator[Item | Broken]:
        for item in form.translate(row, reading):
            hits = item.fields.get("pos") if isinstance(item, Item) else None
            scored = scored_by(hits)
            if scored is None or not isinstance(item, Item):
                yield item
            else:
                label, values = scored
                yield _judged(dict(item.fields), each(hits, as_document), values, label, reading, dict(item.called))

    return replace(form, translate=translate)


def scored_by(documents: Any) -> tuple[str, list[Any]] | None:
    """What judges each of some documents that bring it with them, behind its name; None without."""
    if (own := _own_label(documents)) is not None:
        return own, [one.get(own) for one in documents]
    if not isinstance(documents, list) or not all(isinstance(one, list | tuple) for one in documents):
        return None
    numbers = [[part for part in one if is_number(part)] for one in documents]
    return ("score", [found for (found,) in numbers]) if documents and all(len(one) == 1 for one in numbers) else None


def _check_grades(given: Iterable[tuple[str, Any]], reading: Reading, way_out: str = "") -> None:
    lists = [(name, values) for name, values in given if isinstance(values, list) and values]
    if reading.relevant_from is not None or reading.relevant_label or not lists:
        return
    are_whole = all(one == round(one) for _, values in lists for one in values if is_number(one))
    if are_whole and not are_scores(values for _, values in lists):
        return
    name, values = lists[0]
    raise DataError(
        f"expected grades, found scores or ranks of a search under {show_name(name)} "
        f"({', '.join(map(show_name, values[:3]))}). Fix: say from which on a document is relevant: "
        f"--relevant-from X{way_out}"
    )


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
