"""A corpus from the callback, from the command line and from the evaluator, with real files."""

import gzip
import json
import logging
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from embviz_callback import EmbeddingVisualizer, evaluate_pairs
from embviz_callback.analysis.scan import Scan
from embviz_callback.cli import main
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.encoding import encode as encode_room
from embviz_callback.encoding.isolation import observe
from embviz_callback.snapshot import load_snapshot
from tests.commands.test_cli import _pairs, _save_head
from tests.test_training_unchanged import digest
from tests.tiny_models import tiny_bert
from tests.tiny_training import QUIET, STREETS, TinyBiEncoder, pairs, trainer

pytestmark = [pytest.mark.slow, *QUIET]

LISTINGS = [f"A quiet room in {street} street, floor {floor}" for street in STREETS for floor in (1, 2, 3)]


def fit(folder: Path, *callbacks: pl.Callback, **options: Any) -> TinyBiEncoder:
    pl.seed_everything(1, verbose=False)
    module = TinyBiEncoder()
    trainer(folder, *callbacks, **options).fit(module)
    return module


# --- the callback


def test_a_run_against_a_corpus_gives_the_numbers_of_plain_arrays_and_changes_no_weight(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = tmp_path / "listings.txt"
    corpus.write_text("\n".join([*LISTINGS, LISTINGS[0], pairs()[0]["pos"]]))
    callback = EmbeddingVisualizer(pairs(), corpus=corpus, skip_tsne=True, skip_umap=True, on_error="raise")
    with caplog.at_level(logging.INFO):
        module = fit(tmp_path / "with", callback)
    assert digest(module.state_dict()) == digest(fit(tmp_path / "without").state_dict())
    assert f"{corpus}: 48 distinct texts are ranked beside the documents; 1 equal a document" in caplog.text

    subset = callback._evaluator.subset
    assert subset is not None
    with observe(module):
        sides = [module.encode(list(texts)) for texts in (subset.queries, subset.documents, sorted(LISTINGS))]
    alone, among = (
        evaluate_pairs(sides[0], sides[1], subset.relevance, corpus=part, draws=0) for part in (None, sides[2])
    )
    assert callback.folder is not None
    last = json.loads((callback.folder / "history.jsonl").read_text().splitlines()[-1])
    assert (last["n_documents"], last["n_corpus"], last["fingerprint"]) == (16, 48, subset.fingerprint)
    for name in ("margin", "rank1", "mrr", "auc", "negative_mean", "hubness"):
        assert last["metrics"][name] == pytest.approx(among[name], abs=1e-6)
    assert among.mrr < alone.mrr

    text = (callback.folder / "epoch_0001" / "report.md").read_text()
    assert "against 16 documents + 48 of the corpus" in text
    kept = load_snapshot(RunFolder(callback.folder).kept[-1])
    assert kept.metrics.n_corpus == 48
    assert set(kept.corpus_texts.values()) <= set(LISTINGS)
    assert kept.provenance.corpus["source"] == str(corpus)


def test_a_trial_run_takes_a_few_texts_only(tmp_path: Path) -> None:
    callback = EmbeddingVisualizer(pairs(), corpus=[f"room {row}" for row in range(200)], on_error="raise")
    fit(tmp_path, callback, fast_dev_run=True)
    assert callback._evaluator is not None
    assert callback._evaluator.subset.n_corpus == 50


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"corpus": 3}, TypeError, "corpus must be a path, a list of texts or None, got int"),
        ({"shard_corpus": True}, ValueError, "shard_corpus=True needs a corpus, got none"),
    ],
)
def test_wrong_options_fail_at_once(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        EmbeddingVisualizer(pairs(), **options)
    assert str(error.value) == message


def test_without_a_corpus_no_face_shares_one_out() -> None:
    from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator
    from embviz_callback.adapters.transformers import EmbvizTrainerCallback

    for face in (EmbvizEvaluator, EmbvizTrainerCallback):
        with pytest.raises(ValueError) as error:
            face(pairs(), shard_corpus=True)
        assert str(error.value) == "shard_corpus=True needs a corpus, got none"


def test_an_unreadable_corpus_fails_before_the_training(tmp_path: Path) -> None:
    module, callback = TinyBiEncoder(), EmbeddingVisualizer(pairs(), corpus=["a room", 5])
    before = digest(module.state_dict())
    with pytest.raises(ValueError) as error:
        trainer(tmp_path, callback).fit(module)
    assert str(error.value) == (
        "corpus[1]: expected non-empty text, found the number 5 (record 2 of 2). Fix: write a text, or drop the record"
    )
    assert digest(module.state_dict()) == before


def test_ctrl_c_in_the_midst_of_a_corpus_ends_a_training_as_without_us_and_the_next_run_goes_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode_room, "WINDOW", 16)
    add, scored = Scan.add, list[int]()

    def interrupted(scan: Scan, rows: Any, vectors: Any) -> None:
        add(scan, rows, vectors)
        scored.append(len(rows))
        if len(scored) == 5:  # three are of the untrained model
            signal.raise_signal(signal.SIGINT)

    class Interrupting(pl.Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            signal.raise_signal(signal.SIGINT)

    def ranking() -> EmbeddingVisualizer:
        return EmbeddingVisualizer(pairs(), corpus=LISTINGS, batch_size=16, figures=False, alert=None)

    def end(name: str, callback: pl.Callback) -> tuple[object, ...]:
        """How a training ends that is interrupted after its first epoch, and what it leaves of the model."""
        pl.seed_everything(1, verbose=False)
        module, run = TinyBiEncoder(), trainer(tmp_path / name, callback)
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
                run.fit(module)
        finally:
            signal.signal(signal.SIGINT, handler)
        model = (digest(module.state_dict()), [part.training for part in module.modules()])
        return ended.type, str(ended.value), run.state.status, run.current_epoch, run.global_step, *model

    def history(name: str, file: str = "history.jsonl") -> list[tuple[object, object]]:
        rows = (tmp_path / name / "run" / "embviz" / file).read_text().splitlines()
        return [(row["epoch"], row["metrics"]) for row in map(json.loads, rows)]

    monkeypatch.setattr(Scan, "add", interrupted)
    assert end("with", ranking()) == end("without", Interrupting())
    assert scored == [16] * 5
    monkeypatch.setattr(Scan, "add", add)
    for name in ("with", "fresh"):
        fit(tmp_path / name, ranking())
    assert history("with") == history("fresh")
    assert history("with", "history-1.jsonl") == history("fresh")[:1]
    left = [{path.name for path in (tmp_path / name / "run" / "embviz").iterdir()} for name in ("with", "fresh")]
    assert left[0] - left[1] == {"history-1.jsonl"}


# --- the command line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "val.json").write_text(json.dumps(_pairs(), ensure_ascii=False), encoding="utf-8")
    lines = [{"text": f"Phòng trọ {pair['pos'][10:]} {row}"} for row in range(8) for pair in _pairs()]
    lines.append({"text": _pairs()[0]["pos"]})
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (folder / "listings.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    _save_head(folder / "a.pt")
    _save_head(folder / "b.pt", seed=1)
    return folder


def run(place: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return main(arguments)


QUICK = ("--data", "val.json", "--skip-tsne", "--skip-umap")
CORPUS = ("--corpus", "listings.jsonl.gz")


def test_the_runner_ranks_among_the_corpus_and_draws_it_again_without(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, monkeypatch, "--checkpoint", "a.pt", *QUICK, *CORPUS, "--output", "among") == 0
    said = capsys.readouterr().err
    assert "listings.jsonl.gz: 192 distinct texts are ranked beside the documents; 1 equal a document" in said
    assert run(place, monkeypatch, "--checkpoint", "a.pt", *QUICK, "--output", "alone") == 0
    among, alone = (json.loads((place / name / "metrics.json").read_text()) for name in ("among", "alone"))
    assert (among["n_documents"], among["n_corpus"], alone["n_corpus"]) == (24, 192, 0)
    assert among["fingerprint"] != alone["fingerprint"]
    assert among["metrics"]["mrr"] < alone["metrics"]["mrr"]
    assert among["metrics"]["naive_rank1"] == alone["metrics"]["naive_rank1"]
    assert among["provenance"]["corpus"]["left_out_as_documents"] == 1
    assert "Phòng trọ" in (place / "among" / "errors.csv").read_text()

    again = ("--checkpoint", "among/embeddings.npz", "--skip-tsne", "--skip-umap", "--output", "again")
    assert run(place, monkeypatch, *again) == 0
    drawn = json.loads((place / "again" / "metrics.json").read_text())
    assert {name: drawn[name] for name in ("metrics", "fingerprint", "n_corpus")} == {
        name: among[name] for name in ("metrics", "fingerprint", "n_corpus")
    }
    capsys.readouterr()
    assert run(place, monkeypatch, *again, *CORPUS) == 2
    assert capsys.readouterr().err == (
        "embviz: --corpus has no use without --data: an embeddings.npz keeps what it was ranked among\n"
    )
    assert run(place, monkeypatch, *again, "--similarity", "dot") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "embviz: --similarity dot: among/embeddings.npz was ranked among a corpus, whose vectors it does not keep. "
        "Fix: evaluate the checkpoint itself"
    )
    assert run(place, monkeypatch, "--checkpoint", "alone/embeddings.npz", "b.pt", *QUICK, *CORPUS) == 2
    fingerprints = (one["fingerprint"] for one in (alone, among))
    assert capsys.readouterr().err.splitlines()[-1] == (
        "embviz: alone/embeddings.npz was made on subset {}, --data gives {}: give the same --data, --max-samples, "
        "--seed and --corpus, or leave --data out".format(*fingerprints)
    )


def test_checkpoints_are_compared_among_the_corpus(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, monkeypatch, "--checkpoint", "a.pt", "b.pt", *QUICK, *CORPUS, "--output", "both") == 0
    text = (place / "both" / "comparison.md").read_text()
    assert "2 evaluations of 24 queries against 24 documents + 192 of the corpus, subset" in text
    assert run(place, monkeypatch, "compare", "--run", "x", *CORPUS) == 2
    assert "--corpus has no use with --run" in capsys.readouterr().err


def test_a_sample_of_the_corpus_tells_bounds_of_the_whole_and_no_rank_in_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--checkpoint", "a.pt", *QUICK, *CORPUS, "--corpus-sample", "50", "--output", "sample")
    assert run(place, monkeypatch, *given) == 0
    assert "50 distinct texts are ranked beside the documents (a sample of 192)" in capsys.readouterr().err
    found = json.loads((place / "sample" / "metrics.json").read_text())
    told = found["provenance"]["corpus"]["of_the_whole"]
    assert (found["n_corpus"], told["texts"], told["positives_within_1"][0]) == (50, 192, 0)
    assert told["positives_within_1"][1] >= found["metrics"]["rank1"] - 1e-9
    assert "These are a sample of a corpus of 192. Of the whole only this is known" in (
        (place / "sample" / "report.md").read_text()
    )


def test_the_analysis_names_texts_of_the_corpus_that_came_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(place, monkeypatch, "analyse", "--checkpoint", "a.pt", *QUICK, *CORPUS, "--output", "why") == 0
    content = json.loads((place / "why" / "analysis.json").read_text())
    documents = {pair["pos"] for pair in _pairs()}
    assert content["metrics"]["n_corpus"] == 192
    assert any(miss["first"] not in documents and miss["gap"] > 0 for miss in content["errors"]["misses"])
    assert "24 documents + 192 of the corpus" in (place / "why" / "analysis.md").read_text()


def test_a_corpus_that_cannot_be_read_is_answered_on_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "wrong.json").write_text('[{"text": "một"}, {"note": "hai"}]')
    assert run(place, monkeypatch, "--checkpoint", "a.pt", *QUICK, "--corpus", "wrong.json") == 2
    assert capsys.readouterr().err == (
        "embviz: wrong.json[1]: expected the field text, or pos of a dataset, found an object with note "
        "(record 2 of 2). Fix: rename the field that holds the document to text\n"
    )


# --- the evaluator


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_evaluator_ranks_among_the_corpus(tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator

    tiny_bert(tmp_path / "encoder")
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    given = [{"query": f"tìm phòng quận {row}", "pos": f"phòng trọ quận {row}"} for row in range(1, 11)]
    corpus = [f"nhà nguyên căn quận {row} có gác" for row in range(20)]
    evaluator = EmbvizEvaluator(given, corpus=corpus, figures=False, on_error="raise")
    found = model.evaluate(evaluator)
    sides = [model.encode(texts) for texts in ([p["query"] for p in given], [p["pos"] for p in given], corpus)]
    expected = evaluate_pairs(sides[0], sides[1], list(range(10)), corpus=sides[2], draws=0)
    for name in ("mrr", "negative_mean", "auc"):
        assert found[f"embviz_{name}"] == pytest.approx(expected[name], abs=1e-5)


def test_ctrl_c_in_the_midst_of_a_corpus_leaves_everything_as_it_was(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(encode_room, "WINDOW", 32)
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}")
    add, scored = Scan.add, list[int]()

    def interrupted(scan: Scan, rows: Any, vectors: Any) -> None:
        add(scan, rows, vectors)
        scored.append(len(rows))
        if len(scored) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Scan, "add", interrupted)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = run(place, monkeypatch, "--checkpoint", "a.pt", *QUICK, *CORPUS, "--output", "broken")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert (status, scored) == (1, [32, 32])
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == "embviz: interrupted; only results that were finished are kept"
    assert printed.out == ""
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert not (place / "broken").exists()
    assert not list(tmp_path.iterdir())
