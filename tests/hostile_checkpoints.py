"""Checkpoint files as an unkind world sends them, and what must hold of their reader for each."""

import copy
import io
import json
import logging
import math
import os
import pickle
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from embviz_callback.delivery.run.history import HistoryRow, append_to_history
from embviz_callback.delivery.run.memory import Memory
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
    kind = draw(st.sampled_from(("whole", "whole", "damaged", "instructions", "opcodes", "bomb", "two")))
    if kind == "damaged":
        return draw(damage(whole))
    if kind == "instructions" and modern:
        wanted = draw(st.sampled_from(("data.pkl", "data.pkl", "version", "byteorder", "data/0")))
        return _repacked(whole, lambda name, old: draw(damage(old)) if name.endswith(wanted) else old)
    if kind == "opcodes" and modern:
        made = draw(pickles())
        return _repacked(whole, lambda name, old: made if name.endswith("data.pkl") else old)
    if kind == "two":
        return draw(_two_archives(whole))
    if kind == "bomb" and modern:
        more = draw(st.sampled_from((0, 30_000_000)))
        return _repacked(
            whole,
            lambda name, old: old + b"\0" * (more if "data/" in name else 0),
            compression=zipfile.ZIP_DEFLATED,
        )
    return whole


_PIECES = (
    *(b"}", b"]", b")", b"(", b"0", b"N", b"\x88", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"s", b"e", b"a", b"u"),
    *(b"l", b"d", b"o", b"Q", b"2", b"1", b"\x8f", b"\x90", b"\x91", b"\x81", b"\x92", b"\x93", b"\x94", b"."),
    *(b"q\x00", b"h\x00", b"r\xff\xff\xff\xff", b"K\x05", b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f"),
    *(b"X\x04\x00\x00\x00head", b"X\x07\x00\x00\x00storage", b"X\x01\x00\x00\x000", b"B\x02\x00\x00\x00xy"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n"),
    *(b"ccollections\nCounter\n", b"cbuiltins\nset\n", b"cbuiltins\nbytearray\n", b"c_codecs\nencode\n"),
    *(
        b"cbuiltins\neval\n",
        b"cos\nsystem\n",
        b"ibuiltins\nexec\n",
        b"X\x05\x00\x00\x00posixX\x05\x00\x00\x00mkdir\x93",
    ),
    *(b"J\x00\x28\x6b\xee", b"F1e999\n", b"I99999999999999999999\n", b"Vabc\n", b"S'abc'\n", b"P1\n", b"\x82\x01"),
)


@st.composite
def pickles(draw: Any) -> bytes:
    """Instructions one after the other, honest beginnings and repeated runs among them."""
    pieces = draw(st.lists(st.sampled_from(_PIECES), max_size=30))
    run = draw(st.sampled_from((b"", b"", b"2\x86", b"}", b"]a", b"(", b"N0")))
    state = pickle.dumps({"state_dict": {"head.linear.weight": 1}, "x": 1}, 2)
    begin = draw(st.sampled_from((b"\x80\x02", b"\x80\x04", b"", state[:-1], b"\x80\x02" + b"X\x01\x00\x00\x00a")))
    return begin + b"".join(pieces) + run * draw(st.sampled_from((1, 100, 30_000))) + b"."


@st.composite
def _two_archives(draw: Any, whole: bytes) -> bytes:
    """Two archives in one file, or two directories of one."""
    other = _saved({"head.linear.weight": torch.zeros(8, _WIDTH), "x": _Runs(eval, _MAKE)})
    end = whole[-22:]
    return draw(
        st.sampled_from((
            whole + other,
            other + whole,
            whole + end,
            whole[:-22] + other[-22:],
            whole[:-2] + len(other).to_bytes(4, "little")[:2] + other,
            b"PK\x03\x04" + other + whole,
            whole.replace(b"data.pkl", b"data.pkX", 1),
        ))
    )


@st.composite
def two_directories(draw: Any) -> tuple[str, bytes]:
    """A name and an archive that two programs may read differently, damaged or not."""
    whole = _saved(draw(_contents()), protocol=draw(st.sampled_from((2, 4))))
    made = draw(_two_archives(whole))
    return "best_model.pt", draw(damage(made)) if draw(st.booleans()) else made


@st.composite
def instructions(draw: Any) -> tuple[str, bytes]:
    """A name and a checkpoint whose pickle is made of instructions, bare or in an archive."""
    made = draw(pickles())
    if draw(st.booleans()):
        return "last.ckpt", made
    return "best_model.pt", _repacked(_honest_archive(), lambda name, old: made if name.endswith("data.pkl") else old)


@cache
def _honest_archive() -> bytes:
    return _saved({"head.linear.weight": torch.ones(8, _WIDTH)})


@cache
def _honest_state() -> dict[str, Any]:
    from tests.small_runs import a_run, a_subset

    memory = Memory()
    for snapshot in a_run(a_subset(6), (2.0, 1.0), maps=False):
        memory.history.add(HistoryRow.of(snapshot, alert=True))
    return memory.to_json()


_ODD = (
    st.sampled_from((math.inf, -math.inf, math.nan, 10**400, -1, "", "x" * 5000, "\ud800", [], {}, [[]], b"x")) | _plain
)


@st.composite
def states(draw: Any) -> tuple[str, bytes]:
    """A name and a checkpoint with a state of the callback in which up to three things are other than they were."""
    state: Any = copy.deepcopy(_honest_state())
    for _ in range(draw(st.integers(0, 3))):
        place: Any = state
        while draw(st.booleans()) and isinstance(place, dict | list) and place:
            inner = place[draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))]
            place = inner if isinstance(inner, dict | list) else place
        if isinstance(place, dict) and place:
            name = draw(st.sampled_from(list(place)))
            place.pop(name) if draw(st.booleans()) else place.update({name: copy.deepcopy(draw(_ODD))})
        elif isinstance(place, list):
            place.append(copy.deepcopy(draw(_ODD)))
    if draw(st.integers(0, 19)) == 0:
        state = draw(_ODD)
    return "last.ckpt", _saved({"callbacks": {"EmbeddingVisualizer": state}})


def read_or_leave_state(path: Path) -> str:
    """Goes on from a state as a resumed training does.

    Args:
        path: A checkpoint of `states`.

    Returns:
        "" if all of it is known, otherwise what is said of the rest.

    Raises:
        AssertionError: If more than one line is said, or what was read cannot be saved and read again.
    """
    state = torch.load(path, weights_only=True)["callbacks"]["EmbeddingVisualizer"]
    log, said = logging.getLogger("embviz_callback"), _Said()
    log.addHandler(said)
    try:
        memory = Memory.from_json(state)
    finally:
        log.removeHandler(said)
    assert len(said.lines) <= 1, said.lines
    assert all(line.isprintable() and len(line) < 1000 for line in said.lines), said.lines
    kept = json.loads(json.dumps(memory.to_json(), allow_nan=False))
    assert Memory.from_json(kept).to_json() == kept
    folder = path.parent / "resumed"
    memory.history.open_file(folder / "history.jsonl", is_resumed=True)
    for row in memory.history.rows:
        memory.history.before(row)
        append_to_history(folder / "history.jsonl", row)
    shutil.rmtree(folder, ignore_errors=True)
    return "".join(said.lines)


class _Said(logging.Handler):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@cache
def _honest_folder() -> dict[str, bytes]:
    from tests.tiny_models import tiny_bert

    with tempfile.TemporaryDirectory() as name:
        folder = tiny_bert(Path(name) / "bert")
        return {path.name: path.read_bytes() for path in folder.iterdir()}


_CONFIG_NAMES = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("max_position_embeddings", "type_vocab_size", "pad_token_id", "hidden_act"),
    *("architectures", "is_decoder", "pruned_heads", "dtype", "num_labels", "id2label", "quantization_config"),
    *("model_type", "rope_scaling", "layer_types", "attn_implementation"),
)
_CONFIG_VALUES = (
    0,
    -1,
    1,
    3,
    10**4,
    10**7,
    10**12,
    1e308,
    "9",
    None,
    [],
    {},
    True,
    "gpt2",
    "t5",
    "mine",
    "dpr",
    "llama",
)
_CONFIG_CHANGES = st.dictionaries(st.sampled_from(_CONFIG_NAMES), st.sampled_from(_CONFIG_VALUES), max_size=2)


@st.composite
def model_folders(draw: Any) -> tuple[str, dict[str, bytes | str]]:
    """A name and the files of a directory under it; a text is where a link leads."""
    files: dict[str, bytes | str] = dict(_honest_folder())
    config = json.loads(files["config.json"]) | draw(_CONFIG_CHANGES)
    if draw(st.integers(0, 9)) == 0:
        config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    files["config.json"] = json.dumps(config).encode()
    files["evil.py"] = _MAKE.encode()
    if draw(st.booleans()):
        name = draw(st.sampled_from([*files, "modules.json", "pytorch_model.bin", "adapter_config.json", "notes.txt"]))
        old = files.get(name, b"[]")
        links = st.sampled_from(("/dev/zero", "/dev/stdin", "..", "nowhere", "config.json"))
        made = draw(damage(old if isinstance(old, bytes) else b"") | links | st.just(b"") | _torch_files())
        files[name] = made
    if draw(st.integers(0, 3)) == 0:
        files.pop(draw(st.sampled_from([*files])))
    return "folder", files


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
        named = path.suffix in (".pt", ".safetensors")
        loaded = load_checkpoint(path, encoder=_ENCODER if named else None)
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
