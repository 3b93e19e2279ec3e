"""A frozen encoder's features are computed once, and never mistaken for another encoder's."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from embviz_callback.encoding.cache.cached_features import CachedFeatures, encode_by_length
from embviz_callback.encoding.cache.feature_store import FeatureStore, prune, stores_in, text_key
from embviz_callback.encoding.cache.fingerprints import content_stamp, encoder_fingerprint, state_sha256
from embviz_callback.encoding.models.biencoder import Backbone, BiEncoder, load_backbone, pool
from tiny_models import tiny_bert

TEXTS = [f"phòng trọ quận {n} giá {n}tr " + "gần chợ " * (n % 5) for n in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_bert(tmp_path_factory.mktemp("encoder")))


@pytest.fixture
def model(folder: str) -> BiEncoder:
    return BiEncoder(load_backbone(folder), max_length=32).eval().requires_grad_(False)


def _live(model: BiEncoder, texts: list[str]) -> Tensor:
    with torch.no_grad():
        return model.features(texts)


def test_cached_features_equal_live_ones_bit_for_bit_in_the_same_batching(model: BiEncoder, tmp_path: Path) -> None:
    cached = CachedFeatures(model, tmp_path)
    batches = list(encode_by_length(model, TEXTS))
    found = {text: row for texts, rows in batches for text, row in zip(texts, rows, strict=True)}
    assert torch.equal(cached(TEXTS), torch.stack([found[text] for text in TEXTS]))


def test_cached_features_are_within_rounding_of_any_other_batching(model: BiEncoder, tmp_path: Path) -> None:
    one_by_one = torch.cat([_live(model, [text]) for text in TEXTS])
    torch.testing.assert_close(CachedFeatures(model, tmp_path)(TEXTS), one_by_one, atol=1e-5, rtol=0)


def test_the_encoder_runs_once_per_text(model: BiEncoder, tmp_path: Path) -> None:
    seen: list[int] = []
    model.encoder.register_forward_hook(lambda _module, _inputs, output: seen.append(len(output.last_hidden_state)))
    cached = CachedFeatures(model, tmp_path)
    cached(TEXTS + TEXTS)
    cached(TEXTS)
    assert sum(seen) == len(TEXTS)


def test_no_texts_are_no_work(model: BiEncoder) -> None:
    assert list(encode_by_length(model, [])) == []


def test_the_next_run_finds_the_features_on_disk(model: BiEncoder, tmp_path: Path) -> None:
    first = CachedFeatures(model, tmp_path)
    rows = first(TEXTS)
    first.flush()
    again = CachedFeatures(model, tmp_path)
    assert again.store().missing(TEXTS) == []
    assert torch.equal(again(TEXTS), rows)


def _fingerprint(backbone: Backbone, pooling: str = "mean", max_length: int = 32, precision: str = "float32") -> str:
    return encoder_fingerprint(backbone, pooling=pooling, max_length=max_length, precision=precision)


@pytest.mark.parametrize(
    "changed",
    [{"pooling": "cls"}, {"max_length": 16}, {"precision": "bfloat16"}],
    ids=["pooling", "length", "precision"],
)
def test_one_setting_changed_is_another_key(folder: str, changed: dict[str, str]) -> None:
    backbone = load_backbone(folder)
    assert _fingerprint(backbone) == _fingerprint(backbone)
    assert _fingerprint(backbone, **changed) != _fingerprint(backbone)  # type: ignore[arg-type]


def test_one_weight_one_buffer_or_another_tokenizer_is_another_key(folder: str) -> None:
    before = _fingerprint(load_backbone(folder))
    weight = load_backbone(folder)
    with torch.no_grad():
        next(weight.encoder.parameters()).view(-1)[3] += 1e-6
    buffer = load_backbone(folder)
    buffer.encoder.register_buffer("extra", torch.zeros(1), persistent=False)
    case = load_backbone(folder)
    case.tokenizer.backend_tokenizer.normalizer = None  # type: ignore[attr-defined]
    assert len({before, _fingerprint(weight), _fingerprint(buffer), _fingerprint(case)}) == 4


def test_using_a_tokenizer_does_not_change_its_key(folder: str) -> None:
    backbone = load_backbone(folder)
    before = _fingerprint(backbone)
    backbone.tokenizer(["phòng trọ"], padding="max_length", truncation=True, max_length=8)
    assert _fingerprint(backbone) == before


def test_one_character_is_another_text() -> None:
    assert text_key("phòng trọ") != text_key("phòng tro")
    assert text_key("query: phòng") != text_key("phòng")


def test_weights_changed_in_place_are_noticed_at_the_next_call(model: BiEncoder, tmp_path: Path) -> None:
    cached = CachedFeatures(model, tmp_path)
    before = cached(TEXTS)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(1.5)
    after = cached(TEXTS)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, _live(model, TEXTS), atol=1e-5, rtol=0)


def test_an_edit_behind_autograds_back_is_noticed_once_an_epoch(model: BiEncoder, tmp_path: Path) -> None:
    cached = CachedFeatures(model, tmp_path)
    before = cached(TEXTS)
    next(model.encoder.parameters()).data.mul_(3)
    cached.verify()
    assert not torch.allclose(before, cached(TEXTS))


def test_unfreezing_bypasses_the_cache_and_says_so_once(
    model: BiEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached = CachedFeatures(model, tmp_path)
    cached(TEXTS)
    model.encoder.requires_grad_(True)
    with caplog.at_level(logging.INFO, logger="embviz_callback"):
        assert cached(TEXTS).requires_grad
        cached(TEXTS)
    assert caplog.messages == ["the feature cache is bypassed: the encoder is being trained"]


def test_an_encoder_in_training_mode_is_not_cached(model: BiEncoder, tmp_path: Path) -> None:
    cached = CachedFeatures(model, tmp_path)
    model.encoder.train()
    assert cached.why_not() == "the encoder is in training mode, where dropout changes its features"


def test_cached_features_can_be_trained_on(model: BiEncoder, tmp_path: Path) -> None:
    head = nn.Linear(model.backbone.dim, 4)
    head(CachedFeatures(model, tmp_path)(TEXTS)).sum().backward()
    assert head.weight.grad is not None


def test_a_truncated_or_flipped_shard_is_found_out_and_computed_again(
    model: BiEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for damage in (lambda raw: raw[:-100], lambda raw: raw[:-100] + bytes([raw[-100] ^ 1]) + raw[-99:]):
        cached = CachedFeatures(model, tmp_path)
        rows = cached(TEXTS)
        cached.flush()
        (shard,) = tmp_path.rglob("*.safetensors")
        shard.write_bytes(damage(shard.read_bytes()))
        again = CachedFeatures(model, tmp_path)
        assert len(again.store()) == 0
        assert f"{shard.name} is damaged" in caplog.text
        assert torch.equal(again(TEXTS), rows)
        again.flush()


def test_two_processes_writing_at_once_do_no_damage(tmp_path: Path) -> None:
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from embviz_callback.encoding.cache.feature_store import FeatureStore\n"
        "for turn in range(30):\n"
        "    store = FeatureStore(Path(sys.argv[1]))\n"
        "    store.add([f'text {turn} {n}' for n in range(50)], torch.full((50, 8), float(turn)))\n"
        "    store.flush()\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "store")]) for _ in range(2)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    store = FeatureStore(tmp_path / "store")
    texts = [f"text {turn} {n}" for turn in range(30) for n in range(50)]
    assert store.missing(texts) == []
    assert torch.equal(store.get(texts)[:, 0], torch.arange(30.0).repeat_interleave(50))


def test_an_interrupted_pass_leaves_what_was_written(model: BiEncoder, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    for start in range(0, 5000, 1000):
        store.add([f"text {n}" for n in range(start, start + 1000)], torch.zeros(1000, 4))
    assert len(FeatureStore(tmp_path / "store")) >= 2048  # never flushed by hand


def test_a_full_disk_costs_a_warning_and_not_the_features(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    store = FeatureStore(blocked / "store")
    store.add(["a"], torch.ones(1, 3))
    store.flush()
    assert store.get(["a"]).tolist() == [[1, 1, 1]]
    assert "going on in memory" in caplog.text


def test_the_least_recently_used_store_goes_first(tmp_path: Path) -> None:
    import os

    for age, name in ((300, "old"), (200, "middle"), (100, "new")):
        store = FeatureStore(tmp_path / name)
        store.add(["a"], torch.ones(1, 1000))
        store.flush()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    size = stores_in(tmp_path)[0].n_bytes
    assert prune(tmp_path, max_bytes=2 * size) == ["old"]
    assert [info.name for info in stores_in(tmp_path)] == ["new", "middle"]
    assert prune(tmp_path, max_bytes=0) == ["middle", "new"]


def test_a_batch_that_does_not_fit_is_halved(folder: str) -> None:
    backbone = load_backbone(folder)
    sizes: list[int] = []

    def refuse_more_than_three(_module: nn.Module, arguments: tuple[object, ...], options: dict[str, Tensor]) -> None:
        sizes.append(len(options["input_ids"]))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    backbone.encoder.register_forward_pre_hook(refuse_more_than_three, with_kwargs=True)
    model = BiEncoder(backbone, max_length=32).eval().requires_grad_(False)
    texts = [text for chunk, _ in encode_by_length(model, TEXTS) for text in chunk]
    assert sorted(texts) == sorted(TEXTS)
    assert max(sizes) > 3
    assert all(size <= 3 for size in sizes[sizes.index(min(sizes)) :])


def test_state_hash_and_content_stamp_see_every_tensor() -> None:
    module = nn.BatchNorm1d(3)
    hash_before, stamp_before = state_sha256(module), content_stamp(module)
    module.running_mean.data[1] += 1e-6  # type: ignore[union-attr, operator]
    assert state_sha256(module) != hash_before
    assert content_stamp(module) != stamp_before


def test_pooling_ignores_padding_and_finds_the_first_token_behind_it() -> None:
    hidden = torch.arange(12.0).reshape(1, 4, 3)
    mask = torch.tensor([[0, 1, 1, 0]])
    assert pool(hidden, mask, "mean").tolist() == [[4.5, 5.5, 6.5]]
    assert pool(hidden, mask, "cls").tolist() == [[3.0, 4.0, 5.0]]
