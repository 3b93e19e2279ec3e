import argparse
import collections
import contextlib
import enum
import io
import pickle
import resource
import time
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from embviz_callback.encoding.checkpoints.loading import CheckpointError, load_checkpoint
from embviz_callback.encoding.weights.pickle_reader import MOST_INSTRUCTIONS, PickleError, read_pickle
from embviz_callback.encoding.weights.pickle_values import Inert, StoredTensor, settings_in
from embviz_callback.encoding.weights.stored import Weight, numbers_of
from embviz_callback.encoding.weights.weights_file import read_weights_file

HEAD = {"head.linear.weight": torch.eye(8, 64)}
BUILT_IN = "char-ngrams-64"


def _read(content: Any, protocol: int = 2) -> Any:
    return read_pickle(io.BytesIO(pickle.dumps(content, protocol))).value


# What is plain is rebuilt

_keys = st.text(max_size=3) | st.integers(-(10**6), 10**6) | st.booleans() | st.none()
_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_keys, inner, max_size=3)
        | st.sets(_keys, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(_keys, inner, max_size=2).map(OrderedDict)
        | st.text(max_size=5).map(Counter)
    ),
    max_leaves=12,
)


@given(content=_plain, protocol=st.integers(0, 5))
def test_plain_data_is_what_pickle_itself_makes_of_it(content: Any, protocol: int) -> None:
    assert _read(content, protocol) == content


_tensors = st.builds(
    lambda shape, dtype, view: _viewed(torch.arange(max(1, int(np.prod(shape)))).to(dtype), shape, view),
    st.lists(st.integers(0, 4), max_size=3),
    st.sampled_from([
        *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16),
        *(torch.int8, torch.uint8, torch.bool, torch.uint16, torch.float8_e4m3fn),
    ]),
    st.sampled_from(["whole", "transposed", "parameter", "part"]),
)


_NEW_TYPES = (torch.uint16, torch.float8_e4m3fn)


def _viewed(numbers: torch.Tensor, shape: list[int], view: str) -> torch.Tensor:
    made = numbers[: int(np.prod(shape))].reshape(shape)
    if view == "transposed" and made.ndim > 1:
        return made.transpose(0, 1)
    if view == "part" and made.ndim and len(made) > 1:
        return made[1:]
    return nn.Parameter(made) if view == "parameter" and made.dtype == torch.float32 else made


@settings(deadline=None)
@given(state=st.dictionaries(st.text(max_size=4), _tensors, max_size=4), modern=st.booleans())
def test_tensors_are_to_the_bit_what_torch_loads(
    state: dict[str, Any], modern: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "tensors.pt"
    if not modern:  # torch itself cannot read these types from its old form
        state = {name: tensor for name, tensor in state.items() if tensor.dtype not in _NEW_TYPES}
    state["again"] = next(iter(state.values()), torch.ones(2))
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=modern)
    contents = read_weights_file(path)
    expected = torch.load(path, weights_only=True)["state_dict"]
    found = contents.value["state_dict"]
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        numbers = numbers_of(Weight(name, found[name], contents.source))
        assert (numbers.dtype, numbers.shape, numbers.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
        assert numbers.flatten().view(torch.uint8).tolist() == tensor.detach().flatten().view(torch.uint8).tolist()


def test_what_schedulers_and_samplers_store_is_plain_data() -> None:
    content = {"milestones": Counter({3: 1, 5: 1}), "seen": {1, 2}, "by_group": defaultdict(list, {"a": [1]})}
    assert _read(content) == {"milestones": {3: 1, 5: 1}, "seen": {1, 2}, "by_group": {"a": [1]}}


# What is anything else is named and not made


POSIX_PATH = f"{PosixPath.__module__}.PosixPath"  # Python 3.13 keeps it in a module of its own


class _Kind(enum.Enum):
    A = 1


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (Path("/a/b"), POSIX_PATH),
        (np.float64(0.5), "numpy._core.multiarray.scalar"),
        (np.arange(3), "numpy._core.multiarray._reconstruct"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (collections.deque([1]), "collections.deque"),
        (bytearray(b"x"), "builtins.bytearray"),
        (1j, "builtins.complex"),
        (b"x", "_codecs.encode"),
        (slice(1), "builtins.slice"),
    ],
)
def test_other_objects_are_named(thing: Any, name: str) -> None:
    reading = read_pickle(io.BytesIO(pickle.dumps({"x": thing, "y": 1}, 2)))
    assert isinstance(reading.value["x"], Inert)
    assert reading.value["x"].name == name
    assert name in reading.asked_for
    assert reading.value["y"] == 1


def test_settings_are_read_off_objects_that_are_not_made() -> None:
    namespace = _read(argparse.Namespace(encoder="bert", lr=1))
    assert settings_in(namespace) == {"encoder": "bert", "lr": 1}
    node = Inert("omegaconf.nodes.AnyNode", state={"_val": "bert"})
    config = Inert("omegaconf.dictconfig.DictConfig", state={"_content": {"encoder": node}, "_flags_cache": None})
    assert settings_in(config) == {"encoder": "bert"}
    assert settings_in(3) is None


def test_a_checkpoint_with_foreign_objects_beside_its_weights_is_read_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    hparams = argparse.Namespace(encoder=BUILT_IN, root=Path("/data"), kind=_Kind.A)
    torch.save({"state_dict": HEAD, "hyper_parameters": hparams, "best": np.float32(0.3), "epoch": 3}, path)
    loaded = load_checkpoint(path)
    assert (loaded.origin.kind, loaded.origin.encoder, loaded.origin.epoch) == ("Lightning checkpoint", BUILT_IN, 3)
    (note,) = loaded.notes
    whole = (
        "it also holds objects, which were left aside and not made: _codecs.encode, argparse.Namespace, "
        f"numpy._core.multiarray.scalar, numpy.dtype, {POSIX_PATH}, "
    )
    assert note.endswith("…")
    assert whole.startswith(note[:-1])
    assert len(note) > 150


def test_objects_that_the_weights_depend_on_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save({"model": nn.Linear(2, 2)}, path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(error.value).startswith(f"{path} holds pickled objects (torch.nn.modules.linear.Linear), which can run ")


# What is made to attack costs nothing


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def _nested(n: int) -> tuple[Any, ...]:
    nest: tuple[Any, ...] = ("a",)
    for _ in range(n):
        nest = (nest, nest)
    return nest


def _as_key(nest: Any) -> bytes:
    """A dictionary whose one key is `nest`; pickle itself would have to hash it first."""
    body = pickle.dumps(nest, 2)
    return b"\x80\x02}" + body[2:-1] + b"K\x01s."


@pytest.mark.parametrize(
    "bomb",
    [
        pickle.dumps(_Calls(bytearray, 4_000_000_000), 2),
        pickle.dumps({"x": _Calls(set, _Calls(range, 10**9))}, 2),
        pickle.dumps(_Calls(Counter, {"a": 1}), 2),
        _as_key(_nested(60)),
        pickle.dumps([_nested(60)], 2),
        b"\x80\x02\x8b\x00\x00\x10\x00" + b"\xff" * 2**20 + b".",  # a number of eight million bits
        b"\x80\x02}r\xff\xff\xff\xff.",  # remembered at place four billion
    ],
    ids=["bytearray", "set", "counter", "key", "nest", "number", "memory"],
)
def test_a_small_file_takes_neither_time_nor_memory(bomb: bytes) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    reading = read_pickle(io.BytesIO(bomb))
    assert repr(type(reading.value))
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_keys_that_are_made_to_collide_are_not_hashed() -> None:
    colliding = {number * (2**61 - 1): 0 for number in range(2, 500)}
    assert all(isinstance(key, Inert) for key in _read(colliding))


def test_a_pickle_without_end_is_refused() -> None:
    with pytest.raises(PickleError) as error:
        read_pickle(io.BytesIO(b"\x80\x02" + b"N0" * MOST_INSTRUCTIONS))
    assert str(error.value) == "more than 2,000,000 pickled values"


@pytest.mark.parametrize(
    "name", ["os system", "posix system", "builtins exec", "subprocess Popen", "runpy run_path", "__builtin__ eval"]
)
def test_what_only_an_attack_asks_for_is_refused_wherever_it_stands(name: str, tmp_path: Path) -> None:
    module, _, function = name.partition(" ")
    body = f"c{module}\n{function}\n".encode()
    with pytest.raises(PickleError) as error:
        read_pickle(io.BytesIO(b"\x80\x02}X\x01\x00\x00\x00x" + body + b"X\x01\x00\x00\x00y\x85Rs."))
    assert str(error.value) == name.replace("__builtin__", "builtins").replace(" ", ".").removeprefix("builtins.")


@settings(deadline=None, max_examples=300)
@given(
    body=st.lists(
        st.sampled_from(b"}]()0q\x00t\x85\x86\x87RbseaulQN\x88h\x00\x8f\x90\x91\x81\x93\x94dopi12").map(
            lambda code: bytes([code])
        )
        | st.sampled_from([
            b"K\x01",
            b"X\x01\x00\x00\x00a",
            b"ccollections\nOrderedDict\n",
            b"cos\nsystem\n",
            b"j\x00\x00\x00\x00",
        ]),
        max_size=40,
    )
)
def test_any_instructions_are_read_or_refused(body: list[bytes]) -> None:
    with contextlib.suppress(PickleError):
        read_pickle(io.BytesIO(b"\x80\x02" + b"".join(body) + b"."))


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ((0, (3, 3), (3, 1)), "a tensor of 9 elements in a storage of 16 bytes"),
        ((0, (2,), (-1,)), "a tensor of impossible size"),
        ((2**40, (1,), (1,)), "a tensor of 1099511627777 elements in a storage of 16 bytes"),
        ((0, (1,) * 40, (1,) * 40), "a tensor of impossible size"),
    ],
)
def test_a_tensor_stays_within_its_storage(arguments: tuple[Any, ...], answer: str) -> None:
    identity = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    body = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + identity
    parts = b"".join(pickle.dumps(part, 2)[2:-1] for part in arguments)
    with pytest.raises(PickleError) as error:
        read_pickle(io.BytesIO(body + parts + b"\x89N" + b"tR."))
    assert str(error.value) == answer
    whole = b"".join(pickle.dumps(part, 2)[2:-1] for part in (0, (2, 2), (2, 1)))
    assert isinstance(read_pickle(io.BytesIO(body + whole + b"\x89NtR.")).value, StoredTensor)
