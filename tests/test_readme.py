"""What the README promises a newcomer; that its blocks run is tested with those of the docs."""

import re
import subprocess
from pathlib import Path

from tests.doc_blocks import ROOT, blocks_of

README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = [block for block in blocks_of(ROOT / "README.md") if block.language == "python"]


def test_the_first_figure_of_ones_own_model_takes_at_most_ten_lines() -> None:
    assert "EmbeddingVisualizer" in PYTHON[0].code
    assert not PYTHON[0].why_not
    assert len([line for line in PYTHON[0].code.splitlines() if line.strip()]) <= 10


def test_the_two_commands_are_targets_and_linked_pages_exist() -> None:
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
    for page in re.findall(r"\]\(([\w/.-]+)\)", README):
        assert (ROOT / page).exists(), page


def test_contributors_have_three_commands() -> None:
    text = Path(ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = [line.split("#")[0].strip() for line in blocks_of(ROOT / "CONTRIBUTING.md")[0].code.splitlines()]
    assert commands == ["make test", "make check", "make demo"]
    assert "make docs" in text
