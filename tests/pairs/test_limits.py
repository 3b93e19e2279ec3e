"""How much data may hold: what is beyond is refused or cut, said, and raised by an option."""

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.request import limits_named
from embviz_callback.pairs.corpus import read_corpus
from embviz_callback.pairs.formats.reading import DataError, DataLimits, PairFile, Reading, read_pairs

PAIR = {"query": "a room", "pos": "A quiet room"}
FEW = DataLimits(megabytes=1, records=3, documents=2, columns=2, characters=10)


def read(given: Any, limits: DataLimits = FEW) -> PairFile:
    return read_pairs(given, Reading(limits=limits))


def refusal(given: Any, limits: DataLimits = FEW) -> str:
    with pytest.raises(DataError) as error:
        read(given, limits)
    return str(error.value)


def more(name: str) -> str:
    return f"--limits {name}=N (Reading(limits=DataLimits({name}=N)) in Python) allows more"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_source_that_is_refused_is_not_read_to_its_end_for_its_problems() -> None:
    lines = refusal([{"query": "a"}] * 1_500, DataLimits()).split("\n")
    assert lines[0] == "pairs: at least 1,000 problems, the first 20:"
    assert len(lines) == 21


ROWS = json.dumps([PAIR] * 4)
LINES = "\n".join([json.dumps(PAIR)] * 4)
TABLE = "query,pos\n" + "a,b\n" * 4


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", ROWS), ("a.jsonl", LINES), ("a.csv", TABLE), ("a.json.gz", gzip.compress(ROWS.encode(), mtime=0))],
)
def test_a_record_too_many_is_refused_in_every_form(name: str, content: str | bytes, tmp_path: Path) -> None:
    path = write(tmp_path / name, content)
    expected = f"{path}: expected at most 3 records, found more. Fix: give a part of them; {more('records')}"
    assert refusal(path) == expected
    assert len(read(path, DataLimits(records=4)).records) == 4


COLUMNS = {name: [text] * 4 for name, text in PAIR.items()}


@pytest.mark.parametrize("given", [itertools.repeat(PAIR), [PAIR] * 4, COLUMNS, "a data frame"])
def test_objects_in_python_that_hold_too_much_or_never_end_are_refused_too(given: Any) -> None:
    if given == "a data frame":
        given = pytest.importorskip("pandas").DataFrame(COLUMNS)
    expected = f"pairs: expected at most 3 records, found more. Fix: give a part of them; {more('records')}"
    assert refusal(given) == expected


def test_parquet_is_bounded_by_its_rows_and_by_what_it_unpacks_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"query": ["a"] * 4, "pos": ["b"] * 4}), rows)
    expected = f"{rows}: expected at most 3 records, found more. Fix: give a part of them; {more('records')}"
    assert refusal(rows) == expected
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["q" * 100_000]))
    small = tmp_path / "small.parquet"
    parquet.write_table(pa.table({"query": repeated, "pos": repeated}), small)
    assert small.stat().st_size < 100_000
    assert refusal(small, DataLimits()) == unpacked(small)
    packed = tmp_path / "packed.parquet"
    parquet.write_table(pa.table({"query": ["q" * 3_000_000], "pos": ["b"]}), packed, compression="gzip")
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", None)  # its table of contents says enough
    assert refusal(packed, DataLimits()) == unpacked(packed)


def unpacked(path: Path) -> str:
    expected = "expected text at most 100 times as large as the compressed file, found more"
    return f"{path}: {expected}. Fix: check the file; {more('ratio')}"


ENDLESS = f"{' ' * 9_999}\n" * 210
BOMB = gzip.compress(f'{{"text": "b"}}{ENDLESS}'.encode(), mtime=0)


@pytest.mark.parametrize("name", ["corpus.jsonl.gz", "corpus.json.gz", "corpus.txt.gz", "corpus.csv.gz"])
def test_a_small_file_that_unpacks_to_a_large_text_is_refused_as_pairs_and_as_a_corpus(
    name: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, BOMB)
    assert refusal(path, DataLimits()) == unpacked(path)
    with pytest.raises(DataError) as error:
        tuple(read_corpus(path).candidates)
    assert str(error.value) == unpacked(path)


@pytest.mark.parametrize("victim", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_no_part_of_a_collection_may_be_such_a_file(victim: str, tmp_path: Path) -> None:
    parts = {
        "corpus.jsonl": '{"_id": "d", "text": "b"}\n',
        "queries.jsonl": '{"_id": "q", "text": "a"}\n',
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\td\t1\n",
    }
    (tmp_path / "qrels").mkdir()
    for name, line in parts.items():
        packed = gzip.compress(f"{line}{ENDLESS}".encode())
        write(tmp_path / (f"{name}.gz" if name == victim else name), packed if name == victim else line)
    assert refusal(tmp_path, DataLimits()) == unpacked(tmp_path / f"{victim}.gz")


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_file_that_is_too_large_is_refused_with_the_option_that_allows_it(name: str, tmp_path: Path) -> None:
    content = json.dumps([PAIR | {"pos": "x" * 1_000_000}]).encode()
    path = write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    expected = f"{path}: expected at most 1 MB of text, found more. Fix: give a part of it; {more('megabytes')}"
    assert refusal(path) == expected
    assert len(read(path, DataLimits(megabytes=2)).records) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pos", ["a", "b", "c"]),
        ("hard_neg", ["a", "b", "c"]),
        ("judged", [{"text": "a"}, {"text": "b"}, {"text": "c"}]),
    ],
)
def test_a_record_with_too_many_documents_is_refused(field: str, value: Any) -> None:
    assert refusal([PAIR | {field: value}]) == (
        f"pairs[0].{field}: expected at most 2 documents, found 3 (record 1 of 1). "
        f"Fix: keep the best of them; {more('documents')}"
    )


@pytest.mark.parametrize("types", [[f"{at}" for at in range(101)], ["x" * 1_001]])
def test_a_hard_negative_of_endless_types_is_refused(types: list[str]) -> None:
    said = refusal([PAIR | {"hard_neg": [{"text": "b", "type": types}]}])
    assert said.startswith("pairs[0].hard_neg[0].type: expected at most 100 types of at most 1,000 characters, found a")


def test_an_identifier_is_never_cut_but_refused() -> None:
    assert refusal([PAIR | {"id": "x" * 1_001}]) == (
        "pairs[0].id: expected at most 1,000 characters, found 1,001 (record 1 of 1). "
        "Fix: give it a shorter identifier, or leave it out"
    )


def test_long_texts_are_cut_and_said() -> None:
    long = PAIR | {"query": "q" * 11, "hard_neg": ["h" * 12], "metadata": {"place": "p" * 13}, "prompt": "r" * 14}
    found = read([long])
    record = found.records[0]
    assert (record.query, record.hard_negatives[0].text, record.metadata["place"], record.prompt) == (
        *("q" * 10, "h" * 10, "p" * 10),
        "r" * 10,
    )
    assert f"5 texts longer than 10 characters are cut; {more('characters')}" in found.notes


def test_the_first_columns_are_read_and_the_others_said() -> None:
    rows = [PAIR | {"metadata": {"x" * 1_001: 5, "a": 1, "b": 2}}, PAIR | {"metadata": {"c": 3, "b": 4}}]
    found = read(rows)
    assert [dict(record.metadata) for record in found.records] == [{"a": 1, "b": 2}, {"b": 4}]
    assert f"metadata: 2 columns are read, the others are left out; {more('columns')}" in found.notes


@pytest.mark.parametrize(("value", "name"), [(1e308, "1e+308"), (-1e101, "-1e+101"), (10**300, "1e+300")])
def test_a_number_beyond_all_arithmetic_is_a_name(value: float, name: str) -> None:
    assert read([PAIR | {"metadata": {"price": value}}]).records[0].metadata == {"price": name}


def test_limits_are_named_by_an_option() -> None:
    assert limits_named("") == DataLimits()
    assert limits_named("records=5, columns=7") == DataLimits(records=5, columns=7)
    for given in ("record=5", "records", "records=0", "records=-1", "records=1e9", "records=" + "9" * 20, "records=٣"):
        with pytest.raises(UsageError) as error:
            limits_named(given)
        known = "megabytes, ratio, records, documents, columns, characters"
        assert str(error.value).startswith(f"--limits: expected NAME=N with a name of {known}, found the text '")


@pytest.mark.parametrize("value", [0, True, 1.5, "3"])
def test_a_limit_is_a_whole_number(value: Any) -> None:
    with pytest.raises(ValueError) as error:
        DataLimits(records=value)
    assert str(error.value) == f"records must be a whole number of at least 1, got {value!r}"
