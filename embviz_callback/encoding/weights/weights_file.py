"""Files of weights of every form, recognised by their content."""

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from embviz_callback.encoding.weights.complaints import SAFE_AGAIN, CheckpointError, short
from embviz_callback.encoding.weights.pickle_values import Storage, StoredTensor
from embviz_callback.encoding.weights.stored import WeightsSource
from embviz_callback.encoding.weights.torch_files import read_torch_file

_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MOST_HEADER_BYTES = 100_000_000  # the safetensors format's own limit
# By the first bytes: what it is, and what to do about it.
_STRANGERS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git-lfs pointer, not the weights themselves; run git lfs pull where it came from"),
    (b"\x1f\x8b", "compressed with gzip; unpack it with gunzip"),
    (b"BZh", "compressed with bzip2; unpack it with bunzip2"),
    (b"\xfd7zXZ", "compressed with xz; unpack it with unxz"),
    (b"\x89HDF", "an HDF5 file (Keras); give a PyTorch or safetensors file"),
    (b"GGUF", "a GGUF file; give a PyTorch or safetensors file"),
)


@dataclass(frozen=True, eq=False)
class Contents:
    """What was saved in a file.

    Attributes:
        value: Whatever ``torch.save`` was given, with `StoredTensor` for tensors and `Inert` for everything that is
            neither plain data nor a tensor; from safetensors a dictionary of tensors.
        left_aside: Names of what was not made, sorted.
        source: The file.
    """

    value: Any
    left_aside: tuple[str, ...]
    source: WeightsSource


def read_weights_file(path: Path) -> Contents:
    """What was saved in a file of ``torch.save`` or safetensors, whatever its name ends in.

    Nothing in the file is run, and of its tensors only names, types and shapes are read.

    Args:
        path: A file.

    Returns:
        Its contents; a `CheckpointError` says that the file is empty, cut short, damaged, something else than
        weights, or made to attack.
    """
    kind = recognise(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    reading, places = read_torch_file(path, is_zip=kind == "zip")
    return Contents(reading.value, tuple(sorted(reading.asked_for)), WeightsSource(path, places))


def recognise(path: Path) -> str:
    """Which reader a file of weights needs, by its first bytes.

    Args:
        path: A file.

    Returns:
        "safetensors", "zip" (today's ``torch.save``) or "legacy" (that before PyTorch 1.6).

    Raises:
        CheckpointError: If it is none of them; the text says what it is instead.
    """
    head = _first_bytes(path)
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes); copy or download it again")
    for magic, what in _STRANGERS:
        if head.startswith(magic):
            raise CheckpointError(f"{path} is {what}")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{path} is a web page, not weights; the download failed, fetch it again")
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(_LEGACY_MAGIC):
        return "legacy"
    if head[8:9] == b"{":
        _check_header(path, head)
        return "safetensors"
    if head.startswith(b"\x80") and head[1:2] in (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"):
        raise CheckpointError(
            f"{path} is a bare pickle, which can run code when it is read, so it is not opened; {SAFE_AGAIN}"
        )
    raise CheckpointError(
        f"{path} is no checkpoint (it begins with {head[:16]!r}); give a file of torch.save, a safetensors file "
        "or a model directory"
    )


def file_facts(path: Path) -> tuple[str, int]:
    """SHA-256 in hexadecimal and size in bytes of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), os.fstat(file.fileno()).st_size


def _first_bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is no regular file")
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None


def _check_header(path: Path, head: bytes) -> None:
    length = int.from_bytes(head[:8], "little")
    size = path.stat().st_size
    if length > min(size - 8, _MOST_HEADER_BYTES):
        raise CheckpointError(
            f"{path} looks like safetensors, but its header of {length} bytes does not fit into {size} bytes; "
            "it is cut short or damaged, copy or download it again"
        )


def _read_safetensors(path: Path) -> Contents:
    from safetensors import SafetensorError, safe_open

    try:
        file: Any = safe_open(path, framework="pt", device="cpu")
        value = {name: _unread(name, file) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, UnicodeDecodeError) as error:
        reason = short(str(error))
        raise CheckpointError(f"{path} is damaged safetensors ({reason}); copy or download it again") from None
    return Contents(value, (), WeightsSource(path, {}, file))


def _unread(name: str, file: Any) -> StoredTensor:
    part = file.get_slice(name)
    shape = tuple(part.get_shape())
    none_of_it: torch.Tensor = part[:0] if shape else file.get_tensor(name)
    dtype = none_of_it.dtype
    storage = Storage(name, dtype, math.prod(shape) * dtype.itemsize)
    return StoredTensor(storage, dtype, shape, torch.empty(shape, device="meta").stride(), offset=0)
