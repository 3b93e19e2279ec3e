"""Reading a file of weights without running anything that is in it."""

import contextlib
import hashlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
_SAFE_AGAIN = (
    "in the program that made it, save the weights alone with torch.save({'state_dict': model.state_dict()}, ...) "
    "or as safetensors"
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, with what to do about it."""


def read_weights_file(path: Path) -> Any:
    """What was saved in a file of ``torch.save`` or safetensors, whatever its name ends in.

    The unpickler is restricted to tensors and plain containers, and before any tensor gets
    memory its declared size is compared with what the file can hold.

    Args:
        path: A file.

    Returns:
        A dictionary of tensors from safetensors; from ``torch.save`` whatever it was given.

    Raises:
        CheckpointError: If the file is empty, cut short, damaged, something else than weights, or
            asks for code to run.
    """
    kind = recognise(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    if kind == "zip":
        _check_archive(path)
    try:
        _check_declared_sizes(path)
        return _load(path, "cpu")
    except CheckpointError:
        raise
    # A damaged pickle raises whatever its damaged instructions happen to do, so that there is
    # no narrower list of exceptions that would be complete.
    except Exception as error:  # noqa: BLE001
        raise CheckpointError(_why_unreadable(path, error)) from None


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
        return _safetensors_header(path, head)
    if head.startswith(b"\x80") and head[1:2] in (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"):
        raise CheckpointError(
            f"{path} is a bare pickle, which can run code when it is read, so it is not opened; {_SAFE_AGAIN}"
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


def check_tensors(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Those values as dense, finite tensors.

    Args:
        state: Name to value.
        path: For the error.

    Returns:
        The same, checked.

    Raises:
        CheckpointError: If a name is no string, a value is no dense tensor, or holds a NaN or an infinity.
    """
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: {short(name)} should be a tensor, it is {type(value).__name__} {short(value)}"
            )
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise CheckpointError(
                f"{path}: {short(name)} is no dense real tensor; save it as float32, float16 or bfloat16"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            n_bad = int((~torch.isfinite(value)).sum())
            raise CheckpointError(
                f"{path}: {short(name)} holds {n_bad} NaN or infinite weights of {value.numel()}; "
                "the training diverged or the file is damaged, take an earlier checkpoint"
            )
    return dict(state)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None


def _safetensors_header(path: Path, head: bytes) -> str:
    length = int.from_bytes(head[:8], "little")
    size = path.stat().st_size
    if length > min(size - 8, _MOST_HEADER_BYTES):
        raise CheckpointError(
            f"{path} looks like safetensors, but its header of {length} bytes does not fit into {size} bytes; "
            "it is cut short or damaged, copy or download it again"
        )
    return "safetensors"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged safetensors ({short(error)}); copy or download it again") from None


def _check_archive(path: Path) -> None:
    """Compares what the archive declares with what is there, and the checksums."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if not any(entry.filename.endswith("data.pkl") for entry in entries):
                names = ", ".join(entry.filename for entry in entries[:3])
                raise CheckpointError(f"{path} is a zip archive of {short(names)}, not of torch.save; unpack it")
            declared = sum(entry.file_size for entry in entries)
            # torch.save never compresses, so that a record cannot be larger than the file.
            if declared > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise CheckpointError(
                    f"{path} declares {declared} bytes of content in a file of {size} bytes; "
                    "torch.save does not write such files, do not trust it"
                )
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path} is cut short or damaged ({short(error)}, {size} bytes); copy or download it again"
        ) from None
    if damaged is not None:
        raise CheckpointError(
            f"{path} is damaged: the checksum of its record {damaged!r} is wrong; copy or download it again"
        )


def _check_declared_sizes(path: Path) -> None:
    """Loads shapes without memory, and refuses tensors that are larger than their storage."""
    size = path.stat().st_size
    saved = _load(path, "meta")
    known: set[int] = set()
    total = 0
    for name, tensor in _tensors_in(saved, set()):
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            known.add(storage._cdata)
            total += storage.nbytes()
        needed = tensor.numel() * tensor.element_size()
        if needed > storage.nbytes() or total > size:
            raise CheckpointError(
                f"{path}: {short(name)} claims {needed} bytes of weights where the file stores "
                f"{min(storage.nbytes(), size)}; it is damaged or made to fill the memory, do not trust it"
            )


def _load(path: Path, device: str) -> Any:
    # By a path, torch would judge the file by its name: one called .safetensors goes to that library.
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # what it cannot read becomes an error
        return torch.load(file, map_location=device, weights_only=True)


def _tensors_in(value: Any, seen: set[int], name: str = "") -> Iterator[tuple[str, Tensor]]:
    # A hostile file may nest a container in itself, or one list a thousand times in the next.
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        if value.layout == torch.strided:
            yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _tensors_in(part, seen, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from _tensors_in(part, seen, f"{name}[{index}]")


def _why_unreadable(path: Path, error: Exception) -> str:
    unsafe = _globals_in(path, str(error))
    if unsafe:
        names = ", ".join(unsafe[:5]) + (f" and {len(unsafe) - 5} more" if len(unsafe) > 5 else "")
        return (
            f"{path} holds pickled objects ({names}), which can run code when they are read, so it is not opened; "
            f"{_SAFE_AGAIN}"
        )
    reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
    return (
        f"{path} is cut short or damaged ({short(reason) or type(error).__name__}, {path.stat().st_size} bytes); "
        "copy or download it again"
    )


def _globals_in(path: Path, message: str) -> list[str]:
    """Which importable names a file asks for beyond tensors; read from its instructions, not run."""
    told = re.findall(r"GLOBAL ([\w.]+)", message)
    with contextlib.suppress(Exception):  # The search walks the same damaged instructions.
        told += torch.serialization.get_unsafe_globals_in_checkpoint(path)
    return sorted(set(told))


def short(value: object) -> str:
    """A value in one line of at most 100 characters that a terminal cannot mistake for commands, for an error."""
    text = " ".join((value if isinstance(value, str) else str(value)).split())
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 100 else f"{text[:99]}…"


def read_json_file(path: Path) -> Any:
    """A small JSON file of a model directory.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        CheckpointError: If it is missing, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON ({short(error)}); copy or download the model again") from None
