"""`embviz completion`, in a real bash."""

import shutil
import subprocess
from pathlib import Path

import pytest

from embviz_callback.cli import COMMANDS, main

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash here")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("completion")
    with pytest.MonkeyPatch.context() as patch, (place / "embviz.bash").open("w", encoding="utf-8") as file:
        patch.setattr("sys.stdout", file)
        assert main(["completion", "bash"]) == 0
    (place / "best_model.pt").touch()
    (place / "runs").mkdir()
    return place / "embviz.bash"


def _completed(script: Path, *words: str) -> set[str]:
    """What bash offers for the last of the words."""
    typed = " ".join(f"'{word}'" for word in ("embviz", *words))
    program = (
        f"source {script.name}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; "
        f"$(complete -p embviz | sed 's/.*-F \\([^ ]*\\).*/\\1/') embviz; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        [str(BASH), "-c", program], cwd=script.parent, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_the_first_word_is_a_command_or_an_option(script: Path) -> None:
    assert set(COMMANDS) <= _completed(script, "")
    assert _completed(script, "comp") == {"compare", "compat", "completion"}
    assert _completed(script, "--skip") == {"--skip-umap", "--skip-tsne", "--skip-bad-records"}


def test_a_command_completes_its_own_options(script: Path) -> None:
    assert _completed(script, "compare", "--ep") == {"--epochs"}
    assert _completed(script, "cache", "cl") == {"clear"}
    assert _completed(script, "demo", "--skip") == set()


def test_paths_are_completed_with_what_is_there(script: Path) -> None:
    assert "best_model.pt" in _completed(script, "--checkpoint", "be")
    assert _completed(script, "demo", "--output", "r") == {"runs"}


def test_an_unknown_shell_is_answered_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 2
    assert capsys.readouterr().err.startswith("embviz completion: argument shell: invalid choice: 'fish' (choose from ")
