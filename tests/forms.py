"""The same five questions in every form in which people keep such data, written from the public descriptions.

Each form is a function that writes it into a folder and returns what a user would give; `TWINS` says what it means
in our own form. The descriptions are cited beside the functions.
"""

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DISTRICTS = ("Ba Đình", "Tây Hồ", "Cầu Giấy", "Đống Đa", "Hà Đông")
QUERIES = {f"q{at}": f"tìm phòng ở {name}" for at, name in enumerate(DISTRICTS)}
POSITIVES = {f"d{at}": f"Phòng trọ {name} giá tốt" for at, name in enumerate(DISTRICTS)}
NEGATIVES = {f"n{at}": f"Chung cư xa {name}" for at, name in enumerate(DISTRICTS)}
TITLES = {f"d{at}": f"Tin {at}" for at in range(5)}
FIVE = range(5)


def pairs(*, negatives: bool = False, titles: bool = False, ids: bool = False, **more: Any) -> list[dict[str, Any]]:
    """The five in our own form."""
    found = []
    for at in FIVE:
        text = POSITIVES[f"d{at}"]
        record: dict[str, Any] = {
            "query": QUERIES[f"q{at}"],
            "pos": f"{TITLES[f'd{at}']} {text}" if titles else text,
            **more,
        }
        record |= {"hard_neg": [NEGATIVES[f"n{at}"]]} if negatives else {}
        found.append(record | ({"id": f"q{at}"} if ids else {}))
    return found


def _lines(path: Path, rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def _tsv(path: Path, rows: Iterable[Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


def _parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def _triples() -> list[tuple[str, str, str]]:
    return [(QUERIES[f"q{at}"], POSITIVES[f"d{at}"], NEGATIVES[f"n{at}"]) for at in FIVE]


# FlagOpen/FlagEmbedding, examples/finetune/embedder/README.md
def flagembedding(folder: Path) -> Path:
    rows = [{"query": q, "pos": [p], "neg": [n], "pos_scores": [0.9], "type": "normal"} for q, p, n in _triples()]
    return _lines(folder / "train.jsonl", rows)


# FlagOpen/FlagEmbedding, examples/evaluation/README.md, "Evaluate on custom dataset"
def flagembedding_evaluation(folder: Path) -> Path:
    documents = [*POSITIVES.items(), *NEGATIVES.items()]
    _lines(folder / "corpus.jsonl", [{"id": name, "title": "", "text": text} for name, text in documents])
    _lines(folder / "test_queries.jsonl", [{"id": name, "text": text} for name, text in QUERIES.items()])
    judged = [{"qid": f"q{at}", "docid": f"d{at}", "relevance": 1} for at in FIVE]
    _lines(folder / "test_qrels.jsonl", judged)
    return folder


# sbert.net, "Dataset Overview": the order of columns decides, label and score are known by name
def columns(folder: Path) -> Path:
    return _lines(folder / "train.jsonl", [{"anchor": q, "positive": p, "negative": n} for q, p, n in _triples()])


def numbered_negatives(folder: Path) -> Path:
    rows = [
        {"anchor": q, "positive": p, **{f"negative_{at}": f"{n} {at}" for at in range(1, 12)}} for q, p, n in _triples()
    ]
    return _lines(folder / "train.jsonl", rows)


def question_answer(folder: Path) -> Path:
    return _lines(folder / "train.jsonl", [{"question": q, "answer": p} for q, p, _ in _triples()])


def nli(folder: Path) -> Path:
    rows = [{"premise": q, "hypothesis": p, "label": "entailment"} for q, p, _ in _triples()]
    rows += [{"premise": q, "hypothesis": n, "label": "contradiction"} for q, _, n in _triples()]
    return _lines(folder / "train.jsonl", rows)


def labelled_lists(folder: Path) -> Path:
    return _lines(folder / "train.jsonl", [{"query": q, "docs": [n, p], "labels": [0, 1]} for q, p, n in _triples()])


# sbert.net, RerankingEvaluator and CrossEncoderRerankingEvaluator: samples
def reranking(folder: Path) -> Path:
    return _lines(folder / "test.jsonl", [{"query": q, "positive": [p], "negative": [n]} for q, p, n in _triples()])


# huggingface.co/datasets/sentence-transformers/embedding-training-data, README
def lists_of_two(folder: Path) -> Path:
    path = folder / "pairs.jsonl.gz"
    text = "".join(json.dumps([q, p], ensure_ascii=False) + "\n" for q, p, _ in _triples())
    path.write_bytes(gzip.compress(text.encode()))
    return path


def lists_of_three(folder: Path) -> Path:
    return _lines(folder / "triplets.jsonl", [list(one) for one in _triples()])


def sets(folder: Path) -> Path:
    return _lines(folder / "sets.jsonl", [{"set": [q, p]} for q, p, _ in _triples()])


# beir-cellar/beir, data_loader.py
def beir(folder: Path) -> Path:
    documents = [
        *({"_id": name, "title": TITLES[name], "text": text, "metadata": {}} for name, text in POSITIVES.items()),
        *({"_id": name, "title": "", "text": text, "metadata": {}} for name, text in NEGATIVES.items()),
    ]
    _lines(folder / "corpus.jsonl", documents)
    _lines(folder / "queries.jsonl", [{"_id": name, "text": text} for name, text in QUERIES.items()])
    head = ("query-id", "corpus-id", "score")
    _tsv(folder / "qrels" / "test.tsv", [head, *((f"q{at}", f"d{at}", 1) for at in FIVE)])
    _tsv(folder / "qrels" / "train.tsv", [head, ("q0", "n0", 1)])
    return folder


# embeddings-benchmark/mteb, docs on adding a retrieval data set
def mteb(folder: Path) -> Path:
    documents = [*POSITIVES.items(), *NEGATIVES.items()]
    rows = [{"id": name, "title": "", "text": text} for name, text in documents]
    _parquet(folder / "vi-corpus" / "test-00000-of-00001.parquet", rows)
    _parquet(folder / "vi-queries" / "test-00000-of-00001.parquet", [{"id": k, "text": v} for k, v in QUERIES.items()])
    judged = [{"query-id": f"q{at}", "corpus-id": f"d{at}", "score": 1} for at in FIVE]
    _parquet(folder / "vi-qrels" / "test-00000-of-00001.parquet", judged)
    return folder


def mteb_lines(folder: Path) -> Path:
    documents = [*POSITIVES.items(), *NEGATIVES.items()]
    _lines(folder / "corpus.jsonl", [{"id": name, "title": "", "text": text} for name, text in documents])
    _lines(folder / "queries.jsonl", [{"id": name, "text": text} for name, text in QUERIES.items()])
    judged = [{"query-id": f"q{at}", "corpus-id": f"d{at}", "score": 1} for at in FIVE]
    _lines(folder / "qrels" / "dev.jsonl", judged)
    return folder


# huggingface.co/datasets/microsoft/ms_marco, v2.1; as Microsoft published it, passages are a list of objects
def msmarco_records(folder: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for at, (query, positive, negative) in enumerate(_triples()):
        passages: Any = {"is_selected": [0, 1], "passage_text": [negative, positive], "url": ["", ""]}
        if at % 2:
            passages = [{"is_selected": is_in, "passage_text": text} for is_in, text in ((1, positive), (0, negative))]
        rows.append({"answers": ["a"], "passages": passages, "query": query, "query_id": f"q{at}", "query_type": "b"})
    nothing = {"passages": {"is_selected": [0], "passage_text": ["không"]}, "query": "không ai biết", "query_id": 5}
    return _lines(folder / "validation.jsonl", [*rows, nothing])


# microsoft/MSMARCO-Passage-Ranking, README
def msmarco_triples(folder: Path) -> Path:
    return _tsv(folder / "triples.train.small.tsv", _triples())


def msmarco(folder: Path) -> Path:
    _tsv(folder / "collection.tsv", [*POSITIVES.items(), *NEGATIVES.items()])
    _tsv(folder / "queries.dev.tsv", QUERIES.items())
    _tsv(folder / "qrels.dev.tsv", [(f"q{at}", 0, f"d{at}", 1) for at in FIVE])
    return folder


# usnistgov/trec_eval, README: qrels have "qid iter docno rel"
def trec(folder: Path) -> Path:
    _tsv(folder / "docs.tsv", [*POSITIVES.items(), *NEGATIVES.items()])
    _tsv(folder / "topics.tsv", QUERIES.items())
    text = "".join(f"q{at} 0 d{at} 1\n" for at in FIVE)
    (folder / "qrels.txt").write_text(text, encoding="utf-8")
    return folder


# texttron/tevatron, README: "positive_passages": [{"docid", "title", "text"}]
def tevatron(folder: Path) -> Path:
    rows = [
        {
            "query_id": f"q{at}",
            "query": q,
            "positive_passages": [{"docid": f"d{at}", "title": TITLES[f"d{at}"], "text": p}],
            "negative_passages": [{"docid": f"n{at}", "title": "", "text": n}],
        }
        for at, (q, p, n) in enumerate(_triples())
    ]
    return _lines(folder / "train.jsonl", rows)


# texttron/tevatron, src/tevatron/retriever/dataset.py
def tevatron_ids(folder: Path) -> Path:
    documents = [*POSITIVES.items(), *NEGATIVES.items()]
    _lines(folder / "corpus.jsonl", [{"docid": name, "document_text": text} for name, text in documents])
    rows = [
        {
            "query_id": f"q{at}",
            "query_text": QUERIES[f"q{at}"],
            "query_image": None,
            "positive_document_ids": [f"d{at}"],
            "negative_document_ids": [f"n{at}"],
            "answer": "nobody reads this",
        }
        for at in FIVE
    ]
    return _lines(folder / "train.jsonl", rows)


# facebookresearch/DPR, README, "Retriever input data format"
def dpr(folder: Path) -> Path:
    rows = [
        {
            "question": q,
            "answers": ["..."],
            "positive_ctxs": [{"title": TITLES[f"d{at}"], "text": p, "score": 1000, "psg_id": f"d{at}"}],
            "negative_ctxs": [],
            "hard_negative_ctxs": [{"title": "", "text": n, "score": 7.5, "psg_id": f"n{at}"}],
        }
        for at, (q, p, n) in enumerate(_triples())
    ]
    empty = {"question": "không ai trả lời", "answers": [], "positive_ctxs": [], "negative_ctxs": []}
    return _json(folder / "train.json", [*rows, empty])


# modelscope/ms-swift, docs/source_en/BestPractices/Embedding.md
def swift_messages(folder: Path) -> Path:
    def user(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    rows = [
        {"messages": user(q), "positive_messages": [user(p)], "negative_messages": [user(n)]} for q, p, n in _triples()
    ]
    return _lines(folder / "train.jsonl", rows)


def swift_responses(folder: Path) -> Path:
    rows = [{"query": q, "response": p, "rejected_response": [n]} for q, p, n in _triples()]
    return _lines(folder / "train.jsonl", rows)


# run-llama/llama_index, EmbeddingQAFinetuneDataset.save_json
def llamaindex(folder: Path) -> Path:
    relevant = {f"q{at}": [f"d{at}"] for at in FIVE}
    value = {"queries": QUERIES, "corpus": {**POSITIVES, **NEGATIVES}, "relevant_docs": relevant, "mode": "text"}
    return _json(folder / "val.json", value)


# NVIDIA NeMo Automodel, retriever data format: {"corpus": {"path"}, "data": [...]}
def nemo(folder: Path) -> Path:
    documents = [{"id": name, "text": text} for name, text in [*POSITIVES.items(), *NEGATIVES.items()]]
    _parquet(folder / "corpus" / "part.parquet", documents)
    rows = [
        {
            "question_id": f"q{at}",
            "question": QUERIES[f"q{at}"],
            "corpus_id": "vi",
            "pos_doc": [{"id": f"d{at}"}],
            "neg_doc": [{"id": f"n{at}"}],
        }
        for at in FIVE
    ]
    return _json(folder / "train.json", {"corpus": {"path": "corpus"}, "data": rows})


# rajpurkar.github.io/SQuAD-explorer and google-deepmind/xquad
def squad(folder: Path) -> Path:
    def paragraph(at: int) -> dict[str, Any]:
        answer = {"text": DISTRICTS[at], "answer_start": 0}
        asked = {"question": QUERIES[f"q{at}"], "id": f"q{at}", "answers": [answer]}
        return {"context": POSITIVES[f"d{at}"], "qas": [asked]}

    articles = [{"title": "A", "paragraphs": [paragraph(0), paragraph(1)]}]
    articles += [{"title": "B", "paragraphs": [paragraph(2), paragraph(3), paragraph(4)]}]
    return _json(folder / "xquad.vi.json", {"version": "1.1", "data": articles})


# huggingface/datasets, save_to_disk
def saved_dataset(folder: Path) -> Path:
    from datasets import Dataset

    Dataset.from_list(pairs()).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def saved_splits(folder: Path) -> Path:
    from datasets import Dataset, DatasetDict

    train = Dataset.from_list([{"query": "chỉ để học", "pos": "không phải để chấm"}])
    DatasetDict({"train": train, "validation": Dataset.from_list(pairs())}).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def parquet(folder: Path) -> Path:
    return _parquet(folder / "pairs.parquet", pairs())


def split_files(folder: Path) -> Path:
    _lines(folder / "train.jsonl", [{"query": "chỉ để học", "pos": "không phải để chấm"}])
    _lines(folder / "dev.jsonl", pairs())
    return folder


# pandas.pydata.org, DataFrame.to_json
def pandas_columns(folder: Path) -> Path:
    import pandas as pd

    path = folder / "frame.json"
    pd.DataFrame(pairs()).to_json(path, force_ascii=False)
    return path


def csv_with_names(folder: Path) -> Path:
    path = folder / "pairs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "pos", "hard_neg"])
        writer.writerows((q, p, json.dumps([n], ensure_ascii=False)) for q, p, n in _triples())
    return path


def tsv_with_names(folder: Path) -> Path:
    return _tsv(folder / "pairs.tsv", [("question", "answer"), *((q, p) for q, p, _ in _triples())])


def native(folder: Path) -> Path:
    return _json(folder / "pairs.json", pairs(negatives=True, ids=True))


@dataclass(frozen=True)
class Case:
    """One form.

    Attributes:
        write: Writes it, returns what a user would give.
        name: Of the form, as it is recognised.
        twin: The same in our own form.
    """

    write: Callable[[Path], Path]
    name: str
    twin: list[dict[str, Any]] = field(default_factory=pairs)


_TITLED = pairs(titles=True, negatives=True)
CASES: dict[str, Case] = {
    "native": Case(native, "native", pairs(negatives=True, ids=True)),
    "flagembedding": Case(flagembedding, "flagembedding", pairs(negatives=True)),
    "flagembedding-evaluation": Case(flagembedding_evaluation, "flagembedding-evaluation", pairs(ids=True)),
    "columns": Case(columns, "sentence-transformers", pairs(negatives=True)),
    "numbered negatives": Case(
        numbered_negatives,
        "sentence-transformers",
        [
            one | {"hard_neg": [f"{NEGATIVES[f'n{at}']} {number}" for number in range(1, 12)]}
            for at, one in enumerate(pairs())
        ],
    ),
    "question and answer": Case(question_answer, "sentence-transformers"),
    "nli": Case(nli, "sentence-transformers", pairs(negatives=True)),
    "labelled lists": Case(labelled_lists, "labelled-lists", pairs(negatives=True)),
    "reranking": Case(reranking, "sentence-transformers", pairs(negatives=True)),
    "lists of two": Case(lists_of_two, "lists"),
    "lists of three": Case(lists_of_three, "lists", pairs(negatives=True)),
    "sets": Case(sets, "sets"),
    "beir": Case(beir, "beir", pairs(titles=True, ids=True)),
    "mteb": Case(mteb, "mteb", pairs(ids=True)),
    "mteb lines": Case(mteb_lines, "mteb", pairs(ids=True)),
    "msmarco triples": Case(msmarco_triples, "sentence-transformers", pairs(negatives=True)),
    "msmarco records": Case(msmarco_records, "msmarco-records", pairs(negatives=True, ids=True)),
    "msmarco": Case(msmarco, "msmarco", pairs(ids=True)),
    "trec": Case(trec, "trec", pairs(ids=True)),
    "tevatron": Case(tevatron, "tevatron", [one | {"id": f"q{at}"} for at, one in enumerate(_TITLED)]),
    "tevatron ids": Case(tevatron_ids, "tevatron-ids", pairs(negatives=True, ids=True)),
    "dpr": Case(dpr, "dpr", _TITLED),
    "swift messages": Case(swift_messages, "ms-swift", pairs(negatives=True)),
    "swift responses": Case(swift_responses, "ms-swift-responses", pairs(negatives=True)),
    "llamaindex": Case(llamaindex, "llamaindex", pairs(ids=True)),
    "nemo": Case(nemo, "nemo", pairs(negatives=True, ids=True)),
    "squad": Case(squad, "squad", pairs(ids=True)),
    "saved dataset": Case(saved_dataset, "native"),
    "saved splits": Case(saved_splits, "native"),
    "parquet": Case(parquet, "native"),
    "split files": Case(split_files, "native"),
    "pandas columns": Case(pandas_columns, "native"),
    "csv": Case(csv_with_names, "native", pairs(negatives=True)),
    "tsv": Case(tsv_with_names, "sentence-transformers"),
}
