"""Every block of the README runs as it stands."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from model import RentalBiEncoder
from pair_dataset import PairDataModule, generate_pairs

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice on workers and loggers
def test_the_callback_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    items = generate_pairs(120, seed=3)
    Path("train.json").write_text(json.dumps(items[:90]), encoding="utf-8")
    Path("val.json").write_text(json.dumps(items[90:]), encoding="utf-8")
    model, data = RentalBiEncoder("char-ngrams-256", dim=16), PairDataModule("train.json", "val.json", batch_size=32)
    exec(BLOCKS[0], {"model": model, "data": data})
    margin, rank1 = map(float, re.findall(r"tensor\(([-0-9.e]+)\)", capsys.readouterr().out))
    assert -1 <= margin <= 1
    assert 0 <= rank1 <= 1
    assert list(tmp_path.rglob("tsne_projection.png"))


def test_the_callback_example_has_at_most_ten_lines() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 10


def test_the_example_on_arrays_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(BLOCKS[1], {})
    assert len(capsys.readouterr().out.split()) == 4


def test_the_two_commands_are_targets_and_linked_pages_exist() -> None:
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
    for page in re.findall(r"\]\(([\w/.-]+)\)", README):
        assert (ROOT / page).exists(), page
