"""The blocks of code in README and docs: found, and run as a reader would run them.

A comment before a block may say ``<!-- not run: reason -->``, or what stands at test time in the place of what
cannot be had here: ``<!-- tested with "this" for "that"; "this" for "that" -->``.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(r"(?:<!-- (?P<comment>[^\n]*) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)```", flags=re.DOTALL)
_STAND_IN = re.compile(r'"([^"]+)" for "([^"]+)"')
_RUNNABLE = ("python", "bash")


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        page: Relative to the checkout.
        number: Among the page's runnable blocks, from 1.
        language: "python" or "bash".
        code: With stand-ins in it.
        why_not: Why it is not run; empty if it is.
    """

    page: str
    number: int
    language: str
    code: str
    why_not: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [match for match in _BLOCK.finditer(text) if match["language"] in _RUNNABLE]
    return [_block(page, number, match) for number, match in enumerate(found, start=1)]


def _block(page: Path, number: int, match: re.Match[str]) -> Block:
    comment, code = match["comment"] or "", match["code"]
    if comment.startswith("tested with "):
        for this, that in _STAND_IN.findall(comment):
            assert that in code, f"{page}, block {number}: {that!r} is to be replaced and is not there"
            code = code.replace(that, this)
    why_not = comment.removeprefix("not run: ") if comment.startswith("not run: ") else ""
    return Block(page.relative_to(ROOT).as_posix(), number, match["language"], code, why_not)


def as_installed(code: str) -> str:
    """Changed for sentence-transformers 5, where that is installed, as docs and examples say that one should."""
    is_old = find_spec("sentence_transformers") and not find_spec("sentence_transformers.sentence_transformer")
    return code.replace("sentence_transformers.sentence_transformer.", "sentence_transformers.") if is_old else code


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Blocks of a page share their names, as in one session."""
    exec(compile(as_installed(block.code), f"{block.page}, block {block.number}", "exec"), names)


def run_shell(block: Block) -> None:
    """Each command in this process where it is one of ours: torch is there already."""
    for command in _commands(block.code):
        words = shlex.split(command, comments=True)
        accepted = {0, *map(int, re.findall(r"exit status (\d)", command))}
        assert _run(words, command) in accepted, f"{block.page}, block {block.number}: {command}"


def _commands(code: str) -> Iterator[str]:
    joined = code.replace("\\\n", " ")
    yield from (line for line in joined.splitlines() if line.strip() and not line.startswith("#"))


def _run(words: list[str], command: str) -> int:
    if ">" in words:
        words = words[: words.index(">")]
    match words:
        case ["embviz", *given] | ["python", "visualize_embeddings.py", *given]:
            return int(import_module("embviz_callback.cli").main(_quicker(given)))
        case ["python", "train_script.py", *given]:
            import_module("train_script").main(given)
            return 0
        case ["python", "-m", module, *given]:
            return subprocess.run([sys.executable, "-W", "ignore", "-m", module, *given], check=False).returncode
        case ["python", script, *given] if (ROOT / script).exists():
            return subprocess.run([sys.executable, "-W", "ignore", ROOT / script, *given], check=False).returncode
        case ["make", target]:
            return subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=False, capture_output=True).returncode
        case ["pip", "install", *wanted]:
            return 0 if all(map(_can_be_asked_for, wanted)) else 1
    raise AssertionError(f"nobody knows how to run {command!r} in a test; say why not in a comment before the block")


def _quicker(given: list[str]) -> list[str]:
    """Without maps, which take the longest and are drawn in other tests."""
    has_maps = given[0].startswith("-") or given[0] in ("compare", "analyse")
    return [*given, "--skip-tsne", "--skip-umap"] if has_maps else given


def _can_be_asked_for(wanted: str) -> bool:
    """Whether an extra of ours exists; the tests install nothing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, _, extras = wanted.removesuffix("]").partition("[")
    known = [re.split(r"[<>=\[]", each)[0] for each in project["dependencies"]]
    for each in project["optional-dependencies"].values():
        known += [re.split(r"[<>=\[]", one)[0] for one in each]
    if name not in ("embviz-callback", "."):
        return name in known
    return all(extra in project["optional-dependencies"] for extra in extras.split(",") if extra)
