"""What the README promises a newcomer; that its blocks run is tested with those of the docs."""

import re
import subprocess
from pathlib import Path

from tests.doc_blocks import ROOT, blocks_of

PACKAGE = ROOT / "embviz_callback"
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


def test_every_place_that_contributors_are_told_of_exists_and_every_room_is_among_them() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./-]+(?:/|\.(?:py|md|toml|txt)))`", text))
    assert len(named) > 40
    for name in named:
        assert (ROOT / name).exists() or (PACKAGE / name).exists(), name
    rooms = {f"{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"} - {
        "./"
    }
    assert sorted(rooms - named) == []


def test_a_picture_of_the_page_and_one_of_a_figure_come_before_any_command() -> None:
    top = README.partition("```")[0]
    assert re.findall(r"!\[.+\]\(docs/images/(.+)\.png\)", top) == ["report_page", "similarity_distribution_healthy"]


def test_contributors_have_three_commands() -> None:
    text = Path(ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = [line.split("#")[0].strip() for line in blocks_of(ROOT / "CONTRIBUTING.md")[0].code.splitlines()]
    assert commands == ["make test", "make check", "make demo"]
    assert "make docs" in text
