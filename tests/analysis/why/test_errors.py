"""Misses, confusions, and false negatives that nobody has marked."""

import json
import math
import random
from typing import Any

import numpy as np
import planted
import pytest

from embviz_callback.analysis.scan import scan
from embviz_callback.analysis.why.analysis import Questions, analyse, worth_grouping
from embviz_callback.analysis.why.columns import Columns, columns_of
from embviz_callback.analysis.why.errors import differing, errors_of
from embviz_callback.analysis.why.suspects import Suspect, suspects
from embviz_callback.delivery.results.plain_vectors import subset_of_arrays
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.texts import fold


def _rows(*values: dict[str, Any]) -> Columns:
    return Columns(values, values, ())


def _judged(queries: np.ndarray, documents: np.ndarray) -> planted.Evaluation:
    """Each query is answered by the document of its number."""
    subset, embeddings = subset_of_arrays({"query": queries, "document": documents})
    return planted.Evaluation(subset, embeddings, scan(embeddings))


def _three() -> tuple[planted.Evaluation, Columns]:
    """Query 1 finds its own, query 2 finds document 1, query 3 loses to document 1 by a hair."""
    documents = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    queries = np.array([[1.0, 0.1, 0.0], [1.0, 0.2, 0.0], [1.0, 0.0, 0.99]])
    columns = _rows(
        {"price": 5.0, "area": 20.0, "names": ("wc", "gym")},
        {"price": 7.0, "area": 20.0, "names": ("gym", "wc")},
        {"price": 7.0, "area": 30.0},
    )
    return _judged(queries, documents), columns


def test_every_miss_says_what_came_first_and_what_differs() -> None:
    found = errors_of(*_three())
    assert found.n_queries == 3
    misses = [(miss.search.query, miss.search.expected, miss.search.first, miss.differs) for miss in found.misses]
    assert misses == [
        ("query 2", "document 2", "document 1", {"price": (7.0, 5.0)}),
        ("query 3", "document 3", "document 1", {"price": (7.0, 5.0), "area": (30.0, 20.0)}),
    ]
    assert found.misses[0].gap == pytest.approx(0.8 / math.hypot(1, 0.2), abs=1e-5)
    assert [miss.search.query for miss in found.near_misses] == ["query 3"]


def test_confusions_are_counted_by_column() -> None:
    found = errors_of(*_three())
    assert found.sentences() == ("price: 2 of 2", "area: 1 of 2")
    assert found.lone_confusions == (("price", 1),)
    assert [(one.document, one.wrong_firsts, one.own) for one in found.crowders] == [("document 1", 2, 1)]


def test_an_unusable_query_is_a_miss_without_a_winner() -> None:
    one = _judged(np.array([[0.0, 0.0], [0.0, 1.0]]), np.eye(2))
    found = errors_of(one, _rows({"price": 1.0}, {"price": 2.0}))
    assert [(miss.search.query, miss.search.first, miss.differs) for miss in found.misses] == [("query 1", None, {})]
    assert math.isinf(found.misses[0].search.rank)
    assert found.misses[0].as_dict()["expected"] is None


def test_values_are_compared_as_a_reader_would() -> None:
    same = {"price": 5.0, "district": "Quận 1", "names": ("wc", "gym")}
    assert [*differing(same, {"price": 5.05, "district": "quận  1", "names": ("GYM", "wc")})] == []
    found = differing(same, {"price": 5.5, "district": "Quận 2", "names": ("wc",)})
    assert [*found] == ["price", "district", "names"]
    assert [*differing({"price": 5.0, "floor": 1.0}, {"price": 5.0})] == []


def _planted_documents(seed: int, n: int = 300) -> tuple[list[dict[str, Any]], set[str]]:
    """One in twenty positives gets a twin in other words, which nobody has marked as relevant to its query."""
    draw = random.Random(seed)
    items = planted.records(n, seed, several=False)
    chosen = draw.sample(range(n), n // 20)
    twins = []
    for at in chosen:
        text = items[at]["pos"].replace("phòng", "nhà trọ", 1)
        # Its own query asks for something else that the same listing happens to answer.
        twins.append({"query": f"hỏi khác {at} " + items[at]["query"].split(" ", 2)[2], "pos": text})
    return items + twins, {items[at]["query"] for at in chosen}


def _precision_and_recall(found: tuple[Suspect, ...], expected: set[Any], name: Any) -> tuple[float, float]:
    named = {name(one) for one in found}
    return len(named & expected) / max(len(named), 1), len(named & expected) / len(expected)


@pytest.mark.parametrize("seed", range(3))
def test_planted_twins_of_positives_are_suspected(seed: int) -> None:
    items, expected = _planted_documents(seed)
    for item in items:
        item.pop("metadata", None)
    one = planted.evaluate(items, planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=0.02, seed=seed))
    columns = columns_of(one.subset, planted.read_features)
    found = tuple(suspect for suspect in suspects([one], columns) if not suspect.is_hard)
    # The twin's own query is answered by the original just as well: both directions are right.
    everywhere = expected | {query for query in one.subset.queries if query.startswith("hỏi khác")}
    precision, recall = _precision_and_recall(found, everywhere, lambda suspect: suspect.query)
    assert precision >= 0.9
    assert recall >= 0.9
    # Of what the model alone holds for copies nothing is said: the twins stand in other words.
    assert suspects([one], columns_of(one.subset)) == ()


def _planted_negatives(seed: int, n: int = 200) -> tuple[list[dict[str, Any]], set[tuple[str, str]]]:
    """One in twenty hard negatives says what the positive says."""
    draw = random.Random(seed)
    items = planted.records(n, seed, several=False)
    places = [(at, beside) for at in range(n) for beside in range(len(planted.FEATURES))]
    expected = set()
    for at, beside in draw.sample(places, len(places) // 20):
        text = items[at]["pos"].replace("phòng", f"căn hộ {'abcdef'[beside]}", 1)
        items[at]["hard_neg"][beside]["text"] = text
        expected.add((fold(items[at]["query"]), fold(text)))
    for item in items:
        item.pop("metadata")
    return items, expected


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("unread", [0.0, 0.1])
def test_among_near_copies_that_the_model_cannot_tell_apart_the_texts_convict(seed: int, *, unread: float) -> None:
    """The hard kind: paraphrases with the same columns against copies with one changed, to a half deaf model."""
    items, expected = _planted_negatives(seed)
    deaf = {**planted.TRUE_WEIGHTS, "price": 0.0, "area": 0.0, "amenity": 0.0}
    one = planted.evaluate(items, planted.LinearEncoder(deaf, noise=0.1, seed=seed))
    draw = random.Random(seed)

    def read(text: str) -> dict[str, str]:
        return {name: value for name, value in planted.read_features(text).items() if draw.random() >= unread}

    found = tuple(suspect for suspect in suspects([one], columns_of(one.subset, read)) if suspect.is_hard)

    def name(suspect: Suspect) -> tuple[str, str]:
        return fold(suspect.query), fold(suspect.negative)

    precision, _ = _precision_and_recall(found[:20], expected, name)
    _, recall = _precision_and_recall(found, expected, name)
    assert precision >= 0.8
    assert recall >= (0.9 if unread == 0 else 0.2)
    assert {suspect.evidence[0] for suspect in found} <= {f"all {n} features equal the positive's" for n in range(2, 7)}
    assert not [suspect for suspect in suspects([one], columns_of(one.subset)) if suspect.is_hard]


def test_what_keeps_outranking_the_positive_is_said_beside_what_the_texts_say() -> None:
    items = [
        {"query": f"tìm {at}", "pos": f"phòng {at} xa", "hard_neg": [{"text": f"xa phòng {at}"}]} for at in range(12)
    ]

    def encode(texts: list[str]) -> np.ndarray:
        rows = np.zeros((len(texts), 40))
        for row, text in zip(rows, texts, strict=True):
            number = next(int(word) for word in text.split() if word.isdecimal())
            row[number] = 1.0
            kind = text.split()[0]
            row[12 + number] = {"tìm": 0.0, "phòng": 0.5, "xa": 0.2 if number == 3 else -1.0}[kind]
        return rows

    one = planted.evaluate(items, encode)
    (found,) = suspects([one, one, one], columns_of(one.subset))
    assert found.query == "tìm 3"
    copied = ("the same words as the positive", "nearly a copy to the model")
    assert (found.evidence, found.outranked) == ((*copied, "keeps outranking the positive"), 1.0)
    assert suspects([one, one], columns_of(one.subset))[0].evidence == copied


def test_features_that_differ_clear_a_near_copy() -> None:
    """A model that hears no price puts 5 and 7 million side by side; that makes neither a right answer."""
    one = planted.evaluate(planted.records(60, 5), planted.LinearEncoder({**planted.TRUE_WEIGHTS, "price": 0.0}))
    assert suspects([one], columns_of(one.subset, planted.read_features)) == ()


def test_a_difference_that_no_column_covers_is_not_taken_for_none() -> None:
    items, _ = _planted_negatives(0, n=40)
    for item in items:
        for negative in item["hard_neg"]:
            negative["type"] = "requirement"
    one = planted.evaluate(items, planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=0.02))
    assert not [s for s in suspects([one], columns_of(one.subset, planted.read_features)) if s.is_hard]


def test_texts_that_name_other_numbers_are_no_candidates_whatever_the_columns_say() -> None:
    """Nobody reads the price: of two listings of one district and one area it is all that differs."""
    features = {"location": "Gò Vấp", "area": "20"}
    texts = ("Phòng Gò Vấp 20m2 giá 5tr", "Nhà ở Gò Vấp 20.0 m2, 5,0 triệu", "Phòng Gò Vấp 20m2 giá 6tr")
    items = [{"query": f"tìm {row}", "pos": text} for row, text in enumerate(texts)]
    one = planted.evaluate(items, lambda given: np.ones((len(given), 2)))
    found = suspects([one], columns_of(one.subset, lambda text: features))
    pairs = {(suspect.query, suspect.negative) for suspect in found}
    assert pairs == {("tìm 0", texts[1]), ("tìm 1", texts[0])}


def test_suspects_need_an_evaluation() -> None:
    with pytest.raises(ValueError) as error:
        suspects([], _rows())
    assert str(error.value) == "suspects needs at least one evaluation"


def test_the_whole_analysis_is_plain_json() -> None:
    one = planted.evaluate(planted.records(60, 6), planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=0.5))
    found = analyse([one], Questions(draws=100, neighbours=[["location=1", "location=2"]], place="location"))
    plain = found.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert [group["column"] for group in plain["groups"]] == [*planted.FEATURES, "euro"]
    assert [one["column"] for one in plain["continuity"]] == ["euro"]
    assert plain["neighbourhood"]["column"] == "location"
    assert [one["with_hard_negatives"] for one in plain["thresholds"]] == [False, True]


def test_an_analysis_without_columns_says_what_is_missing() -> None:
    plain = Embeddings.from_raw(np.eye(3), np.eye(3), [[0, 0], [1, 1], [2, 2]])
    items = [{"query": f"tìm {at}", "pos": f"phòng {at}"} for at in range(3)]
    one = planted.evaluate(items, lambda texts: np.eye(len(texts)))
    found = analyse([one], Questions(draws=100))
    assert found.groupings == ()
    assert found.notes == (
        "no columns: groups, confusions and continuity need metadata or --features",
        "no hard negatives: feature importance needs them, or controlled edits",
    )
    assert len(plain.queries) == 3


def test_columns_that_single_out_every_query_make_no_groups() -> None:
    rows = tuple({"id": str(at), "city": "A" if at % 2 else "B", "price": float(at), "one": "x"} for at in range(20))
    assert worth_grouping(Columns(rows, rows, ())) == ("city", "price")
