"""What docs/alerts.md and docs/loggers.md show runs as it stands, and prints what stands beside it."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from embviz_callback import EmbeddingVisualizer

DOCS = Path(__file__).resolve().parent.parent / "docs"


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.skipif(find_spec("apprise") is None, reason="apprise is not installed")
def test_what_the_page_on_alerts_shows_is_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    rules, confidence, *options = blocks("alerts.md")
    exec(rules, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", rules, flags=re.MULTILINE)
    exec(confidence, {})
    assert f"# {', '.join(capsys.readouterr().out.split())}\n" in confidence
    for block in options:
        found: dict[str, object] = {}
        exec(block, found)
        assert isinstance(found["callback"], EmbeddingVisualizer)


@pytest.mark.skipif(find_spec("apprise") is None, reason="apprise is not installed")
def test_the_configuration_of_the_page_on_alerts_can_be_read() -> None:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser()
    parser.add_class_arguments(EmbeddingVisualizer, "callback", skip={"unknown"})
    (text,) = blocks("alerts.md", "yaml")
    nested = "callback:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    alert = parser.instantiate(parser.parse_string(nested)).callback.alert
    assert (alert.threshold, alert.patience, alert.notify) == (0.25, 1, "EMBVIZ_NOTIFY")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_examples_on_loggers_can_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    several, own = blocks("loggers.md")
    found: dict[str, object] = {}
    exec(several, found)
    assert len(found["trainer"].loggers) == 3  # type: ignore[attr-defined]
    exec(own, found)
    album = found["Album"]()  # type: ignore[operator]
    album.log_image(key="embviz/similarity_heatmap", images=["a.png"], step=25)
    assert album.pages == [("embviz/similarity_heatmap", ["a.png"], 25)]
