import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from embviz_callback.encoding.encode import EncodingMemoryError, encode_subset, encode_texts
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.settings import Settings
from tests.tiny_models import one_way


class Lengths:
    """An encoder whose vectors can be checked by eye; remembers what it was given."""

    def __init__(self, *, most: int = 10**9, error: Exception | None = None) -> None:
        self.batches: list[list[str]] = []
        self.most, self.error = most, error or torch.OutOfMemoryError("CUDA out of memory")

    def __call__(self, texts: list[str]) -> Tensor:
        self.batches.append(texts)
        if len(texts) > self.most:
            raise self.error
        return torch.tensor([[float(len(text)), float(sum(map(ord, text)) % 97)] for text in texts])


def test_rows_come_back_in_the_order_of_the_texts() -> None:
    texts = ["bb", "a", "dddd", "ccc"]
    assert encode_texts(Lengths(), texts, batch_size=2)[:, 0].tolist() == [2, 1, 4, 3]


def test_equal_texts_are_encoded_once_and_long_ones_first() -> None:
    encode = Lengths()
    encode_texts(encode, ["a", "ccc", "a", "bb", "ccc"], batch_size=2)
    assert encode.batches == [["ccc", "bb"], ["a"]]


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(max_size=8), max_size=30), batch_size=st.integers(1, 9), most=st.integers(1, 9))
def test_neither_order_nor_batch_size_nor_halving_changes_a_row(texts: list[str], batch_size: int, most: int) -> None:
    found = encode_texts(Lengths(most=most), texts, batch_size=batch_size)
    expected = [[float(len(text)), float(sum(map(ord, text)) % 97)] for text in texts]
    assert found.tolist() == expected


def test_no_texts_give_no_rows() -> None:
    assert encode_texts(Lengths(), [], batch_size=4).shape == (0, 0)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        MemoryError(),
    ],
)
def test_a_batch_too_large_is_halved_for_the_rest_of_the_pass(error: Exception) -> None:
    encode, said = Lengths(most=3, error=error), []
    texts = [f"{number:02}" for number in range(10)]
    encode_texts(encode, texts, batch_size=8, on_halved=said.append)
    assert [len(batch) for batch in encode.batches] == [8, 4, 2, 2, 2, 2, 2]
    assert said == [4, 2]


def test_memory_that_suffices_for_no_text_ends_with_one_clear_error() -> None:
    with pytest.raises(EncodingMemoryError) as error:
        encode_texts(Lengths(most=0), ["abc", "de"], batch_size=2)
    assert str(error.value) == (
        "memory ran out on a single text of 3 characters; give fewer tokens per text, a smaller encoder, or a device "
        "with more memory"
    )


def test_a_batch_is_not_halved_where_ranks_would_fall_out_of_step() -> None:
    with pytest.raises(EncodingMemoryError) as error:
        encode_texts(Lengths(most=1), ["abc", "de"], batch_size=2, halve=False)
    assert str(error.value) == (
        "memory ran out on a batch of 2 texts, which is not halved here; give a smaller batch_size"
    )


def test_other_errors_of_the_model_pass_through() -> None:
    with pytest.raises(RuntimeError) as error:
        encode_texts(
            Lengths(most=0, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied")), ["a"], batch_size=2
        )
    assert str(error.value) == "mat1 and mat2 shapes cannot be multiplied"


def test_what_the_failed_pass_held_is_free_before_the_next_one() -> None:
    held: list[weakref.ref[Tensor]] = []

    def encode(texts: list[str]) -> Tensor:
        gc.disable()  # only a reference that is really dropped counts
        if held:
            assert held[0]() is None
            return torch.ones(len(texts), 2)
        activations = torch.ones(1000)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory")

    try:
        encode_texts(encode, ["a", "b"], batch_size=2)
    finally:
        gc.enable()
    assert held


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_float_type_becomes_float32(dtype: torch.dtype) -> None:
    rows = encode_texts(lambda texts: torch.full((len(texts), 3), 0.5, dtype=dtype), ["a", "b"], batch_size=1)
    assert (rows.dtype, rows.tolist()) == (np.float32, [[0.5] * 3] * 2)


def test_arrays_are_taken_too_whatever_their_strides() -> None:
    rows = encode_texts(lambda texts: np.arange(6.0).reshape(2, 3)[:, ::-1], ["b", "a"], batch_size=2)
    assert rows.tolist() == [[5, 4, 3], [2, 1, 0]]


def test_neither_gradients_nor_inference_tensors_are_left_behind() -> None:
    module = nn.Linear(2, 3)

    def encode(texts: list[str]) -> Tensor:
        if not hasattr(module, "positions"):
            module.register_buffer("positions", torch.ones(2))  # as some models do on their first call
        features: Tensor = module(torch.ones(len(texts), 2) * module.positions)
        assert not features.requires_grad
        return features

    encode_texts(encode, ["a", "b"], batch_size=1)
    assert torch.is_grad_enabled()
    module(module.positions).sum().backward()

    with torch.inference_mode():
        foreign = torch.ones(1, 3)
    assert encode_texts(lambda texts: foreign, ["a"], batch_size=1).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    ("rows", "kind", "answer"),
    [
        (None, TypeError, "encode must return a tensor or an array of shape (n_texts, dim), got NoneType"),
        ([[1.0]], TypeError, "encode must return a tensor or an array of shape (n_texts, dim), got list"),
        (torch.ones(2, 3, dtype=torch.int64), TypeError, "encode must return floats, got torch.int64"),
        (
            torch.ones(2, 5, 3),
            ValueError,
            "encode must return one row per text, shape (2, dim), got (2, 5, 3): one vector per token is late "
            "interaction, which is not evaluated; pool them into one",
        ),
        (torch.ones(3, 3), ValueError, "encode must return one row per text, shape (2, dim), got (3, 3) for 2 texts"),
        (torch.ones(2, 0), ValueError, "encode must return one row per text, shape (2, dim), got (2, 0) for 2 texts"),
    ],
)
def test_what_is_no_row_per_text_is_refused(rows: Any, kind: type[Exception], answer: str) -> None:
    with pytest.raises(kind) as error:
        encode_texts(lambda texts: rows, ["a", "b"], batch_size=2)
    assert str(error.value) == answer


def test_a_dim_that_changes_between_batches_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        encode_texts(lambda texts: torch.ones(1, len(texts[0])), ["a", "bb"], batch_size=1)
    assert str(error.value) == "encode must return rows of one dim, got 1 and 2 in different batches"


def test_a_batch_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        encode_texts(Lengths(), ["a"], batch_size=0)
    assert str(error.value) == "batch_size must be at least 1, got 0"


def test_progress_counts_distinct_texts() -> None:
    said: list[tuple[int, int]] = []
    encode_texts(Lengths(), ["a", "b", "a", "c"], batch_size=2, progress=lambda done, total: said.append((done, total)))
    assert said == [(2, 3), (3, 3)]


def test_a_subset_is_encoded_with_its_prompts_each_text_once() -> None:
    items = [
        {"query": "trọ 1", "pos": "nhà 1", "hard_neg": ["nhà 2", "xe 1"]},
        {"query": "trọ 2", "pos": "nhà 2"},
    ]
    subset = choose_subset(records_from(items), max_samples=10, seed=0)
    encode = Lengths()
    subject = one_way(encode, query_prompt="query: ", document_prompt="doc: ")
    embeddings = encode_subset(subject, subset, batch_size=100)
    assert sorted(encode.batches[0]) == ["doc: nhà 1", "doc: nhà 2", "doc: xe 1", "query: trọ 1", "query: trọ 2"]
    for rows, texts, prompt in (
        (embeddings.queries, subset.queries, "query: "),
        (embeddings.documents, subset.documents, "doc: "),
        (embeddings.hard_negatives, subset.hard_negatives, "doc: "),
    ):
        raw = Lengths()([prompt + text for text in texts]).numpy()
        assert np.allclose(rows, raw / np.linalg.norm(raw, axis=1, keepdims=True))
    assert embeddings.hard_pairs.tolist() == subset.hard_pairs.tolist()
    assert embeddings.records.tolist() == subset.records.tolist()


def test_real_pairs_are_encoded_in_far_fewer_texts_than_records() -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "rental" / "test-data-set-1.json"
    if not path.exists():
        pytest.skip(f"the real rental pairs are not at {path}")
    from embviz_callback.pairs.formats.reading import read_pairs

    subset = choose_subset(read_pairs(path).records, max_samples=500, seed=7)
    encode = Lengths()
    embeddings = encode_subset(one_way(encode), subset, batch_size=Settings.batch_size)
    n_texts = sum(len(batch) for batch in encode.batches)
    assert n_texts == len({*subset.queries, *subset.documents, *subset.hard_negatives})
    assert len(embeddings.queries) == len(subset.queries)
