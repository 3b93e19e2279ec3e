import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from embviz_callback.encoding.checkpoints.loading import CheckpointError, load_checkpoint
from tests.tiny_models import tiny_bert


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoders") / "bert")


@pytest.fixture
def folder(tmp_path: Path, encoder: Path) -> Path:
    return shutil.copytree(encoder, tmp_path / "model")


def _error(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    return str(error.value)


def _change(folder: Path, **facts: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | facts))


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        ("vocab_size", 60_000_000, "4,096"),
        ("num_hidden_layers", 20_000, "64"),
        ("hidden_size", 200_000, "4,096"),
        ("intermediate_size", 10**12, "4,096"),
        ("num_attention_heads", 10**9, "4,096"),
        ("max_position_embeddings", 10**8, "20,000,000"),
        ("type_vocab_size", 10**9, "4,096"),
    ],
)
def test_a_configuration_larger_than_its_weights_is_refused_before_it_is_built(
    folder: Path, name: str, value: int, most: str
) -> None:
    _change(folder, **{name: value})
    started = time.process_time()
    assert _error(folder) == (
        f"{folder}: config.json says {name} {value:,}, which its 39 weights cannot fill (at most {most}); it is not "
        "theirs, or made to fill the memory"
    )
    assert time.process_time() - started < 2


def test_sizes_deep_inside_a_configuration_count_too(folder: Path) -> None:
    _change(folder, text_config={"more": [{"hidden_size": 1e9}]})
    assert "config.json says hidden_size 1,000,000,000" in _error(folder)


def test_sizes_that_differ_a_little_are_found_by_their_shapes_before_they_are_filled(folder: Path) -> None:
    _change(folder, vocab_size=60, num_hidden_layers=3)
    assert _error(folder) == (
        f"{folder}: encoder weight embeddings.word_embeddings.weight has shape (59, 16), that of {str(folder)!r} has "
        "(60, 16); name the encoder it belongs to with --encoder, or, if tokens were added to it, the folder into "
        "which save_pretrained wrote both encoder and tokenizer"
    )


@pytest.mark.parametrize("kind", [[], {}, 5, None])
def test_a_kind_of_model_that_is_no_name_is_refused(folder: Path, kind: Any) -> None:
    _change(folder, model_type=kind)
    assert _error(folder) == (
        f"{folder} is an encoder {str(folder)!r}, which cannot be loaded (the model_type in its config.json is no "
        "name); give a model directory, or a name that can be reached, with --encoder PATH"
    )


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "notes.txt", "vocab.txt"])
def test_links_to_devices_and_pipes_are_not_opened(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("/dev/zero")
    assert _error(folder).startswith(
        f"{folder / name} is no regular file" if name != "config.json" else f"{folder} is a directory, but no model"
    )
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert _error(folder).startswith(
        f"{folder / name} is no regular file" if name != "config.json" else f"{folder} is a directory, but no model"
    )


def test_huge_settings_are_not_read(folder: Path) -> None:
    with (folder / "config.json").open("r+b") as file:
        file.truncate(11_000_000)
    assert _error(folder) == (
        f"{folder / 'config.json'} has 11000000 bytes, 10000000 at most are read; do not trust it"
    )


def test_weights_that_are_a_pipe_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    assert (
        _error(folder) == f"{folder} has a config.json but no weights; it needs model.safetensors or pytorch_model.bin"
    )
