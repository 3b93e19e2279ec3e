"""The ledger counts what happened to each query, by its text, over evaluations and resumes."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.analysis.compare.ledger import CLASSES, Ledger, Series, Standing, classify
from embviz_callback.analysis.scan import Similarity, scan
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import Subset, choose_subset


@dataclass(frozen=True)
class Seen:
    label: str
    epoch: int | None
    step: int | None
    subset: Subset
    similarity: Similarity
    corpus_texts: Mapping[int, str] = field(default_factory=dict)


def a_subset(n: int = 6, *, reverse: bool = False) -> Subset:
    records = [{"query": f"tìm phòng {letter}", "pos": f"phòng {letter}"} for letter in "abcdefghij"[:n]]
    return choose_subset(records_from(records[::-1] if reverse else records), max_samples=n, seed=3)


def seen(subset: Subset, hits: str, *, epoch: int | None, step: int | None = None, label: str = "") -> Seen:
    """An evaluation in which exactly the queries named by their letter find their own document first."""
    eye = np.eye(len(subset.documents), dtype=np.float32)
    own = dict(subset.relevance.tolist())
    queries = np.stack([
        eye[own[row] if text[-1] in hits else (own[row] + 1) % len(eye)] for row, text in enumerate(subset.queries)
    ])
    similarity = scan(Embeddings(queries, eye, subset.relevance))
    step = step if step is not None or epoch is None else (epoch + 1) * 10
    return Seen(label or f"epoch {epoch}", epoch, step, subset, similarity)


def a_ledger(subset: Subset, *hits: str) -> Ledger:
    ledger = Ledger()
    for epoch, letters in enumerate(hits):
        ledger = ledger.record(seen(subset, letters, epoch=epoch))
    return ledger


def series_of(ledger: Ledger) -> Series:
    assert ledger.latest is not None
    return ledger.latest


def letters(texts: tuple[str, ...]) -> str:
    return "".join(sorted(text[-1] for text in texts))


def test_a_planted_history_gives_exact_classes() -> None:
    #                         a always, b learned, c forgotten, d wavering, e learned then forgotten, f never
    ledger = a_ledger(a_subset(), "acd", "ace", "abde", "abd", "abd", "ab")
    classes = series_of(ledger).classes()
    assert {name: letters(texts) for name, texts in classes.items()} == {
        "always": "a",
        "learned": "b",
        "forgotten": "ce",
        "wavering": "d",
        "never": "f",
    }


def test_changes_name_who_improved_and_who_fell_with_both_first_documents() -> None:
    series = series_of(a_ledger(a_subset(), "a", "abcd", "abe"))
    changes = series.changes(1, 2)
    assert (letters(tuple(c.query for c in changes.improved)), letters(tuple(c.query for c in changes.fell))) == (
        "e",
        "cd",
    )
    fallen = {change.query[-1]: change for change in changes.fell}["c"]
    assert (fallen.query, fallen.expected) == ("tìm phòng c", "phòng c")
    assert fallen.before == Standing(1.0, "phòng c")
    assert fallen.after.first != "phòng c"
    assert fallen.after.rank > 1


def test_ties_with_a_wrong_document_are_no_hit() -> None:
    subset = a_subset(3)
    same = np.tile(np.eye(3, dtype=np.float32)[0], (3, 1))
    collapsed = Seen("collapsed", 0, 1, subset, scan(Embeddings(same, same, subset.relevance)))
    evaluation = series_of(Ledger().record(collapsed)).evaluations[0]
    assert [standing.rank for standing in evaluation.standings.values()] == [2.0, 2.0, 2.0]
    assert evaluation.hits == frozenset()


def test_a_query_without_direction_has_no_first_document_and_survives_the_file() -> None:
    subset = a_subset(3)
    eye = np.eye(3, dtype=np.float32)
    one = Seen("epoch 0", 0, 1, subset, scan(Embeddings(np.zeros_like(eye), eye, subset.relevance)))
    ledger = Ledger().record(one)
    again = Ledger.from_json(json.loads(json.dumps(ledger.to_json(), allow_nan=False)))
    assert again == ledger
    assert set(series_of(again).evaluations[0].standings.values()) == {Standing(math.inf, "")}


def test_the_ledger_continues_after_a_resume_and_counts_a_repeated_evaluation_once() -> None:
    subset = a_subset()
    before = a_ledger(subset, "a", "ab", "abc")
    resumed = Ledger.from_json(json.loads(json.dumps(before.to_json())))
    for epoch, hits in ((2, "abcd"), (3, "abcde")):
        resumed = resumed.record(seen(subset, hits, epoch=epoch))
    assert [len(one.hits) for one in series_of(resumed).evaluations] == [1, 2, 4, 5]


def test_an_evaluation_that_comes_late_finds_its_place() -> None:
    subset = a_subset()
    ledger = Ledger().record(seen(subset, "", epoch=None, label="untrained"))
    for epoch in (0, 3, 1):
        ledger = ledger.record(seen(subset, "a", epoch=epoch))
    labels = [one.label for one in series_of(ledger).evaluations]
    assert labels == ["untrained", "epoch 0", "epoch 1", "epoch 3"]


def test_a_run_resumed_from_an_earlier_step_drops_what_came_after_it() -> None:
    ledger = a_ledger(a_subset(), "a", "ab", "abc").until(20)
    assert [one.step for one in series_of(ledger).evaluations] == [10, 20]


def test_checkpoints_outside_training_are_told_apart_by_their_labels() -> None:
    subset = a_subset()
    ledger = Ledger().record(seen(subset, "a", epoch=None, label="a.pt"))
    ledger = ledger.record(seen(subset, "ab", epoch=None, label="b.pt"))
    ledger = ledger.record(seen(subset, "abc", epoch=None, label="b.pt"))
    assert [(one.label, len(one.hits)) for one in series_of(ledger).evaluations] == [("a.pt", 1), ("b.pt", 3)]


def test_queries_are_known_by_their_text_not_by_their_row() -> None:
    subset = a_subset()
    order = np.argsort([text[-1] for text in subset.queries])[::-1]
    row_of = {int(old): new for new, old in enumerate(order)}
    turned = replace(
        subset,
        queries=tuple(subset.queries[row].upper() for row in order),
        relevance=np.array(sorted([row_of[query], document] for query, document in subset.relevance.tolist())),
    )
    assert turned.fingerprint == subset.fingerprint
    upper = replace(seen(subset, "abf", epoch=1), subset=turned)
    upper = replace(upper, similarity=seen(turned, "ABF", epoch=1).similarity)
    series = series_of(Ledger().record(seen(subset, "af", epoch=0)).record(upper))
    assert letters(series.classes()["always"]) == "af"
    assert letters(series.classes()["learned"]) == "b"
    assert series.ranks("TÌM PHÒNG B")[1] == 1


def test_another_subset_starts_its_own_series_and_the_old_one_is_kept() -> None:
    first, second = a_subset(6), a_subset(4)
    ledger = a_ledger(first, "a", "ab").record(seen(second, "abc", epoch=2))
    assert [len(series.evaluations) for series in ledger.series] == [2, 1]
    assert series_of(ledger).fingerprint == second.fingerprint
    back = ledger.record(seen(first, "abc", epoch=3))
    assert series_of(back).fingerprint == first.fingerprint
    assert [len(series.evaluations) for series in back.series] == [3, 1]
    assert Ledger.from_json(json.loads(json.dumps(back.to_json()))) == back


def test_a_ledger_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        Ledger.from_json({"format": 2})
    assert str(error.value) == "the ledger's format must be 1, got 2; update embviz-callback"


def test_a_history_without_evaluations_cannot_be_classified_and_has_no_best() -> None:
    with pytest.raises(ValueError) as error:
        classify([])
    assert str(error.value) == "hits must have one entry per evaluation, got none"


@given(st.lists(st.booleans(), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_every_history_has_one_class_that_fits_a_naive_reading(hits: list[bool]) -> None:
    changes = sum(a != b for a, b in itertools.pairwise(hits))
    name = classify(hits)
    assert name in CLASSES
    assert (name == "always") == all(hits)
    assert (name == "never") == (not any(hits))
    assert (name == "learned") == (changes == 1 and hits[-1])
    assert (name == "forgotten") == (not hits[-1] and changes == (1 if hits[0] else 2))


def test_the_classes_of_random_histories_add_up_to_the_queries() -> None:
    rng = np.random.default_rng(0)
    hits = ["".join(letter for letter in "abcdef" if rng.random() < 0.5) for _ in range(8)]
    classes = series_of(a_ledger(a_subset(), *hits)).classes()
    assert sum(Counter({name: len(texts) for name, texts in classes.items()}).values()) == 6
