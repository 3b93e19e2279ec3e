"""Data as programs leave them: printed lists, missing cells, undecided labels, objects where texts are expected."""

import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embviz_callback.pairs.formats.corpora import read_corpus
from embviz_callback.pairs.formats.reading import DataError, Reading, Record, read_pairs, records_from

TWO = [{"query": "trọ Q1", "pos": "Phòng Quận 1"}, {"query": "trọ Q3", "pos": "Phòng Quận 3"}]
HARD = [{**TWO[0], "hard_neg": ["Quận 2", "Quận 4"]}]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _file(name: str, content: str | bytes) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def _lines(name: str, *rows: Any) -> str:
    return _file(name, "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))


def _texts(records: tuple[Record, ...]) -> list[tuple[str, tuple[str, ...], list[str]]]:
    return [(one.query, one.positives, [hard.text for hard in one.hard_negatives]) for one in records]


def _refusal(given: Any, reading: Reading | None = None) -> str:
    with pytest.raises(DataError) as error:
        read_pairs(given, reading)
    return str(error.value)


# --- cells of tables


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("printed.csv", "query,pos,neg\ntrọ Q1,Phòng Quận 1,\"['Quận 2', 'Quận 4']\"\n"),
        ("json.csv", 'query,pos,neg\ntrọ Q1,Phòng Quận 1,"[""Quận 2"", ""Quận 4""]"\n'),
        ("objects.csv", 'query,pos,hard_neg\ntrọ Q1,Phòng Quận 1,"[{""text"": ""Quận 2""}, {""text"": ""Quận 4""}]"\n'),
        ("indexed.csv", ",sent0,sent1,neg_1,neg_2\n0,trọ Q1,Phòng Quận 1,Quận 2,Quận 4\n"),
        ("capitals.csv", "Query,Positive,Negative_1,Negative_2\r\ntrọ Q1,Phòng Quận 1,Quận 2,Quận 4\r\n"),
        ("quoted.tsv", "query\tpositive\tneg_1\tneg_2\ntrọ Q1\tPhòng Quận 1\tQuận 2\tQuận 4\n"),
        ("dump.tsv", "query\tpos\tneg_1\tneg_2\tneg_3\ntrọ Q1\tPhòng Quận 1\tQuận 2\tQuận 4\t\\N\n"),
        ("tabs.csv", "query\tpos\tneg_1\tneg_2\ntrọ Q1\tPhòng Quận 1\tQuận 2\tQuận 4\n"),
        ("pipes.csv", "query|pos|neg_1|neg_2\ntrọ Q1|Phòng Quận 1|Quận 2|Quận 4\n"),
        ("excel.csv", "\ufeffsep=;\r\nquery;pos;neg_1;neg_2\r\ntrọ Q1;Phòng Quận 1;Quận 2;Quận 4\r\n"),
    ],
)
def test_a_cell_that_holds_a_list_is_one_however_it_was_written(name: str, text: str) -> None:
    assert _texts(read_pairs(_file(name, text)).records) == _texts(records_from(HARD))


def test_an_array_as_numpy_prints_it_is_refused_instead_of_read_as_one_text() -> None:
    given = _file("array.csv", "query,pos\ntrọ Q1,\"['Phòng A' 'Phòng B']\"\n")
    assert _refusal(given) == (
        "array.csv: expected lists as JSON writes them, found an array as numpy prints it, the text \"['Phòng A' "
        "'Phòng B']\". Fix: write the column with json.dumps, or save the table as Parquet"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "trọ Q1,Phòng Quận 1",
            "bare.csv: expected fields of a known form, found Phòng Quận 1, trọ Q1. Fix: say which is which: "
            "--fields query=COLUMN,pos=COLUMN; or, if the first line is a record, "
            "put a line of names above it (query, positive, negative)",
        ),
        (
            "Quận 1,Quận 1",
            "bare.csv: expected every name once in the first line, found Quận 1 twice. Fix: rename one; "
            "or, if the first line is a record, put a line of names above it (query, positive, negative)",
        ),
    ],
)
def test_a_table_without_names_is_answered_with_a_way_that_loses_no_row(line: str, message: str) -> None:
    rows = f"{line}\ntrọ Q3,Phòng Quận 3\n"
    assert _refusal(_file("bare.csv", rows)) == message
    assert len(read_pairs(_file("named.csv", f"query,positive\n{rows}")).records) == 2


def test_a_tsv_file_whose_first_line_is_no_name_says_so_and_takes_its_names_from_fields() -> None:
    given = _file("bare.tsv", "Tìm\tĐúng\ntrọ Q1\tPhòng Quận 1\n")
    bare, named = read_pairs(given), read_pairs(given, Reading(fields={"query": "Tìm", "pos": "Đúng"}))
    assert bare.notes[0] == "the first line is read as a record (--fields query=...,pos=..., if it holds names)"
    assert [record.query for record in bare.records] == ["Tìm", "trọ Q1"]
    assert [record.query for record in named.records] == ["trọ Q1"]


@pytest.mark.parametrize("names", ["sent0\tsent1", "Text_A\tText_B", "sentence\tcontext"])
def test_a_tsv_file_has_names_in_its_first_line_whatever_name_it_is_that_is_known(names: str) -> None:
    (record,) = read_pairs(_file("named.tsv", f"{names}\ntrọ Q1\tPhòng Quận 1\n")).records
    assert (record.query, record.positives) == ("trọ Q1", ("Phòng Quận 1",))


def test_a_tsv_file_that_quotes_as_csv_does_is_read_so_and_any_other_keeps_its_quotes() -> None:
    quoted = _file("quoted.tsv", 'query\tpositive\ntrọ Q1\t"Phòng ""đẹp"" Q1"\n')
    plain = _file("plain.tsv", 'query\tpositive\ntrọ "Q1\t"Phòng ""đẹp"" Q1\n')
    assert read_pairs(quoted).records[0].positives == ('Phòng "đẹp" Q1',)
    assert read_pairs(plain).records[0].positives == ('"Phòng ""đẹp"" Q1',)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        (
            "sheet.csv",
            "query\tpos".encode("utf-16"),
            "byte 0 is the mark of UTF-16, not UTF-8. Fix: convert it: iconv -f UTF-16 -t UTF-8 sheet.csv > utf8.csv",
        ),
        (
            "sheet.xls",
            b"\xd0\xcf\x11\xe0....",
            "is a workbook of an old Excel, not text. Fix: save the sheet as CSV (UTF-8)",
        ),
        (
            "frame.pkl",
            b"\x80\x04\x95....",
            "is a pickle, not text. Fix: load it where it was written, and write its records as JSON Lines",
        ),
        (
            "pairs.txt",
            b"query\tpos\na\tb\n",
            "no valid JSON (Expecting value) at line 1, column 1. Fix: write the file with json.dump, or correct that "
            "place; the name of a table ends in .csv or .tsv",
        ),
    ],
)
def test_what_is_no_text_or_no_table_by_its_name_is_answered_with_what_would_be(
    name: str, raw: bytes, message: str
) -> None:
    assert _refusal(_file(name, raw)) == f"{name}: {message}"


def test_a_row_without_a_positive_never_takes_its_negative_for_one() -> None:
    given = _file("gap.csv", "anchor,positive,negative\ntrọ Q1,Phòng Quận 1,Quận 2\ntrọ Q3,,Quận 4\n")
    assert _refusal(given) == (
        "gap.csv[1].positive: expected non-empty text, found no such field (record 2 of 2). "
        "Fix: add positive, or drop the record"
    )


def test_of_several_columns_that_may_be_the_answer_the_others_are_named() -> None:
    found = read_pairs([{"question": "trọ", "answer": "Phòng", "context": "Bài viết"}])
    assert (found.records[0].positives, found.unread) == (("Phòng",), ("context",))


def test_records_of_two_schemas_are_read_each_by_its_own_columns() -> None:
    mixed = [{"anchor": "trọ Q1", "positive": "Phòng Quận 1"}, {"question": "trọ Q3", "answer": "Phòng Quận 3"}]
    found = read_pairs(mixed)
    assert _texts(found.records) == _texts(records_from(TWO))
    assert found.unread == ()


# --- labels


def _snli(*labels: Any) -> list[dict[str, Any]]:
    return [{"sentence1": "trọ", "sentence2": f"Phòng {at}", "gold_label": one} for at, one in enumerate(labels)]


@pytest.mark.parametrize("undecided", ["-", -1, "unknown"])
def test_a_pair_that_nobody_could_label_is_left_out_and_the_other_labels_still_decide(undecided: Any) -> None:
    found = read_pairs(_snli("entailment", undecided, "contradiction"))
    assert _texts(found.records) == [("trọ", ("Phòng 0",), ["Phòng 2"])]
    assert f"1 record whose gold_label decides nothing ({undecided}) left out" in found.notes


def test_the_word_not_makes_a_no_of_any_label() -> None:
    found = read_pairs([{**row, "gold_label": row["gold_label"]} for row in _snli("equivalent", "not_equivalent")])
    assert _texts(found.records) == [("trọ", ("Phòng 0",), ["Phòng 1"])]


def test_a_label_of_classified_pairs_that_nobody_knows_is_refused() -> None:
    assert _refusal(_snli("gần", "xa")) == (
        "pairs: expected to know which gold_label makes a pair relevant, found the text 'gần'. "
        "Fix: say it: --relevant-from 0.8, or --relevant-label gần; a column that says something else is named by "
        "--fields query=...,pos=...,metadata=gold_label"
    )


def test_a_label_is_one_whatever_case_its_name_is_written_in() -> None:
    found = read_pairs(_file("clicks.csv", "Query,Passage,Label\ntrọ,Phòng 1,yes\ntrọ,Phòng 2,no\n"))
    assert _texts(found.records) == [("trọ", ("Phòng 1",), ["Phòng 2"])]


# --- documents, identifiers and metadata


_TITLED = {"title": "Tin", "text": "Phòng"}


@pytest.mark.parametrize(
    "row",
    [
        {"query": "trọ", "pos": [{**_TITLED, "docid": 7}], "neg": [{"title": "Tin", "text": "Nhà"}]},
        {"query": "trọ", "positive": {"title": "Tin", "contents": "Phòng", "id": "7"}, "negative": ["Tin Nhà"]},
        {"query": "trọ", "positive_passages": [{**_TITLED, "docid": "7"}], "negative_passages": ["Tin Nhà"]},
    ],
)
def test_documents_that_are_objects_are_their_titles_and_texts_and_keep_their_identifiers(row: dict[str, Any]) -> None:
    (record,) = read_pairs([row]).records
    assert _texts((record,)) == [("trọ", ("Tin Phòng",), ["Tin Nhà"])]
    assert [one.id for one in record.judged] == ["7"]


def test_lists_with_labels_may_hold_objects() -> None:
    found = read_pairs([{"query": "trọ", "docs": [{"text": "Phòng"}, {"text": "Nhà"}], "labels": [1, 0]}])
    assert _texts(found.records) == [("trọ", ("Phòng",), ["Nhà"])]


@pytest.mark.parametrize(
    "documents",
    [
        [{"text": "Phòng", "llm_score": 2}, {"text": "Nhà", "llm_score": 0}],
        [{"content": "Phòng", "is_relevant": True}, {"page_content": "Nhà", "is_relevant": False}],
    ],
)
def test_documents_may_bring_their_labels_with_them(documents: list[dict[str, Any]]) -> None:
    found = read_pairs([{"question": "trọ", "passages": documents}])
    assert _texts(found.records) == [("trọ", ("Phòng",), ["Nhà"])]


def test_a_hard_negative_keeps_what_differs_when_its_title_joins_its_text() -> None:
    (record,) = records_from([{**TWO[0], "hard_neg": [{"title": "Tin", "text": "Nhà", "type": "price", "weight": 2}]}])
    assert [(one.text, one.types, one.weight) for one in record.hard_negatives] == [("Tin Nhà", ("price",), 2.0)]


@pytest.mark.parametrize(("given", "read"), [(7, "7"), (7.0, "7"), ("7", "7"), (None, None)])
def test_an_identifier_may_be_a_number(given: Any, read: str | None) -> None:
    assert records_from([{**TWO[0], "id": given}])[0].id == read


def test_metadata_of_any_shape_becomes_columns() -> None:
    given = {"tin": {"quận": 1, "chợ": None}, "mới": True, "gác": [1, 2], "giá": 5.5, "trống": None}
    assert records_from([{**TWO[0], "metadata": given}])[0].metadata == {
        "tin.quận": 1,
        "mới": "true",
        "gác": "[1, 2]",
        "giá": 5.5,
    }


# --- JSON that is no list


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"train": [TWO[0]], "validation": TWO}),
        json.dumps({"version": 2, "test": TWO}),
        json.dumps({"0": TWO[0], "1": TWO[1]}),
        json.dumps({"my pairs": TWO}),
        json.dumps({
            "columns": ["id", "query", "pos"],
            "index": [0, 1],
            "data": [[at, *row.values()] for at, row in enumerate(TWO)],
        }),
        "\n".join(json.dumps(one, indent=2) for one in TWO),
        "\ufeff" + "\r\n".join(map(json.dumps, TWO)),
        gzip.compress(json.dumps(TWO).encode(), mtime=0),
    ],
)
def test_an_object_of_records_is_read_by_the_rule_of_splits(content: str | bytes) -> None:
    assert _texts(read_pairs(_file("data.json", content)).records) == _texts(records_from(TWO))


def test_of_lists_that_no_rule_knows_one_must_be_named() -> None:
    path = _file("data.json", json.dumps({"easy": [TWO[0]], "hard": TWO}))
    assert _refusal(path) == (
        "data.json: expected a split called validation, dev or test, found easy, hard. "
        "Fix: say which is meant: --split easy"
    )
    assert _texts(read_pairs(path, Reading(split="hard")).records) == _texts(records_from(TWO))


# --- objects in Python


class _MapStyle:
    """What torch calls a map-style data set."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, at: int) -> dict[str, str]:
        return TWO[at]


class _Example:
    """An `InputExample` of sentence-transformers."""

    def __init__(self, *texts: str, label: float = 0) -> None:
        self.texts, self.label = list(texts), label


def _rows_of_sqlite() -> list[sqlite3.Row]:
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.execute("create table pairs (id text, query text, pos text)")
    database.executemany("insert into pairs values ('a', ?, ?)", [tuple(row.values()) for row in TWO])
    found = database.execute("select * from pairs").fetchall()
    database.close()
    return found


def _structured() -> Any:
    kinds = [("id", "U9"), ("query", "U9"), ("pos", "U20")]
    return np.array([("a", *row.values()) for row in TWO], dtype=kinds)


def _frame() -> Any:
    import pandas as pd

    return pd.DataFrame(TWO)


def _formatted() -> Any:
    from datasets import Dataset

    return Dataset.from_list(TWO).with_format("numpy")


def _table() -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(TWO)


OBJECTS: dict[str, Callable[[], Any]] = {
    "map-style": _MapStyle,
    "examples": lambda: [_Example(row["query"], row["pos"]) for row in TWO],
    "splits of lists": lambda: {"train": TWO[:1], "test": TWO},
    "splits of frames": lambda: {"train": _frame()[:1], "dev": _frame()},
    "columns": lambda: {name: [row[name] for row in TWO] for name in ("query", "pos")},
    "frame with a named index": lambda: _frame().set_index("query"),
    "column of a frame": lambda: _frame().set_index("query")["pos"],
    "named tuples, the index first": lambda: list(_frame().itertuples()),
    "rows of a database": _rows_of_sqlite,
    "structured array": _structured,
    "dataset in a format": _formatted,
    "arrow table": _table,
}


@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_whatever_holds_rows_in_python_is_read(make: Callable[[], Any]) -> None:
    assert _texts(read_pairs(make()).records) == _texts(records_from(TWO))


def test_columns_in_a_tuple_are_never_read_as_rows() -> None:
    assert _refusal(([f"trọ {at}" for at in range(4)], [f"Phòng {at}" for at in range(4)])) == (
        "pairs: expected a list of records, found a tuple of 2 lists. Fix: list(zip(queries, documents)), "
        "or a list of lists"
    )


def test_examples_with_labels_are_pairs_of_which_the_label_says_what_it_means() -> None:
    examples = [_Example("trọ", "Phòng", label=0.9), _Example("trọ", "Nhà", label=0.1)]
    found = read_pairs(examples, Reading(relevant_from=0.5))
    assert _texts(found.records) == [("trọ", ("Phòng",), ["Nhà"])]


def test_a_frame_of_nested_arrays_is_what_its_parquet_file_is(tmp_path: Path) -> None:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    rows = [
        {"question": "trọ", "context": "Phòng", "answers": {"text": ["P"], "answer_start": [0]}},
        {"question": "nhà", "context": "Phòng", "answers": {"text": [], "answer_start": []}},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "squad.parquet")
    of_frame = read_pairs(pd.read_parquet(tmp_path / "squad.parquet"))
    assert of_frame.records == read_pairs(tmp_path / "squad.parquet").records
    assert "1 record that the context does not answer (no answers) left out" in of_frame.notes


# --- collections

CORPUS = {"d1": "Phòng Quận 1", "d3": "Phòng Quận 3", "d9": "Nhà"}
QUERIES = {"1": "trọ Q1", "3": "trọ Q3"}


def _as_rows(texts: Mapping[str, str], name: str) -> list[dict[str, str]]:
    return [{name: key, "text": text} for key, text in texts.items()]


QRELS = [{"query-id": "1", "corpus-id": "d1", "score": 1}, {"query-id": "3", "corpus-id": "d3", "score": 1}]


def _collections() -> Iterator[Any]:
    yield {"queries": QUERIES, "corpus": CORPUS, "relevant_docs": {"1": {"d1"}, "3": {"d3"}}}
    yield {"queries": {1: "trọ Q1", 3: "trọ Q3"}, "corpus": CORPUS, "qrels": {1: {"d1": 1}, 3: {"d3": 1}}}
    yield {"queries": QUERIES, "corpus": {key: {"text": text} for key, text in CORPUS.items()}, "qrels": QRELS}
    yield {"queries": _as_rows(QUERIES, "qid"), "corpus": _as_rows(CORPUS, "docid"), "qrels": QRELS}


@pytest.mark.parametrize("given", [*_collections()])
def test_a_collection_in_python_is_read_and_its_corpus_too(given: Any) -> None:
    found = read_pairs(given)
    assert _texts(found.records) == _texts(records_from(TWO))
    assert (
        "the pool is the 2 judged documents; 1 more left out (the same object as corpus= ranks them too)" in found.notes
    )
    assert [one.text for one in read_corpus([given]).candidates] == list(CORPUS.values())


def _hub(folder: str, judgements: str) -> str:
    """The folders that the hub's MTEB repositories have, here as JSON Lines."""
    _lines(f"{folder}/corpus/corpus-00000-of-00001.jsonl", *_as_rows(CORPUS, "_id"))
    _lines(f"{folder}/queries/queries-00000-of-00001.jsonl", *_as_rows(QUERIES, "_id"))
    _lines(f"{folder}/{judgements}/test-00000-of-00001.jsonl", *QRELS)
    return folder


def _numbers(folder: str) -> str:
    """Identifiers as pandas leaves them beside a gap."""
    _lines(f"{folder}/corpus.jsonl", {"_id": 1.0, "text": "Phòng Quận 1"}, {"_id": 3, "text": "Phòng Quận 3"})
    _lines(f"{folder}/queries.jsonl", {"_id": 1, "text": "trọ Q1"}, {"_id": 3.0, "text": "trọ Q3"})
    _file(f"{folder}/qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\t1\t1\n3\t3\t1\n")
    return folder


def _csv(folder: str) -> str:
    for name, rows in (("corpus", _as_rows(CORPUS, "_id")), ("queries", _as_rows(QUERIES, "_id")), ("qrels", QRELS)):
        cells = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]  # type: ignore[attr-defined]
        _file(f"{folder}/{name}.csv", "\n".join(cells))
    return folder


def _semicolons(folder: str) -> str:
    for name in ("corpus", "queries", "qrels"):
        _file(f"{folder}/{name}.csv", Path(_csv("commas"), f"{name}.csv").read_text().replace(",", ";"))
    return folder


def _miracl(folder: str) -> str:
    """Folders of topics and judgements, and shards of documents."""
    for split, queries, judged in (
        ("train", {"9": "nhà"}, [("9", "d9")]),
        ("dev", QUERIES, [("1", "d1"), ("3", "d3")]),
    ):
        _file(f"{folder}/topics/topics.vi-{split}.tsv", "".join(f"{key}\t{text}\n" for key, text in queries.items()))
        _file(f"{folder}/qrels/qrels.vi-{split}.tsv", "".join(f"{key}\tQ0\t{name}\t1\n" for key, name in judged))
    for at, row in enumerate(_as_rows(CORPUS, "docid")):
        _lines(f"{folder}/docs-{at}.jsonl", row)
    return folder


def _three_objects(folder: str) -> str:
    parts = {"queries": QUERIES, "corpus": CORPUS, "qrels": {one["query-id"]: {one["corpus-id"]: 1} for one in QRELS}}
    for name, part in parts.items():
        _file(f"{folder}/{name}.json", json.dumps(part))
    return folder


@pytest.mark.parametrize(
    "make",
    [
        lambda: _miracl("set"),
        lambda: _three_objects("set"),
        lambda: _semicolons("set"),
        lambda: _hub("set", "data"),
        lambda: _hub("set", "qrels"),
        lambda: _numbers("set"),
        lambda: _csv("set"),
    ],
)
def test_a_collection_is_found_in_the_folders_that_people_have(make: Callable[[], str]) -> None:
    assert _texts(read_pairs(make()).records) == _texts(records_from(TWO))


def test_a_collection_in_tsv_that_quotes_as_csv_does_loses_its_doubled_quotes() -> None:
    _file("set/collection.tsv", 'pid\tpassage\nd1\t"Phòng ""đẹp"" Q1"\n')
    _file("set/queries.tsv", "qid\tquery\nq1\ttrọ Q1\n")
    _file("set/qrels.tsv", "qid\tpid\tlabel\nq1\td1\t1\n")
    assert read_pairs("set").records[0].positives == ('Phòng "đẹp" Q1',)


@pytest.mark.parametrize(
    "name", ["data/test-00000-of-00001-0123456789abcdef.jsonl", "default/test/0000.jsonl", "test/0000.jsonl"]
)
def test_files_of_splits_are_found_under_all_names_that_the_hub_gives_them(name: str) -> None:
    _lines(f"set/{name}", *TWO)
    assert (read_pairs("set").split, _texts(read_pairs("set").records)) == ("test", _texts(records_from(TWO)))


def test_a_column_called_split_is_read_by_the_rule_of_splits() -> None:
    rows = [{**row, "split": split} for row in TWO for split in ("train", "test")]
    found = read_pairs(rows)
    assert (found.split, found.unread, _texts(found.records)) == ("test", (), _texts(records_from(TWO)))
    assert found.notes[0] == "read the rows whose split is 'test'"
    assert len(read_pairs(rows, Reading(split="train")).records) == 2
    assert len(read_pairs([{**row, "split": "train"} for row in TWO]).records) == 2


def test_data_sets_side_by_side_are_never_read_as_one() -> None:
    _lines("nli/pair/dev-00000-of-00001.jsonl", *TWO)
    _lines("nli/triplet/dev-00000-of-00001.jsonl", *HARD)
    assert _refusal("nli") == (
        "nli: expected one split, found pair-dev, triplet-dev. Fix: say which is meant: --split pair-dev"
    )
    assert _texts(read_pairs("nli", Reading(split="triplet")).records) == _texts(records_from(HARD))


def test_a_document_that_bears_the_identifier_of_another_is_counted() -> None:
    folder = _hub("set", "data")
    corpus = Path(folder, "corpus/corpus-00000-of-00001.jsonl")
    corpus.write_text(corpus.read_text() + '\n{"_id": "d1", "text": "Phòng khác"}')
    found = read_pairs(folder)
    assert "documents with another text under the identifier of an earlier one, left out: 1" in found.notes
    assert _texts(found.records) == _texts(records_from(TWO))


def test_a_folder_of_data_sets_and_one_that_lacks_a_part_lead_on() -> None:
    _hub("all/scifact", "data")
    assert _refusal("all") == ("all: expected one data set, found folders of them. Fix: give one of them: all/scifact")
    Path("all/scifact/corpus/corpus-00000-of-00001.jsonl").unlink()
    assert _refusal("all/scifact") == (
        "all/scifact: expected an MTEB retrieval set (corpus, queries, qrels), in which there are no documents, found "
        "data/test-00000-of-00001.jsonl, queries/queries-00000-of-00001.jsonl. Fix: add what is missing, or rename it"
    )
