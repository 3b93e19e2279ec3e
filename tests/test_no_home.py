"""Containers: a user without a home, a home that cannot be written to."""

import os
import sys
from pathlib import Path

import pytest

from embviz_callback.cli import main
from embviz_callback.encoding.cache.feature_store import default_cache_folder
from embviz_callback.files import cache_home, user_cache


@pytest.mark.parametrize("home", ["", "/proc/1", "no/absolute/path"])
def test_a_user_without_a_home_has_a_cache_among_temporary_files(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "XDG_CACHE_HOME", "EMBVIZ_CACHE"):
        monkeypatch.delenv(name, raising=False)
    if home:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}")
    monkeypatch.setattr("os.access", lambda place, mode: f"{place}".startswith(f"{tmp_path}"))
    monkeypatch.chdir(tmp_path)
    own = tmp_path / f"embviz-cache-{os.getuid()}"
    assert cache_home() == own
    assert own.stat().st_mode & 0o077 == 0
    assert default_cache_folder() == own / "embviz" / "features"
    assert main(["cache", "size"]) == 0
    assert capsys.readouterr().out == f"0.0 MB in {own / 'embviz' / 'features'}\n"
    assert not (tmp_path / "~").exists()


def test_the_users_own_cache_is_used_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", f"{tmp_path}")
    assert cache_home() == user_cache() == tmp_path / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path / 'elsewhere'}")
    assert cache_home() == tmp_path / "elsewhere"


def test_numba_gets_a_folder_where_there_is_no_home_before_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embviz_callback.analysis.maps.layouts import open_layout

    def import_numba() -> None:
        with pytest.raises(ImportError):
            open_layout("umap")

    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}")
    import_numba()
    assert "NUMBA_CACHE_DIR" not in os.environ
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path / 'file'}")
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # put back afterwards
    del os.environ["NUMBA_CACHE_DIR"]
    import_numba()
    assert os.environ["NUMBA_CACHE_DIR"] == f"{tmp_path / f'embviz-cache-{os.getuid()}' / 'numba'}"


def test_a_folder_that_somebody_else_has_made_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}")
    planted = tmp_path / f"embviz-cache-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert cache_home() != planted
    assert cache_home().parent == tmp_path
