"""SQuAD and its kin: questions on paragraphs; the paragraph answers the question."""

from collections.abc import Iterator, Mapping
from typing import Any

from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, filled, having


def _of_article(row: Row, reading: Reading) -> Iterator[Item]:
    paragraphs = row.get("paragraphs")
    if not isinstance(paragraphs, list):
        yield Item({"query": paragraphs}, {".query": ".paragraphs"})
        return
    for at, paragraph in enumerate(paragraphs):
        yield from _of_paragraph(paragraph, f".paragraphs[{at}]")


def _of_paragraph(paragraph: Any, place: str) -> Iterator[Item]:
    questions = paragraph.get("qas") if isinstance(paragraph, Mapping) else None
    if not isinstance(questions, list):
        yield Item({"query": questions}, {".query": f"{place}.qas"})
        return
    for at, asked in enumerate(questions):
        here = f"{place}.qas[{at}]"
        called = {".query": f"{here}.question", ".pos": f"{place}.context", ".id": f"{here}.id"}
        yield _of_question(asked if isinstance(asked, Mapping) else {}, paragraph.get("context"), called)


def _of_question(asked: Mapping[str, Any], context: Any, called: Mapping[str, str]) -> Item:
    if asked.get("is_impossible") is True:
        return Item({}, left_out="that the paragraph does not answer (is_impossible)")
    return Item(filled(query=asked.get("question"), pos=context, id=asked.get("id")), called)


def _of_row(row: Row, reading: Reading) -> Iterator[Item]:
    answers = row.get("answers")
    if isinstance(answers, Mapping) and answers.get("text") == []:
        yield Item({}, left_out="that the context does not answer (no answers)")
        return
    yield _of_question(row, row.get("context"), {".query": ".question", ".pos": ".context"})


SQUAD = Form(
    "squad",
    "SQuAD articles (each paragraph answers its questions)",
    having("paragraphs"),
    among("paragraphs"),
    _of_article,
)
SQUAD_ROWS = Form(
    "squad-rows",
    "SQuAD questions (the context answers the question)",
    having("question", "context", "answers"),
    among("question", "context", "answers", "id", "is_impossible"),
    _of_row,
)
