"""What docs/alerts.md says that its examples print, they print; that all blocks run is tested with the other pages."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from embviz_callback import EmbeddingVisualizer

DOCS = Path(__file__).resolve().parents[3] / "docs"


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def test_what_the_page_on_alerts_shows_is_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    rules, confidence, *_ = blocks("alerts.md")
    exec(rules, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", rules, flags=re.MULTILINE)
    exec(confidence, {})
    assert f"# {', '.join(capsys.readouterr().out.split())}\n" in confidence


@pytest.mark.skipif(find_spec("apprise") is None, reason="apprise is not installed")
def test_the_configuration_of_the_page_on_alerts_can_be_read() -> None:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser()
    parser.add_class_arguments(EmbeddingVisualizer, "callback", skip={"unknown"})
    (text,) = blocks("alerts.md", "yaml")
    nested = "callback:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    alert = parser.instantiate(parser.parse_string(nested)).callback.alert
    assert (alert.threshold, alert.patience, alert.notify) == (0.25, 1, "EMBVIZ_NOTIFY")
