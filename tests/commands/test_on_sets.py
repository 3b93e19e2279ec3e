"""`--data NAME=PATH ...`: checkpoints on several sets."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from embviz_callback.analysis.metrics.contrasts import Difference
from embviz_callback.cli import main
from embviz_callback.commands.parsers import COMMANDS
from embviz_callback.commands.told import _verdicts

QUICK = ("--skip-tsne", "--skip-umap", "--bootstrap-draws", "100")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    rooms = [{"query": f"tìm phòng quận {row}", "pos": f"phòng trọ quận {row} giá {row + 1} tr"} for row in range(24)]
    books = [{"query": f"who wrote book {row}", "pos": f"The author of book {row}, {row + 7}"} for row in range(24)]
    for name, data in (("val", rooms), ("x", books)):
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    weights = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    for name, head in (("a", weights), ("b", torch.ones(64, 256))):  # the second gives every text one vector
        config = {"encoder": "char-ngrams-256"}
        torch.save({"model_state_dict": {"head.linear.weight": head}, "config": config}, folder / f"{name}.pt")
    return folder


@pytest.mark.slow
def test_every_set_has_a_folder_and_the_verdict_is_on_all(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    given = ["--checkpoint", "a.pt", "b.pt", "--data", "rental=val.json", "general=x.json", "--output", f"{tmp_path}"]
    assert main([*given, *QUICK, "--json"]) == 0
    heard = capsys.readouterr()
    told = json.loads(heard.out)
    for name in ("rental", "general"):
        assert set(told["sets"][name]) == {"a.pt", "b.pt"}
        assert (tmp_path / name / "comparison.md").is_file()
        assert (tmp_path / name / "a.pt" / "report.md").is_file()
    (verdict,) = told["verdicts"]
    assert verdict in heard.err
    assert verdict.startswith("b.pt: rental -")
    assert verdict.endswith(" (may be chance) points of rank-1 against a.pt: a loss without a gain")
    assert heard.err.rstrip().splitlines()[-6] == "Similarity Statistics:"
    assert heard.err.count(": loading\n") == 2  # each checkpoint once, not once a set


def test_no_checkpoint_is_loaded_where_a_later_set_is_not_there(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [f"rental={place / 'val.json'}", f"general={place / 'none.json'}"]
    assert main(["--checkpoint", f"{place / 'a.pt'}", "--data", *sets, "--output", f"{tmp_path}"]) == 2
    heard = capsys.readouterr().err
    assert "none.json: there is no such file" in heard
    assert "loading" not in heard


def test_power_measures_the_discordance_of_two_checkpoints(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", f"{place / 'val.json'}", "--checkpoint", f"{place / 'a.pt'}", f"{place / 'b.pt'}"]
    assert main(["power", *given, "--difference", "0.05"]) == 0
    first, has, _ = capsys.readouterr().out.split("\n")
    disagreeing = float(first.removeprefix("5 points of rank-1 at a discordance of ").partition(" %")[0])
    assert 5 < disagreeing <= 100
    assert has.startswith("the data have 24 independent groups of queries, which show ")
    assert has.endswith(f" at {disagreeing:.1f} %")
    assert main(["power", *given[:2], "--difference", "0.01", "--max-samples", "20"]) == 0
    first, *_, has, _ = capsys.readouterr().out.split("\n")
    assert first.startswith("1 point of rank-1 is found in 80 % of comparisons ")
    assert has.startswith("of the data's 24 queries the 20 that --max-samples leaves are 20 independent groups of")


def test_sets_share_the_chance_of_a_verdict_that_is_false() -> None:
    def compared(p_value: float) -> SimpleNamespace:
        found = ({}, {"rank1": Difference(-0.04, -0.07, -0.01, p_value)})
        return SimpleNamespace(labels=("a", "b"), reference=0, differences=found)

    two = {"rental": compared(0.026), "general": compared(0.024)}
    assert list(_verdicts(two)) == [  # type: ignore[arg-type]
        "b: rental -4.0 (may be chance), general -4.0 points of rank-1 against a: a loss without a gain"
    ]


@pytest.mark.slow
def test_one_checkpoint_on_two_sets(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [f"rental={place / 'val.json'}", f"general={place / 'x.json'}"]
    given = ["--checkpoint", f"{place / 'a.pt'}", "--data", *sets, "--output", f"{tmp_path}", *QUICK]
    assert main([*given, "--fail-below-margin", "2"]) == 3
    heard = capsys.readouterr()
    assert heard.out.split("\n")[0] == "rental"
    assert "(rental, a.pt)" in heard.err
    assert "(general, a.pt)" in heard.err
    assert (tmp_path / "general" / "report.html").is_file()


def test_a_file_of_that_name_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read = COMMANDS["compare"].parser().read
    assert read(["--data", "a=b.json"]).data == {"a": "b.json"}
    Path("a=b.json").touch()
    assert read(["--data", "a=b.json"]).data == "a=b.json"
    assert read(["--data", "s3/a=b.json"]).data == "s3/a=b.json"  # no name of a set


def test_mistakes_are_answered_in_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, checkpoint = f"{place / 'val.json'}", f"{place / 'a.pt'}"
    for given, said in (
        (
            ["--data", f"a={data}", data],
            f"embviz: argument --data: expected one path, or NAME=PATH for each, found {data}",
        ),
        (["--data", f"a={data}", f"a={data}"], "embviz: argument --data: expected a name for each, found a="),
        (["--data", f"jobs={data}"], "embviz: argument --data: the name of a set must be of letters, "),
        (
            ["--data", f"a={data}", f"b={data}", "--baseline", "x.json"],
            "embviz: --baseline is an evaluation of one set; give --data one path",
        ),
    ):
        assert main(["--checkpoint", checkpoint, *given]) == 2
        assert capsys.readouterr().err.startswith(said)
    assert main(["analyse", "--checkpoint", checkpoint, "--data", f"a={data}", f"b={data}"]) == 2
    assert capsys.readouterr().err == (
        "embviz analyse: --data: expected one path, found several sets. Fix: embviz and embviz compare take them\n"
    )
