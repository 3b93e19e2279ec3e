import gzip
import hashlib
import json
import tracemalloc
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embviz_callback.pairs import corpus as corpus_room
from embviz_callback.pairs.corpus import Candidate, corpus_for, own_corpus, read_corpus
from embviz_callback.pairs.formats import corpora as corpora_room
from embviz_callback.pairs.formats.corpora import ItemStream
from embviz_callback.pairs.formats.reading import Reading, Record, read_pairs, records_from
from embviz_callback.pairs.problems import DataError
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.pairs.texts import fold
from tests.corpora import corpus_of, texts_of
from tests.forms import CASES, NEGATIVES, POSITIVES


def subset_of(*records: Record) -> Subset:
    return choose_subset(records, max_samples=100, seed=0)


SUBSET = subset_of(Record("trọ q1", ("Phòng A",), id="r1"), Record("trọ q2", ("Phòng B",)))


def written(folder: Path, name: str, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


# --- what is read


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("corpus.json", ["một", "hai", "ba"]),
        ("corpus.json", [{"text": "một"}, {"text": "hai", "price": 5}, {"text": "ba"}]),
        ("corpus.json", ["một", {"text": "hai"}, {"query": "trọ", "pos": "ba"}]),
        ("corpus.json", {"data": ["một", "hai", "ba"]}),
        ("corpus.json.gz", [{"query": "trọ", "pos": ["một", "hai"]}, {"pos": "ba"}]),
        ("corpus.jsonl", '"một"\n"hai"\n\n"ba"\n'),
        ("corpus.jsonl.gz", '{"text": "một"}\n{"text": "hai"}\n{"text": "ba"}'),
        ("corpus.txt", "một\r\nhai\n \nba\n"),
        ("corpus.txt.gz", "một\nhai\nba"),
    ],
)
def test_texts_records_and_lines_are_read_alike(tmp_path: Path, name: str, content: Any) -> None:
    path = written(tmp_path, name, content)
    found = read_corpus(path)
    assert [one.text for one in found.candidates] == ["một", "hai", "ba"]
    assert (found.name, found.sha256) == (str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_list_in_python_may_mix_texts_objects_and_records() -> None:
    (record,) = records_from([{"query": "trọ", "pos": ["hai", "ba"], "id": "7"}])
    found = read_corpus(["một", {"text": "bốn"}, record])
    assert found.candidates == (
        Candidate("một"),
        Candidate("bốn"),
        Candidate("hai", "trọ", "7"),
        Candidate("ba", "trọ", "7"),
    )


def test_lines_that_begin_like_html_are_lines_of_a_txt_file(tmp_path: Path) -> None:
    assert read_corpus(written(tmp_path, "c.txt", "<b>một</b>")).candidates == (Candidate("<b>một</b>"),)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            ["một", 7],
            "{name}[1]: expected non-empty text, found the number 7 (record 2 of 2). "
            "Fix: write a text, or drop the record",
        ),
        (
            [{"text": " "}],
            "{name}[0].text: expected non-empty text, found blank text (record 1 of 1). "
            "Fix: write a text, or drop the record",
        ),
        (
            [{"listing": "một"}],
            "{name}[0]: expected the field text, or pos of a dataset, found an object with listing (record 1 of 1). "
            "Fix: rename the field that holds the document to text",
        ),
        (
            [{"query": "trọ", "pos": ["một", None]}],
            "{name}[0].pos[1]: expected non-empty text, found null (record 1 of 1). "
            "Fix: write a text, or drop the record",
        ),
        ([], "{name}: expected at least one text, found an empty list. Fix: add documents"),
        (
            {"a": 1},
            "{name}: expected a list of records, found an object with a. "
            'Fix: give a list of texts or of {{"text": "..."}}, or a .txt file with one document a line',
        ),
    ],
)
def test_what_is_no_text_is_refused_with_file_record_and_field(tmp_path: Path, content: Any, expected: str) -> None:
    path = written(tmp_path, "corpus.json", content)
    with pytest.raises(DataError) as error:
        read_corpus(path)
    assert str(error.value) == expected.format(name=path)


def test_bad_items_can_be_left_out_and_counted() -> None:
    found = read_corpus(["một", 7, {"text": ""}], Reading(skip_bad=True))
    assert found.candidates == (Candidate("một"),)
    assert found.notes[0].startswith("2 of 3 items left out, the first because of corpus[1]: expected non-empty text")


def test_a_number_is_no_corpus() -> None:
    with pytest.raises(DataError) as error:
        read_corpus(5)  # type: ignore[arg-type]
    assert str(error.value) == (
        "corpus: expected a path or a list of texts, found the number 5. "
        'Fix: give a list of texts or of {"text": "..."}, or a .txt file with one document a line'
    )


# --- what becomes a distractor


def test_copies_are_merged_and_documents_of_the_subset_left_out() -> None:
    twin = unicodedata.normalize("NFD", "  PHÒNG   b")
    corpus = corpus_for(SUBSET, read_corpus(["Phòng D", "phòng  d", twin, "Phòng C", "phòng a"]))
    assert {fold(text) for text in texts_of(corpus)} == {"phòng c", "phòng d"}
    assert (corpus.n_equal, corpus.n_answering, corpus.n_merged) == (2, 0, 1)
    assert corpus.sentence == (
        "corpus: 2 distinct texts are ranked beside the documents; 2 equal a document and 0 answer a query by their "
        "own record, and are left out; 1 copy was merged"
    )


def test_a_record_that_answers_a_query_of_the_subset_is_no_distractor() -> None:
    given = [
        {"query": "TRỌ  q2", "pos": "Phòng X"},
        {"query": "other", "pos": "Phòng Y", "id": "r1"},
        {"query": "other", "pos": "Phòng Z", "id": "r9"},
    ]
    corpus = corpus_for(SUBSET, read_corpus(given))
    assert (texts_of(corpus), corpus.n_answering) == (("Phòng Z",), 2)


def test_a_corpus_without_a_distractor_is_refused() -> None:
    with pytest.raises(DataError) as error:
        corpus_for(SUBSET, read_corpus(["phòng a", "phòng b"]))
    assert str(error.value) == (
        "corpus: none of its 2 texts is a distractor, all are documents of the evaluated subset or answer its "
        "queries. Fix: give other documents"
    )


TEXTS = st.lists(st.sampled_from(["a", "A ", "b", "c", "C", "d", "phòng a", "trọ"]), min_size=1)


@given(TEXTS, st.randoms())
def test_neither_order_nor_copies_nor_spelling_change_the_corpus(texts: list[str], random: Any) -> None:
    shuffled = texts + texts[:1]
    random.shuffle(shuffled)
    try:
        one, other = (corpus_for(SUBSET, read_corpus(given)) for given in (texts, shuffled))
    except DataError:
        assert {fold(text) for text in texts} == {"phòng a"}
        return
    assert (texts_of(one), one.fingerprint, one.n_equal) == (texts_of(other), other.fingerprint, other.n_equal)
    assert sorted(map(fold, texts_of(one))) == sorted({fold(text) for text in texts} - {"phòng a"})
    assert corpus_for(SUBSET, read_corpus([text.upper() for text in texts])).fingerprint == one.fingerprint


# --- what the fingerprint says


def test_a_corpus_changes_the_fingerprint_and_no_corpus_leaves_it() -> None:
    one, other = corpus_of(["x"]), corpus_of(["x", "y"])
    prints = {SUBSET.fingerprint, one.beside(SUBSET).fingerprint, other.beside(SUBSET).fingerprint}
    assert len(prints) == 3
    assert SUBSET.fingerprint == "5f62c367a600"  # what it has always been
    assert corpus_of([" X "]).beside(SUBSET).fingerprint == one.beside(SUBSET).fingerprint


def test_a_subset_with_a_corpus_travels_as_json_and_an_old_one_still_reads() -> None:
    marked = corpus_of(["x", "y"]).beside(SUBSET)
    again = Subset.from_json(json.loads(json.dumps(marked.to_json())))
    assert (again.fingerprint, again.n_corpus) == (marked.fingerprint, 2)
    old = {name: value for name, value in SUBSET.to_json().items() if "corpus" not in name}
    assert Subset.from_json(old).fingerprint == SUBSET.fingerprint
    with pytest.raises(ValueError) as error:
        Subset.from_json(marked.to_json() | {"corpus_fingerprint": ""})
    assert str(error.value) == "2 texts of a corpus do not go with fingerprint ''"


# --- the forms in which people keep documents


@pytest.mark.parametrize(
    "name",
    ["beir", "mteb", "msmarco", "trec", "flagembedding-evaluation", "llamaindex", "nemo", "tevatron ids"],
)
def test_a_collection_brings_its_corpus_in_which_no_judged_document_is_left(tmp_path: Path, name: str) -> None:
    pairs = read_pairs(CASES[name].write(tmp_path))
    if name in ("nemo", "tevatron ids"):  # their hard negatives are judged and not ranked
        pairs = replace(pairs, records=tuple(replace(one, hard_negatives=()) for one in pairs.records))
    corpus = corpus_for(choose_subset(pairs.records, max_samples=100, seed=7), read_corpus(own_corpus(pairs)))
    assert set(texts_of(corpus)) == set(NEGATIVES.values())
    assert (corpus.n_equal, corpus.n_merged) == (5, 0)


@pytest.mark.parametrize("path", ["corpus.jsonl", "corpus.tsv", "corpus.parquet", "corpus.csv"])
def test_titles_stand_before_texts_and_identifiers_are_kept(tmp_path: Path, path: str) -> None:
    rows = [{"_id": "1", "title": "Hà Nội", "text": "Thủ đô."}, {"_id": "2", "title": "", "text": "Phòng B"}]
    whole = tmp_path / path
    if path.endswith("jsonl"):
        whole.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    elif path.endswith("parquet"):
        pytest.importorskip("pandas").DataFrame(rows).to_parquet(whole)
    else:
        separator = "," if path.endswith("csv") else "\t"
        lines = [separator.join(rows[0]), *(separator.join(row.values()) for row in rows)]
        whole.write_text("\n".join(lines), encoding="utf-8")
    found = [Candidate("Hà Nội Thủ đô.", document_id="1"), Candidate("Phòng B", document_id="2")]
    assert list(read_corpus(whole).candidates) == found


def test_an_answer_under_its_identifier_never_comes_back_as_a_distractor() -> None:
    records = records_from([{"query": "a", "pos": "Thủ đô.", "judged": [{"text": "Thủ đô.", "grade": 1, "id": "7"}]}])
    subset = choose_subset(records, max_samples=10, seed=7)
    given = [{"_id": "7", "title": "Hà Nội", "text": "Thủ đô."}, {"_id": "8", "text": "Phòng B"}]
    assert texts_of(corpus_for(subset, read_corpus(given))) == ("Phòng B",)


def test_what_a_corpus_does_not_read_is_named() -> None:
    found = read_corpus([{"text": "Phòng A", "title": "", "url": "u"}, {"text": "Phòng B"}])
    assert found.notes == ("titles stand before the texts", "columns that are not read: url")


def test_positives_of_records_of_any_form_are_a_corpus(tmp_path: Path) -> None:
    for name in ("columns", "lists of three", "swift messages", "reranking"):
        path = CASES[name].write(tmp_path)
        assert [one.text for one in read_corpus(path).candidates] == list(POSITIVES.values())


def test_data_without_a_corpus_have_none_to_take_by_themselves(tmp_path: Path) -> None:
    pairs = read_pairs(CASES["flagembedding"].write(tmp_path))
    with pytest.raises(DataError) as error:
        own_corpus(pairs)
    assert str(error.value) == (
        f"--corpus auto: expected data that bring their corpus, such as a BEIR folder, found {pairs.path} "
        "(flagembedding). Fix: name the file of the corpus"
    )


# --- files that are longer than memory


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "c.txt"])
def test_a_long_file_holds_the_same_texts_and_is_read_anew_each_time(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"_id": f"d{row}", "title": "Tin", "text": f"Phòng {row % 50}"} for row in range(60)]
    lines.append({"query": "trọ q2", "pos": ["Phòng X"]})
    texts = "\n".join(f"Tin Phòng {row % 50}" for row in range(60))
    path = written(tmp_path, name, texts if name == "c.txt" else "\n".join(map(json.dumps, lines)))
    at_once = read_corpus(path)
    monkeypatch.setattr(corpora_room, "_LONG", 1)
    as_stream = read_corpus(path)
    assert isinstance(as_stream.candidates, ItemStream)
    assert list(as_stream.candidates) == list(at_once.candidates)
    assert (as_stream.name, as_stream.sha256) == (at_once.name, at_once.sha256)
    one, other = corpus_for(SUBSET, at_once), corpus_for(SUBSET, as_stream)
    assert (one.facts, one.sentence, texts_of(one)) == (other.facts, other.sentence, texts_of(other))


def test_what_is_wrong_in_a_long_file_is_said_with_line_and_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora_room, "_LONG", 1)
    path = written(tmp_path, "c.jsonl", '{"text": "một"}\n{"note": "hai"}\n{"text": "ba"}')
    with pytest.raises(DataError) as error:
        corpus_for(SUBSET, read_corpus(path))
    assert str(error.value) == (
        f"{path}[1]: expected the field text, or pos of a dataset, found an object with note (record 2). "
        "Fix: rename the field that holds the document to text"
    )
    found = read_corpus(path, Reading(skip_bad=True))
    assert len(corpus_for(SUBSET, found)) == 2
    assert found.notes[-1].startswith(f"1 of 3 items left out, the first because of {path}[1]: expected the field text")


def test_a_file_that_has_changed_since_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora_room, "_LONG", 1)
    path = written(tmp_path, "c.txt", "một\nhai\nba")
    corpus = corpus_for(SUBSET, read_corpus(path))
    path.write_text("một\nba\nbốn")
    with pytest.raises(DataError) as error:
        texts_of(corpus)
    assert str(error.value) == (
        f"{path}: expected the 3 texts where they stood at first, found 2 of them there no more. "
        "Fix: leave the file as it is while it is used"
    )


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 20))
def test_windows_share_all_texts_out_once(n: int, n_ranks: int, size: int) -> None:
    corpus = corpus_of(f"t{row % 40}" for row in range(n))
    shares = [list(corpus.windows(size, rank=rank, n_ranks=n_ranks)) for rank in range(n_ranks)]
    found = [(row, text) for share in shares for rows, texts in share for row, text in zip(rows, texts, strict=True)]
    assert sorted(row for row, _ in found) == list(range(len(corpus)))
    assert {text for _, text in found} == {f"t{row}" for row in range(min(n, 40))}
    for share in shares:
        assert all(len(rows) == len(texts) == size for rows, texts in share[:-1])
    assert len({sum(len(rows) for rows, _ in share) // 2 for share in shares}) <= 2


def test_a_sample_is_drawn_by_hash_and_says_so() -> None:
    corpus = corpus_of(f"t{row}" for row in range(100))
    drawn = corpus.sampled(10)
    assert set(texts_of(drawn)) < set(texts_of(corpus))
    assert drawn.facts["sampled_from"] == 100
    assert drawn.sentence.startswith("corpus: 10 distinct texts are ranked beside the documents (a sample of 100);")
    assert corpus.sampled(100) is corpus


@pytest.mark.slow
def test_a_long_corpus_needs_a_few_bytes_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora_room, "_LONG", 1)
    monkeypatch.setattr(corpus_room, "WINDOW", 256)
    n = 10_000
    lines = [json.dumps({"_id": f"d{at}", "text": f"Phòng {at} " + "rất đẹp " * 20}) for at in range(n)]
    path = written(tmp_path, "corpus.jsonl", "\n".join(lines))
    tracemalloc.start()
    corpus = corpus_for(SUBSET, read_corpus(path))
    assert sum(len(rows) for rows, _ in corpus.windows(256)) == n
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * n + 3e6 < path.stat().st_size
