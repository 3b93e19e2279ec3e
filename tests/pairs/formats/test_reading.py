import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embviz_callback.pairs.formats.reading import DataError, HardNegative, Reading, Record, read_pairs, records_from
from embviz_callback.pairs.weight_rule import WeightRule

REAL = Path(__file__).parents[3] / ".." / "shared" / "data" / "rental"
REAL_COUNTS = {"new-data-set-1": 962, "new-data-set-2": 967, "new-data-set-3": 957, "test-data-set-1": 964}
PAIR = {"query": "trọ quận 10", "pos": "Phòng trọ Quận 10"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(content: Any, name: str = "data.json") -> str:
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        Path(name).write_text(text, encoding="utf-8")
    return name


def refusal(content: Any, name: str = "data.json") -> str:
    with pytest.raises(DataError) as error:
        read_pairs(write(content, name))
    return str(error.value)


def pairs(n: int) -> list[dict[str, Any]]:
    return [{"query": f"trọ {at}", "pos": f"Phòng {at}"} for at in range(n)]


# --- what is read


def test_every_field_of_a_record_arrives() -> None:
    item = {
        "query": "trọ Q10 5tr",
        "pos": ["Phòng A", "Phòng B", "phòng  a"],
        "hard_neg": [
            "Phòng C",
            {"text": "Phòng D", "type": ["price", "amenity"], "weight": 0},
            {"text": "Phòng E", "type": "location", "weight": None},
            {"text": "Phòng F", "type": ["requirement"]},
            {"text": "Phòng G", "weight": 1.5},
        ],
        "id": "r1",
        "metadata": {"district": "Quận 10", "price": 5.5, "floor": 3},
        "my own column": {"nested": [None, True]},
    }
    (record,) = read_pairs(write([item])).records
    assert record == Record(
        query="trọ Q10 5tr",
        positives=("Phòng A", "Phòng B"),
        hard_negatives=(
            HardNegative("Phòng C", ("other",), 0.5),
            HardNegative("Phòng D", ("price", "amenity"), 2.3),
            HardNegative("Phòng E", ("location",), 2.5),
            HardNegative("Phòng F", ("requirement",), 0.5),
            HardNegative("Phòng G", ("other",), 1.5),
        ),
        id="r1",
        metadata={"district": "Quận 10", "price": 5.5, "floor": 3},
    )


def test_absent_and_null_optional_fields_are_alike() -> None:
    full = {**PAIR, "hard_neg": None, "id": None, "metadata": None}
    assert read_pairs(write([full])).records == read_pairs(write([PAIR])).records


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("array.json", json.dumps(pairs(3))),
        ("lines.jsonl", "\n".join(map(json.dumps, pairs(3)))),
        ("lines.ndjson", "\n\n".join(map(json.dumps, pairs(3))) + "\r\n"),
        ("detected.json", "\n".join(map(json.dumps, pairs(3)))),
        ("array.jsonl", json.dumps(pairs(3), indent=1)),
    ],
)
def test_arrays_and_lines_plain_and_compressed_hold_the_same_records(name: str, content: str) -> None:
    expected = records_from(pairs(3))
    assert read_pairs(write(content, name)).records == expected
    assert read_pairs(write("\ufeff" + content, name)).records == expected
    assert read_pairs(write(gzip.compress(content.encode(), mtime=0), name + ".gz")).records == expected


def test_a_line_separator_inside_a_text_ends_no_line() -> None:
    file = read_pairs(write('{"query": "a\u2028b", "pos": "c"}\n{"query": "d", "pos": "e"}\n', "x.jsonl"))
    assert [record.query for record in file.records] == ["a b", "d"]


def test_one_object_alone_is_one_record() -> None:
    assert read_pairs(write(PAIR)).records == read_pairs(write(PAIR, "one.jsonl")).records == records_from([PAIR])


@pytest.mark.parametrize("key", ["data", "records", "pairs", "examples", "train", "validation", "test"])
def test_a_known_wrapper_is_unwrapped_and_said(key: str) -> None:
    file = read_pairs(write({"version": 1, key: pairs(5)}))
    assert file.records == records_from(pairs(5))
    assert file.notes == (f"read from the field '{key}' of the object in the file",)


def test_the_hash_is_that_of_the_file_on_disk() -> None:
    raw = gzip.compress(json.dumps(pairs(5)).encode(), mtime=0)
    assert read_pairs(write(raw, "a.json.gz")).sha256 == hashlib.sha256(raw).hexdigest()


def test_the_rule_handed_over_weighs_hard_negatives() -> None:
    rule = WeightRule(base={"other": 3.0})
    (record,) = read_pairs(write([{**PAIR, "hard_neg": ["x"]}]), Reading(rule=rule)).records
    assert record.hard_negatives[0].weight == 3.0


def test_characters_that_no_output_can_hold_are_replaced_and_counted() -> None:
    file = read_pairs(write('[{"query": "a\\u0000b\\ud800", "pos": "c\td"}]'))
    assert file.records[0].query == "a\ufffdb\ufffd"
    assert file.records[0].positives == ("c d",)
    assert file.notes[0] == "2 characters that cannot be shown were replaced by U+FFFD"


# --- records that are refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pos": None},
            ".pos: expected non-empty text, found null (record 2 of 3). Fix: write a text, or drop the record",
        ),
        (
            {"query": 5},
            ".query: expected non-empty text, found the number 5 (record 2 of 3). "
            "Fix: write a text, or drop the record",
        ),
        (
            {"query": " \t"},
            ".query: expected non-empty text, found blank text (record 2 of 3). Fix: write a text, or drop the record",
        ),
        (
            {"query": "\u200b"},
            ".query: expected non-empty text, found nothing visible (the text '\\u200b') (record 2 of 3). "
            "Fix: write a text, or drop the record",
        ),
        (
            {"pos": []},
            ".pos: expected at least one text, found an empty list (record 2 of 3). "
            "Fix: add the document, or drop the record",
        ),
        (
            {"pos": ["a", {"txt": "b"}]},
            ".pos[1]: expected non-empty text, found an object with txt (record 2 of 3). "
            "Fix: write a text, or drop the record",
        ),
        (
            {"hard_neg": "x"},
            ".hard_neg: expected a list, found the text 'x' (record 2 of 3). Fix: put the hard negatives into [ ]",
        ),
        (
            {"hard_neg": ["x", {"type": "price"}]},
            ".hard_neg[1].text: expected non-empty text, found no such field (record 2 of 3). "
            "Fix: add text, or drop the record",
        ),
        (
            {"hard_neg": [{"text": "x", "wieght": 1}]},
            ".hard_neg[0].weight: expected the field weight, found wieght instead (record 2 of 3). "
            "Fix: rename wieght to weight",
        ),
        (
            {"hard_neg": [{"text": "x", "type": 3}]},
            ".hard_neg[0].type: expected a text or a list of texts, found the number 3 (record 2 of 3). "
            'Fix: write ["price"], or leave type out',
        ),
        (
            {"id": True},
            ".id: expected non-empty text, found true (record 2 of 3). Fix: write a text, or drop the record",
        ),
        (
            {"metadata": [1]},
            ".metadata: expected an object, found a list of 1 (record 2 of 3). "
            'Fix: write {"district": "...", "price": 5.5}',
        ),
    ],
)
def test_a_wrong_value_is_refused_by_record_field_and_cure(change: dict[str, Any], message: str) -> None:
    items: list[dict[str, Any]] = [*pairs(3)]
    items[1] = {**PAIR, **change}
    assert refusal(items) == f"data.json[1]{message}"


@pytest.mark.parametrize("weight", [-1, True, "2", 1e7, 1e-9, [1]])
def test_a_weight_that_is_none_is_refused(weight: Any) -> None:
    found = {
        -1: "the number -1",
        True: "true",
        "2": "the text '2'",
        1e7: "the number 10000000.0",
        1e-9: "the number 1e-09",
    }
    shown = "a list of 1" if isinstance(weight, list) else found[weight]
    assert refusal([{**PAIR, "hard_neg": [{"text": "x", "weight": weight}]}]) == (
        "data.json[0].hard_neg[0].weight: expected a number from 1e-06 to 1,000,000, or 0 for the weight rule, "
        f"found {shown} (record 1 of 1). Fix: correct it, or leave weight out"
    )


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("querry", "query"),
        ("pos_text", "pos"),
        ("hard-neg", "hard_neg"),
        ("meta_data", "metadata"),
    ],
)
def test_a_field_under_another_name_is_answered_with_the_right_one(wrong: str, right: str) -> None:
    item = {**PAIR, wrong: "x"}
    item.pop(right, None)
    assert refusal([item]) == (
        f"data.json[0].{right}: expected the field {right}, found {wrong} instead (record 1 of 1). "
        f"Fix: rename {wrong} to {right}"
    )


def test_columns_of_ones_own_are_nobodys_misspelling() -> None:
    own = {"source": "a", "position": 1, "idx": 2, "price": 3, "label": "x", "hard_neg": [], "neg": ["y"]}
    assert read_pairs(write([{**PAIR, **own}])).records[0].hard_negatives == ()


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["metadata.price", "anything", "deep[0].er"])
def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(literal: str, field: str) -> None:
    around = {
        "metadata.price": '"metadata": {"price": %s}',
        "anything": '"anything": %s',
        "deep[0].er": '"deep": [{"er": %s}]',
    }
    content = '[{"query": "a", "pos": "b", ' + around[field] % literal + "}]"
    assert refusal(content) == (
        f"data.json[0].{field}: expected a finite number, found {literal} (record 1 of 1). "
        "Fix: write a number, or leave the field out"
    )


def test_an_integer_of_five_thousand_digits_is_refused() -> None:
    assert refusal('[{"query": "a", "pos": "b", "n": ' + "7" * 5000 + "}]") == (
        "data.json[0].n: expected a finite number, found an integer of 5,000 digits (record 1 of 1). "
        "Fix: write a number, or leave the field out"
    )


def test_a_field_given_twice_is_refused() -> None:
    assert refusal('[{"query": "a", "pos": "b", "query": "c"}]') == (
        "data.json[0]: expected every name once, found query twice (record 1 of 1). Fix: remove one of the two"
    )
    assert refusal('{"data": [], "data": [{"query": "a", "pos": "b"}]}') == (
        "data.json: expected every name once, found data twice. Fix: remove one of the two"
    )


def test_something_else_than_an_object_is_refused() -> None:
    assert refusal(["text", PAIR]) == (
        "data.json[0]: expected an object, found the text 'text' (record 1 of 2). "
        'Fix: write {"query": "...", "pos": "..."}'
    )


def test_many_problems_are_counted_and_the_first_twenty_shown() -> None:
    lines = refusal([{"query": None, "pos": "a"}] * 591).split("\n")
    assert lines[0] == "data.json: 591 problems, the first 20:"
    assert len(lines) == 21
    assert lines[18] == (
        "  data.json[17].query: expected non-empty text, found null (record 18 of 591). "
        "Fix: write a text, or drop the record"
    )


def test_bad_records_can_be_skipped_and_are_counted() -> None:
    content = "\n".join([json.dumps(pairs(5)[0]), "{broken", *map(json.dumps, pairs(5)[1:]), '{"query": "x"}'])
    file = read_pairs(write(content, "data.jsonl"), Reading(skip_bad=True))
    assert file.records == records_from(pairs(5))
    assert file.skipped == 2
    assert file.notes == (
        "2 of 7 records left out, the first because of data.jsonl[1]: expected a JSON object, found no valid JSON "
        "(Expecting property name enclosed in double quotes) at line 2, column 2 (record 2 of 7). "
        "Fix: write the file with json.dump, or correct that place",
    )


def test_a_file_of_bad_records_only_is_refused_even_when_skipping() -> None:
    with pytest.raises(DataError) as error:
        read_pairs(write([{"query": "", "pos": "a"}]), Reading(skip_bad=True))
    assert str(error.value) == (
        "data.json[0].query: expected non-empty text, found blank text (record 1 of 1). "
        "Fix: write a text, or drop the record"
    )


# --- files that are refused

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"
FORMAT = 'Fix: give a list of records such as {"query": "...", "pos": "..."}'
DEEP = "Fix: give a list of records as the format describes"
CUT = json.dumps(pairs(3))[:-20]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty. Fix: give a JSON array or JSON Lines"),
        (" \n\ufeff", "the file is empty. Fix: give a JSON array or JSON Lines"),
        ("[]", "expected at least one record, found an empty list. Fix: add pairs"),
        (LFS, "is a git-lfs pointer, not the data. Fix: run git lfs pull"),
        ("<!DOCTYPE html><html>", "is an HTML or XML page, not JSON. Fix: download the raw file"),
        (
            '[{"query": "a", "pos": "b"},]',
            "a comma before the closing bracket at line 1, column {}. Fix: remove that comma",
        ),
        (
            "[{'query': 'a'}]",
            "a text in single quotes at line 1, column 3. Fix: write it with json.dump: JSON wants double quotes",
        ),
        (CUT, "the text ends in the middle of a value at line 1, column {}. Fix: copy or download it again"),
        (
            "query,pos\na,b\n",
            "no valid JSON (Expecting value) at line 1, column 1. "
            "Fix: write the file with json.dump, or correct that place; the name of a table ends in .csv or .tsv",
        ),
        ("[1] [2]", "goes on behind its end at line 1, column 5. Fix: keep one list per file"),
        ('"text"', "expected a list of records, found the text 'text'. " + FORMAT),
        ('{"a": 1, "b": []}', "expected a list of records, found an object with a, b. " + FORMAT),
        (
            '{"train": [{"query": "a", "pos": "b"}], "hidden": 1, "records": [1]}',
            "expected a split called validation, dev or test, found records, train. "
            "Fix: say which is meant: --split records",
        ),
        ("[" * 100_000, "is nested too deeply to be a dataset. " + DEEP),
        ('{"a":' * 100_000, "is nested too deeply to be a dataset. " + DEEP),
    ],
)
def test_a_file_that_is_no_dataset_is_named_for_what_it_is(content: str, message: str) -> None:
    found = refusal(content)
    # Python 3.13 points at the comma, earlier ones behind it; a cut text is placed where its last value began.
    column = found.partition("column ")[2].partition(".")[0]
    assert found == f"data.json: {message.replace('{}', column)}"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            json.dumps([PAIR], ensure_ascii=False).encode("utf-16"),
            "byte 0 is the mark of UTF-16, not UTF-8. Fix: convert it: iconv -f UTF-16 -t UTF-8 data.json > utf8.json",
        ),
        (
            json.dumps([PAIR]).encode("utf-16-le"),
            "byte 1 is zero, as in UTF-16 or binary. Fix: convert it: iconv -f UTF-16 -t UTF-8 data.json > utf8.json",
        ),
        (
            json.dumps([{"query": "phòng nhà đất", "pos": "b"}], ensure_ascii=False).encode("latin-1", "replace"),
            "byte 14 (0xf2) is not UTF-8. Fix: convert it: iconv -f cp1258 -t UTF-8 data.json > utf8.json, "
            "if it was saved as cp1258",
        ),
        (
            '[{"query": "phòng trọ", "pos": "b'.encode() + b'\xff"}]',
            "byte 36 (0xff) is not UTF-8, while the rest mostly is: it is damaged there. "
            "Fix: correct that byte, or get the file again",
        ),
        (
            '[{"query": "phòng trọ'.encode()[:-1],
            "byte 21 (0xe1) is not UTF-8: the file ends inside a character. Fix: copy or download it again",
        ),
        (
            b"PK\x03\x04....",
            "is a zip archive or a workbook, not text. Fix: unpack it and give the file in it, or save the sheet as "
            "CSV (UTF-8)",
        ),
        (
            gzip.compress(json.dumps(pairs(50)).encode(), mtime=0)[:60],
            "the compressed file ends in the middle. Fix: copy or download it again",
        ),
    ],
)
def test_a_file_in_another_encoding_is_answered_with_place_and_encoding(raw: bytes, message: str) -> None:
    assert refusal(raw) == f"data.json: {message}"


def test_damaged_gzip_data_are_named() -> None:
    raw = bytearray(gzip.compress(json.dumps(pairs(50)).encode(), mtime=0))
    raw[-8] ^= 1  # the checksum
    assert refusal(bytes(raw)).startswith("data.json: the gzip data are damaged (CRC check failed")


def test_a_missing_file_is_answered_with_the_nearest_names() -> None:
    write([PAIR], "train-set.json")
    with pytest.raises(DataError) as error:
        read_pairs("train_set.json")
    assert str(error.value) == (
        f"train_set.json: there is no such file (working directory {Path.cwd()}). Fix: did you mean train-set.json?"
    )
    with pytest.raises(DataError) as error:
        read_pairs("nowhere/a.json")
    assert str(error.value) == (
        f"nowhere/a.json: there is no such file, nor a directory nowhere (working directory {Path.cwd()}). "
        "Fix: check the path"
    )


def test_a_directory_is_answered_with_the_files_in_it() -> None:
    Path("folder").mkdir()
    with pytest.raises(DataError) as error:
        read_pairs("folder")
    assert str(error.value) == ("folder: is a directory without a JSON file in it. Fix: give a JSON file")
    write([PAIR], "folder/a.json")
    with pytest.raises(DataError) as error:
        read_pairs("folder")
    assert str(error.value) == "folder: is a directory. Fix: give one file in it: a.json"


@pytest.mark.parametrize("path", ["a\x00b", "x" * 5000, "/dev/zero"])
def test_a_path_that_names_no_file_is_a_data_error(path: str) -> None:
    with pytest.raises(DataError):
        read_pairs(path)


def test_a_broken_line_in_the_middle_is_named_by_record_and_line() -> None:
    content = '{"query": "a", "pos": "b"}\n\n{"query": "a", "pos": \n{"query": "c", "pos": "d"}\n'
    assert refusal(content, "data.jsonl") == (
        "data.jsonl[1]: expected a JSON object, found the text ends in the middle of a value at line 3, column 23 "
        "(record 2 of 3). Fix: put every record on one line of its own"
    )


# --- a list handed over in Python


def test_records_pass_as_they_are_beside_mappings() -> None:
    record = Record("a", ("b",))
    assert records_from([record, PAIR])[0] is record


@pytest.mark.parametrize(
    ("given", "found"),
    [("val.json", "the text 'val.json'"), (PAIR, "an object with query, pos"), (5, "the number 5")],
)
def test_something_else_than_a_list_is_refused(given: Any, found: str) -> None:
    with pytest.raises(DataError) as error:
        records_from(given)
    fix = "use read_pairs for a file"
    if given != "val.json":
        fix = "give a list of records, a Dataset or a DataFrame, or the path of a file"
    assert str(error.value) == f"pairs: expected a list of records, found {found}. Fix: {fix}"


def test_a_nan_handed_over_in_python_is_refused() -> None:
    with pytest.raises(DataError) as error:
        records_from([{**PAIR, "metadata": {"price": float("nan")}}])
    assert str(error.value) == (
        "pairs[0].metadata.price: expected text or a finite number, found the number nan (record 1 of 1). "
        "Fix: write a text or a number, or leave it out"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Record(" ", ("a",)), "query must be a text that is not blank, got ' '"),
        (lambda: Record("a", ()), "positives must be a tuple of at least one text, got ()"),
        (lambda: Record("a", ("b", "")), "positives[1] must be a text that is not blank, got ''"),
        (lambda: HardNegative(""), "text must be a text that is not blank, got ''"),
        (lambda: HardNegative("a", ("b",), 0), "weight must be a number from 1e-06 to 1,000,000, got 0"),
    ],
)
def test_a_record_cannot_be_born_wrong(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message


# --- what is said about data that can be read


def test_oddities_of_readable_data_are_said_with_their_first_record() -> None:
    items: list[dict[str, Any]] = [
        {"query": "a", "pos": "b", "id": "1", "metadata": {"price": 5}},
        {"query": "c", "pos": "C ", "id": "1", "metadata": {"price": "5tr"}},
        {"query": "d", "pos": "e", "hard_neg": ["E"]},
        {"query": "A", "pos": "B"},
        {"query": "pho\u0300ng", "pos": "f"},
    ]
    assert read_pairs(write(items)).notes == (
        "1 of 5 records has a query that equals its own positive (first: record 2)",
        "1 of 5 records has a hard negative that equals a positive; it is left out (first: record 3)",
        "1 of 5 records has text in decomposed Unicode (NFD), equal to its composed form here (first: record 5)",
        "1 of 5 records repeats the query and positives of another",
        "2 records share 1 id: records of one id share their positives",
        "metadata 'price' is a number in 1 record and text in 1 (first: record 2)",
    )


# --- whatever the bytes

VALID = json.dumps(
    [{**PAIR, "hard_neg": [{"text": "x", "type": ["price"], "weight": 0}], "metadata": {"price": 5.5}}] * 3,
    ensure_ascii=False,
).encode()
SEEDS = [VALID, b"\n".join([VALID[1:90]] * 2), gzip.compress(VALID, mtime=0), b'{"data": ' + VALID + b"}"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.sampled_from(SEEDS),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5), st.binary(max_size=4)), max_size=4),
    name=st.sampled_from(["data.json", "data.jsonl", "data.json.gz"]),
    skip_bad=st.booleans(),
)
def test_whatever_the_bytes_they_are_read_or_refused(
    seed: bytes, cuts: list[tuple[float, int, bytes]], name: str, skip_bad: bool
) -> None:
    raw = seed
    for where, length, inserted in cuts:
        at = int(where * len(raw))
        raw = raw[:at] + inserted + raw[at + length :]
    path = write(raw, name)
    try:
        outcome = read_pairs(path, Reading(skip_bad=skip_bad)).path
    except DataError as error:
        outcome = str(error)
    assert outcome.startswith(name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["query", "pos", "hard_neg", "id", "metadata", "text", "type", "weight", "neg"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON)), max_size=3))
def test_whatever_the_values_they_are_read_or_refused(items: list[dict[str, Any]]) -> None:
    for read in (lambda: read_pairs(write(json.dumps(items))).records, lambda: records_from(items)):
        try:
            outcome = str(len(read()))
        except DataError as error:
            outcome = str(error)
        assert "\n" not in outcome or "problems" in outcome


# --- the real files


@pytest.mark.skipif(not REAL.is_dir(), reason="the real rental pairs are not beside this checkout")
@pytest.mark.parametrize("name", list(REAL_COUNTS))
def test_the_real_files_are_read_whole_and_weighed_by_the_rule(name: str) -> None:
    file = read_pairs(REAL / f"{name}.json")
    assert (len(file.records), file.skipped) == (REAL_COUNTS[name], 0)
    weights = {negative.types: negative.weight for record in file.records for negative in record.hard_negatives}
    assert min(weights.values()) > 0  # all stand as 0 or not at all in the file
    assert weights["location",] == 2.5
    assert weights["price",] == 2.0
    assert weights["requirement",] == 0.5
