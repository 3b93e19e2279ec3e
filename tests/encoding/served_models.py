"""Tiny models in the layouts that people serve, made on the spot, each with what its own serving code gives."""

import copy
import inspect
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from embviz_callback.encoding.text_encoder import text_encoder
from tests.tiny_models import TEXTS, tiny_bert, tiny_tokenizer, tiny_xlm_roberta

QUERIES = list(TEXTS)
DOCUMENTS = ["Cho thuê phòng trọ quận 10 giá 3 triệu", "nhà nguyên căn gò vấp " * 12, "room for rent near market 5"]
Vectors = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """One model as somebody saved it.

    Attributes:
        layout: What it is, for the table.
        served: By what it is served, for the table.
        make: Saves it under a folder; gives its path and, from the serving code, the vectors of queries and documents.
        options: What a user has to say.
        similarity: That it declares.
        note: A note that must be among those of the loader, or "".
    """

    layout: str
    served: str
    make: Callable[[Path], tuple[Path, Vectors]]
    options: Mapping[str, Any] = field(default_factory=dict)
    similarity: str = "cosine"
    note: str = ""


@dataclass(frozen=True, eq=False)
class Held:
    """The same model as a training holds it.

    Attributes:
        model: The module.
        encode: What a user gives beside it; None where the module has what it takes.
    """

    model: Any
    encode: Any = None


CASES: dict[str, Case] = {}
_HELD: dict[Path, Held] = {}


def held(path: Path, case: Case) -> Held:
    """The model that was just saved there."""
    if path in _HELD:
        return _HELD.pop(path)
    from sentence_transformers import SentenceTransformer

    return Held(SentenceTransformer(str(path), device="cpu", truncate_dim=_truncated(path)))


def _truncated(path: Path) -> int | None:
    place = path / "config_sentence_transformers.json"
    return json.loads(place.read_text()).get("truncate_dim") if place.is_file() else None


def _case(
    layout: str, served: str, *, similarity: str = "cosine", note: str = "", **options: Any
) -> Callable[[Callable[[Path], tuple[Path, Vectors]]], Callable[[Path], tuple[Path, Vectors]]]:
    def add(make: Callable[[Path], tuple[Path, Vectors]]) -> Callable[[Path], tuple[Path, Vectors]]:
        CASES[make.__name__.removeprefix("_")] = Case(layout, served, make, options, similarity, note)
        return make

    return add


def _seeded(make: Callable[[], Any], seed: int = 7) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _saved(model: Any, folder: Path, **tokenizer: Any) -> Path:
    model.eval().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | tokenizer
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def decoder(kind: str, folder: Path, **settings: Any) -> Path:
    """A folder of a language model that pads on the left."""
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=59,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        pad_token_id=0,
        **settings,
    )
    return _saved(_seeded(lambda: getattr(transformers, f"{kind}Model")(config)), folder, padding_side="left")


def _t5(kind: str, folder: Path) -> Path:
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=59, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, pad_token_id=0, decoder_start_token_id=0
    )
    return _saved(_seeded(lambda: getattr(transformers, f"{kind}EncoderModel")(config)), folder)


def _distilbert(folder: Path) -> Path:
    config = transformers.DistilBertConfig(vocab_size=59, dim=16, n_layers=2, n_heads=2, hidden_dim=32, pad_token_id=0)
    model = _seeded(lambda: transformers.DistilBertModel(config))
    # A tokenizer of BERT brings token types, which DistilBERT does not take.
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return _saved(model, folder, model_input_names=names)


# sentence-transformers


def _st(folder: Path, modules: Callable[[Any], list[Any]], **settings: Any) -> tuple[Path, Vectors]:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as kinds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SentenceTransformer(modules=modules(kinds), device="cpu", **settings)
        model.save_pretrained(str(folder))
        return folder, _of_st(folder)


def _of_st(folder: Path, **options: Any) -> Vectors:
    """What sentence-transformers gives for a folder that is read again."""
    from sentence_transformers import SentenceTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SentenceTransformer(str(folder), device="cpu", **options)
        encoded = model.encode_query(QUERIES), model.encode_document(DOCUMENTS)
    return torch.from_numpy(encoded[0]).float(), torch.from_numpy(encoded[1]).float()


def _transformer(kinds: Any, folder: Path, length: int = 32, **options: Any) -> Any:
    return kinds.Transformer(str(folder), max_seq_length=length, **options)


def _pooled(pooling: Any) -> Callable[[Path], tuple[Path, Vectors]]:
    def make(folder: Path) -> tuple[Path, Vectors]:
        bert = tiny_bert(folder / "bert")
        return _st(
            folder / "st",
            lambda kinds: [_transformer(kinds, bert), kinds.Pooling(16, pooling_mode=pooling), kinds.Normalize()],
        )

    make.__name__ = f"st_{pooling if isinstance(pooling, str) else '_and_'.join(pooling)}"
    return make


for _mode in ("mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"):
    _case(f"Transformer, Pooling ({_mode}), Normalize", "sentence-transformers")(_pooled(_mode))
_case("Transformer, Pooling (cls and mean, joined)", "sentence-transformers")(_pooled(("cls", "mean")))


@_case("no Normalize, dot product declared", "sentence-transformers", similarity="dot")
def _st_dot(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    return _st(folder / "st", lambda kinds: [_transformer(kinds, bert), kinds.Pooling(16)], similarity_fn_name="dot")


@_case("Euclidean distance declared", "sentence-transformers", similarity="euclidean")
def _st_euclidean(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    return _st(
        folder / "st", lambda kinds: [_transformer(kinds, bert), kinds.Pooling(16)], similarity_fn_name="euclidean"
    )


@_case("Dense (Tanh, bias), LayerNorm, Dense (Identity)", "sentence-transformers")
def _st_dense(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")

    def modules(kinds: Any) -> list[Any]:
        dense = kinds.Dense(16, 12, activation_function=nn.Tanh())
        last = kinds.Dense(12, 8, bias=False, activation_function=nn.Identity())
        return [_transformer(kinds, bert), kinds.Pooling(16), dense, kinds.LayerNorm(12), last, kinds.Normalize()]

    return _seeded(lambda: _st(folder / "st", modules))  # type: ignore[no-any-return]


@_case("Dense (GELU)", "sentence-transformers")
def _st_gelu(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")

    def modules(kinds: Any) -> list[Any]:
        return [_transformer(kinds, bert), kinds.Pooling(16), kinds.Dense(16, 8, activation_function=nn.GELU())]

    return _seeded(lambda: _st(folder / "st", modules))  # type: ignore[no-any-return]


@_case("Dense with a residual, of one size and to another", "sentence-transformers")
def _st_residual(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")

    def modules(kinds: Any) -> list[Any]:
        if "use_residual" not in inspect.signature(kinds.Dense).parameters:
            pytest.skip("this sentence-transformers has no Dense with a residual")
        wide, narrow = (kinds.Dense(16, dim, use_residual=True) for dim in (16, 8))
        return [_transformer(kinds, bert), kinds.Pooling(16), wide, narrow]

    return _seeded(lambda: _st(folder / "st", modules))  # type: ignore[no-any-return]


@_case("Manhattan distance declared", "sentence-transformers", similarity="manhattan")
def _st_manhattan(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    return _st(
        folder / "st", lambda kinds: [_transformer(kinds, bert), kinds.Pooling(16)], similarity_fn_name="manhattan"
    )


@_case("prompts query and document", "sentence-transformers")
def _st_prompts(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    return _st(
        folder / "st",
        lambda kinds: [_transformer(kinds, bert), kinds.Pooling(16), kinds.Normalize()],
        prompts={"query": "tìm phòng: ", "document": "cho thuê: "},
    )


@_case("prompts query and passage, another default", "sentence-transformers")
def _st_default_prompt(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    return _st(
        folder / "st",
        lambda kinds: [_transformer(kinds, bert), kinds.Pooling(16), kinds.Normalize()],
        prompts={"search": "tìm: ", "passage": "nhà: "},
        default_prompt_name="search",
    )


@_case("prompt left out of pooling (include_prompt false)", "sentence-transformers")
def _st_without_prompt(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    return _st(
        folder / "st",
        lambda kinds: [_transformer(kinds, bert), kinds.Pooling(16, include_prompt=False), kinds.Normalize()],
        prompts={"query": "tìm phòng trọ ", "document": "nhà "},
    )


@_case("truncated dimensions (Matryoshka, truncate_dim)", "sentence-transformers")
def _st_matryoshka(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    path, _ = _st(folder / "st", lambda kinds: [_transformer(kinds, bert), kinds.Pooling(16), kinds.Normalize()])
    place = path / "config_sentence_transformers.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"truncate_dim": 6}))
    return path, _of_st(path, truncate_dim=6)


@_case("do_lower_case", "sentence-transformers")
def _st_lower(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    settings = json.loads((bert / "tokenizer.json").read_text()) | {"normalizer": None}
    (bert / "tokenizer.json").write_text(json.dumps(settings))
    return _st(folder / "st", lambda kinds: [_transformer(kinds, bert, do_lower_case=True), kinds.Pooling(16)])


@_case("texts longer than max_seq_length", "sentence-transformers")
def _st_short(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    return _st(folder / "st", lambda kinds: [_transformer(kinds, bert, 6), kinds.Pooling(16), kinds.Normalize()])


@_case("Router, two towers (encode_query, encode_document)", "sentence-transformers", note="two towers")
def _st_router(folder: Path) -> tuple[Path, Vectors]:
    one, two = tiny_bert(folder / "one"), tiny_bert(folder / "two", seed=5)

    def modules(kinds: Any) -> list[Any]:
        from sentence_transformers.models import Router

        router = Router.for_query_document(
            query_modules=[_transformer(kinds, one), kinds.Pooling(16)],
            document_modules=[_transformer(kinds, two), kinds.Pooling(16, pooling_mode="cls")],
        )
        return [router, kinds.Normalize()]

    return _st(folder / "st", modules)


@_case("Router, static queries, transformer for documents", "sentence-transformers", note="two towers")
def _st_router_static(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")

    def modules(kinds: Any) -> list[Any]:
        from sentence_transformers.models import Router

        table = torch.randn(59, 16, generator=torch.Generator().manual_seed(0)).numpy()
        router = Router.for_query_document(
            query_modules=[kinds.StaticEmbedding(tiny_tokenizer(), embedding_weights=table)],
            document_modules=[_transformer(kinds, bert), kinds.Pooling(16)],
        )
        return [router, kinds.Normalize()]

    return _st(folder / "st", modules)


@_case("StaticEmbedding", "sentence-transformers")
def _st_static(folder: Path) -> tuple[Path, Vectors]:
    table = torch.randn(59, 12, generator=torch.Generator().manual_seed(0)).numpy()
    return _st(folder / "st", lambda kinds: [kinds.StaticEmbedding(tiny_tokenizer(), embedding_weights=table)])


@_case("DistilBERT with token types (distiluse)", "sentence-transformers")
def _st_distilbert(folder: Path) -> tuple[Path, Vectors]:
    bert = _distilbert(folder / "distilbert")

    def modules(kinds: Any) -> list[Any]:
        return [_transformer(kinds, bert), kinds.Pooling(16), kinds.Dense(16, 8, activation_function=nn.Tanh())]

    return _seeded(lambda: _st(folder / "st", modules))  # type: ignore[no-any-return]


@_case("T5, its encoder (sentence-t5, gtr)", "sentence-transformers")
def _st_t5(folder: Path) -> tuple[Path, Vectors]:
    t5 = _t5("T5", folder / "t5")
    return _st(folder / "st", lambda kinds: [_transformer(kinds, t5), kinds.Pooling(16), kinds.Normalize()])


@_case("mT5, its encoder", "sentence-transformers")
def _st_mt5(folder: Path) -> tuple[Path, Vectors]:
    t5 = _t5("MT5", folder / "t5")
    return _st(folder / "st", lambda kinds: [_transformer(kinds, t5), kinds.Pooling(16), kinds.Normalize()])


@_case("Qwen3, last token, left padding, instruction", "sentence-transformers")
def _st_qwen(folder: Path) -> tuple[Path, Vectors]:
    qwen = decoder("Qwen3", folder / "qwen", head_dim=8)
    return _st(
        folder / "st",
        lambda kinds: [
            _transformer(kinds, qwen),
            kinds.Pooling(16, pooling_mode="lasttoken"),
            kinds.Normalize(),
        ],
        prompts={"query": "tìm phòng trọ: ", "document": ""},
    )


@_case("layout of release 2 (flags, sentence_bert_config.json, pytorch_model.bin)", "sentence-transformers")
def _st_old(folder: Path) -> tuple[Path, Vectors]:
    path = shutil.copytree(tiny_xlm_roberta(folder / "xlmr"), folder / "st")
    kinds = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize"))
    listed = [
        {"idx": row, "name": str(row), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for row, (kind, place) in enumerate(kinds)
    ]
    for _, place in kinds[1:]:
        (path / place).mkdir()
    flags = {f"pooling_mode_{name}": name == "cls_token" for name in ("cls_token", "mean_tokens", "max_tokens")}
    (path / "modules.json").write_text(json.dumps(listed))
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **flags}))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24, "do_lower_case": False}))
    dense = {
        "in_features": 16,
        "out_features": 8,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    (path / "2_Dense" / "config.json").write_text(json.dumps(dense))
    linear = _seeded(lambda: nn.Linear(16, 8))
    torch.save(
        {f"linear.{name}": part for name, part in linear.state_dict().items()}, path / "2_Dense" / "pytorch_model.bin"
    )
    return path, _of_st(path)


# peft


def lora(base: Path, **settings: Any) -> Any:
    """A transformer with random low-rank adapters."""
    import peft

    def make() -> Any:
        given = {"r": 4, "lora_alpha": 8, "target_modules": ["query", "value"], "init_lora_weights": False}
        model = peft.get_peft_model(transformers.AutoModel.from_pretrained(base), peft.LoraConfig(**given | settings))
        return model.eval()

    return _seeded(make)


def _merged(adapted: Any, base: Path, folder: Path) -> Vectors:
    """What `merge_and_unload` gives, pooled by the mean."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    _HELD[folder / "adapter"] = _HELD[folder / "last.ckpt"] = _hold(copy.deepcopy(adapted), tokenizer, "mean")
    whole = adapted.merge_and_unload()
    return _by_hand(whole, tokenizer, "mean"), _by_hand(whole, tokenizer, "mean", DOCUMENTS)


def _hold(model: Any, tokenizer: Any, pooling: str) -> Held:
    return Held(model, text_encoder(tokenizer, pooling=pooling, max_length=64))


def _by_hand(model: Any, tokenizer: Any, pooling: str, texts: list[str] | None = None, length: int = 64) -> Tensor:
    """The model card's ten lines."""
    batch = tokenizer(texts or QUERIES, padding=True, truncation=True, max_length=length, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**batch)
    if pooling == "pooler":
        return nn.functional.normalize(outputs.pooler_output, dim=-1)
    hidden, mask = outputs.last_hidden_state, batch["attention_mask"].unsqueeze(-1)
    if pooling == "cls":
        return nn.functional.normalize(hidden[:, 0], dim=-1)
    if pooling == "last":
        return nn.functional.normalize(hidden[:, -1], dim=-1)
    return nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


@_case("adapter folder", "peft, merge_and_unload", pooling="mean", note="a LoRA adapter")
def _peft_adapter(folder: Path) -> tuple[Path, Vectors]:
    base = tiny_bert(folder / "bert")
    adapted = lora(base)
    adapted.save_pretrained(folder / "adapter")
    return folder / "adapter", _merged(adapted, base, folder)


@_case("adapter folder, rsLoRA, alpha patterns, embeddings and biases", "peft, merge_and_unload", pooling="mean")
def _peft_patterns(folder: Path) -> tuple[Path, Vectors]:
    base = tiny_bert(folder / "bert")
    adapted = lora(
        base,
        use_rslora=True,
        bias="lora_only",
        target_modules=["query", "dense", "word_embeddings"],
        alpha_pattern={"layer.1.attention.self.query": 32},
        rank_pattern={"word_embeddings": 2},
    )
    adapted.save_pretrained(folder / "adapter")
    return folder / "adapter", _merged(adapted, base, folder)


@_case("adapter folder, DoRA, embeddings too", "peft, merge_and_unload", pooling="mean")
def _peft_dora(folder: Path) -> tuple[Path, Vectors]:
    base = tiny_bert(folder / "bert")
    adapted = lora(base, use_dora=True, target_modules=["query", "dense", "word_embeddings"])
    with torch.no_grad():
        for name, part in adapted.named_parameters():
            if "magnitude" in name:  # as after a training
                part.mul_(torch.linspace(0.5, 1.5, part.numel()).reshape(part.shape))
    adapted.save_pretrained(folder / "adapter")
    return folder / "adapter", _merged(adapted, base, folder)


@_case("adapter folder of a decoder, last token", "peft, merge_and_unload", pooling="lasttoken")
def _peft_decoder(folder: Path) -> tuple[Path, Vectors]:
    base = decoder("Llama", folder / "llama")
    adapted = lora(base, target_modules=["q_proj", "v_proj"])
    adapted.save_pretrained(folder / "adapter")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    _HELD[folder / "adapter"] = _hold(copy.deepcopy(adapted), tokenizer, "lasttoken")
    whole = adapted.merge_and_unload()
    return folder / "adapter", (_by_hand(whole, tokenizer, "last"), _by_hand(whole, tokenizer, "last", DOCUMENTS))


@_case("sentence-transformers with an adapter", "sentence-transformers and peft", note="a LoRA adapter")
def _st_peft(folder: Path) -> tuple[Path, Vectors]:
    import peft

    bert = tiny_bert(folder / "bert")

    def modules(kinds: Any) -> list[Any]:
        transformer = _transformer(kinds, bert)
        config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], init_lora_weights=False)
        transformer.auto_model.add_adapter(config)
        return [transformer, kinds.Pooling(16, pooling_mode="cls"), kinds.Normalize()]

    return _seeded(lambda: _st(folder / "st", modules))  # type: ignore[no-any-return]


@_case(
    "state dict with LoRA layers in a Lightning checkpoint", "peft, merge_and_unload", encoder="bert", pooling="mean"
)
def _peft_ckpt(folder: Path) -> tuple[Path, Vectors]:
    base = tiny_bert(folder / "bert")
    adapted = lora(base)
    state = {f"model.{name}": part.clone() for name, part in adapted.state_dict().items()}
    content = {"state_dict": state, "hyper_parameters": {"lora_alpha": 8}, "pytorch-lightning_version": "2.6.6"}
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt", _merged(adapted, base, folder)


# transformers, as the model cards say


def _bare(pooling: str, folder: Path, base: Path) -> tuple[Path, Vectors]:
    model, tokenizer = transformers.AutoModel.from_pretrained(base), transformers.AutoTokenizer.from_pretrained(base)
    vectors = _by_hand(model.eval(), tokenizer, pooling), _by_hand(model, tokenizer, pooling, DOCUMENTS)
    _HELD[base] = _hold(model, tokenizer, "lasttoken" if pooling == "last" else pooling)
    return base, vectors


@_case("plain folder (FlagEmbedding: BGE), --pooling cls", "transformers", pooling="cls")
def _bge(folder: Path) -> tuple[Path, Vectors]:
    return _bare("cls", folder, tiny_xlm_roberta(folder / "bge"))


@_case(
    "plain folder (FlagEmbedding: BGE-M3 with sparse and multi-vector heads)",
    "transformers",
    pooling="cls",
    note="not evaluated",
)
def _bge_m3(folder: Path) -> tuple[Path, Vectors]:
    base = tiny_xlm_roberta(folder / "bge")
    torch.save({"weight": torch.ones(1, 16)}, base / "sparse_linear.pt")
    torch.save({"weight": torch.ones(16, 16)}, base / "colbert_linear.pt")
    return _bare("cls", folder, base)


@_case("plain folder, nothing said: mean", "transformers", note="the mean of all tokens (--pooling)")
def _e5(folder: Path) -> tuple[Path, Vectors]:
    return _bare("mean", folder, tiny_bert(folder / "e5"))


@_case("plain folder of a decoder (tevatron: e5-mistral), --pooling lasttoken", "transformers", pooling="lasttoken")
def _mistral(folder: Path) -> tuple[Path, Vectors]:
    return _bare("last", folder, decoder("Mistral", folder / "mistral"))


@_case("plain folder, SimCSE's pooler, --pooling pooler", "transformers", pooling="pooler")
def _simcse(folder: Path) -> tuple[Path, Vectors]:
    return _bare("pooler", folder, tiny_bert(folder / "simcse"))


@_case("DPR question encoder", "transformers", similarity="dot")
def _dpr_question(folder: Path) -> tuple[Path, Vectors]:
    return _dpr("DPRQuestionEncoder", folder)


@_case("DPR context encoder", "transformers", similarity="dot")
def _dpr_context(folder: Path) -> tuple[Path, Vectors]:
    return _dpr("DPRContextEncoder", folder)


def _dpr(kind: str, folder: Path, seed: int = 7) -> tuple[Path, Vectors]:
    config = transformers.DPRConfig(
        vocab_size=59,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        projection_dim=8,
    )
    model = _seeded(lambda: getattr(transformers, kind)(config), seed)
    path, tokenizer = _saved(model, folder / "dpr"), tiny_tokenizer()
    _HELD[path] = _hold(model, tokenizer, "pooler")
    return path, (_pooler(model, tokenizer, QUERIES), _pooler(model, tokenizer, DOCUMENTS))


def _pooler(model: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    batch = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).pooler_output  # type: ignore[no-any-return]


@_case("DPR, both encoders", "transformers", similarity="dot", document_encoder="context")
def _dpr_pair(folder: Path) -> tuple[Path, Vectors]:
    path, (queries, _) = _dpr("DPRQuestionEncoder", folder)
    made, (_, documents) = _dpr("DPRContextEncoder", folder / "other", seed=3)
    made.rename(folder / "context")
    one, two = _HELD[path], _HELD.pop(made)
    towers = nn.ModuleList([one.model, two.model])
    sides = (lambda both, texts: one.encode[0](both[0], texts), lambda both, texts: two.encode[1](both[1], texts))
    _HELD[path] = Held(towers, sides)
    return path, (queries, documents)


@_case("weights in bfloat16, --dtype auto", "transformers", pooling="mean", dtype="auto")
def _half(folder: Path) -> tuple[Path, Vectors]:
    base = tiny_bert(folder / "bert")
    model = transformers.AutoModel.from_pretrained(base).to(torch.bfloat16).eval()
    path, tokenizer = _saved(model, folder / "half"), tiny_tokenizer()
    _HELD[path] = _hold(model, tokenizer, "mean")
    return path, (
        _by_hand(model, tokenizer, "mean").float(),
        _by_hand(model, tokenizer, "mean", DOCUMENTS).float(),
    )


# Checkpoints of foreign modules


class _Foreign(nn.Module):
    """A training module of somebody else's, with names of their own."""

    def __init__(self, base: Path, *, pooling: str = "mean", head: nn.Module | None = None, length: int = 64) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"text": transformers.AutoModel.from_pretrained(base)})
        self.projection = head or nn.Identity()
        self.pooling, self.length = pooling, length

    def vectors(self, texts: list[str]) -> Tensor:
        batch = tiny_tokenizer()(texts, padding=True, truncation=True, max_length=self.length, return_tensors="pt")
        with torch.no_grad():
            outputs = self.backbone["text"](**batch)
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (outputs.last_hidden_state * mask).sum(1) / mask.sum(1)
            pooled = {"mean": mean, "cls": outputs.last_hidden_state[:, 0], "pooler": outputs.pooler_output}
            return nn.functional.normalize(self.projection(pooled[self.pooling]), dim=-1)


def _foreign(folder: Path, content: Callable[[dict[str, Tensor]], Any], **options: Any) -> tuple[Path, Vectors]:
    module = _seeded(lambda: _Foreign(tiny_bert(folder / "bert"), **options)).eval()
    torch.save(content(module.state_dict()), folder / "model.ckpt")
    _HELD[folder / "model.ckpt"] = Held(module, _Foreign.vectors)
    return folder / "model.ckpt", (module.vectors(QUERIES), module.vectors(DOCUMENTS))


@_case("Lightning checkpoint of a foreign module, head projection", "its own module", encoder="bert", pooling="mean")
def _lightning(folder: Path) -> tuple[Path, Vectors]:
    more = {"pytorch-lightning_version": "2.6.6", "hyper_parameters": {"lr": 0.1}, "optimizer_states": [{}]}
    return _foreign(folder, lambda state: {"state_dict": state, **more}, head=nn.Linear(16, 8))


@_case("the same under DDP and torch.compile, cls", "its own module", encoder="bert", pooling="cls")
def _compiled(folder: Path) -> tuple[Path, Vectors]:
    def content(state: dict[str, Tensor]) -> Any:
        return {f"module._orig_mod.{name}": part for name, part in state.items()}

    return _foreign(folder, content, pooling="cls")


@_case("SimCSE checkpoint, --pooling pooler", "its own module", encoder="bert", pooling="pooler")
def _simcse_ckpt(folder: Path) -> tuple[Path, Vectors]:
    return _foreign(folder, lambda state: {"state_dict": state}, pooling="pooler")


@_case(
    "Lightning checkpoint around a SentenceTransformer with Dense, --head-activation Tanh",
    "sentence-transformers in a module of one's own",
    encoder="bert",
    pooling="mean",
    head_activation="Tanh",
)
def _dense_ckpt(folder: Path) -> tuple[Path, Vectors]:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as kinds

    bert = tiny_bert(folder / "bert")
    chain = _seeded(lambda: [_transformer(kinds, bert, 64), kinds.Pooling(16), kinds.Dense(16, 12), kinds.Dense(12, 8)])
    model = SentenceTransformer(modules=[*chain, kinds.Normalize()], device="cpu")
    torch.save(
        {"state_dict": {f"model.{name}": part for name, part in model.state_dict().items()}}, folder / "model.ckpt"
    )
    _HELD[folder / "model.ckpt"] = Held(model)
    encoded = model.encode_query(QUERIES), model.encode_document(DOCUMENTS)
    return folder / "model.ckpt", (torch.from_numpy(encoded[0]), torch.from_numpy(encoded[1]))


@_case("averaged weights (AveragedModel)", "its own module", encoder="bert", pooling="mean")
def _averaged(folder: Path) -> tuple[Path, Vectors]:
    def content(state: dict[str, Tensor]) -> Any:
        return {"n_averaged": torch.tensor(3), **{f"module.{name}": part for name, part in state.items()}}

    return _foreign(folder, content, head=nn.Linear(16, 8, bias=False))


@_case("MLP head, --head-activation ReLU", "its own module", encoder="bert", pooling="mean", head_activation="ReLU")
def _mlp(folder: Path) -> tuple[Path, Vectors]:
    head = _seeded(lambda: nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8)))
    return _foreign(folder, lambda state: {"model_state_dict": state}, head=head)


@_case("head alone, for a folder of sentence-transformers that pools by cls", "its own module", encoder="st")
def _head_alone(folder: Path) -> tuple[Path, Vectors]:
    bert = tiny_bert(folder / "bert")
    _st(folder / "st", lambda kinds: [_transformer(kinds, bert, 20), kinds.Pooling(16, pooling_mode="cls")])
    head = nn.Linear(16, 8, bias=False)
    module = _seeded(lambda: _Foreign(bert, pooling="cls", head=head, length=20)).eval()
    torch.save({"head.linear.weight": module.projection.weight.detach().clone()}, folder / "head.pt")
    _HELD[folder / "head.pt"] = Held(module, _Foreign.vectors)
    return folder / "head.pt", (module.vectors(QUERIES), module.vectors(DOCUMENTS))


@_case(
    "two towers (DPR-style module with two encoders)",
    "its own module",
    encoder="bert",
    pooling="cls",
    note="two towers",
)
def _towers(folder: Path) -> tuple[Path, Vectors]:
    one = _Foreign(tiny_bert(folder / "bert"), pooling="cls").eval()
    two = _Foreign(tiny_bert(folder / "other", seed=9), pooling="cls").eval()
    state = {f"query_model.{name}": part for name, part in one.state_dict().items()}
    state |= {f"passage_model.{name}": part for name, part in two.state_dict().items()}
    torch.save({"state_dict": state}, folder / "towers.ckpt")
    towers = nn.ModuleList([one, two])
    sides = (lambda both, texts: both[0].vectors(texts), lambda both, texts: both[1].vectors(texts))
    _HELD[folder / "towers.ckpt"] = Held(towers, sides)
    return folder / "towers.ckpt", (one.vectors(QUERIES), two.vectors(DOCUMENTS))
