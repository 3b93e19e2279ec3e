"""What a user says of a model's encoders, similarity and precision reaches the numbers and what is said of them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embviz_callback import evaluate, evaluate_pairs
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.looking import look_at
from embviz_callback.commands.request import Request
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.results.result_files import embeddings_npz
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot
from tests.encoding.served_models import CASES
from tests.tiny_models import tiny_bert

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
PAIRS = [
    {"query": f"tìm phòng trọ quận {row}", "pos": "phòng trọ " * row + f"quận {row} giá {row} triệu"}
    for row in range(1, 8)
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serving")
    (folder / "val.json").write_text(json.dumps(PAIRS, ensure_ascii=False))
    CASES["dpr_pair"].make(folder)  # dpr/ and context/
    tiny_bert(folder / "bert")
    CASES["st_dot"].make(folder / "dot")
    return folder


def look(
    place: Path, name: str, *, similarity: str | None = None, data: bool = True, **said: Any
) -> tuple[Snapshot, str]:
    stream = io.StringIO()
    request = Request(
        (str(place / name),),
        str(place / "val.json") if data else None,
        Settings(bootstrap_draws=100, similarity=similarity),
        serving={"cache": False, **said},
        device="cpu",
    )
    return next(look_at(request, Terminal(stream))).snapshot, stream.getvalue()


def test_dpr_is_judged_by_both_of_its_encoders_and_by_products(place: Path) -> None:
    context = str(place / "context")
    pair, said = look(place, "dpr", document_encoder=context)
    half, warned = look(place, "dpr")
    sentence = "name that of documents by --document-encoder"
    assert sentence in warned
    assert sentence not in said
    assert pair.embeddings.queries == pytest.approx(half.embeddings.queries, abs=1e-5)
    assert np.abs(pair.embeddings.documents - half.embeddings.documents).max() > 0.1
    facts = pair.provenance.facts
    assert (facts["document_encoder"], facts["similarity"], pair.similarity.measure) == (context, "dot", "dot")
    assert len(facts["document_encoder_sha256"]) == 64


def test_two_encoders_of_different_models_are_no_pair(place: Path) -> None:
    with pytest.raises(UsageError) as error:
        look(place, "bert", document_encoder=str(place / "context"), similarity="dot")
    dims = f"{place / 'bert'} makes vectors of 16 numbers, {place / 'context'} of 8"
    assert str(error.value) == f"{dims}: they are not two encoders of one model"


def test_a_similarity_of_the_users_wins_and_both_are_named(place: Path) -> None:
    own, _ = look(place, "dot/st")
    other, _ = look(place, "dot/st", similarity="euclidean")
    assert (own.similarity.measure, other.similarity.measure) == ("dot", "euclidean")
    assert other.similarity.best_positive.max() <= 0
    facts = other.provenance.facts
    assert (facts["similarity"], facts["declared_similarity"]) == ("euclidean", "dot")
    assert "declared_similarity" not in own.provenance.facts


def test_a_plain_folder_is_compared_by_products_of_what_its_encoder_gives(place: Path) -> None:
    found, _ = look(place, "bert", similarity="dot", pooling="mean")
    assert found.embeddings.as_served.documents.std() != pytest.approx(found.embeddings.documents.std(), rel=0.1)


def test_a_notebook_is_told_of_both_in_the_same_words(place: Path) -> None:
    context = str(place / "context")
    told, _ = look(place, "dpr", similarity="euclidean", document_encoder=context)
    options: dict[str, Any] = {"similarity": "euclidean", "document_encoder": context, "bootstrap_draws": 100}
    found = evaluate(place / "dpr", place / "val.json", device="cpu", cache=False, **options)
    assert found.metrics.as_dict() == told.metrics.as_dict()


def test_truncated_dimensions_are_those_that_are_judged(place: Path) -> None:
    from sentence_transformers import SentenceTransformer

    path, _ = CASES["st_matryoshka"].make(place / "matryoshka")
    found, _ = look(place, "matryoshka/st")
    right, whole = (
        evaluate_pairs(
            model.encode_query([pair["query"] for pair in PAIRS]),
            model.encode_document([pair["pos"] for pair in PAIRS]),
            np.arange(len(PAIRS)),
            draws=0,
        ).margin
        for model in (SentenceTransformer(str(path), device="cpu", truncate_dim=dim) for dim in (6, 16))
    )
    assert found.metrics.margin == pytest.approx(right, abs=1e-5)
    assert abs(whole - right) > 1e-3


def test_saved_vectors_are_ranked_as_asked(place: Path) -> None:
    made, _ = look(place, "dot/st")
    (place / "embeddings.npz").write_bytes(embeddings_npz(made))
    same, _ = look(place, "embeddings.npz", data=False)
    assert same.metrics.as_dict() == made.metrics.as_dict()
    other, _ = look(place, "embeddings.npz", data=False, similarity="manhattan")
    assert other.similarity.measure == "manhattan"


@pytest.mark.parametrize(("said", "precision"), [({}, "float32"), ({"dtype": "bfloat16"}, "bfloat16")])
def test_the_precision_that_is_named_is_that_of_the_weights(place: Path, said: dict[str, str], precision: str) -> None:
    assert look(place, "bert", pooling="mean", **said)[0].provenance.facts["precision"] == precision
