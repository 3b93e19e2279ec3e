"""Whoever holds a model, the vectors are those that its own serving code gives."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from embviz_callback import evaluate_pairs, text_encoder
from embviz_callback.adapters import EmbvizEvaluator
from embviz_callback.adapters.encoders import Prompts, prompts_of, subject_of
from embviz_callback.evaluator import Evaluator, Moment
from embviz_callback.pairs.formats.reading import PairFile, records_from
from embviz_callback.settings import Settings
from tests.tiny_models import tiny_bert

pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

PAIRS = [{"query": f"tìm phòng quận {row}", "pos": f"phòng trọ quận {row} giá {row + 1} triệu"} for row in range(1, 9)]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    tiny_bert(folder)
    return folder


def plain(folder: Path, **options: Any) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", **options)


def two_towers(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer, models
    from sentence_transformers.models import Router

    queries, documents = (models.Transformer(str(folder)) for _ in range(2))
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in documents.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    router = Router.for_query_document([queries], [documents])
    return SentenceTransformer(modules=[router, models.Pooling(16)], device="cpu")


def with_dense(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer, models

    dense = models.Dense(16, 8, activation_function=torch.nn.Tanh())
    return SentenceTransformer(
        modules=[models.Transformer(str(folder)), models.Pooling(16, "cls"), dense], device="cpu"
    )


def asks_for_the_task(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer, models

    class Task(torch.nn.Module):
        forward_kwargs: ClassVar = {"task"}

        def forward(self, features: Any, task: str | None = None) -> Any:
            order = -1 if task == "query" else 1
            return features | {"sentence_embedding": features["sentence_embedding"].roll(order, dims=1)}

        def save(self, *arguments: Any, **options: Any) -> None:
            return

    return SentenceTransformer(modules=[models.Transformer(str(folder)), models.Pooling(16), Task()], device="cpu")


def of_a_class_of_its_own(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    class Asking(SentenceTransformer):
        def encode_query(self, sentences: Any, **options: Any) -> Any:
            return super().encode_query([f"tìm {one}" for one in sentences], **options)

    return Asking(str(folder), device="cpu")


MODELS: dict[str, Any] = {
    "mean pooling": plain,
    "prompts": lambda folder: plain(folder, prompts={"query": "tìm nhà ", "document": "phòng trọ "}),
    "default prompt": lambda folder: plain(folder, prompts={"given": "gần chợ "}, default_prompt_name="given"),
    "passage prompt": lambda folder: plain(folder, prompts={"query": "", "passage": "nhà nguyên căn "}),
    "truncated dimensions": lambda folder: plain(folder, truncate_dim=8),
    "two towers": two_towers,
    "dense with an activation": with_dense,
    "module that asks for the task": asks_for_the_task,
    "class of its own": of_a_class_of_its_own,
}


def encoded(model: Any, settings: Settings, **options: Any) -> tuple[Any, Any]:
    evaluator = Evaluator.on(PairFile(records_from(PAIRS), "pairs"), settings)
    embeddings = evaluator.encode(subject_of(model, settings, **options)).embeddings
    order = [evaluator.subset.queries.index(pair["query"]) for pair in PAIRS]
    own = dict(evaluator.subset.records.tolist())
    return embeddings.queries[order], embeddings.documents[[own[row] for row in order]]


def served(model: Any, **prompts: Any) -> tuple[Any, Any]:
    queries = model.encode_query([pair["query"] for pair in PAIRS], prompt=prompts.get("query"))
    documents = model.encode_document([pair["pos"] for pair in PAIRS], prompt=prompts.get("document"))
    return tuple(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, documents))  # type: ignore[return-value]


@pytest.mark.parametrize("name", MODELS)
def test_a_sentence_transformer_is_looked_at_as_it_is_served(name: str, encoder: Path) -> None:
    model = MODELS[name](encoder)
    for found, expected in zip(encoded(model, Settings()), served(model), strict=True):
        assert np.abs(found - expected).max() < TOLERANCE


@pytest.mark.parametrize("name", ["mean pooling", "prompts", "two towers"])
def test_a_prompt_of_the_users_goes_before_the_models_own_and_an_empty_one_is_none(name: str, encoder: Path) -> None:
    model = MODELS[name](encoder)
    settings = Settings(query_prompt="gác ", document_prompt="")
    for found, expected in zip(encoded(model, settings), served(model, query="gác ", document=""), strict=True):
        assert np.abs(found - expected).max() < TOLERANCE


def test_what_the_trainer_puts_before_texts_is_put_before_them_here(encoder: Path) -> None:
    model = MODELS["prompts"](encoder)
    trained_with = Prompts("máy lạnh ", "xe ")
    pair = encoded(model, Settings(), trained_with=trained_with)
    for found, expected in zip(pair, served(model, query="máy lạnh ", document="xe "), strict=True):
        assert np.abs(found - expected).max() < TOLERANCE
    stated = encoded(model, Settings(query_prompt="gác "), trained_with=trained_with)
    for found, expected in zip(stated, served(model, query="gác ", document="xe "), strict=True):
        assert np.abs(found - expected).max() < TOLERANCE


class Arguments:
    def __init__(self, prompts: Any) -> None:
        self.prompts = prompts


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("gác ", Prompts("gác ", "gác ")),
        ({"query": "q: ", "answer": "a: "}, Prompts("q: ", "a: ")),
        ({"anchor": "q: "}, Prompts("q: ", "")),
        ({"rental": {"question": "q: ", "positive": "d: "}}, Prompts("q: ", "d: ")),
        ({"one": {"query": "q: "}, "other": {"query": "p: "}}, None),
    ],
)
def test_the_trainers_prompts_are_read_by_column(given: Any, expected: Prompts | None) -> None:
    assert prompts_of(Arguments(given)) == expected


def test_the_report_names_the_prompts_of_the_model(encoder: Path) -> None:
    facts = subject_of(MODELS["prompts"](encoder), Settings(document_prompt="")).facts()
    assert facts["query_prompt"] == "tìm nhà "
    assert "document_prompt" not in facts


def test_equal_ways_are_one_so_that_a_text_of_both_sides_is_encoded_once(encoder: Path) -> None:
    assert subject_of(MODELS["mean pooling"](encoder), Settings()).is_one_way
    assert subject_of(MODELS["default prompt"](encoder), Settings()).is_one_way
    assert not subject_of(MODELS["prompts"](encoder), Settings()).is_one_way
    assert not subject_of(MODELS["two towers"](encoder), Settings()).is_one_way


@pytest.mark.parametrize(
    ("name", "peer"), [("dot", "dot_score"), ("euclidean", "euclidean_sim"), ("cosine", "cos_sim")]
)
def test_the_similarity_that_a_model_declares_ranks(name: str, peer: str, encoder: Path) -> None:
    from sentence_transformers import util

    model = plain(encoder, similarity_fn_name=name)
    evaluator = Evaluator.on(PairFile(records_from(PAIRS), "pairs"), Settings())
    snapshot = evaluator.look(subject_of(model, evaluator.settings), Moment())
    subset = evaluator.subset
    scores = getattr(util, peer)(model.encode_query(subset.queries), model.encode_document(subset.documents)).numpy()
    own = scores[tuple(subset.relevance.T)]
    assert snapshot.similarity.rank.tolist() == (1 + (scores > own[:, None]).sum(axis=1)).tolist()
    assert snapshot.similarity.best_positive == pytest.approx(own, abs=1e-4)
    assert snapshot.provenance.facts.get("similarity", "cosine") == name


@pytest.mark.parametrize("name", ["two towers", "prompts"])
def test_an_evaluator_gives_the_figures_of_the_serving_code(name: str, encoder: Path) -> None:
    model, own = MODELS[name](encoder), np.arange(len(PAIRS))
    found = EmbvizEvaluator(PAIRS, figures=False, alert=None, on_error="raise")(model)
    texts = [[pair[side] for pair in PAIRS] for side in ("query", "pos")]
    right = evaluate_pairs(model.encode_query(texts[0]), model.encode_document(texts[1]), own, draws=0)
    for figure in ("margin", "rank1", "mrr", "auc"):
        assert found[f"embviz_{figure}"] == pytest.approx(right[figure], abs=1e-5)
    # Without prompts and routes it is another model.
    other = evaluate_pairs(model.encode(texts[0], prompt=""), model.encode(texts[1], prompt=""), own, draws=0)
    assert abs(other.margin - right.margin) > 1e-3


def test_a_corpus_is_ranked_by_the_similarity_that_the_model_declares(encoder: Path) -> None:
    model = plain(encoder, similarity_fn_name="euclidean")
    others = [f"nhà nguyên căn {row} triệu" for row in range(12)]
    evaluator = Evaluator.on(PairFile(records_from(PAIRS), "pairs"), Settings(batch_size=5), corpus=others)
    snapshot = evaluator.look(subject_of(model, evaluator.settings), Moment())
    subset, similarity = evaluator.subset, snapshot.similarity
    pool = [snapshot.text(row) for row in range(len(subset.documents))] + others
    queries, documents = model.encode_query(subset.queries), model.encode_document(pool)
    scores = -np.linalg.norm(queries[:, None].astype(np.float64) - documents[None], axis=-1)
    own = scores[tuple(subset.relevance.T)][:, None]
    assert similarity.rank.tolist() == (1 + (scores > own + 1e-9).sum(axis=1)).tolist()
    assert similarity.top_scores[:, 0] == pytest.approx(scores.max(axis=1), abs=1e-4)


@pytest.mark.parametrize("face", ["as it is", "text_encoder"])
def test_the_report_says_how_many_texts_are_cut_off(face: str, encoder: Path) -> None:
    model, evaluator = plain(encoder), Evaluator.on(PairFile(records_from(PAIRS), "pairs"), Settings())
    model.max_seq_length = 6  # of 6 tokens every query, of 9 every document
    encode = None if face == "as it is" else text_encoder(model.tokenizer, max_length=6)
    assert evaluator.provenance(subject_of(model, Settings(), encode)).facts["truncated_share"] == 0.5
    model.max_seq_length = 64
    assert "truncated_share" not in evaluator.provenance(subject_of(model, Settings())).facts
