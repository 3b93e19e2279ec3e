"""`embviz check` as a user meets it: output, exit status, the files it writes."""

import json
from pathlib import Path
from typing import Any

import pytest

from embviz_callback.cli import main
from embviz_callback.pairs.check.importing import load_function
from embviz_callback.pairs.formats.reading import DataError, read_pairs


def pair(query: str, pos: Any, **rest: Any) -> dict[str, Any]:
    return {"query": query, "pos": pos, **rest}


def hard(text: str, weight: float = 2.0) -> dict[str, Any]:
    return {"text": text, "type": "price", "weight": weight}


CLEAN = [pair("tìm phòng A", "Phòng trọ A"), pair("tìm phòng B", "Phòng trọ B")]
BAD = [pair("tìm phòng A", "Phòng trọ A", hard_neg=[hard("phòng  trọ a"), hard("Phòng gác", 0)])]


def written(path: Path, items: list[Any]) -> str:
    path.write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
    return str(path)


def test_a_clean_file_ends_with_0_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = written(tmp_path / "a.json", CLEAN)
    assert main(["check", "--data", data, "--strict"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        f"{data}: 2 records, 2 queries, 2 documents, 0 hard negatives",
        "",
        "A batch of 2 pairs holds no false negatives: no text that answers one of them stands in another.",
        "",
        "Nothing wrong (0 notes).",
    ]


def test_findings_stand_with_place_example_and_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = written(tmp_path / "a.json", BAD)
    assert main(["check", "--data", data]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == [
        "WRONG   1 hard negative equals a positive of its query [contradiction]",
        f"          {data}[0].hard_neg[0] (record 1): 'phòng  trọ a' (a positive of this record of the query)",
        "        Fix: embviz check --fix drops them",
    ]
    assert lines[-1] == "1 kind of finding is wrong, 0 suspect, 2 notes."


def test_strict_ends_with_3_unless_the_finding_is_ignored(tmp_path: Path) -> None:
    data = written(tmp_path / "a.json", BAD)
    assert main(["check", "--data", data, "--strict"]) == 3
    assert main(["check", "--data", data, "--strict", "--ignore", "contradiction"]) == 0


def test_json_is_one_object_with_every_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, held = written(tmp_path / "a.json", CLEAN), written(tmp_path / "b.json", CLEAN[:1])
    assert main(["check", "--data", train, "--val", held, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["clean"] is False
    assert [one["kind"] for one in plain["findings"]] == ["leaked_pair"]
    assert plain["findings"][0]["places"] == [
        {
            "file": held,
            "record": 1,
            "field": ".pos",
            "text": "tìm phòng A -> Phòng trọ A",
            "other": f"{train} record 1",
        }
    ]
    assert plain["false_negatives_per_batch"]["batch_size"] == 2


@pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
def test_the_fixed_file_passes_and_the_list_says_what_was_done(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = written(tmp_path / "a.json", BAD), str(tmp_path / name)
    assert main(["check", "--data", data, "--fix", out]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"Wrote {out} with 1 record (1 contradiction, 1 no_weight); every change is in {out}.changes.json"
    )
    assert main(["check", "--data", out, "--strict"]) == 0
    assert read_pairs(out).records[0].hard_negatives[0].weight == 2.0
    changes = json.loads(Path(f"{out}.changes.json").read_text(encoding="utf-8"))
    assert [change["kind"] for change in changes] == ["contradiction", "no_weight"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", name, f"{name}.changes.json"]


def test_leaks_are_dropped_on_request(tmp_path: Path) -> None:
    train, held = written(tmp_path / "a.json", CLEAN), written(tmp_path / "b.json", CLEAN[:1])
    out = str(tmp_path / "out.json")
    assert main(["check", "--data", train, "--val", held, "--fix", out, "--drop-leaks"]) == 0
    assert main(["check", "--data", out, "--val", held, "--strict"]) == 0
    assert [record.query for record in read_pairs(out).records] == ["tìm phòng B"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--drop-leaks"], "--drop-leaks needs --fix and --val. Fix: give both, or leave it out"),
        (["--fix", "a.json"], "--fix: a.json is --data itself. Fix: choose another file to write"),
        (["--features", "nothing"], "expected module:function, such as pair_dataset:extract_features, got 'nothing'"),
        (["--features", "json:nothing"], "'json:nothing': 'json' has no function 'nothing'. Fix: check the name"),
        (
            ["--val", "0/1"],
            "0/1: there is no such file, nor a directory 0 (working directory {here}). Fix: check the path",
        ),
        (["--fix", "b.json"], "a.json: no record would be left. Fix: correct the file by hand"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(
    extra: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "a.json", [pair("{query}", "Phòng trọ A")])
    assert main(["check", "--data", "a.json", *extra]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"embviz check: {message.format(here=tmp_path)}\n"
    assert printed.out == ""


def test_an_unknown_finding_cannot_be_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--data", written(tmp_path / "a.json", CLEAN), "--ignore", "leak"]) == 2
    assert capsys.readouterr().err.startswith("embviz check: --ignore: there is no finding 'leak'; there are blank, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "a.json", "--batch-size", "0"], "argument --batch-size: must be a whole number from 1, got '0'"),
        (["--dta", "a.json"], "unrecognised option --dta; did you mean --data?"),
        ([], "required: --data"),
    ],
)
def test_bad_arguments_end_with_2_and_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 2
    assert capsys.readouterr().err == f"embviz check: {message}\n"


def test_the_users_extractor_is_loaded_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_columns_for_check.py").write_text(
        "def read(text):\n    return {'price': float(text.split()[-1])}\n", encoding="utf-8"
    )
    data = written(tmp_path / "a.json", [pair("tìm phòng 5", "Phòng trọ 9")])
    assert main(["check", "--data", data, "--strict", "--features", "my_columns_for_check:read"]) == 3
    assert "price: 5 asked, 9 in .pos" in capsys.readouterr().out


def test_a_module_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as error:
        load_function("no_such_module:read")
    assert str(error.value) == (
        f"'no_such_module:read': cannot import 'no_such_module' from {tmp_path}"
        " (No module named 'no_such_module'). Fix: check the name"
    )


# --- names of fields, and files in which nothing can be used


def test_names_of_all_records_are_said_at_once_with_what_they_probably_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"querry": f"tìm phòng {at}", "pos_text": f"Phòng trọ {at}", "price": at} for at in range(5)]
    data = written(tmp_path / "a.json", rows)
    assert main(["check", "--data", data]) == 2
    said = capsys.readouterr()
    assert said.err == (
        f"embviz check: {data}: no record can be used. Fix: see the findings; --fix OUT mends what can be mended\n"
    )
    lines = said.out.splitlines()
    assert lines[3:7] == [
        "WRONG   2 fields are called otherwise than they are read [misnamed_field]",
        f"          {data}[0].querry (record 1) (probably query, in 5 of 5 records)",
        f"          {data}[0].pos_text (record 1) (probably pos, in 5 of 5 records)",
        "        Fix: rename them; --fix does",
    ]
    assert f"          {data}[0].price (record 1)" in lines


def test_fix_renames_what_is_misnamed_and_the_reader_takes_it(tmp_path: Path) -> None:
    rows = [{"querry": f"tìm phòng {at}", "pos_text": f"Phòng trọ {at}", "price": at} for at in range(5)]
    data, out = written(tmp_path / "a.json", rows), tmp_path / "b.json"
    assert main(["check", "--data", data, "--fix", str(out)]) == 0
    assert json.loads(out.read_text(encoding="utf-8"))[0] == {"query": "tìm phòng 0", "pos": "Phòng trọ 0", "price": 0}
    assert len(read_pairs(out).records) == 5
    changes = json.loads(Path(f"{out}.changes.json").read_text(encoding="utf-8"))
    assert changes[0] == {"record": 1, "field": ".querry", "kind": "misnamed_field", "what": "field renamed to query"}


def test_a_file_of_another_form_is_checked_as_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train.jsonl"
    rows = [{"query": f"tìm phòng {at}", "pos": [f"Phòng trọ {at}"], "neg": [f"phòng  TRỌ {at}"]} for at in range(5)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["check", "--data", str(path), "--strict"]) == 3
    assert "5 hard negatives equal a positive of their query [contradiction]" in capsys.readouterr().out
    assert main(["check", "--data", str(path), "--fix", str(tmp_path / "out.json")]) == 0
    assert all(not record.hard_negatives for record in read_pairs(tmp_path / "out.json").records)


def test_labels_need_a_word_before_they_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = written(tmp_path / "a.json", [pair(f"tìm phòng {at}", f"Phòng trọ {at}", label=1) for at in range(5)])
    assert main(["check", "--data", data]) == 2
    assert "Fix: say it: --relevant-from 0.8, or --relevant-label 1" in capsys.readouterr().err
    assert main(["check", "--data", data, "--relevant-label", "1", "--strict"]) == 0
