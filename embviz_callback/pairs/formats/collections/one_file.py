"""Collections in one object or file: LlamaIndex, NeMo retriever, tevatron's newer form."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embviz_callback.pairs.formats.collections.parts import Collected, Part, Query, assemble, judgements_of, queries_of
from embviz_callback.pairs.formats.detection import names_of
from embviz_callback.pairs.formats.form import Reading
from embviz_callback.pairs.formats.translation import Translation, translate, unread_notes
from embviz_callback.pairs.intake.objects import IN_PYTHON, rows_of
from embviz_callback.pairs.intake.opening import show_path
from embviz_callback.pairs.intake.parsing import Material, refuse_odd
from embviz_callback.pairs.intake.splits import split_in_rows
from embviz_callback.pairs.problems import DataError, Problems, Spot, show, show_name
from embviz_callback.pairs.records import text_id

_CORPUS_NAMES = ("corpus.jsonl", "corpus.jsonl.gz", "corpus.parquet", "corpus.tsv", "corpus.arrow", "corpus")
OBJECT_NAMES = ("llamaindex", "nemo", "tevatron-ids")


_JUDGED = ("relevant_docs", "qrels")
OBJECT_PARTS = ("queries", "corpus", *_JUDGED)


def is_collection(value: Any) -> bool:
    """Whether an object is a LlamaIndex data set, what InformationRetrievalEvaluator takes, or three tables."""
    return isinstance(value, Mapping) and {"queries", "corpus"} <= value.keys() and bool(value.keys() & {*_JUDGED})


def translate_rows(material: Material, reading: Reading) -> Translation:
    """The records of rows of any form, those that name documents of a corpus among them.

    Args:
        material: The rows.
        reading: How they are to be read.

    Returns:
        The records; a `DataError` says that a row cannot be read, or that the corpus is not there.
    """
    collected = None if reading.fields else _collected(material, reading)
    if collected is None:
        return translate(material, reading, split_in_rows(material.rows, reading.split, material.name))
    problems = Problems(material.name, n_records=len(material.rows), limits=reading.limits)
    for at, row in enumerate(material.rows if material.has_odd else ()):
        refuse_odd(row, Spot(problems, at))
    if problems.total and not reading.skip_bad:
        raise problems.error()
    entries, notes = assemble(collected, reading, material.name, material.name)
    unread = tuple(sorted(names_of(material.rows) - collected.reads))
    return Translation(
        replace(material, rows=range(max(len(material.rows), len(list(collected.queries)))), has_odd=False),
        # Lines that are no JSON are for the reader of records to refuse.
        entries=(*entries, *((at, row) for at, row in enumerate(material.rows) if not isinstance(row, Mapping))),
        form=collected.form,
        notes=(*material.notes, *notes, *unread_notes(unread)),
        unread=unread,
        corpus=collected.corpus,
    )


def _collected(material: Material, reading: Reading) -> Collected | None:
    names = names_of(material.rows)
    if reading.format not in ("", *OBJECT_NAMES):
        return None
    first = material.rows[0] if material.rows else None
    if isinstance(first, Mapping) and is_collection(first):
        return _llamaindex(first, material)
    if {"question", "pos_doc"} <= names or reading.format == "nemo":
        given = material.around.get("corpus")
        corpus = _corpus(material, given.get("path") if isinstance(given, Mapping) else None, reading)
        names_read = ("question_id", "question", "pos_doc", "neg_doc", "corpus_id")
        return _rows_of_ids(material, corpus, "nemo", "NeMo retriever data", names_read)
    if "positive_document_ids" in names or reading.format == "tevatron-ids":
        corpus, fields = _corpus(material, None, reading), ("positive_document_ids", "negative_document_ids")
        return _rows_of_ids(material, corpus, "tevatron-ids", "tevatron data", ("query_id", "query_text", *fields))
    if reading.format:
        raise DataError(f"{material.name}: expected the form {reading.format}, found {show(first)}. Fix: leave it out")
    return None


def _llamaindex(value: Mapping[str, Any], material: Material) -> Collected:
    relevant = next(value[name] for name in _JUDGED if name in value)
    return Collected(
        form="llamaindex",
        title="a LlamaIndex data set (queries, corpus, relevant_docs)",
        queries=list(queries_of(_part(value["queries"], f"{material.name}.queries"))),
        documents=_part(value["corpus"], f"{material.name}.corpus"),
        # An object in Python has no name under which its corpus could be read again.
        corpus="" if material.path == IN_PYTHON else material.path,
        grades=_judged(relevant, material),
        reads=frozenset(OBJECT_PARTS),
    )


def _rows_of_ids(material: Material, corpus: Part, form: str, title: str, names: Sequence[str]) -> Collected:
    """Rows of a query and the identifiers of its documents, under the names of their fields."""
    own, text, right, wrong, *_ = names
    rows = [(at, row) for at, row in enumerate(material.rows) if isinstance(row, Mapping)]
    called = {at: str(text_id(row.get(own)) or at) for at, row in rows}
    return Collected(
        form=form,
        title=f"{title} ({text}, {right}, {wrong})",
        queries=[Query(at, called[at], row.get(text, row.get(own.removesuffix("_id")))) for at, row in rows],
        documents=corpus,
        corpus=corpus.name,
        grades={called[at]: dict.fromkeys(_ids(row.get(right)), 1) for at, row in rows},
        hard={called[at]: _ids(row.get(wrong)) for at, row in rows},
        reads=frozenset(names),
    )


def _part(given: Any, name: str) -> Part:
    return Part((), held=rows_of_part(given, name))


def rows_of_part(given: Any, name: str) -> list[Any]:
    """The rows of texts or objects by their identifiers, or of a table; a `DataError` says what is neither."""
    if isinstance(given, Mapping):
        return named_texts(given)
    if isinstance(given, str | bytes | int | float | None):
        fix = "give texts by their identifiers, or a list of objects"
        raise DataError(f"{name}: expected texts with identifiers, found {show(given)}. Fix: {fix}")
    return rows_of(given)[0]


def named_texts(given: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """Texts or objects by their identifiers as rows."""
    return [
        {**one, "_id": str(name)} if isinstance(one, Mapping) else {"_id": str(name), "text": one}
        for name, one in given.items()
    ]


def _judged(given: Any, material: Material) -> dict[str, dict[str, int]]:
    if isinstance(given, Mapping):
        given = [
            {"qid": query, "docid": name, "grade": grade}
            for query, one in given.items()
            for name, grade in _graded(one)
        ]
    problems = Problems(f"{material.name}.qrels")
    judged = judgements_of(_part(given, problems.source), problems)
    if problems.total:
        raise problems.error()
    return judged


def _graded(given: Any) -> Iterator[tuple[str, Any]]:
    """Grades by identifier; 1 for those that are only listed."""
    if isinstance(given, Mapping):
        yield from ((str(name), grade) for name, grade in given.items() if grade is not None)
    else:
        yield from ((name, 1) for name in _ids(given))


def _ids(given: Any) -> list[str]:
    """Identifiers that stand as texts, numbers or objects with an id."""
    found = sorted(given, key=str) if isinstance(given, set | frozenset) else given
    found = found if isinstance(found, list | tuple) else [found]
    plain = [text_id(one.get("id") if isinstance(one, Mapping) else one) for one in found]
    return [one for one in plain if isinstance(one, str)]


def _corpus(material: Material, where: Any, reading: Reading) -> Part:
    """The documents: at a path that the file gives, or beside it."""
    folder = Path(material.path) if Path(material.path).is_dir() else Path(material.path).parent
    names: Sequence[str] = [where] if isinstance(where, str) and where else _CORPUS_NAMES
    for name in names:
        found = folder / name
        files = [found] if found.is_file() else sorted(found.glob("*.parquet")) if found.is_dir() else []
        if files:
            return Part(files, reading.limits)
    raise DataError(
        f"{material.name}: expected the documents that its identifiers name, found no {show_name(names[0])} "
        f"in {show_path(folder)}. Fix: put the corpus beside the file"
    )
