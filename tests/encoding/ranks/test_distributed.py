"""Sharing a corpus out: the layout of shares, their merging, and faults on one of several ranks."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from embviz_callback.encoding.encode import encode_corpus
from embviz_callback.encoding.ranks import shared_corpus as distributed
from embviz_callback.encoding.ranks.shared_corpus import RankError, Ranks, encode_shared, share_of, together
from embviz_callback.encoding.subject import Side
from embviz_callback.pairs.corpus import Corpus


def on_ranks(n_ranks: int, act: Callable[[Ranks], Any]) -> tuple[list[Any], list[int]]:
    """What each rank gives or raises, and how many collectives it made; ranks are threads that meet at a barrier."""
    meeting = threading.Barrier(n_ranks, timeout=5)  # a rank that is left alone dies of it
    given: list[Any] = [None] * n_ranks
    found: list[Any] = [None] * n_ranks
    made = [0] * n_ranks

    def run(rank: int) -> None:
        def all_gather(own: Tensor) -> Tensor:
            made[rank] += 1
            given[rank] = own.clone()
            meeting.wait()
            whole = torch.stack(given)
            meeting.wait()  # nobody gives anew before all have read
            return whole

        try:
            found[rank] = act(Ranks(rank, n_ranks, torch.device("cpu"), all_gather))
        except Exception as error:  # noqa: BLE001
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(n_ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, made


def encode(texts: list[str]) -> Tensor:
    return torch.tensor([[len(text), sum(map(ord, text)), 1.0] for text in texts])


def corpus_of(n: int) -> Corpus:
    return Corpus(tuple(sorted(f"{'x' * (row % 5)}{row}" for row in range(n))))


SIZES = {"n": st.integers(1, 40), "n_ranks": st.integers(2, 5), "batch_size": st.integers(1, 7)}


@given(**SIZES)
def test_every_text_has_one_place_and_every_rank_as_many_full_batches(n: int, n_ranks: int, batch_size: int) -> None:
    shares = [share_of(n, rank=rank, n_ranks=n_ranks, batch_size=batch_size) for rank in range(n_ranks)]
    places = np.concatenate(shares)
    assert sorted(places[places >= 0].tolist()) == list(range(n))
    assert len({len(share) for share in shares}) == 1
    assert len(shares[0]) % batch_size == 0
    # No rank would be done with a batch less.
    assert (len(shares[0]) // batch_size - 1) * n_ranks * batch_size < n


@settings(max_examples=25, deadline=None)
@given(**SIZES)
def test_every_rank_gets_what_a_lone_process_encodes(n: int, n_ranks: int, batch_size: int) -> None:
    corpus = corpus_of(n)
    seen: list[list[int]] = [[] for _ in range(n_ranks)]

    def act(ranks: Ranks) -> Any:
        def counted(texts: list[str]) -> Tensor:
            seen[ranks.rank].append(len(texts))
            return encode(texts)

        with together(ranks) as exchange:
            return encode_shared(Side(counted), corpus, exchange, batch_size=batch_size)

    found, made = on_ranks(n_ranks, act)
    expected = encode_corpus(Side(encode), corpus, batch_size=batch_size)
    for vectors in found:
        assert vectors.tolist() == expected.tolist()
    assert len({tuple(sizes) for sizes in seen}) == 1  # each as many passes of as many texts
    assert set(seen[0]) == {batch_size}
    assert len(set(made)) == 1


def test_shares_arrive_in_pieces_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_PIECE", 12)  # two rows of three numbers from each of two ranks
    corpus = corpus_of(11)

    def act(ranks: Ranks) -> Any:
        with together(ranks) as exchange:
            return encode_shared(Side(encode), corpus, exchange, batch_size=3)

    found, made = on_ranks(2, act)
    assert made == [1 + 3, 1 + 3]  # whether all are ready, then six rows by two
    assert found[0].tolist() == found[1].tolist() == encode_corpus(Side(encode), corpus, batch_size=3).tolist()


def test_a_rank_that_fails_takes_part_in_as_many_collectives_and_all_are_told() -> None:
    def act(ranks: Ranks) -> Any:
        def broken(texts: list[str]) -> Tensor:
            if ranks.rank == 1:
                raise KeyError("only here")
            return encode(texts)

        with together(ranks) as exchange:
            return encode_shared(Side(broken), corpus_of(9), exchange, batch_size=2)

    found, made = on_ranks(3, act)
    assert made == [1, 1, 1]
    assert isinstance(found[1], KeyError)
    for error in (found[0], found[2]):
        assert isinstance(error, RankError)
        assert str(error) == (
            "encoding failed on rank 1, whose own warning says why; all ranks leave this evaluation out"
        )


def test_a_rank_that_does_not_even_try_is_not_waited_for() -> None:
    def act(ranks: Ranks) -> Any:
        with together(ranks) as exchange:
            return "left" if ranks.rank else encode_shared(Side(encode), corpus_of(9), exchange, batch_size=2)

    found, made = on_ranks(2, act)
    assert (found[1], made) == ("left", [1, 1])
    assert isinstance(found[0], RankError)


def test_ranks_with_different_corpora_do_not_mix_them() -> None:
    def act(ranks: Ranks) -> Any:
        with together(ranks) as exchange:
            corpus = Corpus(("a", "b")) if ranks.rank else Corpus(("a", "c"))
            return encode_shared(Side(encode), corpus, exchange, batch_size=2)

    found, made = on_ranks(2, act)
    assert made == [1, 1]
    marks = [[2, 3, int(Corpus(texts).fingerprint, 16)] for texts in (("a", "c"), ("a", "b"))]
    assert [str(error) for error in found] == [
        f"the ranks do not encode the same corpus into the same dim (rows, dim and mark by rank: {marks}); "
        "give every rank the same data, corpus and model"
    ] * 2
