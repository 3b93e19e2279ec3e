"""How commands end: exit statuses and the one line that explains them."""

import io
import signal
from pathlib import Path

import pytest

from embviz_callback.cli import main
from embviz_callback.commands import analyse, at_hand
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.ending import ended
from embviz_callback.commands.terminal import Terminal
from embviz_callback.pairs.problems import DataError


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("required: --data"), 2, "embviz x: required: --data"),
        (DataError("a.json: is empty"), 2, "embviz x: a.json: is empty"),
        (KeyboardInterrupt(), 1, "embviz x: interrupted"),
        (
            OSError(28, "No space left\non device"),
            1,
            "embviz x: OSError: [Errno 28] No space left on device (EMBVIZ_DEBUG=1 shows where)",
        ),
    ],
)
def test_every_failure_is_one_line_and_an_exit_status(error: BaseException, status: int, line: str) -> None:
    def fail() -> int:
        raise error

    said = io.StringIO()
    assert ended("embviz x", fail, Terminal(said)) == status
    assert said.getvalue() == f"{line}\n"


def test_an_interruption_that_a_library_took_for_an_error_is_one_all_the_same() -> None:
    def read() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise DataError("model.safetensors is damaged") from None
        return 0

    said = io.StringIO()
    assert ended("embviz x", read, Terminal(said)) == 1
    assert said.getvalue() == "embviz x: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_work_that_is_done_says_nothing_and_keeps_its_status() -> None:
    said = io.StringIO()
    assert ended("embviz x", lambda: 3, Terminal(said)) == 3
    assert said.getvalue() == ""


def test_a_reader_that_has_left_is_told_nothing() -> None:
    def fail() -> int:
        raise BrokenPipeError

    said = io.StringIO()
    with pytest.raises(BrokenPipeError):
        ended("embviz x", fail, Terminal(said))
    assert said.getvalue() == ""


@pytest.mark.parametrize(
    "command",
    [
        ["ship", "--checkpoint", "a.pt"],
        ["compat", "--old", "a.pt", "--new", "b.pt"],
        ["analyse", "--checkpoint", "a.pt"],
    ],
    ids=lambda command: str(command[0]),
)
def test_the_output_folder_is_tried_before_the_work_and_goes_again_where_nothing_comes_of_it(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        assert output.is_dir()
        raise KeyboardInterrupt

    output = tmp_path / "made" / "here"
    monkeypatch.setattr(at_hand, "models_at_hand", interrupted)
    monkeypatch.setattr(analyse, "analysed_by", interrupted)
    assert main([*command, "--data", "val.json", "--output", f"{output}"]) == 1
    assert capsys.readouterr().err.startswith(f"embviz {command[0]}: interrupted")
    assert not list(tmp_path.iterdir())
