"""Folders of data: collections, data sets saved to disk, and files of several splits."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from embviz_callback.files import read_facts
from embviz_callback.pairs.formats.collections.one_file import OBJECT_PARTS, is_collection, translate_rows
from embviz_callback.pairs.formats.collections.parts import Collected, Part, assemble, judgements_of, queries_of
from embviz_callback.pairs.formats.detection import KNOWN_NAMES, is_whole
from embviz_callback.pairs.formats.form import Reading
from embviz_callback.pairs.formats.translation import Translation, unread_notes
from embviz_callback.pairs.intake.arrow import arrow_rows
from embviz_callback.pairs.intake.material import file_sha256, read_file
from embviz_callback.pairs.intake.opening import open_text, show_path
from embviz_callback.pairs.intake.parsing import Expected, Material, parse_document
from embviz_callback.pairs.intake.splits import choose_split
from embviz_callback.pairs.problems import DataError, Problems, show_name, show_names

_MOST_FILES, _DEEPEST = 10_000, 3
_SPLIT_FILE = re.compile(
    r"(?:(?P<folder>[^/]+)/)?(?P<split>train|training|validation|valid|val|dev|eval|test)"
    r"(?:(?:-\d+-of-\d+)?(?:-[0-9a-f]{16})?|/\d+)"  # the hub's names of now, of once, and of its conversion
    r"\.(?:jsonl?|ndjson|csv|tsv|parquet|arrow)(?:\.gz)?",
    re.IGNORECASE,
)
_COPY = "Fix: copy the whole folder, or save the data set again"
_TABLE = r"\.(?:jsonl|ndjson|parquet|arrow|tsv|csv)"
_SHARD = r"(?:-\d+-of-\d+)?"
_SUBSET = r"(?:(?P<subset>[^/]+)-)?"


@dataclass(frozen=True)
class _Layout:
    """Patterns of the paths of the three parts, relative to the folder and without ``.gz``.

    Attributes:
        name: For ``--format``.
        title: What it is, in a sentence behind "read as".
        corpus: Pattern of the files of documents; a group ``subset`` says of which subset.
        queries: Pattern of the files of queries; a group ``split`` may say of which part.
        judgements: Pattern of the files of judgements; the group ``split`` says of which part.
    """

    name: str
    title: str
    corpus: str
    queries: str
    judgements: str


_LAYOUTS: tuple[_Layout, ...] = (
    _Layout(
        "beir",
        "a BEIR folder (corpus.jsonl, queries.jsonl, qrels)",
        r"corpus\.jsonl",
        r"queries\.jsonl",
        r"qrels/(?P<split>[^/]+)\.tsv",
    ),
    _Layout(
        "flagembedding-evaluation",
        "a FlagEmbedding evaluation set (corpus, queries and qrels as JSON Lines)",
        r"corpus\.jsonl",
        r"(?P<split>[^/]+)_queries\.jsonl",
        r"(?P<split>[^/]+)_qrels\.jsonl",
    ),
    _Layout(
        "mteb",
        "an MTEB retrieval set (corpus, queries, qrels)",
        rf"{_SUBSET}corpus(?:/[^/]+?{_SHARD})?{_TABLE}",
        rf"{_SUBSET}queries(?:/(?P<split>[^/]+?){_SHARD})?{_TABLE}",
        rf"(?:{_SUBSET}qrels|data|default)(?:/(?P<split>[^/]+?){_SHARD})?{_TABLE}",
    ),
    _Layout(
        "msmarco",
        "an MS MARCO folder (collection.tsv, queries, qrels)",
        r"collection\.tsv",
        r"queries(?:\.(?P<split>[^/]+))?\.tsv",
        r"qrels(?:\.(?P<split>[^/]+))?\.tsv",
    ),
    _Layout(
        "trec",
        "a TREC collection (topics, qrels, documents)",
        r"(?:[^/]+/)?(?:collection|corpus|documents|docs)(?:[-_]?\d+)?\.(?:tsv|jsonl|txt)",
        r"(?:topics/)?[^/]*(?:topics|queries)[^/]*\.(?:tsv|txt)",
        r"(?:qrels/)?(?P<split>[^/]*qrels?[^/]*?)(?:\.(?:txt|tsv))?",
    ),
)
_LAYOUT_NAMES = tuple(layout.name for layout in _LAYOUTS)


@dataclass(frozen=True)
class _LaidOut:
    """Files of a collection, by their path in its folder.

    Attributes:
        layout: Which form it is.
        corpus: Per subset, the files of documents.
        queries: Per part, the files of queries; "" where one file serves all.
        judgements: Per part, the files of judgements.
    """

    layout: _Layout
    corpus: dict[str, list[str]]
    queries: dict[str, list[str]]
    judgements: dict[str, list[str]]

    @property
    def lacking(self) -> tuple[str, ...]:
        """Which of the three parts are not there."""
        parts = {"documents": self.corpus, "queries": self.queries, "judgements": self.judgements}
        return tuple(name for name, files in parts.items() if not files)

    def queries_of(self, split: str) -> list[str]:
        """The queries that a part is judged by: its own, those of its subset, or the only ones."""
        own = self.queries.get(split) or self.queries.get(_subset(split)) or self.queries.get("")
        return own or (next(iter(self.queries.values())) if len(self.queries) == 1 else [])

    def corpus_of(self, split: str) -> list[str]:
        """The documents of a part: those of its subset, or the only ones."""
        return self.corpus.get(_subset(split)) or self.corpus.get("") or []


def _subset(split: str) -> str:
    return split.rpartition("-")[0]


def _find_parts(paths: Sequence[str], only: str = "") -> _LaidOut | None:
    """The parts of a collection among the files of a folder.

    Args:
        paths: Relative to the folder.
        only: Name of a layout; empty to try all.

    Returns:
        The first layout of which all three parts are there, None if there is none.
    """
    layouts = (layout for layout in _LAYOUTS if only in ("", layout.name))
    return next((found for found in map(partial(_laid_out, paths), layouts) if not found.lacking), None)


def _missing_parts(paths: Sequence[str]) -> str:
    """What a folder lacks that holds two of the three parts of a collection, in words; empty for any other."""
    for found in map(partial(_laid_out, paths), _LAYOUTS):
        if len(found.lacking) == 1:
            return f"{found.layout.title}, in which there are no {found.lacking[0]}"
    return ""


def _laid_out(paths: Sequence[str], layout: _Layout) -> _LaidOut:
    """What of a layout there is among the files of a folder."""
    return _LaidOut(layout, *(_matches(paths, one) for one in (layout.corpus, layout.queries, layout.judgements)))


def _matches(paths: Sequence[str], pattern: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        match = re.fullmatch(pattern, path.removesuffix(".gz"))
        if match:
            groups = match.groupdict()
            # The hub keeps all queries in a file that is called like their folder.
            split = None if groups.get("split") == "queries" else groups.get("split")
            named = [part for part in (groups.get("subset"), split) if part]
            found.setdefault("-".join(named), []).append(path)
    return found


def translate_folder(folder: Path, reading: Reading) -> Translation:
    """The records of a folder, by what lies in it.

    Args:
        folder: A collection, a data set saved to disk, or files of several splits.
        reading: Which split, and how it is read.

    Returns:
        Its records.

    Raises:
        DataError: If it is no folder of data, or a part of it is missing or cannot be read.
    """
    paths = _files_of(folder)
    name = show_path(folder)
    if reading.format in ("", *_LAYOUT_NAMES):
        parts = _find_parts(paths, reading.format)
        if parts is not None:
            return _of_collection(folder, parts, reading)
        if reading.format:
            title = next(layout.title for layout in _LAYOUTS if layout.name == reading.format)
            raise DataError(f"{name}: expected {title}, found {_shown(paths)}. Fix: check the folder")
    if (found := _of_objects(folder, paths, reading)) is not None:
        return found
    saved = _saved_splits(folder)
    missing = "" if saved else _missing_parts(paths)
    splits = saved or _split_files(paths)
    if missing or not splits:
        _refuse(folder, name, paths, missing)
    split = choose_split(splits, reading.split, name)
    material = _of_files(folder, splits[split], reading, is_saved=bool(saved))
    read = f"read the split {split!r} of {', '.join(sorted(splits))}" if split else "read a data set saved to disk"
    found = translate_rows(material, reading)
    return replace(found, source=replace(found.source, path=name), notes=(read, *found.notes), split=split)


def _of_objects(folder: Path, paths: Sequence[str], reading: Reading) -> Translation | None:
    """The records of ``queries.json``, ``corpus.json`` and ``qrels.json``, which hold an object or a list each."""
    files = {name: folder / f"{name}.json" for name in OBJECT_PARTS if f"{name}.json" in paths}
    if not is_collection(files):
        return None
    texts = {name: open_text(path, limits=reading.limits).text for name, path in files.items()}
    value = {name: parse_document(text, show_path(files[name])) for name, text in texts.items()}
    material = Material([value], show_path(folder), show_path(files["corpus"]), _sha256(folder, list(files.values())))
    found = translate_rows(material, reading)
    return replace(found, source=replace(found.source, path=show_path(folder)))


def _refuse(folder: Path, name: str, paths: Sequence[str], missing: str) -> None:
    for one in ("dataset_dict.json", "state.json"):
        if (folder / one).is_file():
            raise DataError(f"{name}/{one}: expected what datasets writes into it, found none of it. {_COPY}")
    if missing:
        raise DataError(f"{name}: expected {missing}, found {_shown(paths)}. Fix: add what is missing, or rename it")
    inner = sorted({path.split("/")[0] for path in paths if "/" in path})
    known = [one for one in inner if _is_known(folder / one)]
    if known:
        listed = ", ".join(show_path(folder / one) for one in known[:3])
        raise DataError(f"{name}: expected one data set, found folders of them. Fix: give one of them: {listed}")
    open_text(folder)  # says what may be given instead


def _is_known(folder: Path) -> bool:
    paths = _files_of(folder)
    return bool(_saved_splits(folder) or _find_parts(paths) or _split_files(paths))


def _files_of(folder: Path) -> list[str]:
    """Paths of the files below a folder, relative to it, three levels deep."""
    found: list[str] = []
    for inner, folders, names in os.walk(folder, followlinks=True):  # what may not be listed is as good as not there
        here = Path(inner)
        found += [one.relative_to(folder).as_posix() for one in map(here.joinpath, names) if one.is_file()]
        if len(here.relative_to(folder).parts) + 1 == _DEEPEST:
            folders.clear()
        if len(found) >= _MOST_FILES:
            break
    return sorted(found)


def _of_collection(folder: Path, parts: _LaidOut, reading: Reading) -> Translation:
    name = show_path(folder)
    split = choose_split(parts.judgements, reading.split, name)
    files = {
        "queries": parts.queries_of(split),
        "documents": parts.corpus_of(split),
        "judgements": parts.judgements[split],
    }
    for what, paths in files.items():
        if not paths:
            raise DataError(f"{name}: expected {what} for split {show_name(split)}, found none. Fix: add the file")
    read = [Part([folder / path for path in paths], reading.limits) for paths in files.values()]
    queries, documents, judgements = read
    problems = Problems(judgements.name, limits=reading.limits)
    grades = judgements_of(judgements, problems)
    if problems.total and not (reading.skip_bad and grades):
        raise problems.error()
    where = f", split {split!r} of {', '.join(sorted(parts.judgements))}" if split else ""
    collected = Collected(
        form=parts.layout.name,
        title=f"{parts.layout.title}{where}",
        queries=queries_of(queries),
        documents=documents,
        corpus=documents.name,
        grades=grades,
    )
    entries, notes = assemble(collected, reading, name, judgements.name)
    unread = tuple(sorted(set().union(*(part.unread for part in read))))
    odd = (
        f"lines of {part.name} that are no identifier and text, left out: {part.n_odd:,}" for part in read if part.n_odd
    )
    sha256 = _sha256(folder, [path for part in read for path in part.paths])
    return Translation(
        Material(range(queries.n_rows), queries.name, name, sha256),
        entries=entries,
        form=parts.layout.name,
        notes=(*notes, *odd, *unread_notes(unread)),
        unread=unread,
        split=split,
        corpus=documents.name if len(documents.paths) == 1 else name,
    )


def _shown(paths: Sequence[str]) -> str:
    return show_names(paths, most=5) if paths else "no files"


def _sha256(folder: Path, paths: Sequence[Path]) -> str:
    """One hash for several files: of their names and hashes."""
    facts = sorted((path.relative_to(folder).as_posix(), file_sha256(path)) for path in paths)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _saved_splits(folder: Path) -> dict[str, list[str]]:
    """Files of a data set that `datasets` saved, by split; one split without a name for a `Dataset`."""
    names = read_facts(folder / "dataset_dict.json").get("splits")
    if isinstance(names, list):
        return {one: _data_files(folder / one, f"{one}/") for one in names if isinstance(one, str)}
    files = _data_files(folder, "")
    return {"": files} if files and (folder / "state.json").is_file() else {}


def _data_files(folder: Path, prefix: str) -> list[str]:
    listed = read_facts(folder / "state.json").get("_data_files")
    names = [one.get("filename") for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    # A name that leaves the folder is no file of this data set.
    return [f"{prefix}{one}" for one in names if isinstance(one, str) and one and Path(one).name == one]


def _split_files(paths: Sequence[str]) -> dict[str, list[str]]:
    matches = [match for match in map(_SPLIT_FILE.fullmatch, paths) if match]
    # Each of several folders is a data set of its own, or a subset of one.
    are_several = len({match["folder"] for match in matches}) > 1
    found: dict[str, list[str]] = {}
    for match in matches:
        subset = f"{match['folder']}-" if are_several and match["folder"] else ""
        found.setdefault(f"{subset}{match['split'].lower()}", []).append(match.string)
    return found


def _of_files(folder: Path, paths: Sequence[str], reading: Reading, *, is_saved: bool) -> Material:
    name = show_path(folder)
    if not paths:
        raise DataError(f"{name}: expected files of data, found none. Fix: save the data set again")
    if is_saved:
        missing = [path for path in paths if not (folder / path).is_file()]
        if missing:
            raise DataError(f"{name}: expected {show_name(missing[0])}, found no such file. Fix: copy the whole folder")
        rows = [
            row
            for path in paths
            for row in arrow_rows(folder / path, show_path(folder / path), "arrow", reading.limits)
        ]
        return Material(rows, name, name, _sha256(folder, [folder / path for path in paths]))
    expected = Expected(is_whole, KNOWN_NAMES, limits=reading.limits)
    read = [read_file(folder / path, expected) for path in paths]
    if len(read) == 1:
        return read[0]
    return Material(
        rows=[row for one in read for row in one.rows],
        name=name,
        path=name,
        sha256=_sha256(folder, [folder / path for path in paths]),
        has_odd=any(one.has_odd for one in read),
        notes=tuple(dict.fromkeys(note for one in read for note in one.notes)),
    )


def corpus_files(folder: Path, split: str) -> Iterator[Path]:
    """The files of documents of a collection in a folder, none if it is no collection."""
    parts = _find_parts(_files_of(folder))
    if parts is not None:
        chosen = choose_split(parts.judgements, split, show_path(folder))
        yield from (folder / path for path in parts.corpus_of(chosen))
