"""Tiny real encoders and checkpoints, made on the spot without a download."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from embviz_callback.encoding.models.biencoder import BiEncoder, ProjectionHead, load_backbone
from embviz_callback.encoding.subject import Encode, Side, Subject

WORDS = (
    "tìm phòng trọ nhà nguyên căn quận gò vấp bình thạnh thủ đức giá rẻ triệu tr m2 có máy lạnh wc riêng ban công "
    "gác xe thang gần chợ đại học bách khoa 1 2 3 4 5 6 7 8 9 10 20 25 30 for rent room house near market price"
)
TEXTS = ("tìm phòng trọ quận 10", "nhà nguyên căn gò vấp có gác", "room for rent", "wc riêng")


def tiny_tokenizer(words: str = WORDS) -> PreTrainedTokenizerFast:
    """A word-level tokenizer with BERT's special tokens."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(words.split())]
    tokenizer = Tokenizer(models.WordLevel({name: row for row, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=64,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def tiny_bert(folder: Path, *, dim: int = 16, seed: int = 0, **save: Any) -> Path:
    """A directory as transformers saves it: one-layer BERT, random weights, tokenizer."""
    return _saved(BertModel, BertConfig, folder, dim, seed, {}, save)


def tiny_xlm_roberta(folder: Path, *, dim: int = 16, seed: int = 0, **save: Any) -> Path:
    """The same with the architecture of BGE-M3."""
    return _saved(XLMRobertaModel, XLMRobertaConfig, folder, dim, seed, {"pad_token_id": 0}, save)


def _saved(
    model: Any, config: Any, folder: Path, dim: int, seed: int, extra: Mapping[str, Any], save: Mapping[str, Any]
) -> Path:
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = model(
            config(
                vocab_size=len(tokenizer),
                hidden_size=dim,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=2 * dim,
                max_position_embeddings=80,
                **extra,
            )
        )
    encoder.save_pretrained(folder, **save)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_model(folder: Path, *, dim_out: int = 8, seed: int = 1, layer_norm: Any = False) -> BiEncoder:
    """A bi-encoder over a directory of the above, with a random head."""
    backbone = load_backbone(str(folder))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = ProjectionHead(backbone.dim, dim_out, layer_norm=layer_norm)
        if head.ln is not None:
            nn.init.normal_(head.ln.weight)
    return BiEncoder(backbone, head, max_length=32).eval()


def one_way(
    encode: Encode, *, query_prompt: str = "", document_prompt: str = "", module: nn.Module | None = None
) -> Subject:
    """A model of which only its function is known, the same for both sides."""
    return Subject(module or nn.Identity(), Side(encode, query_prompt), Side(encode, document_prompt))


def weights_of(model: BiEncoder, *, parts: Iterable[str] = ("encoder", "head"), prefix: str = "") -> dict[str, Tensor]:
    """The state dict, as the training programs of section 5 name it."""
    modules: dict[str, Any] = {"encoder": model.encoder, "head": model.head}
    return {
        f"{prefix}{part}.{name}": tensor.clone()
        for part in parts
        for name, tensor in modules[part].state_dict().items()
    }


def vectors(model: BiEncoder) -> Tensor:
    """Embeddings of TEXTS."""
    with torch.no_grad():
        return model.encode(list(TEXTS))
