"""Ten thousand hostile files of each kind: read, or refused with one clear error, without running code or hanging.

    python -m benchmarks.fuzzing

The kinds are files of pairs, folders of data of every form (the folder and each file in it are read, as pairs and as a
corpus), checkpoints, archives with two directories, pickles by instruction, states of the callback in a checkpoint and
model directories; tests/hostile_pairs.py and tests/hostile_checkpoints.py make them. Every 25th that is refused also
goes to the command that would read it, which must end with status 2 and no traceback. Any other ending, more than
half a GiB beyond what was imported or twenty seconds of the processor for one file ends the run with status 1.
"""

import argparse
import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Read when the library is imported: a file may name any encoder, and none is to be fetched.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from hypothesis import HealthCheck, given, settings

from benchmarks.metrics import peak_bytes
from embviz_callback.cli import main as embviz
from tests.hostile_checkpoints import (
    checkpoint_files,
    instructions,
    model_folders,
    read_or_leave_state,
    read_or_refuse_checkpoint,
    states,
    two_directories,
)
from tests.hostile_pairs import check_error, form_folders, pair_files, read_or_refuse_form, read_or_refuse_pairs

_LIMIT_S = 20.0  # of the processor
_HANGS_S = 120.0  # on the clock, of a busy machine
_LIMIT_BYTES = 2**29
_LIMIT_ADDRESSES = 6_000_000_000
_COMMAND_EVERY = 25


@dataclass
class Tally:
    """What became of the files of one kind.

    Attributes:
        counts: Read, refused, and refused by the command as well.
        slowest_s: Of one file, of the processor.
    """

    counts: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


def fuzz(
    files: Any, read: Callable[[Path], str], command: Callable[[Path], list[str]] | None, n: int, folder: Path
) -> Tally:
    """Reads so many files.

    Args:
        files: A strategy for names and contents.
        read: Reads one, gives the error or "".
        command: What the command line would be for it; None where none reads it.
        n: How many.
        folder: For one at a time.

    Returns:
        The tally; an AssertionError or whatever a reader raised shows the file.
    """
    tally = Tally()

    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(files)
    def one(file: tuple[str, bytes | dict[str, bytes | str]]) -> None:
        path = folder / file[0]
        _write(path, file[1])
        faulthandler.dump_traceback_later(_HANGS_S, exit=True)
        started = time.process_time()
        error = read(path)
        tally.slowest_s = max(tally.slowest_s, time.process_time() - started)
        tally.counts["refused" if error else "read"] += 1
        if error and command is not None and tally.counts["refused"] % _COMMAND_EVERY == 0:
            _refused_by(command(path), path)
            tally.counts["by the command"] += 1
        faulthandler.cancel_dump_traceback_later()
        assert tally.slowest_s < _LIMIT_S, f"{path} took {tally.slowest_s:.0f} s of the processor"
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    one()
    return tally


def _write(path: Path, content: bytes | dict[str, bytes | str]) -> None:
    """A file, or a directory of files and links."""
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    shutil.rmtree(path, ignore_errors=True)  # what the last one left, if it was found to be wrong
    path.mkdir()
    for name, part in content.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(part) if isinstance(part, bytes) else place.symlink_to(part)


def _refused_by(arguments: list[str], path: Path) -> None:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = embviz(arguments)
    assert status == 2, f"{arguments} ended with {status}: {said.getvalue()}"
    check_error(said.getvalue().rstrip("\n"), path)


def main() -> int:
    """Fuzzes all readers and prints a line for each.

    Returns:
        0, or 1 if memory grew by more than half a GiB; whatever else goes wrong raises.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="files of each kind")
    parser.add_argument("--only", metavar="KIND", help="leave the other kinds out")
    options = parser.parse_args()
    imported = peak_bytes()  # a build of torch for GPUs takes a gigabyte by itself
    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT_ADDRESSES, _LIMIT_ADDRESSES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)  # where the canary would appear
        good_pairs, good_head = folder / "good.json", folder / "good.pt"
        good_pairs.write_text(json.dumps([{"query": f"room {row}", "pos": f"a room {row}"} for row in range(5)]))
        torch.save({"head.linear.weight": torch.ones(8, 64)}, good_head)

        def evaluate(checkpoint: Path, data: Path) -> list[str]:
            named = ["--encoder", "char-ngrams-64"] if checkpoint.suffix in (".pt", ".safetensors") else []
            return ["--checkpoint", f"{checkpoint}", "--data", f"{data}", *named]

        kinds: dict[str, tuple[Any, ...]] = {
            "pairs": (pair_files(), read_or_refuse_pairs, lambda path: evaluate(good_head, path)),
            "forms": (form_folders(), read_or_refuse_form, lambda path: evaluate(good_head, path)),
            "checkpoints": (checkpoint_files(), read_or_refuse_checkpoint, lambda path: evaluate(path, good_pairs)),
            "two directories": (two_directories(), read_or_refuse_checkpoint, lambda path: evaluate(path, good_pairs)),
            "instructions": (instructions(), read_or_refuse_checkpoint, lambda path: evaluate(path, good_pairs)),
            "states": (states(), read_or_leave_state, None),
            "model directories": (
                model_folders(),
                read_or_refuse_checkpoint,
                lambda path: evaluate(path, good_pairs),
            ),
        }
        for kind, parts in kinds.items():
            if options.only not in (None, kind):
                continue
            started = time.perf_counter()
            tally = fuzz(*parts, options.n, folder)
            counts = ", ".join(f"{count} {what}" for what, count in sorted(tally.counts.items()))
            print(f"{kind}: {counts}; slowest {tally.slowest_s:.2f} s, all {time.perf_counter() - started:.0f} s")
    peak = peak_bytes()
    print(f"peak memory {peak / 2**20:.0f} MiB, {imported / 2**20:.0f} of them before the first file")
    return 0 if peak - imported <= _LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
