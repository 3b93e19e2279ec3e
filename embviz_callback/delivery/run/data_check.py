"""The data check of an evaluation: once per run, kept beside its evaluations."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from embviz_callback.drawing.reports.data_section import brief
from embviz_callback.files import read_facts, to_json, write_atomically
from embviz_callback.pairs.check.checkup import check
from embviz_callback.pairs.check.findings import Checkup
from embviz_callback.pairs.check.raw import RawPairs, read_raw
from embviz_callback.snapshot import Provenance, Snapshot

_NAME = "data_check.json"
_LARGEST = 64 * 2**20  # bytes; half a second of work each MiB
_LARGEST_IN_TRAINING = 16 * 2**20  # the figures wait for it, once
# A subset leaves the weights to the rule, and gives all records of a query the hard negatives of each.
_NOT_KEPT = {"no_weight", "duplicate_record"}


def data_check(snapshot: Snapshot, *, largest: int = _LARGEST) -> dict[str, Any]:
    """What is wrong with the data of an evaluation; never fails.

    Args:
        snapshot: Its provenance may name the data file.
        largest: Bytes above which the file is left alone, and the evaluated pairs are checked.

    Returns:
        What `brief` gives, or an ``error`` in words.
    """
    try:
        return brief(_checkup(snapshot, largest))
    # The report is worth more than its first section.
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def data_check_once(folder: Path, snapshot: Snapshot) -> dict[str, Any]:
    """What `data_check` gives, kept in a folder until the data are others.

    Args:
        folder: Of the run.
        snapshot: One of its evaluations.

    Returns:
        As `data_check`.
    """
    path = folder / _NAME
    of = {"fingerprint": snapshot.subset.fingerprint, "sha256": snapshot.provenance.data_sha256}
    kept = read_facts(path)
    if kept.get("of") == of:
        return dict(kept)
    found = data_check(snapshot, largest=_LARGEST_IN_TRAINING) | {"of": of}
    with contextlib.suppress(OSError):  # it will be checked again
        write_atomically(path, to_json(found))
    return found


def checkup_of(snapshot: Snapshot) -> Checkup:
    """Everything that is wrong with the pairs of an evaluation; the file they were chosen from is not asked."""
    return without_unkept(check(RawPairs("the evaluated pairs", tuple(snapshot.subset.as_file()))))


def _checkup(snapshot: Snapshot, largest: int) -> Checkup:
    source = _file(snapshot.provenance, largest)
    return checkup_of(snapshot) if source is None else check(source)


def without_unkept(found: Checkup) -> Checkup:
    """A checkup of evaluated pairs, without what a subset does not keep of its records."""
    return replace(found, findings=tuple(one for one in found.findings if one.kind not in _NOT_KEPT))


def _file(provenance: Provenance, largest: int) -> RawPairs | None:
    """The data file, if it is still the one that was evaluated."""
    name, expected = provenance.data, provenance.data_sha256
    if not isinstance(name, str) or not expected:
        return None
    try:
        path = Path(name).expanduser()
        # A named pipe would be waited for.
        if not path.is_file() or path.stat().st_size > largest:
            return None
        source = read_raw(name)
    except (OSError, ValueError):
        return None
    return source if source.sha256 == expected else None
