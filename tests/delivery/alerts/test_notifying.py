"""Alerts that reach people: real messages to servers on this machine, dead and hanging ones; no secret anywhere."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from embviz_callback import EmbeddingVisualizer
from embviz_callback.delivery.alerts.people import Notifier
from embviz_callback.delivery.alerts.rule import AlertEvent, MarginAlert
from embviz_callback.delivery.alerts.sending_process import deliver, is_private, scheme_of
from embviz_callback.delivery.places import Places
from tests.tiny_models import tiny_bert
from tests.tiny_training import TinyBiEncoder, a_session, pairs, trainer

SECRET = "T0PS3CR3Tc0ffee"
VARIABLE = "EMBVIZ_TEST_ADDRESSES"
pytestmark = [
    pytest.mark.skipif(find_spec("apprise") is None, reason="apprise is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what Apprise imports
]


class Inbox(ThreadingHTTPServer):
    """Keeps what is posted to it."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), Post)

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.server_address[1]}/{SECRET}"


class Post(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        self.server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def inbox(status: int = 200) -> Iterator[Inbox]:
    with Inbox(status) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def dead_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"json://127.0.0.1:{free.getsockname()[1]}/{SECRET}"


@contextmanager
def hanging_address(options: str = "") -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        yield f"json://127.0.0.1:{deaf.getsockname()[1]}/{SECRET}{options}"


def event(kind: str = "firing", *, is_first: bool = True) -> AlertEvent:
    cause = "low margin" if kind == "firing" else ""
    return AlertEvent(kind, cause, is_first, 3, 25, 0.1, 0.25, 1.5, 0.5, f"margin {kind}")


@pytest.fixture
def reports() -> list[tuple[str, str]]:
    return []


def notifier(reports: list[tuple[str, str]]) -> Notifier:
    return Notifier(VARIABLE, run="lightning_logs/version_3", report=lambda kind, said: reports.append((kind, said)))


def test_a_message_says_what_happened_and_in_which_run(
    monkeypatch: pytest.MonkeyPatch, reports: list[tuple[str, str]]
) -> None:
    with inbox() as first, inbox() as second:
        monkeypatch.setenv(VARIABLE, f"{first.address}\n {second.address}/more")
        sender = notifier(reports)
        sender.check()
        sender.send(event())
        sender.finish(30)
        sender.send(event("recovered"))
        sender.finish(30)
    assert reports == []
    for server, path in ((first, f"/{SECRET}"), (second, f"/{SECRET}/more")):
        assert [(one["title"], one["message"], one["type"]) for one in server.messages] == [
            ("embviz: margin alert (low margin)", "margin firing\nRun: lightning_logs/version_3", "warning"),
            ("embviz: margin recovered", "margin recovered\nRun: lightning_logs/version_3", "success"),
        ]
        assert {one.rstrip("/") for one in server.paths} == {path}


def test_a_dead_and_a_hanging_endpoint_take_no_time_and_do_not_keep_the_others_waiting(
    monkeypatch: pytest.MonkeyPatch, reports: list[tuple[str, str]]
) -> None:
    with inbox() as alive, hanging_address() as hanging:
        monkeypatch.setenv(VARIABLE, f"{dead_address()} {hanging} {alive.address}")
        sender = notifier(reports)
        begun = time.perf_counter()
        sender.send(event())
        sender.poll()
        assert time.perf_counter() - begun < 1  # of which starting a process is the most
        sender.finish(30)
        assert len(alive.messages) == 1
    assert reports == [
        (
            "not reached",
            f"an alert did not reach everybody ({VARIABLE}: address 1 (json): ConnectionError; "
            "address 2 (json): ReadTimeout); training goes on, and every alert stands in the log and in events.jsonl",
        )
    ]


def test_an_endpoint_that_outlasts_every_time_out_is_left_when_the_limit_is_over(
    monkeypatch: pytest.MonkeyPatch, reports: list[tuple[str, str]]
) -> None:
    monkeypatch.setattr("embviz_callback.delivery.alerts.people.LIMIT_S", 0.2)
    with hanging_address("?rto=300") as hanging:
        monkeypatch.setenv(VARIABLE, hanging)
        sender = notifier(reports)
        sender.send(event())
        (sending,) = sender._sending
        time.sleep(0.5)
        sender.poll()
    assert sending.process.returncode == -9
    assert [kind for kind, _ in reports] == ["not reached"]
    assert "no answer within 0 s" in reports[0][1]


@pytest.mark.parametrize(("status", "reason"), [(404, "HTTP 404"), (302, "HTTP 302")])
def test_an_endpoint_that_refuses_or_sends_elsewhere_is_named_by_its_status(
    monkeypatch: pytest.MonkeyPatch, reports: list[tuple[str, str]], status: int, reason: str
) -> None:
    with inbox(status) as server:
        monkeypatch.setenv(VARIABLE, server.address)
        sender = notifier(reports)
        sender.send(event())
        sender.finish(30)
    assert len(server.messages) == 1  # a redirection is not followed: the message would go where nobody asked it to
    assert f"({VARIABLE}: address 1 (json): {reason})" in reports[0][1]


def test_addresses_are_looked_at_before_training_and_named_by_scheme_alone(
    monkeypatch: pytest.MonkeyPatch, reports: list[tuple[str, str]]
) -> None:
    monkeypatch.setenv(
        VARIABLE, f"json://example.com/{SECRET} {SECRET}://example.com {SECRET} jsons://example.com/{SECRET}"
    )
    sender = notifier(reports)
    sender.check()
    sender.finish(30)
    assert reports == [
        (
            "address",
            f"not everybody can be notified of alerts ({VARIABLE}: address 1 (json) is not encrypted and gets "
            "nothing; address 2 is not one that Apprise knows; address 3 is not one that Apprise knows); "
            "training goes on, and every alert stands in the log and in events.jsonl",
        )
    ]


def test_a_variable_that_is_not_set_is_said_once_before_training(
    monkeypatch: pytest.MonkeyPatch, reports: list[tuple[str, str]]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    sender = notifier(reports)
    sender.check()
    sender.send(event())
    sender.finish(0)
    assert reports == [
        (
            "no address",
            f"the environment variable {VARIABLE} is not set, so nobody will be notified of alerts; "
            "put into it the addresses of https://appriseit.com, separated by spaces",
        )
    ]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("jsons://example.com/x", True),
        ("json://example.com/x", False),
        ("json://127.0.0.1/x", True),
        ("json://127.8.0.1:80/x", True),
        ("json://[::1]/x", True),
        ("json://localhost/x", True),
        ("json://127.example.com/x", False),
        ("json://192.168.1.5/x", False),
        ("json://[fd00::1]/x", False),
        ("json://localhost.example.com/x", False),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", True),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", True),
        ("mailto://somebody:password@gmail.com", True),  # whose template asks for TLS
        ("mailto://somebody:password@example.com", False),
        ("mailtos://somebody:password@example.com", True),
    ],
)
def test_only_what_is_encrypted_or_stays_on_this_machine_is_sent(address: str, expected: bool) -> None:
    import apprise

    server = apprise.Apprise.instantiate(address)
    assert is_private(server, scheme_of(server, address)) is expected


def test_an_address_that_is_not_encrypted_gets_nothing_even_where_it_would_answer() -> None:
    with inbox() as server:
        by_name = server.address.replace("127.0.0.1", socket.gethostname())
        assert deliver([by_name], {"title": "t", "text": "x", "type": "warning"}) == []
        assert server.messages == []


def test_messages_that_pile_up_are_left_out(monkeypatch: pytest.MonkeyPatch, reports: list[tuple[str, str]]) -> None:
    with hanging_address() as hanging:
        monkeypatch.setenv(VARIABLE, hanging)
        sender = notifier(reports)
        for _ in range(6):
            sender.send(event())
        waiting = len(sender._sending)
        sender.finish(0)
    assert waiting == 4
    assert [kind for kind, _ in reports[:2]] == ["too many"] * 2
    assert sender._sending == []


def test_notify_takes_the_name_of_a_variable_and_never_shows_what_it_got_instead() -> None:
    with pytest.raises(ValueError) as error:
        MarginAlert(notify=f"slack://{SECRET}/a/b")
    assert str(error.value) == (
        "notify must be the name of an environment variable that holds the addresses, such as EMBVIZ_NOTIFY; "
        "an address itself would end up in configurations and logs"
    )


def test_without_apprise_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ModuleNotFoundError) as error:
        MarginAlert(notify=VARIABLE)
    assert str(error.value) == (
        'MarginAlert(notify=...) needs apprise; install it with: pip install "embviz-callback[notify]"'
    )


def test_a_trial_and_another_rank_notify_nobody() -> None:
    for places in (Places(None, None, rank=1), Places(None, None, is_trial=True)):
        assert not a_session(places, alerts=(MarginAlert(notify=VARIABLE),)).alarms.notifiers
    assert list(a_session(Places(None, None), alerts=(MarginAlert(notify=VARIABLE),)).alarms.notifiers) == [VARIABLE]


FIT = """
import sys, warnings
warnings.simplefilter("ignore")
from pytorch_lightning.cli import LightningCLI
from tests.tiny_training import TinyBiEncoder
cli = LightningCLI(TinyBiEncoder, args=sys.argv[1:])
print(repr(cli.trainer.callbacks), cli.trainer.callbacks[0].state_dict())
"""

CONFIG = """
trainer:
  accelerator: cpu
  max_epochs: 2
  default_root_dir: {folder}
  logger:
    class_path: TensorBoardLogger
    init_args: {{save_dir: {folder}, name: run, version: ""}}
  callbacks:
  - class_path: embviz_callback.EmbeddingVisualizer
    init_args: {{data: {folder}/pairs.json, figures: {figures}, skip_tsne: true, skip_umap: true, alert: {alert}}}
"""


def fit_from_yaml(folder: Path, addresses: str, *, figures: bool) -> "subprocess.CompletedProcess[str]":
    (folder / "pairs.json").write_text(json.dumps(pairs()), encoding="utf-8")
    alert = f"{{threshold: 2.0, notify: {VARIABLE}}}"
    config = CONFIG.format(folder=folder, figures=str(figures).lower(), alert=alert)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    surroundings = {"PYTHONPATH": ".", VARIABLE: addresses, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", FIT, "fit", "--config", f"{folder / 'config.yaml'}"],
        capture_output=True,
        text=True,
        env=os.environ | surroundings,
    )


def holds_secret(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_run_configured_in_yaml_tells_people_once_and_its_secret_is_nowhere(tmp_path: Path) -> None:
    with inbox() as server:
        done = fit_from_yaml(tmp_path, f"{server.address} {dead_address()}", figures=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (message,) = server.messages  # it fires after both epochs
    assert message["title"].startswith("embviz: margin alert (")
    assert message["message"].startswith("margin alert at epoch 0: ")
    assert message["message"].endswith(f"\nRun: {tmp_path.name}/run")
    assert "EmbeddingVisualizer" in done.stdout
    assert "address 2 (json): ConnectionError" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert (tmp_path / "run" / "config.yaml").exists()
    assert (tmp_path / "run" / "embviz" / "epoch_0001" / "report.md").exists()
    assert list(tmp_path.rglob("*.ckpt"))
    assert holds_secret(tmp_path) == []


class Stopwatch(pl.Callback):
    """Seconds from the start of training to its last batch, of all but the callback's own processes."""

    began = ended = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ended = time.perf_counter()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_without_figures_people_are_told_too_and_a_hanging_endpoint_takes_no_training_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Stopwatch()
    callback = EmbeddingVisualizer(pairs(), alert=MarginAlert(threshold=2.0, notify=VARIABLE), figures=False)
    with inbox() as server, hanging_address() as hanging:
        monkeypatch.setenv(VARIABLE, f"{hanging} {server.address}")
        trainer(tmp_path, callback, watch, max_epochs=3).fit(TinyBiEncoder())
    assert watch.ended - watch.began < 3.5  # an endpoint that hangs is left after 4 s
    assert len(server.messages) == 1
    ours = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING and "reach" in one.message]
    assert ours == [
        f"embviz: an alert did not reach everybody ({VARIABLE}: address 1 (json): ReadTimeout); "
        "training goes on, and every alert stands in the log and in events.jsonl"
    ]
    assert SECRET not in caplog.text + repr(callback.state_dict()) + repr(callback.alert)
    assert holds_secret(tmp_path) == []


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_evaluator_for_sentence_transformers_tells_people_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator

    tiny_bert(tmp_path / "encoder")
    model = SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    alert = MarginAlert(threshold=2.0, notify=VARIABLE)
    with inbox() as server:
        monkeypatch.setenv(VARIABLE, server.address)
        evaluator = EmbvizEvaluator(pairs(), alert=alert, figures=False, on_error="raise")
        for epoch in (0, 1):
            evaluator(model, str(tmp_path / "out"), epoch=epoch, steps=4 * epoch + 4)
        evaluator.finish()
    (message,) = server.messages
    assert message["message"].startswith("margin alert at epoch 0: ")
    assert holds_secret(tmp_path / "out") == []
