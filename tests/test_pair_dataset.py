import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.pairs.formats.reading import DataError, HardNegative, Reading, Record, read_pairs
from embviz_callback.pairs.texts import fold
from pair_dataset import (
    PairBatch,
    PairDataModule,
    PairDataset,
    collate,
    generate_pairs,
    main,
    split_pairs,
    without_texts_of,
    write_pairs,
)

ROOT = Path(__file__).parents[1]
REAL = ROOT / ".." / "shared" / "data" / "rental"
TEXTS = st.sampled_from([f"{letter}{digit}" for letter in "abcdABCD" for digit in range(8)])
RECORDS = st.lists(
    st.builds(
        Record,
        query=TEXTS,
        positives=st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
        hard_negatives=st.lists(st.builds(HardNegative, text=TEXTS), max_size=3).map(tuple),
        id=st.none() | st.sampled_from(["1", "2", "3"]),
    ),
    min_size=1,
    max_size=15,
)


def batch_of(records: list[Record], **options: Any) -> PairBatch:
    dataset = PairDataset(records, **options)
    return collate([dataset[at] for at in range(len(dataset))])


def texts_of(records: tuple[Record, ...]) -> set[str]:
    return {fold(text) for record in records for text in record.texts}


# --- dataset and collate


def test_a_batch_is_laid_out_as_it_can_be_read_by_hand() -> None:
    batch = batch_of([
        Record("q", ("A", "B"), (HardNegative("x", weight=2.0), HardNegative("b", weight=1.0))),
        Record("r", ("a",), (HardNegative("A", weight=3.0), HardNegative("B", weight=0.5))),
        Record("Q", ("c",)),
    ])
    assert batch.queries == ["q", "q", "r", "Q"]
    assert batch.positives == ["A", "B", "a", "c"]
    assert batch.hard_negatives == ["x", "x", "B"]  # b answers q, A answers r
    assert batch.hard_weights.tolist() == [2.0, 2.0, 0.5]
    assert batch.hard_owner.tolist() == [0, 1, 2]
    q, r = [True, True, True, True], [True, False, True, False]  # q is answered by a, b and, as Q, by c
    assert batch.equivalent.tolist() == [q, q, r, q]
    assert batch.hard_equivalent.tolist() == [[False, False, True]] * 2 + [[False] * 3, [False, False, True]]


def test_the_heaviest_hard_negatives_stay() -> None:
    weights = [1.0, 3.0, 2.0, 3.0]
    negatives = tuple(HardNegative(f"n{at}", weight=weight) for at, weight in enumerate(weights))
    assert batch_of([Record("q", ("a",), negatives)], max_hard_negatives=3).hard_negatives == ["n1", "n3", "n2"]
    none = batch_of([Record("q", ("a",), negatives)], max_hard_negatives=0)
    assert (none.hard_weights.shape, none.hard_equivalent.shape) == ((0,), (1, 0))


@settings(deadline=None, max_examples=60)
@given(RECORDS)
def test_a_mask_marks_every_positive_that_a_query_has_anywhere(records: list[Record]) -> None:
    batch = batch_of(records)
    answers: dict[str, set[str]] = {}
    for record in records:
        own = {text for other in records if other is record or (record.id and other.id == record.id)
               for text in other.positives}  # fmt: skip
        answers.setdefault(fold(record.query), set()).update(map(fold, own))
    for row, query in enumerate(batch.queries):
        assert batch.equivalent[row].tolist() == [fold(text) in answers[fold(query)] for text in batch.positives]
        assert batch.equivalent[row, row]
    for column, owner in enumerate(batch.hard_owner.tolist()):
        assert not batch.hard_equivalent[owner, column]
    assert batch.hard_owner.tolist() == sorted(batch.hard_owner.tolist())


def test_a_batch_moves_to_a_device_as_a_whole() -> None:
    moved = batch_of([Record("q", ("a",), (HardNegative("x"),))]).to("meta")
    assert moved.queries == ["q"]
    assert {moved.hard_weights.device.type, moved.equivalent.device.type, moved.hard_owner.device.type} == {"meta"}


def test_a_dataset_without_records_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        PairDataset([])
    assert str(error.value) == "records must not be empty"
    with pytest.raises(ValueError) as error:
        PairDataset([Record("q", ("a",))], max_hard_negatives=-1)
    assert str(error.value) == "max_hard_negatives must be at least 0, got -1"


# --- splitting


@settings(deadline=None, max_examples=60)
@given(RECORDS, st.floats(0.05, 0.95), st.integers(0, 3), st.randoms(use_true_random=False))
def test_a_split_keeps_texts_and_ids_apart_whatever_the_order(
    records: list[Record], share: float, seed: int, rng: Any
) -> None:
    training, validation = split_pairs(records, validation_share=share, seed=seed)
    assert not texts_of(training) & texts_of(validation)
    assert not {record.id for record in training} & {record.id for record in validation} - {None}
    assert training  # never everything is held out
    assert Counter(map(repr, (*training, *validation))) == Counter(map(repr, records))
    shuffled = split_pairs(rng.sample(records, len(records)), validation_share=share, seed=seed)
    assert [sorted(map(repr, side)) for side in shuffled] == [
        sorted(map(repr, side)) for side in (training, validation)
    ]


def test_a_split_of_separate_records_has_the_share_asked_for() -> None:
    records = [Record(f"q{at}", (f"a{at}",)) for at in range(200)]
    training, validation = split_pairs(records, validation_share=0.1, seed=7)
    assert (len(training), len(validation)) == (180, 20)
    assert validation != split_pairs(records, validation_share=0.1, seed=8)[1]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError) as error:
        split_pairs([Record("q", ("a",))], validation_share=share, seed=0)
    assert str(error.value) == f"validation_share must be above 0 and below 1, got {share}"


def test_a_text_seen_in_any_role_takes_a_record_out() -> None:
    others = [Record("q1", ("a1",), (HardNegative("n1"),))]
    seen = [Record("Q1", ("x",)), Record("y", ("z", " A1")), Record("N1", ("w",))]
    unseen = Record("v", ("u",), others[0].hard_negatives)
    assert without_texts_of([*seen, unseen], others) == (unseen,)


# --- the data module


def write(path: Path, n: int, *, start: int = 0) -> str:
    write_pairs(path, [{"query": f"trọ {at}", "pos": f"Phòng {at}"} for at in range(start, start + n)])
    return str(path)


def test_validation_comes_from_its_file_without_what_training_has_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = PairDataModule(
        [write(tmp_path / "a.json", 10), write(tmp_path / "b.json", 10, start=10)],
        write(tmp_path / "v.json", 10, start=15),
        batch_size=8,
    )
    assert [record.query for record in data.validation_pairs()] == ["trọ 20", "trọ 21", "trọ 22", "trọ 23", "trọ 24"]
    assert caplog.messages == ["5 of 10 validation records left out: their texts occur in the training data"]
    assert [len(batch) for batch in data.train_dataloader()] == [8, 8, 4]
    (batch,) = data.val_dataloader()
    assert batch.queries == ["trọ 20", "trọ 21", "trọ 22", "trọ 23", "trọ 24"]


def test_what_training_has_seen_can_be_kept(tmp_path: Path) -> None:
    data = PairDataModule(write(tmp_path / "a.json", 10), write(tmp_path / "v.json", 10), drop_seen_validation=False)
    assert len(data.validation_pairs()) == 10


def test_without_a_validation_file_a_share_is_held_out(tmp_path: Path) -> None:
    data = PairDataModule(write(tmp_path / "a.json", 50), validation_share=0.2)
    held_out = {record.query for record in data.validation_pairs()}
    trained = {query for batch in data.train_dataloader() for query in batch.queries}
    assert (len(held_out), len(trained)) == (10, 40)
    assert not held_out & trained


def test_the_order_of_training_depends_on_the_seed_alone_and_changes_with_the_epoch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", 40)
    state = torch.get_rng_state()

    def two_epochs(seed: int) -> list[list[str]]:
        loader = PairDataModule(path, seed=seed, batch_size=64).train_dataloader()
        return [[query for batch in loader for query in batch.queries] for _ in range(2)]

    first, second = two_epochs(1)
    torch.rand(3)
    assert two_epochs(1) == [first, second]
    assert first != second
    torch.set_rng_state(state)
    two_epochs(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_validation_record_left_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", 3)
    with pytest.raises(DataError) as error:
        PairDataModule(path, path).setup()
    assert str(error.value) == (
        f"{path}: no validation record is left, all share texts with the training records. "
        "Fix: give other data, or drop_seen_validation=False"
    )


def test_missing_training_pairs_are_generated_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "data" / "train.json"
    data = PairDataModule(str(path), generate=60)
    data.prepare_data()
    written = path.read_bytes()
    assert len(data.validation_pairs()) == 6
    data.prepare_data()
    assert path.read_bytes() == written
    assert json.loads(written) == generate_pairs(60, seed=7)


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        PairDataModule("a.json", batch_size=0)
    assert str(error.value) == "batch_size must be at least 1, got 0"
    with pytest.raises(ValueError) as error:
        PairDataModule(["a.json", "b.json"], generate=5)
    assert str(error.value) == "train_path must be one file to generate, got ['a.json', 'b.json']"


# --- the command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", "0"], "pair_dataset.py: n must be between 1 and 20,000, got 0\n"),
        (["--n", "x"], "pair_dataset.py generate: argument --n: invalid int value: 'x'\n"),
        (["--n", "5", "--hard-negatives", "11"], "pair_dataset.py: hard_negatives must be between 0 and 10, got 11\n"),
    ],
)
def test_wrong_arguments_are_answered_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    try:
        status = main(["generate", *arguments, "--output", str(tmp_path / "a.json")])
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert (status, capsys.readouterr().err) == (2, message)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_answered_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert main(["generate", "--n", "1", "--output", str(tmp_path / "file" / "a.json")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pair_dataset.py: [Errno ")
    assert error.count("\n") == 1


def test_the_same_seed_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    written = []
    for hash_seed in ("1", "2"):
        # The generator alone: importing a training framework twice more would prove nothing else.
        program = "import json; from embviz_callback.demo.rental_pairs import generate_pairs as made"
        command = [sys.executable, "-c", f"{program}; print(json.dumps(made(200, seed=7)))"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        written.append(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout)
    path = tmp_path / "a.json"
    assert main(["generate", "--n", "200", "--seed", "7", "--output", str(path)]) == 0
    assert json.loads(written[0]) == json.loads(written[1]) == json.loads(path.read_bytes())
    assert written[0] == written[1]
    assert "triệu/tháng".encode() in path.read_bytes()
    assert generate_pairs(200, seed=8) != json.loads(path.read_bytes())


# --- the real files


@pytest.mark.skipif(not REAL.is_dir(), reason="the real rental pairs are not beside this checkout")
def test_the_real_files_make_a_module_without_shared_texts() -> None:
    files = [str(REAL / f"new-data-set-{n}.json") for n in (1, 2, 3)]
    data = PairDataModule(files, str(REAL / "test-data-set-1.json"))
    training = [record for path in files for record in read_pairs(path).records]
    assert 400 < len(data.validation_pairs()) < 964
    assert not texts_of(data.validation_pairs()) & texts_of(tuple(training))
    batch = next(iter(data.train_dataloader()))
    assert len(batch) == 128
    assert batch.equivalent.diagonal().all()


# --- data of other forms


def test_a_folder_trains_on_its_training_split_and_is_judged_by_its_validation_split(tmp_path: Path) -> None:
    rows = [{"anchor": f"trọ {at}", "positive": f"Phòng {at}"} for at in range(6)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows[:4])), encoding="utf-8")
    (tmp_path / "dev.jsonl").write_text("\n".join(map(json.dumps, rows[4:])), encoding="utf-8")
    data = PairDataModule(str(tmp_path), str(tmp_path), batch_size=8)
    assert [pair.query for pair in data.train_dataloader().dataset] == ["trọ 0", "trọ 1", "trọ 2", "trọ 3"]
    assert [record.query for record in data.validation_pairs()] == ["trọ 4", "trọ 5"]


def test_labels_of_training_pairs_need_a_word(tmp_path: Path) -> None:
    rows = [{"sentence1": f"trọ {at}", "sentence2": f"Phòng {at}", "score": at} for at in range(6)]
    path = tmp_path / "sts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError):
        PairDataModule(str(path)).setup()
    data = PairDataModule(str(path), reading=Reading(relevant_from=2), validation_share=0.3)
    data.setup()
    assert len(data.train_dataloader().dataset) + len(data.validation_pairs()) == 4
