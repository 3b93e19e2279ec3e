"""Sharing a corpus out: the layout of shares, their merging, and faults on one of several ranks."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from embviz_callback.encoding.distributed import shared_corpus as distributed
from embviz_callback.encoding.distributed.shared_corpus import RankError, Ranks, together
from embviz_callback.encoding.encode import encode_blocks
from embviz_callback.encoding.subject import Side
from embviz_callback.evaluator import Evaluator, Moment
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.settings import Settings
from tests.corpora import corpus_of
from tests.tiny_models import one_way


@pytest.fixture(autouse=True)
def _no_stance_left() -> Iterator[None]:
    """Real ranks are processes; threads that look at the same time put the process's stance back in any order."""
    yield
    torch.compiler.set_stance("default")


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


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), n_ranks=st.integers(2, 5), batch_size=st.integers(1, 7))
def test_every_rank_encodes_its_share_in_as_many_calls_as_any_other(n: int, n_ranks: int, batch_size: int) -> None:
    corpus, rows, calls = corpus_of([f"a {'x' * (row % 5)}{row}" for row in range(n)]), [], []
    for rank in range(n_ranks):
        seen: list[int] = []

        def counted(texts: list[str], seen: list[int] = seen) -> Tensor:
            seen.append(len(texts))
            return encode(texts)

        blocks = list(encode_blocks(Side(counted), corpus, batch_size=batch_size, rank=rank, n_ranks=n_ranks))
        rows += [row for block in blocks for row in block.rows.tolist()]
        calls.append(len(seen))
        assert max(seen) <= batch_size
    assert sorted(rows) == list(range(n))
    assert len(set(calls)) == 1


def watched(encode: Callable[[list[str]], Tensor], corpus: Any = None) -> Callable[[Ranks], Any]:
    """What a rank does in an evaluation; what it gives is the snapshot."""
    pairs = read_pairs([{"query": f"q{'y' * row}", "pos": f"doc{'z' * row}"} for row in range(5)])
    texts = [f"a {'x' * (row % 5)}{row}" for row in range(40)]
    evaluator = Evaluator.on(pairs, Settings(batch_size=3, bootstrap_draws=100), corpus=corpus or texts)
    return lambda ranks: evaluator.look(replace(one_way(encode), ranks=ranks), Moment())


def test_every_rank_finds_what_a_lone_process_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_PIECE", 300)  # few numbers in a collective
    alone = watched(encode)(None)  # type: ignore[arg-type]
    found, made = on_ranks(3, watched(encode))
    assert len(set(made)) == 1
    assert alone.corpus_texts
    for snapshot in found:
        assert snapshot.corpus_texts == alone.corpus_texts
        assert snapshot.provenance.corpus == alone.provenance.corpus
        for name in ("rank", "pair_above", "top_documents", "negative_counts"):
            np.testing.assert_array_equal(getattr(snapshot.similarity, name), getattr(alone.similarity, name))
        assert snapshot.metrics.negative_std == pytest.approx(alone.metrics.negative_std, abs=1e-12)


def test_a_rank_that_fails_takes_part_in_as_many_collectives_and_all_are_told() -> None:
    def act(ranks: Ranks) -> Any:
        def broken(texts: list[str]) -> Tensor:
            if ranks.rank == 1:
                raise KeyError("only here")
            return encode(texts)

        return watched(broken)(ranks)

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
        if not ranks.rank:
            return watched(encode)(ranks)
        with together(ranks):
            return "left"

    found, made = on_ranks(2, act)
    assert (found[1], made) == ("left", [1, 1])
    assert isinstance(found[0], RankError)


def test_ranks_with_different_corpora_do_not_mix_them() -> None:
    corpora = (["a", "c"], ["a", "b"])
    found, made = on_ranks(2, lambda ranks: watched(encode, corpora[ranks.rank])(ranks))
    assert made == [1, 1]
    marks = [[3, int(corpus_of(texts).fingerprint, 16)] for texts in corpora]
    assert [str(error) for error in found] == [
        f"the ranks do not encode the same corpus into the same dim (dim and mark by rank: {marks}); "
        "give every rank the same data, corpus and model"
    ] * 2
