"""Every form is read as it lies, without an option, and means what its hand-converted twin means."""

import json
from pathlib import Path

import pytest

from embviz_callback.pairs.formats.reading import DataError, Reading, read_pairs, records_from
from embviz_callback.pairs.subset import choose_subset
from tests.forms import CASES, Case


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_form_gives_the_subset_of_its_hand_converted_twin(tmp_path: Path, case: Case) -> None:
    found = read_pairs(case.write(tmp_path))
    twin = choose_subset(records_from(case.twin), max_samples=100, seed=7)
    subset = choose_subset(found.records, max_samples=100, seed=7)
    assert (subset.fingerprint, subset.ids) == (twin.fingerprint, twin.ids)
    assert found.form == case.name
    assert all(note.isprintable() for note in found.notes)


# --- a damaged one of each: where it is cut off, what is said


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def _refusal(given: object, reading: Reading | None = None) -> str:
    with pytest.raises(DataError) as error:
        read_pairs(given, reading)
    return str(error.value)


LINE = "expected a JSON object, found the text ends in the middle of a value at line 4, column {} (record 4 of 4)"
AGAIN = "Fix: copy or download it again"
APART = "Fix: put every record on one line of its own"
FOOTER = "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file."
ARROW = "Expected to be able to read 360 bytes for message body, got 58"
DAMAGED = {
    "native": ("pairs.json", "{}: the text ends in the middle of a value at line 28, column 10. " + AGAIN),
    "flagembedding": ("train.jsonl", "{}[3]: " + LINE.format(42) + ". " + AGAIN),
    "flagembedding-evaluation": (
        "corpus.jsonl",
        "{}: no valid JSON (Unterminated string starting at) at line 7. " + APART,
    ),
    "columns": ("train.jsonl", "{}[3]: " + LINE.format(35) + ". " + AGAIN),
    "numbered negatives": ("train.jsonl", "{}[3]: " + LINE.format(168) + ". " + AGAIN),
    "labelled lists": ("train.jsonl", "{}[3]: " + LINE.format(34) + ". " + AGAIN),
    "reranking": ("test.jsonl", "{}[3]: " + LINE.format(34) + ". " + AGAIN),
    "lists of two": ("pairs.jsonl.gz", "{}: the compressed file ends in the middle. " + AGAIN),
    "lists of three": ("triplets.jsonl", "{}[3]: " + LINE.format(25) + ". " + AGAIN),
    "sets": ("sets.jsonl", "{}: byte 260 (0xc4) is not UTF-8: the file ends inside a character. " + AGAIN),
    "beir": (
        "qrels/test.tsv",
        "{}[2]: expected identifiers of a query and a document, found an object with query-id (record 3). "
        "Fix: write query, document and grade in each line",
    ),
    "mteb": ("vi-queries/test-00000-of-00001.parquet", "{}: the parquet data are damaged (" + FOOTER + "). " + AGAIN),
    "mteb lines": ("queries.jsonl", "{}: no valid JSON (Unterminated string starting at) at line 4. " + APART),
    "msmarco": (
        "qrels.dev.tsv",
        "{}[3]: expected identifiers of a query and a document, found a list of 2 (record 4). "
        "Fix: write query, document and grade in each line",
    ),
    "trec": (
        "qrels.txt",
        "{}[3]: expected identifiers of a query and a document, found a list of 1 (record 4). "
        "Fix: write query, document and grade in each line",
    ),
    "tevatron": ("train.jsonl", "{}[3]: " + LINE.format(75) + ". " + AGAIN),
    "tevatron ids": ("corpus.jsonl", "{}: no valid JSON (Unterminated string starting at) at line 7. " + APART),
    "dpr": ("train.json", "{}: the text ends in the middle of a value at line 81, column 5. " + AGAIN),
    "swift messages": ("train.jsonl", "{}[3]: " + LINE.format(68) + ". " + AGAIN),
    "swift responses": ("train.jsonl", "{}[3]: " + LINE.format(34) + ". " + AGAIN),
    "llamaindex": ("val.json", "{}: the text ends in the middle of a value at line 17, column 3. " + AGAIN),
    "nemo": ("corpus/part.parquet", "{}: the parquet data are damaged (" + FOOTER + "). " + AGAIN),
    "squad": ("xquad.vi.json", "{}: the text ends in the middle of a value at line 59, column 2. " + AGAIN),
    "saved dataset": ("saved/data-00000-of-00001.arrow", "{}: the arrow data are damaged (" + ARROW + "). " + AGAIN),
    "saved splits": (
        "saved/dataset_dict.json",
        "{}: expected what datasets writes into it, found none of it. "
        "Fix: copy the whole folder, or save the data set again",
    ),
    "parquet": ("pairs.parquet", "{}: the parquet data are damaged (" + FOOTER + "). " + AGAIN),
    "split files": ("dev.jsonl", "{}[3]: " + LINE.format(11) + ". " + AGAIN),
    "pandas columns": ("frame.json", "{}: byte 258 (0xe1) is not UTF-8: the file ends inside a character. " + AGAIN),
    "csv": (
        "pairs.csv",
        "{}[3].pos: expected non-empty text, found no such field (record 4 of 4). Fix: add pos, or drop the record",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_one_is_refused_by_file_place_and_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = CASES[name].write(Path())
    victim, message = DAMAGED[name]
    _cut(Path(victim))
    assert _refusal(given) == message.format(victim)


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"anchor": "a", "positive": "b", "negative_1": "c", "negative_2": 5}, ".negative_2"),
        ({"query": "a", "pos": ["b"], "neg": ["c", 5]}, ".neg[1]"),
        ({"query": "a", "positive_passages": [{"text": "b"}, {"text": 5}]}, ".positive_passages[1]"),
        (
            {"question": "a", "positive_ctxs": [{"text": "b"}], "negative_ctxs": [{"text": 5}]},
            ".negative_ctxs[0].text",
        ),
        ({"paragraphs": [{"context": "b", "qas": [{"question": 5}]}]}, ".paragraphs[0].qas[0].question"),
        (["a", "b", 5], "[2]"),
        ({"set": ["a", "b", 5]}, ".set[2]"),
        ({"query": "a", "response": 5}, ".response"),
    ],
)
def test_a_wrong_value_is_named_by_its_place_in_the_form_it_stands_in(row: object, place: str) -> None:
    assert _refusal([row]) == (
        f"pairs[0]{place}: expected non-empty text, found the number 5 (record 1 of 1). "
        "Fix: write a text, or drop the record"
    )


# --- nothing is dropped in silence


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    found = read_pairs(CASES["flagembedding"].write(tmp_path))
    assert found.unread == ("pos_scores", "type")
    assert found.notes == (
        "read as FlagEmbedding training data (query, pos, neg)",
        "columns that are not read: pos_scores, type",
    )


@pytest.mark.parametrize(
    "rows",
    [
        [{"query": "a", "pos": "b", "label": 0}],
        [{"premise": "a", "hypothesis": "b", "label": 0}],
        [{"sentence1": "a", "sentence2": "b", "score": 4.2}],
        [{"query": "a", "pos": "b", "neg": ["c"], "click": 1}],
        [{"sentence_A": "a", "sentence_B": "b", "relatedness_score": 4.5}],
        [{"query": "a", "passage": "b", "llm_label": 2}],
    ],
)
def test_a_label_that_does_not_say_what_it_means_is_refused(rows: list[dict[str, object]]) -> None:
    column = list(rows[0])[-1]
    example = rows[0][column] if isinstance(rows[0][column], int) else 1
    assert _refusal(rows) == (
        f"pairs: expected to know which {column} makes a pair relevant, found the number {rows[0][column]}. "
        f"Fix: say it: --relevant-from 0.8, or --relevant-label {example}; a column that says something else is named "
        f"by --fields query=...,pos=...,metadata={column}"
    )


def test_a_cut_or_a_label_decides_and_the_other_pairs_are_hard_negatives_of_their_query() -> None:
    rows = [{"sentence1": "a", "sentence2": text, "score": score} for text, score in (("b", 5), ("c", 2), ("d", 4.0))]
    rows.append({"sentence1": "e", "sentence2": "f", "score": 1})
    twin = records_from([{"query": "a", "pos": "b", "hard_neg": ["c"]}, {"query": "a", "pos": "d"}])
    cut = read_pairs(rows, Reading(relevant_from=4))
    assert cut.records == twin
    assert cut.notes[1:3] == (
        "score says which pairs are relevant; the others are hard negatives of their query",
        "1 record of a query without a relevant document left out",
    )
    assert read_pairs(rows[:2], Reading(relevant_label="5")).records == twin[:1]


def test_a_column_that_judges_nothing_is_metadata_where_that_is_said() -> None:
    reading = Reading(fields={"query": "query", "pos": "pos", "metadata": "score"})
    (record,) = read_pairs([{"query": "a", "pos": "b", "score": -0.3}], reading).records
    assert record.metadata == {"score": -0.3}


def test_a_verdict_of_true_or_false_says_by_itself_what_it_means() -> None:
    rows = [{"query": "a", "passage": "b", "judge_label": True}, {"query": "a", "passage": "c", "judge_label": False}]
    assert read_pairs(rows).records == records_from([{"query": "a", "pos": "b", "hard_neg": ["c"]}])


def test_a_label_that_is_a_word_of_its_own_is_a_column_of_the_users() -> None:
    found = read_pairs([{"query": "a", "pos": "b", "label": "Hà Nội"}] * 5)
    assert found.unread == ("label",)


def test_questions_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    notes = read_pairs(CASES["dpr"].write(tmp_path)).notes
    assert "1 record without a positive passage left out" in notes


def test_an_instruction_of_mteb_stands_behind_its_query(tmp_path: Path) -> None:
    folder = CASES["mteb lines"].write(tmp_path)
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) | {"instruction": "gần hồ"} for line in lines]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read_pairs(folder).records[0].query == "tìm phòng ở Ba Đình gần hồ"


def test_a_prompt_per_record_is_kept_to_its_last_space() -> None:
    (record,) = read_pairs([{"query": "a", "pos": ["b"], "neg": ["c"], "prompt": "Instruct: tìm\nQuery: "}]).records
    assert record.prompt == "Instruct: tìm\nQuery: "


# --- what is overruled


@pytest.mark.parametrize(
    "row",
    [
        {"query": "a", "pos_list": ["b"], "neg_list": ["c"]},
        {"query": "a", "hit": {"text": "b"}, "negs": ["c"]},
        {"id": 7, "data": {"question": "a", "answer": "b", "negatives": ["c"]}},
    ],
)
def test_the_fields_that_a_refusal_proposes_read_the_data(row: dict[str, object]) -> None:
    proposed = _refusal([row], Reading()).rpartition("--fields ")[2]
    fields = dict(one.split("=") for one in proposed.split(","))
    twin = records_from([{"query": "a", "pos": "b", "hard_neg": ["c"], "id": row.get("id")}])
    assert read_pairs([row], Reading(fields=fields)).records == twin


def test_columns_of_any_name_are_read_by_their_order_or_by_the_names_that_are_given() -> None:
    rows = [{"x": "a", "y": "b", "z": "c"}] * 5
    twin = records_from([{"query": "a", "pos": "b", "hard_neg": ["c"]}] * 5)
    by_order = read_pairs(rows, Reading(format="sentence-transformers"))
    by_name = read_pairs(rows, Reading(fields={"query": "x", "pos": "y", "hard_neg": "z"}))
    assert by_order.records == by_name.records == twin
    assert by_order.unread == by_name.unread == ()


@pytest.mark.parametrize(
    ("rows", "reading", "message"),
    [
        (
            [{"x": "a", "y": "b"}],
            Reading(),
            "pairs: expected fields of a known form, found x, y. Fix: say which is which: "
            "--fields query=COLUMN,pos=COLUMN",
        ),
        (
            [{"query": "a", "query_id": 1, "passages": ["b"]}],
            Reading(),
            "pairs[0]: expected passages, each with passage_text and is_selected (0 or 1), found a list of 1 "
            "(record 1 of 1). Fix: correct them, or, if all passages answer, --fields query=query,pos=passages",
        ),
        (
            [{"query": "a", "pos_list": ["b"]}],
            Reading(),
            "pairs: expected fields of a known form, found pos_list, query. Fix: say which is which: "
            "--fields query=query,pos=pos_list",
        ),
        (
            [{"user query": "a", "pos_texts": ["b"], "neg_texts": ["c"], "site": "d"}],
            Reading(),
            "pairs: expected fields of a known form, found neg_texts, pos_texts, site, user query. "
            "Fix: say which is which: --fields 'query=user query,pos=pos_texts,hard_neg=neg_texts'",
        ),
        (
            [{"query": "a", "id": 1, "beds": 2, "hit": {"text": "b"}}],
            Reading(),
            "pairs: expected fields of a known form, found beds, hit, id, query. Fix: say which is which: "
            "--fields query=query,pos=hit,id=id",
        ),
        (
            [{"query": "a", "left": "b", "right": "c"}],
            Reading(),
            "pairs: expected fields of a known form, found left, query, right. Fix: say which is which: "
            "--fields query=query,pos=COLUMN",
        ),
        (
            [{"query": "a", "beds": 2}],
            Reading(),
            "pairs[0].pos: expected non-empty text, found no such field (record 1 of 1). "
            "Fix: add pos, or drop the record",
        ),
        (
            [{"x": "a", "y": "b"}],
            Reading(fields={"query": "x", "pos": "z"}),
            "--fields: there is no column for pos=z in pairs. Fix: choose of x, y",
        ),
        (
            [{"_id": "1", "text": "b"}],
            Reading(),
            "pairs: expected pairs, found texts with identifiers (a corpus, or queries). "
            "Fix: give the folder in which queries, corpus and qrels lie",
        ),
        (
            [{"query": "a", "docs": ["b", "c"], "labels": [1]}],
            Reading(),
            "pairs[0]: expected as many labels as docs, found a list of 1 for a list of 2 (record 1 of 1). "
            "Fix: give one label for each document",
        ),
    ],
)
def test_what_no_form_fits_is_answered_with_a_way_out(rows: list[object], reading: Reading, message: str) -> None:
    assert _refusal(rows, reading) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"fields": {"qury": "a"}},
            "--fields: expected some of query, pos, hard_neg, id, metadata, prompt, label, found qury. "
            "Fix: query=...,pos=...",
        ),
        (
            {"fields": {"query": "a"}},
            "--fields: expected at least query and pos. Fix: --fields query=COLUMN,pos=COLUMN",
        ),
        (
            {"relevant_from": 1, "relevant_label": "1"},
            "--relevant-label: cannot go with --relevant-from. Fix: give one of them",
        ),
        ({"relevant_from": 0}, "--relevant-from: expected a number above 0, found 0. Fix: 1 or more"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as error:
        Reading(**options)  # type: ignore[arg-type]
    assert str(error.value) == message


# --- grades


def _graded_folder(folder: Path) -> Path:
    CASES["beir"].write(folder)
    rows = ["query-id\tcorpus-id\trelevance_grade"]
    rows += [f"q{at}\td{at}\t2\nq{at}\td{(at + 1) % 5}\t1\nq{at}\tn{at}\t{-at}" for at in range(5)]
    (folder / "qrels" / "test.tsv").write_text("\n".join([*rows, "q9\td0\t1", "q0\td99\t2"]), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("least", "n_relevant"), [(None, 2), (2, 1)])
def test_grades_of_a_folder_are_kept_and_the_cut_says_who_is_relevant(
    tmp_path: Path, least: float | None, n_relevant: int
) -> None:
    found = read_pairs(_graded_folder(tmp_path), Reading(relevant_from=least))
    subset = choose_subset(found.records, max_samples=100, seed=7)
    assert "relevance_grade" not in found.unread
    assert len(subset.relevance) == 5 * n_relevant
    assert sorted(subset.grades[:, 2].tolist()) == sorted([2] * 5 + [1] * 5 + [0, -1, -2, -3, -4])
    assert len(subset.documents) == 10  # what was judged and does not answer is ranked too
    assert set(subset.document_ids) == {*(f"d{at}" for at in range(5)), *(f"n{at}" for at in range(5))}
    assert found.notes[1:] == (
        f"documents are graded: relevant from {least or 1:g} on; nDCG uses the grades",
        "the pool is the 10 judged documents",
        "judged documents that are not there or blank: 1",
        "judged queries that are not there: 1",
        "columns that are not read: metadata",
    )


def test_a_cut_that_no_grade_reaches_is_refused(tmp_path: Path) -> None:
    folder = _graded_folder(tmp_path)
    assert _refusal(folder, Reading(relevant_from=5)) == (
        f"{folder}: expected a query with a document of grade 5 or more, found none; not there are 1 of the judged "
        f"queries and 1 of the documents. Fix: check that {folder}/qrels/test.tsv uses their identifiers"
    )


@pytest.mark.parametrize(
    ("documents", "least", "reason"),
    [
        ({"d": "Phòng"}, 2, "found none in pairs. Fix: lower --relevant-from"),
        (
            {"e": "Phòng"},
            1,
            "found none; not there are 0 of the judged queries and 1 of the documents. Fix: check that pairs uses "
            "their identifiers",
        ),
    ],
)
def test_an_object_in_which_nothing_is_answered_is_refused_with_the_reason(
    documents: dict[str, str], least: float, reason: str
) -> None:
    given = {"queries": {"q": "trọ"}, "corpus": documents, "relevant_docs": {"q": ["d"]}}
    expected = f"pairs: expected a query with a document of grade {least} or more, {reason}"
    assert _refusal(given, Reading(relevant_from=least)) == expected


# --- splits, tables and parts of collections


def _subsets(folder: Path) -> Path:
    for language in ("en", "vi"):
        for split in ("dev", "test"):
            rows = {
                f"{language}-corpus.jsonl": {"id": "d", "text": f"{language} document"},
                f"{language}-queries.jsonl": {"id": "q", "text": f"{language} query"},
                f"{language}-qrels/{split}.jsonl": {"query-id": "q", "corpus-id": "d", "score": 1},
            }
            for name, row in rows.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(json.dumps(row), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("wanted", "split"), [("vi", "vi-dev"), ("vi-test", "vi-test"), ("en", "en-dev")])
def test_a_subset_is_a_split_like_any_other(tmp_path: Path, wanted: str, split: str) -> None:
    found = read_pairs(_subsets(tmp_path), Reading(split=wanted))
    assert (found.split, found.records[0].query) == (split, f"{split[:2]} query")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("", "expected one split, found en-dev, vi-dev. Fix: say which is meant: --split en-dev"),
        ("test", "expected one split, found en-test, vi-test. Fix: say which is meant: --split en-test"),
        ("de", "expected the split de, found en-dev, en-test, vi-dev, vi-test. Fix: --split en-dev"),
    ],
)
def test_a_split_that_is_none_or_several_is_asked_for(tmp_path: Path, wanted: str, message: str) -> None:
    assert _refusal(_subsets(tmp_path), Reading(split=wanted)) == f"{tmp_path}: {message}"


def test_training_data_are_never_judged_unless_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps({"query": "a", "pos": "b"}), encoding="utf-8")
    assert _refusal(tmp_path) == (
        f"{tmp_path}: expected a split called validation, dev or test, found train. "
        "Fix: say which is meant: --split train"
    )
    assert read_pairs(tmp_path, Reading(split="train")).split == "train"


@pytest.mark.parametrize(
    "content", ["query,pos\r\na,b\r\n", "query;pos\na;b\n", "\ufeffquery,pos\na,b", 'query,pos\n"a","b"\n']
)
def test_tables_are_read_with_the_separator_and_the_line_ends_they_have(tmp_path: Path, content: str) -> None:
    (tmp_path / "pairs.csv").write_bytes(content.encode())
    assert read_pairs(tmp_path / "pairs.csv").records == records_from([{"query": "a", "pos": "b"}])


def test_judgements_alone_are_no_pairs(tmp_path: Path) -> None:
    path = CASES["beir"].write(tmp_path) / "qrels" / "test.tsv"
    assert _refusal(path) == (
        f"{path}: expected pairs, found judgements without texts. "
        "Fix: give the folder in which queries, corpus and qrels lie"
    )
