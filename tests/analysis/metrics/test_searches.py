"""What came of every query, in texts."""

import math

import numpy as np
import planted

from embviz_callback.analysis.metrics.searches import missed, searches
from embviz_callback.analysis.scan import scan
from embviz_callback.delivery.results.plain_vectors import subset_of_arrays


def _looked_at(queries: list[list[float]]) -> planted.Evaluation:
    """Document 1 lies to the right, document 2 above; each answers the query of its number."""
    subset, embeddings = subset_of_arrays({"query": np.array(queries), "document": np.eye(2)})
    return planted.Evaluation(subset, embeddings, scan(embeddings))


def test_a_query_is_told_with_what_it_expected_and_what_came_first() -> None:
    hit, miss = searches(_looked_at([[1.0, 0.0], [0.8, 0.6]]))
    assert (hit.query, hit.expected, hit.rank, hit.first, hit.is_hit) == (
        "query 1",
        "document 1",
        1.0,
        "document 1",
        True,
    )
    assert (miss.query, miss.expected, miss.rank, miss.first) == ("query 2", "document 2", 2.0, "document 1")
    assert (round(miss.score, 6), round(miss.first_score, 6)) == (0.6, 0.8)


def test_a_query_without_direction_still_names_what_it_expected() -> None:
    one = _looked_at([[0.8, 0.6], [0.0, 0.0]])
    _, found = searches(one)
    assert (found.expected, found.rank, found.first) == ("document 2", math.inf, None)
    assert math.isnan(found.score)
    assert math.isnan(found.first_score)


def test_the_farthest_off_is_missed_first() -> None:
    assert [found.row for found in missed(_looked_at([[0.0, 1.0], [0.0, 0.0]]))] == [1, 0]
    assert missed(_looked_at([[1.0, 0.0], [0.0, 1.0]])) == []
