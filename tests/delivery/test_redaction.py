"""Secrets in names, values and texts, all made up; and what is none."""

import io
import time
from pathlib import Path
from typing import Any

import pytest

from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.process.drawing_process import _draw
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.training_side import Limits
from embviz_callback.delivery.provenance import plain_hparams
from embviz_callback.delivery.redaction import redacted

LONG = "T9xQ2vLm8RkZ4wPn7YbC3dHs6JfG1aEu"

SECRETS: dict[str, Any] = {
    "wandb_key": "swordfish",
    "pwd": "swordfish",
    "bearer": "swordfish",
    "hfToken": "swordfish",
    "AWS_SECRET_ACCESS_KEY": "swordfish",
    "user_pass": "swordfish",
    "pin": 4711,
    "webhook": "swordfish",
    "sas": "swordfish",
    "database": "swordfish",
    "store": "postgres://me:swordfish@db.example/runs",
    "tracker": "https://hooks.example/services/T0/B0/" + LONG,
    "mail_to": "me@example.org",
    "note": LONG,
    "blob": "-----BEGIN PRIVATE KEY-----\nMII",
    "hub": "hf_" + LONG,
    "cloud": "AKIA" + "ABCDEFGH12345678",
    "where": "/home/swordfish/data",
    "words": "swordfish " * 10,
}
SETTINGS: dict[str, Any] = {
    "lr": 2e-5,
    "batch_size": 32,
    "max_tokens": 128,
    "num_key_value_heads": 8,
    "use_bias": True,
    "optimizer": "AdamW",
    "precision": "bf16-mixed",
    "encoder": "sentence-transformers/all-MiniLM-L6-v2",
    "schedule": "linear_warmup_cosine_decay",
    "n_passes": 2,
    "author": "us",
}


def test_of_hyperparameters_only_plain_settings_are_shown() -> None:
    assert plain_hparams(SECRETS | SETTINGS) == SETTINGS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://me:swordfish@host/a failed", "GET https://***@host/a failed"),
        ("GET https://host/v1/runs?sig=swordfish&n=1 failed", "GET https://host/v1/runs?*** failed"),
        (f"POST https://hooks.example/services/T00000000/{LONG}", "POST https://hooks.example/services/***/***"),
        ("url: /api?api_key=swordfish", "url: /api?api_key=***"),
        ("Authorization: Bearer swordfish-1", "Authorization: ***"),
        ("sent 'Basic c3dvcmRmaXNo'", "sent 'Basic ***'"),
        ("""{"wandb_key": "sword fish", 'n': 1}""", """{"wandb_key": ***, 'n': 1}"""),
        ("login(password='swordfish')", "login(password=***)"),
        ("Server=db,1433;User ID=me;Password=swordfish;", "Server=db,1433;User ID=me;Password=***;"),
        (f"wandb: {LONG} is no key", "wandb: *** is no key"),
        ("ghp_" + LONG, "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "***"),
    ],
)
def test_texts_that_leave_the_process_hold_no_secret(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "encoding failed (epoch 0, rank 0): ValueError: broken; skipped: metrics and figures of this evaluation",
        "size mismatch for head.linear.weight: copying a param with shape torch.Size([128, 1024])",
        "fingerprint 8c1f3a09bd12ef77, was 9c1f3a09bd12ef70",
        "/cache/hub/models--BAAI--bge-m3/snapshots/5617a9f61b028005a4858fdac845db406aefb181/model.safetensors",
        "see s3://bucket/runs/version_3/embviz and https://appriseit.com",
        "sklearn.linear_model.LogisticRegression and hf_hub_download_file",
        "KeyError: 'encoder.layers.0.attention.self.query.weight'",
        "expected max_tokens: 5, tokenizer: slow",
        "Căn hộ gần biển Mỹ Khê, giá 5 triệu/tháng",
    ],
)
def test_texts_without_a_secret_stay_as_they_are(text: str) -> None:
    assert redacted(text) == text


def test_a_secret_of_the_environment_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "swordfish")
    assert redacted("rejected swordfish by host") == "rejected *** by host"
    assert plain_hparams({"note": "swordfish", "lr": 0.1}) == {"lr": 0.1}


def test_a_fault_is_noted_and_said_without_the_secrets_of_its_exception() -> None:
    rows: list[Any] = []

    def act() -> None:
        password = "https://me:swordfish@host/"
        raise ConnectionError(f"cannot reach {password}")

    guard = Guard(on_error="warn", note=rows.append)
    guard.attempt("logging", act, where="epoch 1", skipped="the scalars")
    assert guard.faults == [
        "logging failed (epoch 1, rank 0): ConnectionError: cannot reach https://***@host/; skipped: the scalars"
    ]
    assert "Traceback" in rows[0]["details"]
    assert "swordfish" not in f"{rows}"


def test_a_drawing_that_fails_is_set_aside_without_the_secrets_of_its_exception(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs, answers = Jobs(tmp_path), io.StringIO()
    jobs.put("epoch", lambda folder: None)
    password = "https://me:swordfish@host/"

    def publish(folder: Path) -> Any:
        raise ConnectionError(f"cannot reach {password}")

    job = jobs.claim()
    assert job is not None
    _draw(jobs, job, publish, Limits(), answers)
    reason = (tmp_path / "failed" / "epoch" / "reason.txt").read_text()
    assert reason == "ConnectionError: cannot reach https://***@host/"
    assert reason in caplog.text
    assert reason in answers.getvalue()
    assert "swordfish" not in caplog.text + answers.getvalue()


@pytest.mark.parametrize("text", ["A" * 200_000, "a_" * 100_000, "https://" + "Aa/" * 70_000, "key=" * 50_000])
def test_a_long_text_costs_no_time(text: str) -> None:
    begun = time.process_time()
    redacted(text)
    assert time.process_time() - begun < 5
