"""An encode for modules that know no texts: whatever form their output has, the right vectors come out."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from embviz_callback import text_encoder
from embviz_callback.encoding.encode import encode_subset, probe
from embviz_callback.encoding.subject import Side, Subject, notes_on_towers, sides_of
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from tests.tiny_models import TEXTS, tiny_bert, tiny_tokenizer

ITEMS = [{"query": text, "pos": f"{text} giá rẻ"} for text in TEXTS]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModel

    folder = tmp_path_factory.mktemp("bert")
    tiny_bert(folder)
    return AutoModel.from_pretrained(folder).eval()


class ByName(nn.Module):
    """Takes tokens by name, gives what `form` makes of the encoder's output."""

    def __init__(self, encoder: nn.Module, form: Any) -> None:
        super().__init__()
        self.encoder, self.form = encoder, form

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return self.form(self.encoder(input_ids=input_ids, attention_mask=attention_mask), attention_mask)


class ByMapping(ByName):
    """Takes one mapping, as sentence-transformers' modules do."""

    def forward(self, batch: dict[str, Tensor]) -> Any:  # type: ignore[override]
        return super().forward(batch["input_ids"], batch["attention_mask"])


def batch_of(texts: list[str]) -> Any:
    return tiny_tokenizer()(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")


def mean_of(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


FORMS: dict[str, tuple[Any, str | None]] = {
    "tensor of embeddings": (lambda out, mask: mean_of(out.last_hidden_state, mask), None),
    "tensor of hidden states": (lambda out, mask: out.last_hidden_state, "mean"),
    "output object": (lambda out, mask: out, "mean"),
    "mapping of embeddings": (
        lambda out, mask: {"sentence_embedding": mean_of(out.last_hidden_state, mask), "loss": None},
        None,
    ),
    "tuple": (lambda out, mask: (out.last_hidden_state, out.pooler_output), "mean"),
}


@pytest.mark.parametrize("kind", [ByName, ByMapping])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_output_gives_the_mean_that_the_model_serves(name: str, kind: Any, bert: Any) -> None:
    form, pooling = FORMS[name]
    for_queries, _ = text_encoder(tiny_tokenizer(), pooling=pooling)
    with torch.no_grad():
        found = for_queries(kind(bert, form), list(TEXTS))
        batch = batch_of(list(TEXTS))
        out = bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        expected = mean_of(out.last_hidden_state, batch["attention_mask"])
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "serve"),
    [("cls", lambda out: out.last_hidden_state[:, 0]), ("pooler", lambda out: out.pooler_output)],
)
def test_a_bare_encoder_is_pooled_as_asked(pooling: str, serve: Any, bert: Any) -> None:
    _, for_documents = text_encoder(tiny_tokenizer(), pooling=pooling)
    with torch.no_grad():
        assert torch.allclose(for_documents(bert, list(TEXTS)), serve(bert(**batch_of(list(TEXTS)))), atol=1e-6)


def test_prompts_stand_before_the_texts_of_their_side_and_max_length_cuts(bert: Any) -> None:
    plain, _ = text_encoder(tiny_tokenizer(), pooling="cls")
    for_queries, for_documents = text_encoder(
        tiny_tokenizer(), pooling="cls", query_prompt="tìm ", document_prompt="phòng "
    )
    cut, _ = text_encoder(tiny_tokenizer(), pooling="cls", max_length=4)
    with torch.no_grad():
        assert torch.equal(for_queries(bert, ["nhà"]), plain(bert, ["tìm nhà"]))
        assert torch.equal(for_documents(bert, ["nhà"]), plain(bert, ["phòng nhà"]))
        assert torch.equal(cut(bert, ["nhà giá rẻ quận"]), plain(bert, ["nhà giá"]))


def test_without_prompts_both_sides_are_one_and_a_text_of_both_is_encoded_once(bert: Any) -> None:
    assert Subject(bert, *sides_of(bert, text_encoder(tiny_tokenizer(), pooling="cls"))).is_one_way
    prompted = text_encoder(tiny_tokenizer(), pooling="cls", query_prompt="tìm ")
    assert not Subject(bert, *sides_of(bert, prompted)).is_one_way


def test_hidden_states_without_a_pooling_are_refused_and_an_unknown_pooling_too(bert: Any) -> None:
    for_queries, _ = text_encoder(tiny_tokenizer())
    with pytest.raises(TypeError) as error, torch.no_grad():
        for_queries(bert, ["nhà", "phòng"])
    assert str(error.value) == (
        'the module gives one vector per token, shape (2, 3, 16); give text_encoder a pooling, such as "mean" or "cls"'
    )
    with pytest.raises(ValueError) as refused:
        text_encoder(tiny_tokenizer(), pooling="avg")
    assert str(refused.value) == (
        "pooling must be one of mean, cls, max, lasttoken, weightedmean, mean_sqrt_len_tokens, pooler or None, "
        "got 'avg'"
    )


class Towers(nn.Module):
    """Two encoders, as DPR has them."""

    def __init__(self) -> None:
        super().__init__()
        self.question_encoder, self.ctx_encoder = nn.Linear(4, 3), nn.Linear(4, 3)

    def features(self, texts: list[str]) -> Tensor:
        return torch.tensor([[float(len(text)), float(text.count("a")), 1.0, 2.0] for text in texts])

    def encode_query(self, texts: list[str]) -> Tensor:
        out: Tensor = self.question_encoder(self.features(texts))
        return out

    def encode_document(self, texts: list[str]) -> Tensor:
        out: Tensor = self.ctx_encoder(self.features(texts))
        return out


class OneEncode(Towers):
    """Knows one way only, although it holds two encoders."""

    encode_query = None  # type: ignore[assignment]
    encode_document = None  # type: ignore[assignment]

    def encode(self, texts: list[str]) -> Tensor:
        out: Tensor = self.question_encoder(self.features(texts))
        return out


def unit(rows: Tensor) -> Any:
    return torch.nn.functional.normalize(rows, dim=1).detach().numpy()


def test_two_towers_are_each_asked_for_their_own_texts() -> None:
    module, subset = Towers(), choose_subset(records_from(ITEMS), max_samples=10, seed=0)
    for given in (None, (lambda m, texts: m.encode_query(texts), lambda m, texts: m.encode_document(texts))):
        subject = Subject(module, *sides_of(module, given))
        found = encode_subset(subject, subset, batch_size=3)
        assert np.allclose(found.queries, unit(module.encode_query(list(subset.queries))), atol=1e-6)
        assert np.allclose(found.documents, unit(module.encode_document(list(subset.documents))), atol=1e-6)
        assert notes_on_towers(module, subject.queries, subject.documents) == ()


def test_one_way_through_two_towers_is_said() -> None:
    module = OneEncode()
    queries, documents = sides_of(module)
    assert notes_on_towers(module, queries, documents) == (
        "OneEncode holds question_encoder and ctx_encoder, but one function encodes queries and documents alike; if "
        "they are served by two, give it encode_query and encode_document, or encode= a pair of functions",
    )


class Fails(nn.Module):
    """Encodes in a way that cannot work."""

    def __init__(self, encode: Any) -> None:
        super().__init__()
        self.encode = encode


def take_features(features: dict[str, Tensor]) -> Tensor:
    return features["input_ids"].float()


CANNOT_WORK: list[tuple[Any, type[Exception], str]] = [
    (
        take_features,
        TypeError,
        "encoding two texts failed with TypeError: list indices must be integers or slices, not str; take_features "
        "must take a list of texts and give a tensor of shape (len(texts), dim); give encode= a function that does",
    ),
    (lambda texts: ["a"], TypeError, "encode must return a tensor or an array of shape (n_texts, dim), got list"),
    (
        lambda texts: torch.eye(2).to_sparse(),
        TypeError,
        "encode must return dense rows, got a sparse tensor; sparse embeddings are not evaluated",
    ),
    (
        lambda texts: torch.ones(2, 7, 3),
        ValueError,
        "encode must return one row per text, shape (2, dim), got (2, 7, 3): one vector per token is late interaction, "
        "which is not evaluated; pool them into one",
    ),
    (
        lambda texts: torch.ones(3),
        ValueError,
        "encode must return one row per text, shape (2, dim), got (3,) for 2 texts",
    ),
    (lambda texts: torch.ones(2, 3, dtype=torch.int64), TypeError, "encode must return floats, got torch.int64"),
]


@pytest.mark.parametrize(("encode", "kind", "text"), CANNOT_WORK)
def test_what_can_never_work_is_refused_on_two_texts(encode: Any, kind: type[Exception], text: str) -> None:
    module = Fails(encode)
    with pytest.raises(kind) as error:
        probe(Subject(module, *sides_of(module)), ["a", "b"])
    assert str(error.value) == text


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.other = [nn.Dropout()]  # in a list, and so in training mode whatever the module is in

    def encode(self, texts: list[str]) -> Tensor:
        return self.other[0](torch.ones(len(texts), 64))


def test_vectors_that_are_random_in_eval_mode_are_spoken_of() -> None:
    module = Noisy().eval()
    subject = Subject(module, *sides_of(module))
    assert probe(subject, ["a", "b"]) == [
        "Noisy.encode gives the same texts other vectors each time, although the module is in eval mode: dropout or "
        "noise is on in it, as in a second model or by functional.dropout, and every number is random with it; turn "
        "it off there"
    ]
    module.other[0].eval()
    assert probe(subject, ["a", "b"]) == []


@pytest.mark.parametrize("fill", [0.0, float("nan"), float("inf")])
def test_vectors_that_are_all_alike_are_steady(fill: float) -> None:
    module = Fails(lambda texts: torch.full((len(texts), 3), fill))
    assert probe(Subject(module, *sides_of(module)), ["a", "b"]) == []


def test_what_may_work_later_is_left_to_the_guarded_evaluation() -> None:
    def not_yet(texts: list[str]) -> Tensor:
        raise RuntimeError("no device yet")

    module = Fails(not_yet)
    probe(Subject(module, *sides_of(module)), ["a", "b"])


def test_weights_on_the_meta_device_are_refused() -> None:
    module = nn.Linear(2, 2, device="meta")
    with pytest.raises(ValueError) as error:
        probe(Subject(module, Side(lambda texts: None), Side(lambda texts: None)), ["a", "b"])
    assert str(error.value) == (
        "Linear has weights on the meta device, so that nothing can be encoded; give it weights before the training"
    )
