"""Every block of README and docs runs as it stands, and the site is built without a warning or a request."""

import ast
import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from safetensors.torch import save_file

import embviz_callback
from embviz_callback import EmbeddingVisualizer
from embviz_callback.cli import main
from examples.rental_features import extract_features
from model import BestModel, RentalBiEncoder
from pair_dataset import PairDataModule, generate_pairs
from tests.doc_blocks import PAGES, ROOT, Block, blocks_of, run_python, run_shell
from tests.small_runs import a_run, a_subset
from tests.tiny_models import tiny_bert, tiny_model, weights_of

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
NOT_RUN = [block for block in BLOCKS if block.why_not]
RUN = sorted({block.page for block in BLOCKS if not block.why_not})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages take for granted: pairs, checkpoints, encoders, a finished run."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _write_data()
        _write_models()
        _train()
        given = ["--checkpoint", "best_model.pt", "--data", "val.json", "--skip-tsne", "--skip-umap"]
        assert main(given) == 0
    return folder


def _write_data() -> None:
    items = generate_pairs(84, seed=3)
    Path("train.json").write_text(json.dumps(items[:60]), encoding="utf-8")
    Path("val.json").write_text(json.dumps(items[60:]), encoding="utf-8")
    listings = [item["pos"] for item in generate_pairs(30, seed=4)]
    Path("listings.txt").write_text("\n".join(listings), encoding="utf-8")
    with gzip.open("listings.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(text) + "\n" for text in listings)
    Path("data").mkdir()
    shutil.copy("val.json", "data/demo-val.json")
    shutil.copytree(ROOT / "configs", "configs")


def _write_models() -> None:
    tiny = tiny_bert(Path("encoders/tiny"))
    for seed, name in enumerate(("best_model", "a", "b")):
        weights = weights_of(tiny_model(tiny, seed=seed), parts=("head",))
        config = {"encoder": "encoders/tiny", "max_length": 32}
        torch.save({"model_state_dict": weights, "epoch": seed, "config": config}, f"{name}.pt")
    save_file({"linear.weight": weights["head.linear.weight"]}, "head.safetensors")
    assert main(["export", "--checkpoint", "a.pt", "--output", "encoders/minilm"]) == 0


def _train() -> None:
    watcher = EmbeddingVisualizer("val.json", skip_tsne=True, skip_umap=True)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=TensorBoardLogger("runs", name="demo", version=""),
        callbacks=[watcher, BestModel("runs/demo/best_model.pt")],
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(_model(), _data())


def _model() -> RentalBiEncoder:
    return RentalBiEncoder("char-ngrams-256", dim=16)


def _data() -> PairDataModule:
    return PairDataModule("train.json", "val.json", batch_size=32)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the reader's business
@pytest.mark.parametrize("page", RUN)
def test_every_block_of_a_page_runs(page: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names: dict[str, Any] = {"model": _model(), "data": _data(), "extract_features": extract_features}
    names["snapshot"] = snapshot = a_run(a_subset(), (0.5,), maps=False)[0]
    names |= {name: getattr(snapshot.embeddings, name) for name in ("queries", "documents", "relevance")}
    names["vectors"] = -names["documents"]
    for block in (block for block in BLOCKS if block.page == page and not block.why_not):
        if block.language == "python":
            run_python(block, names)
        else:
            run_shell(block)
    if page == "README.md":
        assert (place / "lightning_logs" / "version_0" / "embviz" / "untrained" / "tsne_projection.png").is_file()


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: f"{block.page}-{block.number}")
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    assert len(block.why_not.split()) >= 3


def test_every_test_that_a_page_names_is_there() -> None:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "RESULTS.md"):
        told = re.findall(r"tests/[\w/]+\.py", page.read_text(encoding="utf-8"))
        assert [test for test in told if not (ROOT / test).is_file()] == [], page


def test_a_block_of_code_names_its_language() -> None:
    for page in PAGES:
        opened = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[::2]
        assert all(opened), f"{page.name}: a block of code without a language is neither run nor coloured"


def test_what_troubleshooting_quotes_is_what_the_program_says() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "embviz_callback").rglob("*.py")]
    said = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    messages = "\n".join(text for text in said if isinstance(text, str))
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quotes = [
        quote
        for cell in re.findall(r"^\| (`.*?) \|", page, flags=re.MULTILINE)
        for quote in re.findall("`([^`]+)`", cell)
    ]
    assert len(quotes) >= 8
    for quote in quotes:
        # What stands for a value, and how a message is put together of place, finding and mend.
        fixed = re.split(
            r"\.\.\.|, \.\.\.|\d+|'\w+'\??|\S+\.json\S* |expected |, found |UMAP|numba|EmbeddingVisualizer ", quote
        )
        for part in (part.strip(" ,") for part in fixed):
            assert part in messages, f"{quote}: {part}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "ignore", "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    done = subprocess.run([*command, ROOT / "docs", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_asks_no_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").glob("*.md")))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"([^\"]+)\"", text)
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


@pytest.mark.slow
def test_the_site_begins_with_what_the_readme_begins_with_and_has_a_reference_of_every_public_name(site: Path) -> None:
    first = (site / "index.html").read_text(encoding="utf-8")
    assert "_images/report_page.png" in first
    assert "Two commands" in first
    reference = (site / "api.html").read_text(encoding="utf-8")
    for name in {*embviz_callback.__all__} - {"__version__"}:
        assert f'id="embviz_callback.{name}"' in reference
    for name in ("transformers.EmbvizTrainerCallback", "sentence_transformers.EmbvizEvaluator"):
        assert f'id="embviz_callback.adapters.{name}"' in reference
    assert "on_train_epoch_end" not in reference


def test_pictures_of_the_docs_are_small_and_shown() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 150_000, picture.name
        assert f"images/{picture.name}" in shown, picture.name
