"""`embviz selfcheck`: the user's own training, a few steps with and without the callback, compared by hash."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.process.training_side import this_python
from embviz_callback.files import read_json
from embviz_callback.grammar import counted
from embviz_callback.pairs.check.raw import read_raw

_NAMED = 3
_FIT = "embviz_callback.commands.selfcheck_fit"


@dataclass(frozen=True)
class Outcome:
    """What the comparison of the runs says.

    Attributes:
        status: The exit status that goes with it.
        sentence: What can be concluded.
        differing: By group, the names whose hashes differ; an empty list for a group that is the same.
        facts: Steps of each run, and evaluations in the run with the callback (0 if there was none).
    """

    status: int
    sentence: str
    differing: dict[str, list[str]]
    facts: dict[str, int]


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done, 3 if the callback changes something, 1 if the training differs from itself."""
    _check_options(options)
    outcome = _compare(options, terminal)
    if options.json:
        told = {"status": outcome.status, "sentence": outcome.sentence, "differing": outcome.differing} | outcome.facts
        sys.stdout.write(json.dumps(told, ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.write(describe(outcome))
    return outcome.status


def _check_options(options: argparse.Namespace) -> None:
    place, _, name = options.factory.rpartition(":")
    if not place or not name:
        raise UsageError(f"FACTORY must be path/file.py:function or module:function, got {options.factory!r}")
    if place.endswith(".py") and not Path(place).is_file():
        raise UsageError(f"{place}: there is no such file. Fix: check the path")
    read_raw(options.data)


def _compare(options: argparse.Namespace, terminal: Terminal) -> Outcome:
    bar = terminal.bar("selfcheck") or (lambda done, total: None)
    with tempfile.TemporaryDirectory(prefix="embviz-selfcheck-") as folder:
        bar(0, 3)
        without = _run(options, Path(folder), "without the callback", is_with=False)
        bar(1, 3)
        control = _run(options, Path(folder), "without the callback, again", is_with=False)
        bar(2, 3)
        differing = _differing(without["groups"], control["groups"])
        facts = {"steps": without["steps"], "evaluations": 0}
        if any(differing.values()):
            sentence = (
                "Two fits without the callback already differ: this training is not deterministic by itself, so nothing"
                " can be concluded about the callback. Try --deterministic, or --accelerator cpu."
            )
            bar(3, 3)
            return Outcome(1, sentence, differing, facts)
        watched = _run(options, Path(folder), "with the callback", is_with=True)
        bar(3, 3)
    differing = _differing(without["groups"], watched["groups"])
    changed = [group for group, names in differing.items() if names]
    facts["evaluations"] = watched["evaluations"]
    seen = f"in {counted(facts['steps'], 'step')} with {counted(facts['evaluations'], 'evaluation')}"
    if changed:
        sentence = (
            f"The training is not the same with the callback, {seen}: {', '.join(changed)}."
            " Look first at what the module's encode changes."
        )
        return Outcome(3, sentence, differing, facts)
    return Outcome(0, f"The callback changes nothing {seen}: every hash is the same.", differing, facts)


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


def describe(outcome: Outcome) -> str:
    """The outcome for a reader: a table of groups, then the sentence.

    Args:
        outcome: Of the comparison.

    Returns:
        Lines of text.
    """
    lines = [f"{'group':<24}{'with and without' if outcome.status != 1 else 'twice without'}"]
    for group, names in outcome.differing.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        shown = f"different: {', '.join(names[:_NAMED])}{more}" if names else "same"
        lines.append(f"{group:<24}{shown}")
    return "\n".join([*lines, "", outcome.sentence, ""])
