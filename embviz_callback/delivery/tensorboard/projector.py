"""TensorBoard's embedding projector: each kept evaluation as float32 bytes with a table of its texts beside them."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from embviz_callback.files import write_atomically
from embviz_callback.pairs.texts import beginning
from embviz_callback.snapshot import Snapshot

FOLDER = "projector"
_CONFIG = "projector_config.pbtxt"
_MOST_COLUMNS = 20
_LONGEST = 301  # characters of a cell
_BREAKS = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\v": "\\v", "\f": "\\f"}
_WRITTEN = str.maketrans(_BREAKS | dict.fromkeys("\x1c\x1d\x1e\x85\u2028\u2029", " "))
_ENDING = re.compile(r"\.tsv$|\.\d+x\d+\.bytes$")
_PLACE = re.compile(r"epoch_(\d+)(?:_step_(\d+))?")
_SHAPE = re.compile(r"\.(\d+)x(\d+)\.bytes$")


def write_projection(events: Path, snapshot: Snapshot, name: str, kept: Collection[str]) -> None:
    """Adds an evaluation to the projector of a run, and drops those that the run no longer keeps.

    As raw bytes 1,000 points in 256 dimensions take 1 MB; as the usual table of numbers they would take 5.
    The list of what there is follows from the files, so that a resumed run goes on with the earlier ones;
    the latest stands first, which is what the projector opens with.

    Args:
        events: Folder of the run as TensorBoard sees it.
        snapshot: The evaluation.
        name: Sorts in the order of training.
        kept: Names of the evaluations that the run keeps, this one among them.
    """
    folder = events / FOLDER
    embeddings = snapshot.embeddings
    points = np.concatenate([embeddings.queries, embeddings.documents]).astype("<f4")
    for path in list(folder.glob("*")):
        if _ENDING.sub("", path.name) not in set(kept) - {name}:
            path.unlink()
    write_atomically(folder / f"{name}.tsv", _table(snapshot))
    # Last: an evaluation is listed by this file, whose name says its shape.
    write_atomically(folder / f"{name}.{points.shape[0]}x{points.shape[1]}.bytes", points.tobytes())
    write_atomically(events / _CONFIG, "".join(map(_entry, sorted(folder.glob("*.bytes"), reverse=True))))


def _entry(path: Path) -> str:
    found = _SHAPE.search(path.name)
    if found is None:
        return ""
    name = path.name[: found.start()]
    title = _PLACE.sub(_place_words, name.partition("_")[2] or name)
    return (
        f'embeddings {{\n  tensor_name: "{title}"\n  tensor_path: "{FOLDER}/{path.name}"\n'
        f"  tensor_shape: {found[1]}\n  tensor_shape: {found[2]}\n"
        f'  metadata_path: "{FOLDER}/{name}.tsv"\n}}\n'
    )


def _place_words(found: re.Match[str]) -> str:
    step = "" if found[2] is None else f", step {found[2]}"
    return f"epoch {int(found[1])}{step}"


def _table(snapshot: Snapshot) -> str:
    names = _columns(snapshot)
    rows = (("text", "kind", "rank", "right first", *names), *_query_rows(snapshot, names), *_rows(snapshot, names))
    return "".join("\t".join(map(_cell, row)) + "\n" for row in rows)


def _rows(snapshot: Snapshot, names: Sequence[str]) -> Iterator[tuple[object, ...]]:
    subset = snapshot.subset
    for text, columns in zip(subset.documents, subset.document_metadata, strict=True):
        yield text, "document", "", "", *(columns.get(name, "") for name in names)


def _columns(snapshot: Snapshot) -> Sequence[str]:
    subset = snapshot.subset
    rows = (*subset.metadata, *subset.document_metadata)
    return list(dict.fromkeys(name for row in rows for name in row))[:_MOST_COLUMNS]


def _query_rows(snapshot: Snapshot, names: Sequence[str]) -> Iterator[tuple[object, ...]]:
    subset = snapshot.subset
    ranks, hits = snapshot.similarity.rank.tolist(), snapshot.similarity.is_hit.tolist()
    for text, rank, is_hit, columns in zip(subset.queries, ranks, hits, subset.metadata, strict=True):
        yield text, "query", f"{rank:g}", "yes" if is_hit else "no", *(columns.get(name, "") for name in names)


def _cell(value: object) -> str:
    """Text in which no character ends a cell or a line; the projector splits at tabs and line ends."""
    return beginning(f"{value}".translate(_WRITTEN), _LONGEST)
