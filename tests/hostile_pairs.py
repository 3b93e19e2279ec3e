"""Files of pairs as an unkind world sends them, and what must hold of the reader for each."""

import bz2
import contextlib
import functools
import gzip
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from embviz_callback.pairs.corpus import read_corpus
from embviz_callback.pairs.formats.reading import DataError, Reading, read_pairs, records_from
from tests.forms import CASES

NAMES = ("pairs.json", "pairs.jsonl", "pairs.json.gz", "pairs.ndjson.gz", "pairs.txt", "pairs")
_FIELDS = (
    *("query", "pos", "hard_neg", "metadata", "id", "text", "type", "weight", "data", "train", "records"),
    *("Query", "question", "positive", "negatives", "pos ", "qu\u0435ry", "", "\x00", "a.b[0]", "__proto__", "x" * 300),
)
_TEXTS = (
    *(
        "trọ quận 10",
        "Phòng trọ Quận 10",
        "tro\u0323",
        "",
        " ",
        "\u200b",
        "\u3164",
        "\ufeff",
        "\x00",
        "\x1b[2J",
        "a\u2028b",
    ),
    *("\ud800", "\udfff\ud800", "\u202egnp", "$\\frac{$", "=cmd|'/c calc'!A0", "</script>", "🏠" * 50, "é" * 5000),
    *("line\nbreak\r\n", "..\\../etc/passwd", "NaN", "%s%n", "\U000e0001", "ﷺ" * 20),
)
# What JSON allows in words and a dataset must not hold, or what only looks like JSON.
_RAW = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-0.0", "1" * 5000, "1e-400", "0x10", "01", ".5", "+1", "undefined"),
    *('"\\ud800"', '"\\u0000"', "'single'", '"unterminated', "[1,]", '{"a":1,}', '{"a":1,"a":2}', "// no", "nul"),
    *('{"query":"a","query":"b","pos":"c"}', '{"query":"a","pos":"b","metadata":{"x":1,"x":2}}'),
)
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1258", "utf-7", "utf-16-be")

_scalars = st.one_of(
    st.sampled_from(_TEXTS),
    st.text(max_size=20),
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=4),
    max_leaves=8,
)
_good_text = st.sampled_from(_TEXTS[:3]) | st.text(min_size=1, max_size=12)
_negatives = st.lists(
    _good_text
    | st.fixed_dictionaries({"text": _good_text}, optional={"type": _values, "weight": st.floats(0, 5) | _values}),
    max_size=3,
)
_records = st.fixed_dictionaries(
    {"query": _good_text | _values, "pos": _good_text | st.lists(_good_text, max_size=3) | _values},
    optional={"hard_neg": _negatives | _values, "id": _good_text | _values, "metadata": _values, "extra": _values},
)
_good_records = st.fixed_dictionaries(
    {"query": _good_text, "pos": _good_text | st.lists(_good_text, min_size=1, max_size=3)},
    optional={
        "hard_neg": st.lists(_good_text, max_size=3),
        "id": _good_text,
        "metadata": st.dictionaries(st.text(max_size=5), _good_text | st.floats(allow_nan=False, allow_infinity=False)),
        "extra": _values,
    },
)


@st.composite
def _json_texts(draw: Any) -> str:
    """A list, lines or an object around a list, some of whose items are no JSON or no record."""
    is_kind = draw(st.booleans())
    records = draw(st.lists(_good_records, min_size=1, max_size=4) if is_kind else st.lists(_records, max_size=4))
    items = [json.dumps(item, ensure_ascii=draw(st.booleans())) for item in records]
    if not is_kind:
        items += draw(st.lists(st.sampled_from(_RAW) | _values.map(json.dumps), max_size=2))
        items = draw(st.permutations(items))
    form = draw(st.sampled_from(("list", "list", "lines", "wrapped", "two lists", "bare", "deep")))
    listed = "[" + draw(st.sampled_from((",", ", \n", ",\r\n"))).join(items) + "]"
    if form == "lines":
        return draw(st.sampled_from(("\n", "\r\n", "\n\n", "\u2028", " "))).join(items)
    if form == "wrapped":
        key = draw(st.sampled_from(("data", "train", "pairs", "rows")))
        return f'{{"{key}": {listed}, "version": {draw(st.sampled_from(_RAW))}}}'
    if form == "deep":
        return _deep(draw, listed)
    return {"list": listed, "two lists": listed + listed, "bare": "".join(items)}[form]


def _deep(draw: Any, inner: str) -> str:
    n = draw(st.sampled_from((50, 990, 5_000, 100_000)))
    opening, closing = draw(st.sampled_from((("[", "]"), ('{"query":', "}"), ('[{"pos":', "}]"))))
    whole = opening * n + inner + closing * n
    return whole if draw(st.booleans()) else f'[{{"query": "q", "pos": "p", "extra": {whole}}}]'


def _archive(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pairs.json", content)
    return file.getvalue()


_PACKINGS: tuple[Any, ...] = (
    *(bytes, bytes, bytes, gzip.compress, gzip.compress),
    *(lambda content: gzip.compress(gzip.compress(content)), lambda content: gzip.compress(content) * 2),
    *(lambda content: gzip.compress(content) + b"behind", bz2.compress, _archive),
    # A small file that is a large text.
    lambda content: gzip.compress(content + b" " * 30_000_000),
    lambda content: b"\x1f\x8b" + content,
)


@st.composite
def damage(draw: Any, content: bytes) -> bytes:
    """The same bytes; up to three times cut short, with a byte flipped, or with a piece too much or too few."""
    changed = bytearray(content)
    for kind in draw(st.lists(st.sampled_from(("cut", "flip", "flip", "drop", "repeat", "insert")), max_size=3)):
        at = draw(st.integers(0, len(changed)))
        length = draw(st.integers(0, 64))
        if kind == "cut":
            del changed[at:]
        elif kind == "flip" and at < len(changed):
            changed[at] ^= draw(st.integers(1, 255))
        elif kind == "drop":
            del changed[at : at + length]
        elif kind == "repeat":
            changed[at:at] = changed[at : at + length]
        elif kind == "insert":
            changed[at:at] = draw(st.binary(max_size=16))
    return bytes(changed)


@st.composite
def pair_files(draw: Any) -> tuple[str, bytes]:
    """A name and what stands under it."""
    name = draw(st.sampled_from(NAMES))
    if draw(st.integers(0, 19)) == 0:
        return name, draw(st.binary(max_size=200))
    text = draw(_json_texts())
    encoding = "utf-8" if draw(st.integers(0, 3)) else draw(st.sampled_from(_ENCODINGS))
    errors = "surrogatepass" if encoding.startswith(("utf-8", "utf-16", "utf-32")) else "replace"
    content = draw(st.sampled_from(_PACKINGS))(text.encode(encoding, errors))
    return name, draw(damage(content)) if draw(st.booleans()) else content


def check_error(message: str, path: Path, *, most_lines: int = 21) -> None:
    """One clear error: says which file, can be printed, and is no wall of text.

    Args:
        message: The error.
        path: The file.
        most_lines: A dataset's problems are listed, 20 of them below a line that counts them.

    Raises:
        AssertionError: If it is not.
    """
    lines = message.split("\n")
    assert path.name in lines[0], message
    assert all(line.isprintable() for line in lines), ascii(message)
    assert len(lines) <= most_lines, message
    assert max(map(len, lines)) <= 1_000, message
    assert "Traceback" not in message
    message.encode()


def read_or_refuse_pairs(path: Path, *, skip_bad: bool = False) -> str:
    """Reads a file of pairs.

    Args:
        path: The file.
        skip_bad: See `Reading`.

    Returns:
        "" if it was read, otherwise the error.

    Raises:
        AssertionError: If what was read is not what would be read again, or the error is not clear.
    """
    return _read_or_refuse(path, skip_bad=skip_bad)


def _read_or_refuse(path: Path, *, skip_bad: bool, named: Path | None = None) -> str:
    try:
        found = read_pairs(path, Reading(skip_bad=skip_bad))
    except DataError as error:
        check_error(str(error), named or path)
        return str(error)
    # All of it can be written, and is itself when it is read again.
    plain = json.loads(json.dumps([record.as_json() for record in found.records]).encode())
    assert records_from(plain) == found.records
    assert all(note.isprintable() for note in found.notes), found.notes
    return ""


# --- every other form: a folder of files, one of them damaged or with a value that nobody expects

Files = dict[str, bytes]


@functools.cache
def _written() -> dict[str, Files]:
    """What each form looks like on disk: all files by path."""
    found = {}
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            case.write(Path(folder))
            there = [one for one in Path(folder).rglob("*") if one.is_file()]
            found[name] = {one.relative_to(folder).as_posix(): one.read_bytes() for one in there}
    return found


@st.composite
def form_folders(draw: Any) -> tuple[str, Files]:
    """A name, and the files that lie under it, one or two of them not as they should be."""
    files = dict(_written()[draw(st.sampled_from(sorted(_written())))])
    for _ in range(draw(st.integers(1, 2))):
        victim = draw(st.sampled_from(sorted(files)))
        kind = draw(st.sampled_from(("bytes", "value", "value", "cells", "gone", "other")))
        if kind == "bytes":
            files[victim] = draw(damage(files[victim]))
        elif kind == "value" and victim.endswith((".json", ".jsonl")):
            files[victim] = draw(_odd_values(files[victim], is_lines=victim.endswith("l")))
        elif kind == "cells" and victim.endswith((".tsv", ".csv", ".txt")):
            files[victim] = draw(_odd_cells(files[victim]))
        elif kind == "gone" and len(files) > 1:
            del files[victim]
        elif kind == "other":
            files[victim] = files[draw(st.sampled_from(sorted(files)))]
    return "data", files


@st.composite
def _odd_values(draw: Any, content: bytes, *, is_lines: bool) -> bytes:
    """JSON in which one field of one object, however deep, holds something else or has another name."""
    try:
        rows = [json.loads(line) for line in content.splitlines()] if is_lines else [json.loads(content)]
    except ValueError:
        return content
    objects = [one for row in rows for one in _objects(row) if one]
    if not objects:
        return content
    chosen = draw(st.sampled_from(range(len(objects))))
    victim = objects[chosen]
    key = draw(st.sampled_from(sorted(victim)))
    if draw(st.booleans()):
        victim[key] = draw(_values)
    else:
        victim[draw(st.sampled_from(_FIELDS))] = victim.pop(key)
    return "\n".join(map(json.dumps, rows)).encode()


def _objects(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*([value] if isinstance(value, dict) else []), *(one for part in inner for one in _objects(part))]


@st.composite
def _odd_cells(draw: Any, content: bytes) -> bytes:
    lines = content.decode("utf-8", "replace").split("\n")
    at = draw(st.integers(0, len(lines) - 1))
    cells = lines[at].split("\t")
    cells[draw(st.integers(0, len(cells) - 1))] = draw(st.sampled_from(_TEXTS) | st.text(max_size=8))
    lines[at] = draw(st.sampled_from(("\t", "\t", "\t", ",", " "))).join(cells)
    return "\n".join(lines).encode("utf-8", "replace")


def read_or_refuse_form(folder: Path) -> str:
    """Reads a folder and each file in it, as pairs and as a corpus.

    Args:
        folder: A draw of `form_folders`, written.

    Returns:
        "" if the folder was read as pairs, otherwise the error.

    Raises:
        AssertionError: If what was read is not what would be read again, or an error is not clear.
    """
    for given in (folder, *(one for one in folder.rglob("*") if one.is_file())):
        with contextlib.suppress(DataError):
            read_corpus(given)
        for skip_bad in (False, True):
            _read_or_refuse(given, skip_bad=skip_bad, named=folder)  # or a file that it names
    return _read_or_refuse(folder, skip_bad=False)
