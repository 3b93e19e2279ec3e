"""Pooled features by text, in memory and on disk.

On disk a store is a folder of shards that are written once under a temporary name and then
renamed, so that several processes may add to it at the same time and a killed one leaves nothing
half-written. Two processes that compute the same text each write it; reading keeps one of them.
"""

import hashlib
import json
import logging
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from embviz_callback.files import cache_home, write_atomically

_log = logging.getLogger("embviz_callback")
_KEY_BYTES = 16
_SHARD_ROWS = 2048  # what an interruption can lose
_MAX_BYTES = 8 * 2**30


def default_cache_folder() -> Path:
    """Where features are kept between runs.

    Returns:
        ``$EMBVIZ_CACHE``, else ``embviz/features`` in the user's cache folder, or in one for the time being.
    """
    if os.environ.get("EMBVIZ_CACHE"):
        return Path(os.environ["EMBVIZ_CACHE"]).expanduser()
    return cache_home() / "embviz" / "features"


def text_key(text: str) -> bytes:
    """Sixteen bytes that stand for a text; one changed character gives others."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


class FeatureStore:
    """Features of one encoder under one setting.

    Args:
        folder: Holds the shards, made when first needed; None keeps everything in memory. All stores beside it
            together take no more than 8 GiB; the least recently used go first.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._rows: dict[bytes, Tensor] = {}
        self._unwritten: list[bytes] = []
        self._seen_shards: set[str] = set()
        self.reload()

    def __len__(self) -> int:
        return len(self._rows)

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The distinct texts that have no features yet, in the order given."""
        return [text for text in dict.fromkeys(texts) if text_key(text) not in self._rows]

    def get(self, texts: Sequence[str]) -> Tensor:
        """Features of texts that are all there.

        Args:
            texts: ``n`` texts, at least one.

        Returns:
            ``(n, dim)`` float32 on the CPU, a copy; a KeyError says that a text has no features.
        """
        return torch.stack([self._rows[text_key(text)] for text in texts])

    def add(self, texts: Sequence[str], features: Tensor) -> None:
        """Keeps features; every 2,048 of them are written as one shard.

        Args:
            texts: ``n`` texts.
            features: ``(n, dim)``, any float type and device.
        """
        self._unwritten += self._keep(map(text_key, texts), features.detach().to("cpu", torch.float32, copy=True))
        if len(self._unwritten) >= _SHARD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes what is not on disk yet."""
        keys, self._unwritten = self._unwritten, []
        if self.folder is None or not keys:
            return
        try:
            self._write(self.folder, keys, torch.stack([self._rows[key] for key in keys]))
        except OSError as error:
            # The features are in memory and the run goes on; only the next run computes them again.
            _log.warning("features are not kept on disk (%s: %s); going on in memory", self.folder, error)
            self.folder = None

    def reload(self) -> None:
        """Takes in what other processes have written since."""
        if self.folder is None or not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name not in self._seen_shards:
                self._seen_shards.add(path.name)
                self._read(path)
        # The folder's time tells the size cap which store was used last.
        os.utime(self.folder)

    def _read(self, path: Path) -> None:
        try:
            keys, features = read_shard(path)
        except (OSError, ValueError, SafetensorError) as error:
            _log.warning("%s is damaged (%s); its features are computed again", path.name, error)
            path.unlink(missing_ok=True)
            return
        self._keep(keys, features)

    def _keep(self, keys: Iterable[bytes], features: Tensor) -> list[bytes]:
        """Takes in what is new of some features, and names it."""
        fresh = {key: row for key, row in zip(keys, features, strict=True) if key not in self._rows}
        self._rows |= fresh
        return list(fresh)

    def _write(self, folder: Path, keys: Sequence[bytes], features: Tensor) -> None:
        name = f"{uuid.uuid4().hex}.safetensors"
        array = np.ascontiguousarray(features.numpy())
        packed = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        shard = save({"keys": packed, "features": array}, metadata={"crc32": _checksum(packed, array)})
        write_atomically(folder / name, shard)
        self._seen_shards.add(name)
        prune(folder.parent, max_bytes=_MAX_BYTES, keep=folder.name)


def read_shard(path: Path) -> tuple[list[bytes], Tensor]:
    """Keys and features of one shard.

    Args:
        path: Written by `FeatureStore.add`.

    Returns:
        ``n`` keys and ``(n, dim)`` float32 features.

    Raises:
        ValueError: If the bytes are not those that were written.
    """
    with safe_open(path, framework="numpy") as file:
        written = (file.metadata() or {}).get("crc32")
        keys, features = file.get_tensor("keys"), file.get_tensor("features")
    if written != _checksum(keys, features) or len(keys) != len(features):
        raise ValueError("its checksum does not fit")
    return [bytes(key) for key in keys], torch.from_numpy(np.array(features))


def _checksum(keys: "np.typing.NDArray[np.uint8]", features: "np.typing.NDArray[np.float32]") -> str:
    shapes = json.dumps([keys.shape, features.shape]).encode()
    return str(zlib.crc32(features.data, zlib.crc32(keys.data, zlib.crc32(shapes))))


@dataclass(frozen=True)
class StoreInfo:
    """One encoder's features on disk.

    Attributes:
        name: Fingerprint of encoder and settings.
        n_bytes: Size of all shards.
        used_at: When it was last used, seconds since 1970.
    """

    name: str
    n_bytes: int
    used_at: float


def stores_in(root: Path) -> list[StoreInfo]:
    """All stores below a cache folder, the most recently used first."""
    found = []
    for folder in filter(Path.is_dir, root.iterdir() if root.is_dir() else ()):
        n_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        found.append(StoreInfo(folder.name, n_bytes, folder.stat().st_mtime))
    return sorted(found, key=lambda info: -info.used_at)


def prune(root: Path, *, max_bytes: int, keep: str | None = None) -> list[str]:
    """Removes the least recently used stores until the rest fits.

    Args:
        root: The cache folder.
        max_bytes: What may stay; 0 removes everything.
        keep: A store that stays in any case.

    Returns:
        Names of the stores that were removed.
    """
    removed, left = [], stores_in(root)
    while sum(info.n_bytes for info in left) > max_bytes or (max_bytes == 0 and left):
        oldest = next((info for info in reversed(left) if info.name != keep), None)
        if oldest is None:
            break
        shutil.rmtree(root / oldest.name, ignore_errors=True)
        removed.append(oldest.name)
        left.remove(oldest)
    return removed
