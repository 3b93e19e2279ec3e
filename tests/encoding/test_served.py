"""One model, one number: whatever layout a model is saved in, its vectors are those of its own serving code.

``python -m tests.encoding.test_served`` writes the table of what is covered into docs/models.md.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from embviz_callback.encoding.checkpoints.loading import CheckpointError, load_checkpoint
from embviz_callback.encoding.checkpoints.served import Serving, serve_checkpoint
from embviz_callback.encoding.encode import encode_texts
from tests.encoding.served_models import CASES, DOCUMENTS, QUERIES, decoder, lora
from tests.tiny_models import tiny_bert

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- table of tests/encoding/test_served.py -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Seen:
    """What a face of the product made of a model.

    Attributes:
        queries: ``(n, dim)``.
        documents: ``(n, dim)``.
        similarity: By which they are compared.
        notes: What it said.
    """

    queries: Tensor
    documents: Tensor
    similarity: str
    notes: tuple[str, ...]


Face = Callable[[Path, Mapping[str, Any]], Seen]


def _loader(path: Path, options: Mapping[str, Any]) -> Seen:
    """What the commands load."""
    loaded = load_checkpoint(path, **options)
    with torch.no_grad():
        queries, documents = loaded.encode_query(QUERIES), loaded.encode_document(DOCUMENTS)
    return Seen(queries.float(), documents.float(), loaded.similarity, loaded.notes)


def _runner(path: Path, options: Mapping[str, Any]) -> Seen:
    """What `embviz` and `compare` look at, with the features of the encoder kept."""
    served = serve_checkpoint(str(path), Serving(**options), lambda: {})
    subject = served.subject
    sides = ((subject.queries, QUERIES), (subject.documents, DOCUMENTS))
    # Twice, so that the second time they come out of the cache.
    for _ in range(2):
        rows = [
            encode_texts(side.encode, [side.prompt + text for text in texts], batch_size=2) for side, texts in sides
        ]
    subject.after()
    queries, documents = (torch.from_numpy(found) for found in rows)
    return Seen(queries, documents, subject.origin["similarity"], subject.notes)


FACES: dict[str, Face] = {"load_checkpoint": _loader, "embviz": _runner}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", CASES)
def test_vectors_are_those_that_the_models_own_serving_code_gives(tmp_path: Path, name: str, face: str) -> None:
    case = CASES[name]
    path, (queries, documents) = case.make(tmp_path)
    options = dict(case.options)
    if "encoder" in options:
        options["encoder"] = str(tmp_path / options["encoder"])
    seen = FACES[face](path, options)
    tolerance = 1e-5 if case.options.get("dtype") is None else 0.02
    assert torch.allclose(_comparable(seen.queries, seen, queries), queries, atol=tolerance)
    assert torch.allclose(_comparable(seen.documents, seen, documents), documents, atol=tolerance)
    assert seen.similarity == case.similarity
    assert any(case.note in note for note in seen.notes) or not case.note


def _comparable(found: Tensor, seen: Seen, served: Tensor) -> Tensor:
    """A card's ten lines scale to length 1 or not, which the cosine does not notice; every other similarity does."""
    length = served.norm(dim=1, keepdim=True)
    return found if seen.similarity != "cosine" else nn.functional.normalize(found, dim=-1) * length


# What is refused, each in one sentence


@dataclass(frozen=True)
class Refusal:
    """A layout that cannot be read.

    Attributes:
        layout: For the table.
        make: Saves it; gives its path.
        answer: The whole sentence behind the path.
        way_out: Options with which it is read, or None.
    """

    layout: str
    make: Callable[[Path], Path]
    answer: str
    way_out: Mapping[str, Any] | None = None


def _without_tokenizer(folder: Path) -> Path:
    path = tiny_bert(folder / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink()
    tiny_bert(folder / "whole")
    return path


def _changed(**facts: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = tiny_bert(folder / "model")
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | facts))
        return path

    return make


def _only(*names: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = tiny_bert(folder / "model")
        (path / "model.safetensors").unlink()
        for name in names:
            (path / name).write_bytes(b"x")
        return path

    return make


def _modules(*kinds: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = tiny_bert(folder / "model")
        listed = [{"type": kind, "path": ""} for kind in kinds]
        (path / "modules.json").write_text(json.dumps(listed))
        return path

    return make


def _whole(folder: Path) -> Path:
    torch.save({"model": nn.Linear(2, 2)}, folder / "model.pt")
    return folder / "model.pt"


def _namespace(folder: Path) -> Path:
    torch.save(argparse.Namespace(model=1), folder / "model.pt")
    return folder / "model.pt"


def _adapter(**settings: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        base = tiny_bert(folder / "bert")
        lora(base, **settings).save_pretrained(folder / "adapter")
        return folder / "adapter"

    return make


def _lost_base(folder: Path) -> Path:
    path = _adapter()(folder)
    shutil.rmtree(folder / "bert")
    return path


def _cross_encoder(folder: Path) -> Path:
    path = _modules("sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling")(folder)
    (path / "sentence_bert_config.json").write_text(json.dumps({"transformer_task": "sequence-classification"}))
    return path


REFUSALS = {
    "causal": Refusal(
        "plain folder of a language model, without `--pooling`",
        lambda folder: decoder("Llama", folder / "model"),
        " is a language model, which does not say how its tokens become one vector; say it with --pooling (lasttoken "
        "for most embedding models made of one)",
        {"pooling": "lasttoken"},
    ),
    "tokenizer": Refusal(
        "folder without a tokenizer",
        _without_tokenizer,
        " has no tokenizer; save it there with the model, or name it with --tokenizer NAME|PATH",
        {"tokenizer": "whole"},
    ),
    "quantised": Refusal(
        "quantised weights (GPTQ, AWQ, bitsandbytes)",
        _changed(quantization_config={"quant_method": "gptq", "bits": 4}),
        " is quantised by gptq; give the model it was made from",
    ),
    "onnx": Refusal(
        "ONNX export",
        _only("model.onnx"),
        " is a directory, but no model: it is an ONNX export, which is run by another library; give the model it was "
        "made from",
    ),
    "openvino": Refusal(
        "OpenVINO export",
        _only("openvino_model.xml"),
        " is a directory, but no model: it is an OpenVINO export; give the model it was made from",
    ),
    "gguf": Refusal(
        "GGUF export",
        _only("model-q8.gguf"),
        " is a directory, but no model: it is a GGUF export; give the model it was made from",
    ),
    "zero": Refusal(
        "shards of DeepSpeed",
        _only("zero_to_fp32.py"),
        " is a directory, but no model: it is a sharded training checkpoint of DeepSpeed (python zero_to_fp32.py); "
        "consolidate it into one file first",
    ),
    "fsdp": Refusal(
        "shards of FSDP",
        _only("__0_0.distcp"),
        " is a directory, but no model: it is a sharded training checkpoint of FSDP (accelerate merge-weights); "
        "consolidate it into one file first",
    ),
    "code": Refusal(
        "a model that brings code of its own",
        _modules("custom_st.Transformer"),
        " asks for code of its own, custom_st.Transformer, which is never run here",
    ),
    "words": Refusal(
        "word embeddings, bags of words, CLIP",
        _modules("sentence_transformers.models.WordEmbeddings", "sentence_transformers.models.Pooling"),
        " is made of WordEmbeddings, Pooling; a Transformer followed by Pooling, or a StaticEmbedding, can be read",
    ),
    "sparse": Refusal(
        "sparse encoders (SPLADE)",
        _modules("sentence_transformers.sparse_encoder.models.MLMTransformer"),
        " is made of MLMTransformer; a Transformer followed by Pooling, or a StaticEmbedding, can be read",
    ),
    "reranker": Refusal(
        "cross-encoders",
        _cross_encoder,
        " is made for sequence-classification, not for embeddings",
    ),
    "dora": Refusal(
        "DoRA adapters",
        _adapter(use_dora=True),
        " has adapters of another kind than LoRA "
        "(base_model.model.encoder.layer.0.attention.self.query.lora_magnitude_vector); merge them and save that",
    ),
    "pickled": Refusal(
        "a whole model that was pickled",
        _whole,
        " holds pickled objects (torch.nn.modules.linear.Linear), which can run code when they are read, so it is not "
        "opened; in the program that made it, save the weights alone with torch.save({'state_dict': "
        "model.state_dict()}, ...) or as safetensors",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_served_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    refusal = REFUSALS[name]
    path = refusal.make(tmp_path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(error.value) == f"{path}{refusal.answer}"
    if refusal.way_out is not None:
        options = {
            key: str(tmp_path / value) if key == "tokenizer" else value for key, value in refusal.way_out.items()
        }
        with torch.no_grad():
            assert load_checkpoint(path, **options).encode_query(QUERIES).shape == (len(QUERIES), 16)


def test_an_adapter_whose_model_is_gone_says_which(tmp_path: Path) -> None:
    path = _lost_base(tmp_path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert (
        str(error.value)
        == f"{path} adapts {tmp_path / 'bert'}, which does not exist here; name the model with --encoder"
    )
    again = tiny_bert(tmp_path / "again")
    assert load_checkpoint(path, encoder=str(again), pooling="mean").encoder == str(path)


def test_an_explicit_option_wins_over_what_the_model_says(tmp_path: Path) -> None:
    path, (queries, _) = CASES["st_prompts"].make(tmp_path)
    plain = load_checkpoint(path, query_prompt="", document_prompt="x")
    with torch.no_grad():
        assert not torch.allclose(plain.encode_query(QUERIES), queries, atol=1e-3)
        assert torch.equal(plain.encode_query(QUERIES), plain.model.encode(QUERIES))
    assert (plain.query_prompt, plain.document_prompt) == ("", "x")


def test_the_share_of_texts_that_are_cut_off_is_counted(tmp_path: Path) -> None:
    path, _ = CASES["st_short"].make(tmp_path)
    loaded = load_checkpoint(path)
    lengths = [len(row) for row in loaded.model.backbone.tokenizer(QUERIES + DOCUMENTS)["input_ids"]]
    expected = sum(length > 6 for length in lengths) / len(lengths)
    assert 0 < expected < 1
    assert loaded.truncated_share(QUERIES, DOCUMENTS) == expected


def test_half_precision_halves_the_weights(tmp_path: Path) -> None:
    loaded = load_checkpoint(tiny_bert(tmp_path / "bert"), dtype="bfloat16")
    assert {part.dtype for part in loaded.model.encoder.parameters()} == {torch.bfloat16}


def test_the_page_on_models_lists_what_is_tested() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")


def table() -> str:
    """What is covered, in markdown."""
    rows = [f"| {case.layout} | {case.served} | {_said(case.options)} |" for case in CASES.values()]
    refused = [
        f"| {refusal.layout} | refused: \u201e…{refusal.answer.strip()}\u201c |" for refusal in REFUSALS.values()
    ]
    return "\n".join([
        *("| layout | served by | you say |", "|---|---|---|", *rows, ""),
        *("| layout | answer |", "|---|---|", *refused),
    ])


def _said(options: Mapping[str, Any]) -> str:
    names = [
        f"`--{name.replace('_', '-')}{'' if name == 'encoder' else f' {value}'}`" for name, value in options.items()
    ]
    return " ".join(names) or "nothing"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", encoding="utf-8")
