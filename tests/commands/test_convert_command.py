"""`embviz convert`: what is written means what was read, and what a form cannot hold is said."""

import json
from pathlib import Path

import pytest

from embviz_callback.cli import main
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.pairs.subset import choose_subset
from tests.forms import CASES, pairs

FORMS = ("native", "flagembedding", "sentence-transformers", "beir", "trec")


def _fingerprint(path: Path) -> str:
    return choose_subset(read_pairs(path).records, max_samples=100, seed=7).fingerprint


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["beir", "squad", "question and answer"])
def test_every_form_can_be_written_and_read_again_as_the_same_pairs(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / "in").mkdir()
    given, out = CASES[name].write(tmp_path / "in"), tmp_path / ("out" if form in ("beir", "trec") else "out.jsonl")
    assert main(["convert", str(given), str(out), "--to", form]) == 0
    assert _fingerprint(out) == _fingerprint(given)


@pytest.mark.parametrize("form", ["native", "flagembedding", "sentence-transformers"])
def test_hard_negatives_survive_where_the_form_has_them(tmp_path: Path, form: str) -> None:
    given = CASES["numbered negatives"].write(tmp_path)
    assert main(["convert", str(given), str(tmp_path / "out.jsonl"), "--to", form]) == 0
    assert _fingerprint(tmp_path / "out.jsonl") == _fingerprint(given)


@pytest.mark.parametrize("form", ["native", "beir", "trec"])
def test_grades_survive_where_the_form_has_them(tmp_path: Path, form: str) -> None:
    records = pairs(judged=[{"text": "Phòng lạ", "grade": 0, "id": "x 1"}, {"text": "Phòng quen", "grade": 2}])
    (tmp_path / "in.json").write_text(json.dumps(records), encoding="utf-8")
    out = tmp_path / ("out.json" if form == "native" else "out")
    assert main(["convert", str(tmp_path / "in.json"), str(out), "--to", form]) == 0
    # A document of grade 2 is relevant in a folder of judgements.
    in_a_folder = [one | {"pos": [one["pos"], "Phòng quen"]} for one in records] if form != "native" else records
    (tmp_path / "twin.json").write_text(json.dumps(in_a_folder), encoding="utf-8")
    assert _fingerprint(out) == _fingerprint(tmp_path / "twin.json")


def test_what_a_form_cannot_hold_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"query": "a", "pos": "b", "hard_neg": ["c"], "metadata": {"x": 1}, "prompt": "q: ", "id": "7"}
    (tmp_path / "in.json").write_text(json.dumps([record, {"query": "d", "pos": "e"}]), encoding="utf-8")
    given, out = str(tmp_path / "in.json"), str(tmp_path / "out.jsonl")
    assert main(["convert", given, out, "--to", "sentence-transformers"]) == 0
    said = capsys.readouterr()
    assert said.out == f"Wrote {out} as sentence-transformers: 2 records\n"
    assert said.err.splitlines() == [
        f"{given}: only 2 records: too few for maps and intervals",
        f"{out}: not written: hard negatives beyond the 0 that every record has: 1",
        f"{out}: not written: types and weights of hard negatives",
        f"{out}: not written: metadata",
        f"{out}: not written: prompts",
        f"{out}: not written: ids",
    ]


ITSELF = "expected another place to write, found the source. Fix: choose another"


@pytest.mark.parametrize(
    ("place", "form", "message"),
    [
        ("in", "native", ITSELF),
        ("in", "beir", ITSELF),
        ("file", "trec", "expected a folder to write, found a file. Fix: give another name"),
    ],
)
def test_what_cannot_be_written_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, form: str, message: str
) -> None:
    names = {"in": CASES["native"].write(tmp_path), "file": tmp_path / "file"}
    names["file"].write_text("", encoding="utf-8")
    assert main(["convert", str(names["in"]), str(names[place]), "--to", form]) == 2
    assert capsys.readouterr().err == f"embviz convert: {names[place]}: {message}\n"
