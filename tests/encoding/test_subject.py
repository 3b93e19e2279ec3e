"""How a model encodes: by its own methods, or by what its user gives."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from embviz_callback.adapters.encoders import subject_of
from embviz_callback.encoding.encode import encode_subset
from embviz_callback.encoding.subject import Side, Subject, notes_on_towers, sides_of
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.settings import Settings

SUBSET = choose_subset(
    records_from([{"query": "both", "pos": "d1"}, {"query": "q2", "pos": "both"}]), max_samples=10, seed=0
)


class TwoWays(nn.Module):
    """Says in the first coordinate by which way a text came."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def encode_query(self, texts: list[str]) -> Tensor:
        self.seen += texts
        return torch.tensor([[1.0, len(text)] for text in texts])

    def encode_document(self, texts: list[str]) -> Tensor:
        self.seen += texts
        return torch.tensor([[-1.0, len(text)] for text in texts])


def subject(model: nn.Module, encode: Any = None) -> Subject:
    return Subject(model, *sides_of(model, encode, query_prompt="q: ", document_prompt="d: "))


def by_query(model: TwoWays, texts: list[str]) -> Tensor:
    return model.encode_query(texts)


def by_document(model: TwoWays, texts: list[str]) -> Tensor:
    return model.encode_document(texts)


@pytest.mark.parametrize("encode", [None, (by_query, by_document)], ids=["its own methods", "a pair"])
def test_queries_and_documents_each_go_their_way(encode: Any) -> None:
    model = TwoWays()
    made = subject(model, encode)
    found = encode_subset(made, SUBSET, batch_size=8)
    assert not made.is_one_way
    assert (found.queries[:, 0] > 0).all()
    assert (found.documents[:, 0] < 0).all()
    assert sorted(model.seen) == sorted(
        [f"q: {text}" for text in SUBSET.queries] + [f"d: {text}" for text in SUBSET.documents]
    )


def test_one_function_serves_both_sides_and_gets_the_model() -> None:
    model = TwoWays()
    made = subject(model, by_query)
    assert made.is_one_way
    assert (encode_subset(made, SUBSET, batch_size=8).documents[:, 0] > 0).all()


def test_a_text_of_both_sides_is_encoded_once_where_one_function_serves_them() -> None:
    model = TwoWays()
    side = Side(model.encode_query)
    encode_subset(Subject(model, side, side), SUBSET, batch_size=8)
    assert sorted(model.seen) == ["both", "d1", "q2"]


def test_what_is_given_is_taken_before_the_models_own_methods() -> None:
    class Own(TwoWays):
        def encode(self, texts: list[str]) -> Tensor:
            raise AssertionError("not asked for")

    assert (encode_subset(subject(Own(), by_document), SUBSET, batch_size=8).queries[:, 0] < 0).all()


@pytest.mark.parametrize("names", [("encode_queries", "encode_corpus"), ("encode_queries", "encode")])
def test_the_ways_of_other_libraries_are_known_by_their_names(names: tuple[str, str]) -> None:
    model = nn.Module()
    for name, way in zip(("encode", *names), (by_query, by_query, by_document), strict=True):
        setattr(model, name, partial(way, TwoWays()))
    found = encode_subset(Subject(model, *sides_of(model)), SUBSET, batch_size=8)
    assert (found.queries[:, 0] > 0).all()
    assert (found.documents[:, 0] < 0).all()


def test_an_encode_that_asks_for_the_side_is_said() -> None:
    def encode(texts: list[str], is_query: bool = False) -> Tensor:
        return torch.ones(len(texts), 2)

    assert notes_on_towers(nn.Linear(1, 1), Side(encode), Side(encode)) == (
        "encode of Linear takes is_query, which is not given; if queries and documents are told apart by it, give "
        "encode_query and encode_document, or encode= a pair of functions",
    )


class Api:
    """A model that is no module of torch."""

    def encode(self, texts: list[str]) -> Any:
        return np.array([[1.0, len(text)] for text in texts])


def test_what_is_no_module_is_called_like_one() -> None:
    made = subject_of(Api(), Settings())
    assert (made.facts()["model"], made.facts()["device"], made.notes) == ("Api", "cpu", ())
    assert encode_subset(made, SUBSET, batch_size=8).queries.shape == (2, 2)


def test_a_model_without_a_way_to_encode_is_told_what_to_give() -> None:
    with pytest.raises(TypeError) as error:
        sides_of(nn.Linear(1, 1))
    assert str(error.value) == (
        "Linear has no method encode(texts); give encode=, a function that takes the model and a list of texts and "
        "returns a tensor of shape (len(texts), dim), or what embviz_callback.text_encoder makes of a tokenizer"
    )


def test_another_way_of_calling_keeps_prompts_and_stays_one_way() -> None:
    model = TwoWays()
    called = subject(model, by_query).called_by(lambda way: lambda texts: 2 * way(texts))
    assert called.is_one_way
    assert (called.queries.prompt, called.documents.prompt) == ("q: ", "d: ")
    assert called.queries.encode(["ab"]).tolist() == [[2, 4]]
