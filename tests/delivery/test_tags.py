import pytest

from embviz_callback import EmbeddingVisualizer
from embviz_callback.delivery.tags import prefix_of, scalar_tag


def test_what_is_looked_at_first_stands_under_the_prefix_and_all_else_under_its_details() -> None:
    assert [scalar_tag("embviz", name) for name in ("margin", "alert", "mrr_at_10", "blocked_s", "auc_error")] == [
        "embviz/margin",
        "embviz/alert",
        "embviz_detail/mrr_at_10",
        "embviz_detail/blocked_s",
        "embviz_detail/auc_error",
    ]
    assert scalar_tag(prefix_of("short"), "map") == "embviz_short_detail/map"


@pytest.mark.parametrize("name", ["detail", "short_detail"])
def test_a_name_under_which_details_are_logged_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as error:
        EmbeddingVisualizer(name=name)
    told = f"name must not be or end with 'detail', under which details are logged, got {name!r}"
    assert str(error.value) == told


def test_names_that_only_contain_the_word_are_taken() -> None:
    assert [prefix_of(name) for name in ("", "details", "detail-view")] == [
        "embviz",
        "embviz_details",
        "embviz_detail-view",
    ]
