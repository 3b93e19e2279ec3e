"""Pairs in other forms: what `embviz convert` writes."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embviz_callback.files import write_atomically, write_rows
from embviz_callback.pairs.intake.opening import JSON_LINES
from embviz_callback.pairs.problems import DataError
from embviz_callback.pairs.records import Record
from embviz_callback.pairs.relevance import positives_by_query
from embviz_callback.pairs.texts import clean, fold

Written = tuple[str, ...]


def write_as(form: str, records: Sequence[Record], out: Path) -> Written:
    """Writes records in another form.

    Args:
        form: One of `OUT_FORMS`.
        records: At least one.
        out: The file, or the folder of ``beir`` and ``trec``.

    Returns:
        What the form cannot hold and is left out, one sentence each.

    Raises:
        DataError: If there is no such form, or a folder is to be written where a file is.
    """
    if form not in OUT_FORMS:
        raise DataError(f"--to: there is no form {form!r}. Fix: give one of {', '.join(OUT_FORMS)}")
    if form in ("beir", "trec") and out.is_file():
        raise DataError(f"{out}: expected a folder to write, found a file. Fix: give another name")
    return OUT_FORMS[form](records, out)


def as_text(out: Path, items: Iterable[Any]) -> str:
    """Items as JSON Lines for a name that says so, else as a JSON array."""
    if out.suffix in JSON_LINES:
        return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
    return json.dumps(list(items), ensure_ascii=False, indent=2) + "\n"


def _native(records: Sequence[Record], out: Path) -> Written:
    write_atomically(out, as_text(out, (record.as_json() for record in records)))
    return ()


def _flagembedding(records: Sequence[Record], out: Path) -> Written:
    rows = []
    for record in records:
        row: dict[str, Any] = {"query": record.query, "pos": list(record.positives)}
        row |= {"neg": [negative.text for negative in record.hard_negatives]}
        row |= {"prompt": record.prompt} if record.prompt else {}
        rows.append(row | ({"id": record.id} if record.id is not None else {}))
    write_rows(out, rows)
    return _left_out(records, "types and weights of hard negatives", "metadata", "grades")


def _sentence_transformers(records: Sequence[Record], out: Path) -> Written:
    # Every row must have every column: as many negatives as the record with the fewest.
    n = min(len(record.hard_negatives) for record in records)
    names = ["negative"] if n == 1 else [f"negative_{at}" for at in range(1, n + 1)]
    rows = [
        {"anchor": record.query, "positive": positive}
        | dict(zip(names, (negative.text for negative in record.hard_negatives), strict=False))
        for record in records
        for positive in record.positives
    ]
    write_rows(out, rows)
    n_left = sum(len(record.hard_negatives) - n for record in records)
    fewer = (f"hard negatives beyond the {n} that every record has: {n_left:,}",) if n_left else ()
    left_out = _left_out(records, "types and weights of hard negatives", "metadata", "grades", "prompts", "ids")
    return (*fewer, *left_out)


def _beir(records: Sequence[Record], out: Path) -> Written:
    parts = _Parts(records)
    corpus = [{"_id": name, "title": "", "text": text} for name, text in parts.documents.items()]
    write_rows(out / "corpus.jsonl", corpus)
    queries = [{"_id": name, "text": text, "metadata": parts.metadata[name]} for name, text in parts.queries.items()]
    write_rows(out / "queries.jsonl", queries)
    judged = "".join(f"{query}\t{document}\t{grade}\n" for query, document, grade in parts.judged)
    write_atomically(out / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\n" + judged)
    return (*parts.unjudged, *_left_out(records, "types and weights of hard negatives", "prompts"))


def _trec(records: Sequence[Record], out: Path) -> Written:
    parts = _Parts(records)
    for name, texts in (("docs.tsv", parts.documents), ("topics.tsv", parts.queries)):
        write_atomically(out / name, "".join(f"{key}\t{text}\n" for key, text in texts.items()))
    judged = "".join(f"{query} 0 {document} {grade}\n" for query, document, grade in parts.judged)
    write_atomically(out / "qrels.txt", judged)
    return (*parts.unjudged, *_left_out(records, "types and weights of hard negatives", "prompts", "metadata"))


OUT_FORMS: Mapping[str, Callable[[Sequence[Record], Path], Written]] = {
    "native": _native,
    "flagembedding": _flagembedding,
    "sentence-transformers": _sentence_transformers,
    "beir": _beir,
    "trec": _trec,
}


class _Parts:
    """Queries, documents and judgements of records, each text once under one identifier."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.queries: dict[str, str] = {}
        self.metadata: dict[str, dict[str, Any]] = {}
        query_of, name_of = {}, {}
        for record in records:
            key = fold(record.query)
            if key not in query_of:
                query_of[key] = _free(record.id, "q", self.queries)
                self.queries[query_of[key]] = clean(record.query)
                self.metadata[query_of[key]] = dict(record.metadata)
        given = {fold(one.text): one.id for record in records for one in record.judged if one.id is not None}
        self.documents: dict[str, str] = {}
        for text in (text for record in records for text in _texts(record)):
            if fold(text) not in name_of:
                name_of[fold(text)] = _free(given.get(fold(text)), "d", self.documents)
                self.documents[name_of[fold(text)]] = clean(text)
        grades = {
            (query_of[query], name_of[fold(text)]): 1
            for query, texts in positives_by_query(records).items()
            for text in texts
        }
        for record in records:
            for one in record.judged:
                pair = query_of[fold(record.query)], name_of[fold(one.text)]
                grades[pair] = max(one.grade, grades.get(pair, one.grade))
        self.judged = [(*pair, grade) for pair, grade in grades.items()]
        n_hard = len({fold(negative.text) for record in records for negative in record.hard_negatives})
        note = f"hard negatives, which stand in the corpus as documents that nobody judged: {n_hard:,}"
        self.unjudged = (note,) if n_hard else ()


def _texts(record: Record) -> Iterable[str]:
    return (
        *record.positives,
        *(one.text for one in record.judged),
        *(negative.text for negative in record.hard_negatives),
    )


def _free(wanted: str | None, letter: str, taken: Mapping[str, str]) -> str:
    """An identifier without white space that nothing else has."""
    name = "_".join(wanted.split()) if wanted else f"{letter}{len(taken)}"
    while name in taken:
        name += "_"
    return name


def _left_out(records: Sequence[Record], *what: str) -> Written:
    """Which of some things there are in the records, and are not written."""
    there = {
        "types and weights of hard negatives": any(record.hard_negatives for record in records),
        "metadata": any(record.metadata for record in records),
        "grades": any(one.grade != 1 for record in records for one in record.judged),
        "prompts": any(record.prompt for record in records),
        "ids": any(record.id is not None for record in records),
    }
    return tuple(one for one in what if there[one])
