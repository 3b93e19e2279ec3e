"""Data that could be read in two ways, of which one is wrong: read rightly, or asked about in one message."""

import json
from pathlib import Path
from typing import Any

import pytest

from embviz_callback.pairs.formats.corpora import read_corpus
from embviz_callback.pairs.formats.reading import DataError, Reading, Record, read_pairs

CORPUS = {f"d{at}": f"Phòng số {at}" for at in range(1, 9)}
QUERIES = {"q1": "phòng rẻ", "q2": "nhà rẻ"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _file(name: str, content: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode())
    return name


def _texts(records: tuple[Record, ...]) -> list[tuple[str, tuple[str, ...], list[str]]]:
    return [(one.query, one.positives, [hard.text for hard in one.hard_negatives]) for one in records]


def _refusal(given: Any, reading: Reading | None = None) -> str:
    with pytest.raises(DataError) as error:
        read_pairs(given, reading)
    return str(error.value)


# --- a question with a passage and an answer

PASSAGES = {
    "Phòng trọ ở số 12 Lý Thường Kiệt, Quận 10, rộng 25m2. Giá 3 triệu mỗi tháng.": "3 triệu",
    "Nhà nguyên căn ở Quận 3 rộng 60m2, gần chợ. Giá 12 triệu mỗi tháng.": "Nhà ở Quận 3 giá 12 triệu",
    "Căn hộ ở Bình Thạnh, đủ nội thất. Toà nhà có thang máy và hầm xe.": "có",
}
HOW = "Bạn nên xem phòng trước rồi mới đặt cọc, và đòi hợp đồng có chữ ký."


@pytest.mark.parametrize("context", ["context", "passage", "document"])
@pytest.mark.parametrize("answer", ["answer", "response"])
@pytest.mark.parametrize("query", ["question", "query"])
def test_a_passage_of_which_answers_are_parts_is_the_document(query: str, context: str, answer: str) -> None:
    rows = [{query: f"hỏi {text}", context: passage, answer: text} for passage, text in PASSAGES.items()]
    found = read_pairs(rows)
    assert [record.positives for record in found.records] == [(passage,) for passage in PASSAGES]
    assert found.unread == (answer,)
    assert found.notes[0] == (
        f"read as columns of sentence-transformers (query, positive, negatives); the positive is {context}: {answer} "
        f"is a part of {context} in 3 of 3 records (--fields query={query},pos={answer} for the other)"
    )
    assert read_pairs(rows, Reading(fields={"query": query, "pos": answer})).records[0].positives == ("3 triệu",)


def test_a_verdict_on_a_passage_is_no_document() -> None:
    rows = [{"question": "có thang máy?", "passage": passage, "answer": True} for passage in PASSAGES]
    assert [record.positives for record in read_pairs(rows).records] == [(passage,) for passage in PASSAGES]


@pytest.mark.parametrize("context", ["Hỏi đáp", "Trang này dạy nấu ăn cho người mới bắt đầu học nghề bếp tại nhà."])
def test_an_answer_that_is_a_passage_of_its_own_stays_the_document(context: str) -> None:
    found = read_pairs([{"question": "thuê trọ thế nào", "context": context, "answer": HOW}])
    assert found.records[0].positives == (HOW,)
    assert found.notes[0].endswith("in 0 of 1 record (--fields query=question,pos=context for the other)")


# --- identifiers


@pytest.mark.parametrize(
    "row",
    [
        ["q17", "phòng Q1", "d93", "Phòng Quận 1", "d4", "Nhà"],
        [17, "phòng Q1", 93, "Phòng Quận 1", 4, "Nhà"],
        ["q17", "phòng Q1", "Phòng Quận 1", "Nhà"],
        {"id": "q17", "query": "phòng Q1", "positives": [["d93", "Phòng Quận 1"]], "negatives": [["d14", "Nhà"]]},
        {"id": "q17", "query": "phòng Q1", "pos": ["d93", "Phòng Quận 1"], "neg": ["d14", "Nhà"]},
        {"id": "q17", "query": "phòng Q1", "pos": [["Phòng Quận 1", 0.9]], "neg": [["Nhà", 0.2]]},
    ],
)
def test_identifiers_and_scores_beside_texts_never_become_texts(row: Any) -> None:
    (record,) = read_pairs([row]).records
    assert _texts((record,)) == [("phòng Q1", ("Phòng Quận 1",), ["Nhà"])]
    assert record.id == "q17" or isinstance(row, list)


def test_what_is_left_out_beside_texts_is_said() -> None:
    assert read_pairs([["q17", "phòng Q1", "d93", "Phòng Quận 1"]]).notes[0] == (
        "read as lists of texts (query, positive, negatives), in which identifiers stand at [0], [2]"
    )
    of_positives = read_pairs([{"query": "phòng Q1", "pos": [["d93", "Phòng Quận 1"]]}])
    assert of_positives.notes[0] == "identifiers beside the texts of pos are not read"


def test_identifiers_in_place_of_texts_are_refused_unless_the_form_is_named() -> None:
    Path("ids.jsonl").write_text(json.dumps({"query": "phòng rẻ", "positive": "doc_123"}), encoding="utf-8")
    assert _refusal("ids.jsonl") == (
        "ids.jsonl[0].positive: expected texts, found identifiers such as doc_123 (record 1). Fix: put the texts in "
        "their place, or give the folder in which queries, corpus and qrels lie; if they are texts, say so: "
        "--format sentence-transformers"
    )
    named = read_pairs("ids.jsonl", Reading(format="sentence-transformers"))
    assert named.records[0].positives == ("doc_123",)
    fields = {"query": "query", "pos": "positive"}
    assert _refusal("ids.jsonl", Reading(fields=fields)).endswith("if they are texts, say so: --format native")
    assert read_pairs("ids.jsonl", Reading(fields=fields, format="native")).records == named.records


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"query": "q17", "pos": "Phòng rẻ"}, ".query"),
        ({"query": "phòng rẻ", "pos": "Phòng rẻ", "neg": ["d11", "d12"]}, ".neg"),
        (["8be4df61-93ca-11d2-aa0d-00e098032b8c", "d29"], "[0]"),
        (["một người", "một ai đó", "4.5"], "[2]"),
        (["một người", "một ai đó", "1"], "[2]"),
        (["một người", "một ai đó", "entailment"], "[2]"),
    ],
)
def test_identifiers_are_refused_wherever_a_text_is_expected(row: Any, place: str) -> None:
    values = [str(value) for value in (row if isinstance(row, list) else row.values())]
    kind = "labels" if "entailment" in values else "numbers" if values[-1][0].isdigit() else "identifiers"
    assert _refusal([row]).startswith(f"pairs[0]{place}: expected texts, found {kind} such as ")


@pytest.mark.parametrize(
    "rows",
    [
        [{"query": f"q{at}", "pos": f"d{at}"} for at in range(5)],
        [{"query": f"query {at}", "pos": [f"doc_{at % 3}"]} for at in range(5)],
        [{"query": f"từ{at:02d}", "pos": word} for at, word in enumerate(("nóng", "lạnh"))],
        [("12135", "29127"), ("5623", "7282")],
        [(f"q{at}", f"d{at}", f"n{at}") for at in range(30)],
    ],
)
def test_words_of_an_experiment_are_read_and_what_they_look_like_is_said(rows: Any) -> None:
    found = read_pairs(rows)
    assert len(found.records) == len(rows)
    first, *_ = rows[-1].values() if isinstance(rows[-1], dict) else rows[-1]
    assert found.records[-1].query == first
    assert any(note.endswith("and are read as they are") for note in found.notes)


def test_records_that_are_left_out_say_nothing_of_those_that_are_read() -> None:
    rows = [{"query": f"q{at}", "pos": f"Phòng {word}"} for at, word in enumerate(("trọ", "rẻ", "mới"))]
    assert "found identifiers such as q0" in _refusal([*rows, {"query": "trọ quận 10"}], Reading(skip_bad=True))


def test_a_corpus_of_records_whose_positives_are_identifiers_is_refused() -> None:
    with pytest.raises(DataError) as error:
        read_corpus([{"query": "phòng rẻ", "pos": "doc_123"}])
    assert read_corpus([f"doc_{at}" for at in range(3)]).notes == (
        "the texts look like identifiers, such as doc_0, and are read as they are",
    )
    assert str(error.value) == (
        "corpus: expected texts, found identifiers such as doc_123. Fix: give the file or folder in which the texts "
        'lie; if they are texts, write {"text": "..."} for each'
    )


# --- columns that judge


def _judged(column: str, right: Any, wrong: Any, text: str = "document") -> list[dict[str, Any]]:
    pairs = [
        (query, f"{kind} {query}", label)
        for query in QUERIES.values()
        for kind, label in (("Phòng", right), ("Xe", wrong))
    ]
    return [{"query": query, text: document, column: label} for query, document, label in pairs]


@pytest.mark.parametrize(
    ("column", "right", "wrong"),
    [
        ("verdict", "relevant", "not relevant"),
        ("ý kiến", "Relevant", "Irrelevant"),
        ("nhãn", "liên quan", "không liên quan"),
        ("lien_quan", "có", "không"),
        ("is_similar", 1, 0),
        ("is_paraphrase", "1", "0"),
        ("gold", True, False),
        ("is_correct_document", True, False),
        ("answerable", True, False),
    ],
)
def test_a_column_judges_whatever_it_is_called_where_its_words_or_its_values_say_so(
    column: str, right: Any, wrong: Any
) -> None:
    for text in ("document", "pos", "response"):
        found = read_pairs(_judged(column, right, wrong, text))
        assert _texts(found.records) == [
            ("phòng rẻ", ("Phòng phòng rẻ",), ["Xe phòng rẻ"]),
            ("nhà rẻ", ("Phòng nhà rẻ",), ["Xe nhà rẻ"]),
        ]
    fields = Reading(fields={"query": "query", "pos": "document"})
    assert read_pairs(_judged(column, right, wrong), fields).records == found.records


@pytest.mark.parametrize(
    ("column", "right", "wrong"),
    [
        ("clicks", 14, 0),
        ("ctr", 0.3, 0.0),
        ("score", "0,9", "0,1"),
        ("target", 1, 0),
        ("quality", "good", "bad"),
        ("esci_label", "E", "I"),
        ("relevance", "Exact", "Partial"),
        ("match", "exact", "substitute"),
    ],
)
def test_a_column_that_judges_in_terms_of_its_own_is_asked_about(column: str, right: Any, wrong: Any) -> None:
    rows = _judged(column, right, wrong)
    assert _refusal(rows).startswith(f"pairs: expected to know which {column} makes a pair relevant, found the ")
    own = Reading(fields={"query": "query", "pos": "document", "metadata": column})
    assert len(read_pairs(rows, own).records) == 4


def test_what_an_annotation_tool_writes_around_a_label_is_asked_about_and_found_where_it_is_said_to_stand() -> None:
    right, wrong = ([{"value": {"choices": [choice]}}] for choice in ("Relevant", "Irrelevant"))
    rows = _judged("annotations", right, wrong)
    assert _refusal(rows) == (
        "pairs: expected one label in annotations, found an object with value. Fix: say where it stands in it: "
        "--fields query=...,pos=...,label=annotations.NAME, or metadata=annotations if it is none"
    )
    fields = {"query": "query", "pos": "document", "label": "annotations.value.choices"}
    found = read_pairs(rows, Reading(fields=fields))
    assert [hard.text for record in found.records for hard in record.hard_negatives] == ["Xe phòng rẻ", "Xe nhà rẻ"]


@pytest.mark.parametrize(
    "row",
    [
        {"query": "a", "pos": "b", "quality": "tốt", "class": 3, "target": "thuê", "has_gac": True},
        {"query": "a", "document": "b", "label": "Hà Nội", "orders": 7, "district": "Quận 1"},
        {"query": "a", "pos": ["b"], "pos_scores": [0.9], "relevant_ids": ["d1"]},
    ],
)
def test_columns_of_ones_own_stay_so(row: dict[str, Any]) -> None:
    found = read_pairs([row, {**row, "query": "c", "district": "Quận 3"}])
    assert [record.positives for record in found.records] == [("b",), ("b",)]


@pytest.mark.parametrize("judged", [[{"gain": 2}, {"gain": 0}], [{"is_right": True}, {"is_right": False}]])
def test_judgements_are_read_under_whatever_name_they_have_alone(judged: list[dict[str, Any]]) -> None:
    rows = [{"query-id": "q1", "corpus-id": name, **grade} for name, grade in zip(("d1", "d2"), judged, strict=True)]
    (record,) = read_pairs({"queries": QUERIES, "corpus": CORPUS, "qrels": rows}).records
    assert (record.positives, len(record.judged)) == (("Phòng số 1",), 2)


# --- documents that are not what they seem


def test_a_list_that_stands_as_a_text_is_the_list_it_says(tmp_path: Path) -> None:
    row = {"query": "a", "positives": '["Phòng Quận 1", "Nhà"]', "negatives": "['Xe']"}
    Path("printed.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert _texts(read_pairs("printed.jsonl").records) == [("a", ("Phòng Quận 1", "Nhà"), ["Xe"])]


@pytest.mark.parametrize("names", [("pos_1", "pos_2"), ("positive_1", "positive_2"), ("positive", "positive_2")])
def test_numbered_positives_are_positives(names: tuple[str, str]) -> None:
    found = read_pairs([{"query": "a", names[0]: "b", names[1]: "c", "negative_1": "d"}, {"query": "e", names[0]: "f"}])
    assert _texts(found.records) == [("a", ("b", "c"), ["d"]), ("e", ("f",), [])]
    assert found.unread == ()


@pytest.mark.parametrize("name", ["abstract", "description"])
def test_a_title_never_stands_for_a_text_beside_it(name: str) -> None:
    (found,) = read_corpus([{"_id": "d1", "title": "Tin", name: "Phòng trọ Quận 1"}]).candidates
    assert found.text == "Tin Phòng trọ Quận 1"
    with pytest.raises(DataError) as error:
        read_corpus([{"title": "Tin", "nội dung": "Phòng trọ Quận 1"}])
    assert str(error.value) == (
        "corpus[0]: expected the field text, or pos of a dataset, found an object with title, nội dung "
        "(record 1 of 1). Fix: rename the field that holds the document to text"
    )


def test_markup_is_no_corpus_of_lines() -> None:
    with pytest.raises(DataError) as error:
        read_corpus(_file("docs.txt", "<DOC>\n<DOCNO> d1 </DOCNO>\n"))
    assert str(error.value) == (
        "docs.txt: expected a document on each line, found the text '<DOC>', which is markup. "
        'Fix: give a list of texts or of {"text": "..."}, or a .txt file with one document a line'
    )


@pytest.mark.parametrize(
    ("table", "read"),
    [
        ("Phòng trọ Quận 1\nNhà ở Quận 3\n", [(None, "Phòng trọ Quận 1"), (None, "Nhà ở Quận 3")]),
        ("d1 Phòng trọ Quận 1\nd2 Nhà ở Quận 3\n", [("d1", "Phòng trọ Quận 1"), ("d2", "Nhà ở Quận 3")]),
        ("text\nPhòng trọ Quận 1\n", [(None, "Phòng trọ Quận 1")]),
    ],
)
def test_lines_without_tabs_begin_with_an_identifier_only_where_that_is_one(
    table: str, read: list[tuple[str | None, str]]
) -> None:
    found = read_corpus(_file("corpus.tsv", table)).candidates
    assert [(one.document_id, one.text) for one in found] == read


def test_input_examples_in_a_file_are_what_they_are_in_python() -> None:
    found = read_pairs([{"guid": "1", "texts": ["phòng Q1", "Phòng Quận 1", "Nhà"]}])
    assert _texts(found.records) == [("phòng Q1", ("Phòng Quận 1",), ["Nhà"])]
    labelled = [{"texts": ["a", "b"], "label": 1.0}, {"texts": ["a", "c"], "label": 0.0}]
    assert _texts(read_pairs(labelled, Reading(relevant_from=0.5)).records) == [("a", ("b",), ["c"])]


# --- scores of a search

HITS = [{"id": "d1", "text": "Phòng Quận 1", "score": 17}, {"id": "d2", "text": "Nhà", "score": 12}]
BY_HITS = {"query": "query", "pos": "hits"}


@pytest.mark.parametrize("hits", [HITS, [["Phòng Quận 1", 17], ["Nhà", 12]], [("Phòng Quận 1", 1.5), ("Nhà", 0.5)]])
def test_hits_with_scores_are_asked_about_before_one_counts_as_relevant(hits: list[Any]) -> None:
    rows = [{"query": "phòng Q1", "hits": hits}]
    shown = "1.5, 0.5" if 1.5 in hits[0] else "17, 12"
    more = "; if all of them answer, pos=hits.text" if hits is HITS else ""
    assert _refusal(rows, Reading(fields=BY_HITS)) == (
        f"pairs: expected grades, found scores or ranks of a search under score ({shown}). "
        f"Fix: say from which on a document is relevant: --relevant-from X{more}"
    )
    cut = read_pairs(rows, Reading(fields=BY_HITS, relevant_from=1.5 if "1.5" in shown else 15))
    assert _texts(cut.records) == [("phòng Q1", ("Phòng Quận 1",), ["Nhà"])]


def test_the_texts_of_all_hits_can_be_named() -> None:
    rows = [{"query": "phòng Q1", "hits": HITS}, {"query": "nhà", "hits": []}]
    found = read_pairs(rows[:1], Reading(fields={"query": "query", "pos": "hits.text"}))
    assert found.records[0].positives == ("Phòng Quận 1", "Nhà")


def test_positives_that_bring_scores_are_positives() -> None:
    found = read_pairs([{"query": "a", "positives": HITS}], Reading(fields={"query": "query", "pos": "positives"}))
    assert found.records[0].positives == ("Phòng Quận 1", "Nhà")
    assert "fields of documents that are not read: score" in found.notes
    in_lists = read_pairs([{"query": "a", "positives": [["Phòng Quận 1", 0.9], ["Nhà", 0.2]]}])
    assert in_lists.records[0].positives == found.records[0].positives
    assert "numbers beside the texts of documents are not read" in in_lists.notes


RUN = (
    "expected judgements, found scores or ranks of a search (a run). "
    "Fix: give the judgements (qrels): a run says what was found, not what is right"
)
OR_GRADES = "; if they are grades, say from which on: --relevant-from X"


@pytest.mark.parametrize(
    ("judged", "more"),
    [
        ({"q1": {"d1": 17, "d2": 12}, "q2": {"d3": 9, "d4": 8}}, OR_GRADES),
        ({"q1": {"d1": 7, "d2": 6}, "q2": {"d3": 9}}, OR_GRADES),
        ({"q1": {f"d{at}": at for at in range(1, 7)}, "q2": {"d3": 1, "d4": 2}}, OR_GRADES),
        ({"q1": {"d1": 1.0, "d2": 0.5}}, ""),
    ],
)
def test_a_run_of_a_search_is_no_judgement(judged: dict[str, dict[str, float]], more: str) -> None:
    whole = {"queries": QUERIES, "corpus": CORPUS, "qrels": judged}
    assert _refusal(whole) == f"pairs: {RUN}{more}"
    lines = [f"{query}\t{name}\t{score}\n" for query, found in judged.items() for name, score in found.items()]
    assert _refusal(_folder("set", "".join(lines))) == f"set/qrels.tsv: {RUN}{more}"
    if more:
        assert read_pairs("set", Reading(relevant_from=1)).records[0].positives


@pytest.mark.parametrize("line", ["q1 Q0 d1 1 17 bm25\n", "qid\tdocid\trank\nq1\td1\t1\n"])
def test_lines_with_ranks_are_a_run(line: str) -> None:
    assert _refusal(_folder("set", line)) == f"set/qrels.tsv: {RUN}"


@pytest.mark.parametrize("part", ["queries", "corpus", "qrels"])
@pytest.mark.parametrize("found", ["phòng", 5, None])
def test_a_part_of_a_collection_that_is_no_table_is_named(part: str, found: Any) -> None:
    judged = [{"query-id": "q1", "corpus-id": "d1"}]
    message = _refusal({"queries": QUERIES, "corpus": CORPUS, "qrels": judged, part: found})
    assert message.startswith(f"pairs.{part}: expected texts with identifiers, found ")


@pytest.mark.parametrize(
    "judged",
    [
        {"q1": {"d1": 3, "d2": 2, "d3": 1}, "q2": {"d4": 3, "d5": 0}},
        {"q1": {"d1": 2, "d2": 1}, "q2": {"d3": 2, "d4": 2}},
        {"q1": {"d1": 10, "d2": 0}, "q2": {"d3": 5, "d4": -1}},
        {"q1": {"d1": 1}, "q2": {"d2": 1}},
    ],
)
def test_grades_of_every_usual_scale_are_grades(judged: dict[str, dict[str, int]]) -> None:
    found = read_pairs({"queries": QUERIES, "corpus": CORPUS, "qrels": judged})
    assert {record.id: {one.id: one.grade for one in record.judged} for record in found.records} == judged


def _folder(name: str, qrels: str, corpus: str = "".join(f"{key}\t{text}\n" for key, text in CORPUS.items())) -> str:
    _file(f"{name}/collection.tsv", corpus)
    _file(f"{name}/queries.tsv", "".join(f"{key}\t{text}\n" for key, text in QUERIES.items()))
    _file(f"{name}/qrels.tsv", qrels)
    return name


# --- quotes in tables


@pytest.mark.parametrize(
    ("table", "read"),
    [
        ('pid\tpassage\nd1\t"Phòng\n\n""đẹp"""\nd2\tNhà\n', ['Phòng  "đẹp"', "Nhà"]),
        ('"d1"\t"Phòng đẹp"\r\n"d2"\t"Nhà\r\nto"\r\n', ["Phòng đẹp", "Nhà to"]),
        ('d1\t"Phòng đẹp, rẻ"\nd2\tNhà to\n', ["Phòng đẹp, rẻ", "Nhà to"]),
        ('d1\t"Phòng đẹp, rẻ"\nd2\tNhà, to\n', ['"Phòng đẹp, rẻ"', "Nhà, to"]),
        ('d1\t"Phòng đẹp\nd2\tNhà "to"\n', ['"Phòng đẹp', 'Nhà "to"']),
        ('d1\t"Phòng đẹp\nd2\tNhà to"\n', ['"Phòng đẹp', 'Nhà to"']),
        ('d1\t"Phòng đẹp"\nd2\tNhà to\n', ['"Phòng đẹp"', "Nhà to"]),
        ('d1\t"Phòng" đẹp\nd2\t"\n', ['"Phòng" đẹp', '"']),
        ('d1\tPhòng 5" đẹp\nd2\tNhà\n', ['Phòng 5" đẹp', "Nhà"]),
    ],
)
def test_quotes_of_a_tsv_file_are_around_cells_or_texts_by_the_whole_of_it(table: str, read: list[str]) -> None:
    _folder("set", "q1\td1\t1\nq2\td2\t1\n", corpus=table)
    assert [one.text for one in read_corpus("set/collection.tsv").candidates] == read
    if not table.startswith("pid"):
        headed = _file("pairs.tsv", f"query\tpositive\n{table}")
        assert [one.positives[0] for one in read_pairs(headed, Reading(format="sentence-transformers")).records] == read


def test_lines_of_a_collection_that_are_no_identifier_and_text_are_counted() -> None:
    folder = _folder("set", "q1\td1\t1\n", corpus="d1\tPhòng\nđẹp\nd2\tNhà\n")
    assert "lines of set/collection.tsv that are no identifier and text, left out: 1" in read_pairs(folder).notes


@pytest.mark.parametrize(
    ("table", "read"),
    [
        ('id,text\nd1,"Phòng\nđẹp, rẻ"\nd2,"Nhà ""to"""\n', ["Phòng đẹp, rẻ", 'Nhà "to"']),
        ('id,text\nd1,"Phòng đẹp\nd2,Nhà\n', ['"Phòng đẹp', "Nhà"]),
        ('id;text\nd1;"Phòng" đẹp\nd2;Nhà\n', ['"Phòng" đẹp', "Nhà"]),
    ],
)
def test_quotes_of_a_csv_file_are_around_cells_unless_that_cannot_be(table: str, read: list[str]) -> None:
    assert [one.text for one in read_corpus(_file("corpus.csv", table)).candidates] == read


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('id,text\nd1,"Phòng đẹp\nd2,Nhà, rẻ\n', "unexpected end of data"),
        ('id,title,text\n"d1" a,"Phòng, đẹp"\nd2,Nhà,rẻ\n', "',' expected after '\"'"),
    ],
)
def test_a_csv_file_that_can_be_read_in_no_way_is_refused_before_a_quote_swallows_the_rest(
    table: str, reason: str
) -> None:
    corpus = read_corpus(_file("corpus.csv", table))
    with pytest.raises(DataError) as error:
        list(corpus.candidates)
    assert str(error.value) == f"corpus.csv: no valid CSV ({reason}). Fix: write it with a CSV writer"
