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
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from embviz_callback import EmbeddingVisualizer
from embviz_callback.adapters.encoders import subject_of
from embviz_callback.encoding.checkpoints.loading import CheckpointError, load_checkpoint
from embviz_callback.encoding.checkpoints.served import serve_checkpoint
from embviz_callback.encoding.encode import encode_texts
from embviz_callback.encoding.serving import Serving
from embviz_callback.encoding.subject import Subject
from embviz_callback.evaluator import Evaluator
from embviz_callback.pairs.formats.reading import PairFile, records_from
from embviz_callback.pairs.texts import fold
from embviz_callback.settings import Settings
from tests.encoding.served_models import CASES, DOCUMENTS, QUERIES, Held, decoder, held, lora
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


PAIRS = [{"query": query, "pos": DOCUMENTS[row % len(DOCUMENTS)]} for row, query in enumerate(QUERIES)]


@dataclass(frozen=True)
class Asked:
    """A model, saved and in the hands of a training.

    Attributes:
        path: Where it lies.
        options: What a user says of the file.
        held: The same in memory.
        similarity: That it declares; a module of one's own has no place to.
    """

    path: Path
    options: Mapping[str, Any]
    held: Held
    similarity: str


Face = Callable[[Asked], Seen]


def _loader(asked: Asked) -> Seen:
    """What `export` loads."""
    options = dict(asked.options)
    other = options.pop("document_encoder", None)
    loaded = load_checkpoint(asked.path, **options)
    documents = loaded if other is None else load_checkpoint(other, **options)
    with torch.no_grad():
        vectors = loaded.encode_query(QUERIES), documents.encode_document(DOCUMENTS)
    return Seen(vectors[0].float(), vectors[1].float(), loaded.similarity, loaded.notes)


def _runner(asked: Asked) -> Seen:
    """What `embviz` and `compare` look at, with the features of the encoder kept."""
    subject, _ = serve_checkpoint(str(asked.path), Serving(**asked.options), {})
    sides = ((subject.queries, QUERIES), (subject.documents, DOCUMENTS))
    # Twice, so that the second time they come out of the cache.
    for _ in range(2):
        rows = [
            encode_texts(side.encode, [side.prompt + text for text in texts], batch_size=2) for side, texts in sides
        ]
    subject.after()
    queries, documents = (torch.from_numpy(found) for found in rows)
    return Seen(queries, documents, subject.similarity, subject.notes)


def _evaluator(asked: Asked) -> Seen:
    return _looked_at(subject_of(asked.held.model, Settings(), asked.held.encode), asked)


def _trainer(asked: Asked) -> Seen:
    return _looked_at(subject_of(asked.held.model, Settings(), asked.held.encode, is_late=True, precision="32"), asked)


class _Module(pl.LightningModule):
    """Somebody's module around a model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


def _lightning(asked: Asked) -> Seen:
    module, encode = _Module(asked.held.model), asked.held.encode
    if encode is None:
        sides = ("encode_query", "encode_document")
        inner = [lambda model, texts, name=name: getattr(model, name)(texts, convert_to_tensor=True) for name in sides]
    else:
        inner = [*encode] if isinstance(encode, tuple) else [encode, encode]
    given = tuple(lambda outer, texts, way=way: way(outer.model, texts) for way in inner)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    return _looked_at(EmbeddingVisualizer(PAIRS, encode=given)._subject(trainer, module), asked)


def _looked_at(subject: Subject, asked: Asked) -> Seen:
    """What every evaluation in a training measures."""
    declares = subject.similarity != "cosine"
    evaluator = Evaluator.on(
        PairFile(records_from(PAIRS), "pairs"), Settings(similarity=None if declares else asked.similarity)
    )
    embeddings, subset = evaluator.encode(subject).embeddings, evaluator.subset
    rows = embeddings.as_served
    queries, documents = (
        [[fold(text) for text in there].index(fold(text)) for text in wanted]
        for there, wanted in ((subset.queries, QUERIES), (subset.documents, DOCUMENTS))
    )
    found = torch.from_numpy(rows.queries[queries]), torch.from_numpy(rows.documents[documents])
    return Seen(*found, embeddings.similarity, subject.notes)


SAVED: dict[str, Face] = {"load_checkpoint": _loader, "embviz": _runner}
LIVE: dict[str, Face] = {
    "EmbvizEvaluator": _evaluator,
    "EmbvizTrainerCallback": _trainer,
    "EmbeddingVisualizer": _lightning,
}


@pytest.mark.parametrize("name", CASES)
def test_vectors_are_those_that_the_models_own_serving_code_gives(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path, served = case.make(tmp_path)
    places = {key: str(tmp_path / case.options[key]) for key in ("encoder", "document_encoder") if key in case.options}
    asked = Asked(path, {**case.options, **places}, held(path, case), case.similarity)
    tolerance = 1e-5 if case.options.get("dtype") is None else 0.02
    for face, look in {**SAVED, **LIVE}.items():
        seen = look(asked)
        for found, wanted in zip((seen.queries, seen.documents), served, strict=True):
            assert torch.allclose(_comparable(found, seen, wanted), wanted, atol=tolerance), face
        assert seen.similarity == case.similarity, face
        assert face in LIVE or not case.note or any(case.note in note for note in seen.notes), face


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
    assert load_checkpoint(path, encoder=str(again), pooling="mean").origin.encoder == str(path)


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
