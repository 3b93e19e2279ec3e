"""`embviz selfcheck`: the user's own training, a few steps with and without the callback, compared by hash."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.process.training_side import this_python
from embviz_callback.files import read_json
from embviz_callback.grammar import counted
from embviz_callback.pairs.check.raw import read_raw

_FITS = ("without the callback", "without the callback, again", "with the callback")
_NAMED = 3
_FIT = "embviz_callback.commands.selfcheck_fit"


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done, 3 if the callback changes something, 1 if the training differs from itself."""
    _check_options(options)
    told = _compare(options, terminal)
    sys.stdout.write(json.dumps(told, ensure_ascii=False, indent=1) + "\n" if options.json else _described(told))
    return int(told["status"])


def _check_options(options: argparse.Namespace) -> None:
    place, _, name = options.factory.rpartition(":")
    if not place or not name:
        raise UsageError(f"FACTORY must be path/file.py:function or module:function, got {options.factory!r}")
    if place.endswith(".py") and not Path(place).is_file():
        raise UsageError(f"{place}: there is no such file. Fix: check the path")
    read_raw(options.data)


def _compare(options: argparse.Namespace, terminal: Terminal) -> dict[str, Any]:
    """Exit status, what can be concluded, by group the names whose hashes differ, and how much was done."""
    bar = terminal.bar("selfcheck") or (lambda done, total: None)
    fits: list[dict[str, Any]] = []
    differing: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="embviz-selfcheck-") as folder:
        while len(fits) < len(_FITS) and not any(differing.values()):
            bar(len(fits), len(_FITS))
            fits.append(_run(options, Path(folder), _FITS[len(fits)], is_with=len(fits) == len(_FITS) - 1))
            differing = _differing(fits[0]["groups"], fits[-1]["groups"])
    bar(len(_FITS), len(_FITS))
    facts = {"steps": fits[0]["steps"], "evaluations": fits[-1]["evaluations"]}
    status, sentence = _conclusion(len(fits) == len(_FITS), [name for name, names in differing.items() if names], facts)
    return {"status": status, "sentence": sentence, "differing": differing, **facts}


def _conclusion(is_with: bool, changed: list[str], facts: dict[str, int]) -> tuple[int, str]:
    if not is_with:
        return 1, (
            "Two fits without the callback already differ: this training is not deterministic by itself, so nothing"
            " can be concluded about the callback. Try --deterministic, or --accelerator cpu."
        )
    seen = f"in {counted(facts['steps'], 'step')} with {counted(facts['evaluations'], 'evaluation')}"
    if not changed:
        return 0, f"The callback changes nothing {seen}: every hash is the same."
    return 3, (
        f"The training is not the same with the callback, {seen}: {', '.join(changed)}."
        " Look first at what the module's encode changes."
    )


def _run(options: argparse.Namespace, folder: Path, name: str, *, is_with: bool) -> dict[str, Any]:
    own = Path(tempfile.mkdtemp(dir=folder))
    places = {"folder": str(own), "result": str(own / "result.json")}
    request = {**vars(options), "name": name, "is_with": is_with, **places}
    # The order of a set of texts depends on it, and would differ between two processes.
    environment = {"PYTHONHASHSEED": str(options.seed)} | os.environ
    try:
        command = [this_python(), "-m", _FIT, json.dumps(request)]
    except OSError as error:
        raise UsageError(f"a fit needs a process of its own, and {error}") from None
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    if not (own / "result.json").exists():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
        raise UsageError(f"the fit {name} ended with exit status {done.returncode}: {last}")
    told: dict[str, Any] = read_json(own / "result.json")
    if "error" in told:
        raise UsageError(told["error"])
    return told


def _differing(one: dict[str, dict[str, str]], other: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    return {
        group: [name for name in one[group] | other[group] if one[group].get(name) != other[group].get(name)]
        for group in one
    }


def _described(told: dict[str, Any]) -> str:
    """For a reader: a table of groups, then the sentence."""
    lines = [f"{'group':<24}{'with and without' if told['status'] != 1 else 'twice without'}"]
    for group, names in told["differing"].items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        shown = f"different: {', '.join(names[:_NAMED])}{more}" if names else "same"
        lines.append(f"{group:<24}{shown}")
    return "\n".join([*lines, "", told["sentence"], ""])
