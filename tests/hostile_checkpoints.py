"""Checkpoint files as an unkind world sends them, and what must hold of their reader for each."""

import io
import json
import os
import pickle
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from embviz_callback.encoding.checkpoints.loading import CheckpointError, load_checkpoint
from tests.hostile_pairs import check_error, damage

NAMES = ("best_model.pt", "last.ckpt", "head.safetensors", "model.bin", "checkpoint")
CANARY = "canary"  # made in the current folder by code of a file that is run
_WIDTH = 64
_ENCODER = f"char-ngrams-{_WIDTH}"
_KEYS = (
    *("head.linear.weight", "head.linear.weight", "linear.weight", "model.head.linear.weight", "head.linear.bias"),
    *("head.ln.weight", "head.ln.bias", "head.weight", "module.head.linear.weight", "_orig_mod.head.linear.weight"),
    *("encoder.size", "encoder.layer.0.weight", "embeddings.word.weight", "logit_scale", "loss.margin", "other", ""),
    *("head.", "head.linear.weight\x1b[2J\n", "x" * 500, "\ud800", "model.model.model.head.linear.weight"),
)
_ENCODERS = (
    *(_ENCODER, _ENCODER, _ENCODER, "char-ngrams-", "char-ngrams-0", "char-ngrams--3", "char-ngrams-99999999999999"),
    *("/nowhere/model", "../../etc", "~", "", ".", "a\x00b", "\x1b[2J", 3, None, True, [], "char-ngrams-1e3"),
    "x" * 5000,
)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


def _tensor(draw: Any) -> Any:
    shape = draw(st.sampled_from((*[(8, _WIDTH)] * 3, (8,), (_WIDTH,), (), (0, 4), (3, 4), (2, 3, 4))))
    kind = draw(st.sampled_from(("plain", "plain", "plain", "half", "int", "nan", "view", "sparse", "complex", "bool")))
    made = torch.ones(shape)
    if kind == "nan":
        return made * torch.nan
    if kind == "view":  # says more numbers than are stored
        return torch.ones(1).expand(draw(st.sampled_from(((8, _WIDTH), (10**6, 10**5)))))
    if kind == "sparse":
        return made.to_sparse()
    types = {"half": torch.bfloat16, "int": torch.int32, "complex": torch.complex64, "bool": torch.bool}
    return made.to(types.get(kind, torch.float32))


@st.composite
def _contents(draw: Any) -> Any:
    """What a training program might have handed to torch.save."""
    if draw(st.integers(0, 9)) == 0:
        return draw(_plain)
    state: dict[str, Any] = {"head.linear.weight": torch.ones(8, _WIDTH)} if draw(st.booleans()) else {}
    config: dict[str, Any] = {"encoder": _ENCODER}
    if not state or draw(st.booleans()):
        for key in draw(st.lists(st.sampled_from(_KEYS), max_size=3)):
            state[key] = _tensor(draw) if draw(st.integers(0, 7)) else draw(_plain)
        options = ("pooling", "normalise", "layer_norm", "model", "revision", "max_length")
        config = {"encoder": draw(st.sampled_from(_ENCODERS))}
        values = st.sampled_from((32, 10**15, "8")) | _plain
        config |= draw(st.dictionaries(st.sampled_from(options), values, max_size=2))
    form = draw(st.sampled_from(("raw", "raw", "training", "lightning", "nested")))
    if form == "raw":
        return state
    if form == "training":
        return {"model_state_dict": state, "epoch": draw(_plain), "loss": draw(_plain), "config": config}
    if form == "lightning":
        return {"state_dict": state, "hyper_parameters": config, "pytorch-lightning_version": "2.6.6", "epoch": 3}
    loop: list[Any] = [state]
    loop.append(loop)
    return {"state_dict": state, "config": config, "more": loop}


class _Runs:
    """Asks whoever unpickles it to call a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


_MAKE = f"open({CANARY!r}, 'w').close()"


@st.composite
def _code(draw: Any) -> Any:
    """An object whose unpickling would make the canary."""
    import builtins

    return draw(
        st.sampled_from((
            _Runs(os.system, f"touch {CANARY}"),
            _Runs(builtins.eval, _MAKE),
            _Runs(builtins.exec, _MAKE),
            _Runs(builtins.open, CANARY, "w"),
            _Runs(os.mkdir, CANARY),
            _Runs(getattr, _Runs(eval, _MAKE), "real"),
            _Runs(Path.touch, Path(CANARY)),
            _Runs(pickle.loads, pickle.dumps(_Runs(eval, _MAKE))),
            _Runs(torch.load, io.BytesIO(pickle.dumps(_Runs(eval, _MAKE)))),
            _Runs(torch.storage._load_from_bytes, pickle.dumps(_Runs(eval, _MAKE))),
        ))
    )


def _saved(content: Any, *, modern: bool = True, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=modern, pickle_protocol=protocol)
    return file.getvalue()


def _repacked(content: bytes, changed: Any, *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The same archive with other contents under right checksums."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, changed(entry.filename, old.read(entry)))
    return made.getvalue()


@st.composite
def _torch_files(draw: Any) -> bytes:
    content, modern = draw(_contents()), draw(st.booleans())
    if draw(st.integers(0, 4)) == 0:
        hidden = draw(_code())
        place = draw(st.sampled_from(("state_dict", "hyper_parameters", "extra")))
        beside = {"head.linear.weight": torch.ones(8, _WIDTH), place: hidden}
        content = draw(st.sampled_from((hidden, [hidden], beside)))
    whole = _saved(content, modern=modern, protocol=draw(st.sampled_from((2, 2, 4))))
    kind = draw(st.sampled_from(("whole", "whole", "damaged", "instructions", "bomb")))
    if kind == "damaged":
        return draw(damage(whole))
    if kind == "instructions" and modern:
        wanted = draw(st.sampled_from(("data.pkl", "data.pkl", "version", "byteorder", "data/0")))
        return _repacked(whole, lambda name, old: draw(damage(old)) if name.endswith(wanted) else old)
    if kind == "bomb" and modern:
        more = draw(st.sampled_from((0, 30_000_000)))
        return _repacked(
            whole,
            lambda name, old: old + b"\0" * (more if "data/" in name else 0),
            compression=zipfile.ZIP_DEFLATED,
        )
    return whole


@cache
def _bare_pickles() -> tuple[bytes, ...]:
    return tuple(pickle.dumps(_Runs(eval, _MAKE), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1))


@st.composite
def _safetensors(draw: Any) -> bytes:
    n_bytes = 8 * _WIDTH * 4
    entry = {
        "dtype": draw(st.sampled_from(("F32", "F32", "F32", "F16", "I64", "BOOL", "F8_E4M3", "X9", 3))),
        "shape": draw(st.sampled_from(([8, _WIDTH], [8, _WIDTH], [-1, 4], [2**40, 2**40], [], "8", [1.5]))),
        "data_offsets": draw(st.sampled_from((*[[0, n_bytes]] * 2, [n_bytes, 0], [0, 2**60], [-4, 4], [0], None))),
    }
    header: dict[str, Any] = {draw(st.sampled_from(_KEYS[:3])): entry}
    header |= draw(st.dictionaries(st.sampled_from(("__metadata__", "linear.weight", "other")), _plain, max_size=1))
    text = json.dumps(header).encode()
    length = draw(st.sampled_from((len(text), len(text), len(text), len(text) + 1, 0, 2**40, 2**64 - 1)))
    whole = length.to_bytes(8, "little") + text + bytes(n_bytes)
    return draw(damage(whole)) if draw(st.booleans()) else whole


@st.composite
def checkpoint_files(draw: Any) -> tuple[str, bytes]:
    """A name and what stands under it."""
    name = draw(st.sampled_from(NAMES))
    bare = st.sampled_from(_bare_pickles()) | st.binary(max_size=300)
    return name, draw((_torch_files(), _torch_files(), _safetensors(), bare)[min(draw(st.integers(0, 9)) // 3, 3)])


def read_or_refuse_checkpoint(path: Path) -> str:
    """Reads a checkpoint with an encoder of 64 features.

    Args:
        path: The file.

    Returns:
        "" if it was read, otherwise the error.

    Raises:
        AssertionError: If code of the file was run, the model that was read gives no unit vectors, or the error is
            not clear.
    """
    try:
        # The others may name theirs.
        loaded = load_checkpoint(path, encoder=_ENCODER if path.suffix in (".pt", ".safetensors") else None)
        with torch.no_grad():
            rows = loaded.model.encode(["trọ quận 10", ""])
        assert bool(torch.isfinite(rows).all())
    except CheckpointError as error:
        check_error(str(error), path, most_lines=1)
        return str(error)
    finally:
        assert not Path(CANARY).exists(), "code of the file was run"
    assert all(note.isprintable() for note in loaded.notes), loaded.notes
    json.dumps(dict(loaded.config))
    return ""
