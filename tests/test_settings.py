"""Options as one value or one by one: the same in each face, and never given both ways."""

from collections.abc import Callable
from typing import Any

import pytest

from embviz_callback import EmbeddingVisualizer
from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator
from embviz_callback.adapters.transformers import EmbvizTrainerCallback
from embviz_callback.delivery.process.training_side import Limits
from embviz_callback.settings import Settings, merged
from tests.tiny_training import pairs

FACES = pytest.mark.parametrize("face", [EmbeddingVisualizer, EmbvizTrainerCallback, EmbvizEvaluator])
BOTH_WAYS = [
    ({"settings": Settings(seed=3), "seed": 4}, "seed is given twice, by itself and in settings=; give it once"),
    (
        {"limits": Limits(queue_limit=3), "queue_limit": 9},
        "queue_limit is given twice, by itself and in limits=; give it once",
    ),
]


@FACES
@pytest.mark.parametrize(("options", "message"), BOTH_WAYS)
def test_an_option_given_both_ways_is_refused_by_name(
    face: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        face(pairs(), **options)
    assert str(error.value) == message


def test_single_options_are_added_to_those_that_were_given_as_one_value() -> None:
    made = EmbeddingVisualizer(pairs(), settings=Settings(seed=3), limits=Limits(grace_s=1.0), max_samples=9)
    assert made.settings == made.plan.settings == Settings(seed=3, max_samples=9)
    assert made.limits == made.plan.limits == Limits(grace_s=1.0)


def test_nothing_given_is_the_default() -> None:
    assert merged("settings", None, {"seed": Settings.seed}, Settings()) == Settings()
