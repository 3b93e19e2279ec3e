"""What became of each query between two evaluations, by its text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.analysis.compare.comparison import Change, Changes, Outcome, changes_between, outcomes
from embviz_callback.analysis.scan import Similarity, scan
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import Subset, choose_subset

LETTERS = "abcdef"


@dataclass(frozen=True)
class Seen:
    label: str
    epoch: int | None
    step: int | None
    subset: Subset
    similarity: Similarity
    corpus_texts: Mapping[int, str] = field(default_factory=dict)


def a_subset(letters: str = LETTERS) -> Subset:
    records = [{"query": f"tìm phòng {letter}", "pos": f"phòng {letter}"} for letter in letters]
    return choose_subset(records_from(records), max_samples=len(letters), seed=3)


def seen(subset: Subset, hits: str, label: str = "one") -> Seen:
    """An evaluation in which exactly the queries named by their letter find their own document first."""
    eye = np.eye(len(subset.documents), dtype=np.float32)
    own = dict(subset.relevance.tolist())
    queries = np.stack([
        eye[own[row] if text[-1] in hits else (own[row] + 1) % len(eye)] for row, text in enumerate(subset.queries)
    ])
    return Seen(label, 0, 1, subset, scan(Embeddings(queries, eye, subset.relevance)))


def between(before: Seen, after: Seen) -> Changes:
    return changes_between(before, after, labels=(before.label, after.label))


def letters(changes: tuple[Change, ...]) -> str:
    return "".join(sorted(change.query[-1].lower() for change in changes))


@settings(deadline=None, max_examples=40)
@given(st.text(LETTERS), st.text(LETTERS))
def test_who_improved_and_who_fell_are_what_two_sets_of_hits_differ_in(before: str, after: str) -> None:
    subset = a_subset()
    changes = between(seen(subset, before), seen(subset, after))
    assert letters(changes.improved) == "".join(sorted({*after} - {*before}))
    assert letters(changes.fell) == "".join(sorted({*before} - {*after}))


def test_a_change_names_both_first_documents() -> None:
    subset = a_subset()
    changes = between(seen(subset, "abcd", "then"), seen(subset, "abd", "now"))
    assert (changes.before, changes.after) == ("then", "now")
    (fallen,) = changes.fell
    assert (fallen.query, fallen.expected) == ("tìm phòng c", "phòng c")
    assert fallen.before == Outcome(1.0, "phòng c")
    assert fallen.after.first != "phòng c"
    assert fallen.after.rank > 1


def test_the_deepest_fall_comes_first() -> None:
    subset = a_subset()
    shallow = seen(subset, LETTERS)
    rank = np.array([1.0, 3, 2, 6, 4, 5])
    deep = replace(shallow, similarity=replace(shallow.similarity, rank=rank))
    assert [one.after.rank for one in between(shallow, deep).fell] == [6, 5, 4, 3, 2]


def test_ties_with_a_wrong_document_are_no_hit() -> None:
    subset = a_subset("abc")
    same = np.tile(np.eye(3, dtype=np.float32)[0], (3, 1))
    collapsed = Seen("collapsed", 0, 1, subset, scan(Embeddings(same, same, subset.relevance)))
    found = outcomes(collapsed).values()
    assert [(outcome.rank, outcome.is_hit) for outcome in found] == [(2.0, False)] * 3


def test_a_query_without_direction_has_no_first_document() -> None:
    subset = a_subset("abc")
    eye = np.eye(3, dtype=np.float32)
    one = Seen("epoch 0", 0, 1, subset, scan(Embeddings(np.zeros_like(eye), eye, subset.relevance)))
    assert set(outcomes(one).values()) == {Outcome(math.inf, "")}


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
    changes = between(seen(subset, "af"), seen(turned, "ABF"))
    assert (letters(changes.improved), letters(changes.fell)) == ("b", "")
