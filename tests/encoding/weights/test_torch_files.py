import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from embviz_callback.encoding.checkpoints.loading import CheckpointError, load_checkpoint
from embviz_callback.encoding.weights.torch_files import ArchiveError, records_of

NOT_TORCHS = "torch.save does not write such files, do not trust it"
TWO_WAYS = f"lists its records in two ways, which two programs would read differently; {NOT_TORCHS}"


def _saved(value: float = 1.0) -> bytes:
    file = io.BytesIO()
    torch.save({"head.linear.weight": torch.full((8, 64), value)}, file)
    return file.getvalue()


GOOD, OTHER = _saved(), _saved(2.0)


def _zipped(**records: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return file.getvalue()


def _patched(place: int, value: bytes) -> Callable[[], bytes]:
    def patched() -> bytes:
        at = place if place >= 0 else len(GOOD) + place
        return GOOD[:at] + value + GOOD[at + len(value) :]

    return patched


def _doubled_name() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", b"1")
        archive.writestr("a/data.pkX", b"2")
    return file.getvalue().replace(b"a/data.pkX", b"a/data.pkl")


@pytest.mark.parametrize("modern", [GOOD, OTHER])
def test_the_records_of_torch_save_lie_where_zipfile_finds_them(tmp_path: Path, modern: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(modern)
    with zipfile.ZipFile(path) as archive:
        expected = {name: archive.read(name) for name in archive.namelist()}
    found = {name: modern[place.start : place.start + place.n_bytes] for name, place in records_of(path).items()}
    assert found == expected


def test_an_archive_that_python_wrote_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(_zipped(a=b"12", b=b"345"))
    assert [(record.name, record.n_bytes) for record in records_of(path).values()] == [("a", 2), ("b", 3)]


@pytest.mark.parametrize(
    "made",
    [
        lambda: GOOD + OTHER,  # whoever reads from the front finds another model than whoever reads from the end
        lambda: b"PK\x03\x04" + bytes(60) + GOOD,
        lambda: GOOD + b"trailing",
        lambda: GOOD[:-2] + b"\x07\x00comment",
        _doubled_name,
        _patched(-12, struct.pack("<H", 3)),  # records, in the narrow summary
        _patched(-6, struct.pack("<L", 0)),  # where the directory begins, likewise
        _patched(-22 - 20 - 8, struct.pack("<Q", 64)),  # likewise, in the wide one
        _patched(30, b"other/data.pkl"[:3]),  # a name before the bytes
        _patched(8, struct.pack("<H", 8)),  # compressed, says what stands before the bytes
    ],
    ids=["two", "prepended", "trailing", "comment", "name twice", "count", "start", "wide start", "name", "method"],
)
def test_what_two_readers_would_understand_differently_is_refused(tmp_path: Path, made: Callable[[], bytes]) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(made())
    with pytest.raises((ArchiveError, zipfile.BadZipFile)) as error:
        records_of(path)
    assert str(error.value) in (TWO_WAYS, "File is not a zip file")
    with pytest.raises(CheckpointError):
        load_checkpoint(path, encoder="char-ngrams-64")


def test_a_directory_that_points_into_the_same_bytes_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    whole = bytearray(_zipped(**{"a/data.pkl": b"x" * 50, "a/data/0": b"y" * 50}))
    second = whole.rindex(b"PK\x01\x02")
    whole[second + 42 : second + 46] = struct.pack("<L", 0)
    path.write_bytes(bytes(whole))
    with pytest.raises(ArchiveError) as error:
        records_of(path)
    assert str(error.value) == TWO_WAYS


def test_content_of_many_names_stays_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"N." + bytes(1_500_000_000 // 100))
    path.write_bytes(file.getvalue())
    with pytest.raises(ArchiveError) as error:
        records_of(path)
    assert (
        str(error.value) == f"declares 15000002 bytes of content in a file of {path.stat().st_size} bytes; {NOT_TORCHS}"
    )
