"""`embviz check`: what is wrong with a file of pairs, before a GPU sees it."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from embviz_callback.commands.request import extract_of, reading_of, rule_of
from embviz_callback.commands.terminal import Terminal
from embviz_callback.files import write_atomically
from embviz_callback.grammar import counted
from embviz_callback.pairs.check.checkup import KINDS, Demands, check
from embviz_callback.pairs.check.findings import NOTE, Checkup, Finding
from embviz_callback.pairs.check.mending import Mended, mend
from embviz_callback.pairs.check.raw import Place, RawPairs, raw_records, read_raw
from embviz_callback.pairs.formats.writing import as_text
from embviz_callback.pairs.problems import DataError
from embviz_callback.pairs.weight_rule import WeightRule

_EXAMPLES = 3
_WIDTH = 110
_DEFAULT_COMPARE = ("district", "price")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done, 3 with ``--strict`` where something is wrong or suspect."""
    _check_options(options)
    reading = reading_of(options)
    source = read_raw(options.data, reading)
    validation = read_raw(options.val, reading) if options.val else None
    rule = rule_of(options)
    found = check(source, validation, _demands(options, rule))
    checkup = replace(found, findings=tuple(one for one in found.findings if one.kind not in options.ignore))
    mended = _fix(options, source, validation, rule) if options.fix else None
    if options.json:
        plain = checkup.as_dict() | ({"fix": _fix_facts(options.fix, mended)} if mended else {})
        sys.stdout.write(json.dumps(plain, ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.write(describe(checkup))
        sys.stdout.write(_describe_fix(options.fix, mended) if mended else "")
    if not checkup.is_usable and mended is None:
        nothing = next(one.name for one in checkup.files if not one.usable)
        raise DataError(f"{nothing}: no record can be used. Fix: see the findings; --fix OUT mends what can be mended")
    return 3 if options.strict and not checkup.is_clean else 0


def _check_options(options: argparse.Namespace) -> None:
    if options.drop_leaks and not (options.fix and options.val):
        raise DataError("--drop-leaks needs --fix and --val. Fix: give both, or leave it out")
    for kind in options.ignore:
        if kind not in KINDS:
            raise DataError(f"--ignore: there is no finding {kind!r}; there are {', '.join(sorted(KINDS))}")
    for name in ("data", "val"):
        path = getattr(options, name)
        if options.fix and path and Path(options.fix).resolve() == Path(path).resolve():
            raise DataError(f"--fix: {options.fix} is --{name} itself. Fix: choose another file to write")


def _demands(options: argparse.Namespace, rule: WeightRule) -> Demands:
    compare = options.compare.split(",") if options.compare else _DEFAULT_COMPARE
    return Demands(
        batch_size=options.batch_size,
        rule=rule,
        extract=extract_of(options),
        compare=tuple(column.strip() for column in compare),
        reach=_TokenReach(options.encoder, options.max_length) if options.encoder else None,
    )


class _TokenReach:
    """How far into a text an encoder reads, told by its tokenizer.

    Args:
        name: Hub name or local directory.
        max_length: Most tokens that are read; None for what the tokenizer says.

    Raises:
        DataError: If the tokenizer cannot be loaded or cannot tell which characters a token covers.
    """

    def __init__(self, name: str, max_length: int | None = None) -> None:
        from transformers import AutoTokenizer  # takes seconds to import

        where = str(Path(name).expanduser()) if Path(name).expanduser().exists() else name
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(where)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0][:200]
            raise DataError(
                f"encoder {name!r}: its tokenizer cannot be loaded ({reason}). Fix: check the name"
            ) from None
        if not self._tokenizer.is_fast:
            raise DataError(f"encoder {name!r}: its tokenizer keeps no offsets. Fix: check without --encoder")
        own = int(self._tokenizer.model_max_length)
        self.max_length = min(max_length or own, own)

    def __call__(self, texts: Sequence[str]) -> Sequence[tuple[int, int]]:
        """Per text its length in tokens and how many of its characters are read."""
        rows = self._tokenizer(list(texts), return_offsets_mapping=True, add_special_tokens=True, verbose=False)
        return [
            (len(ids), self._read(text, offsets))
            for text, ids, offsets in zip(texts, rows["input_ids"], rows["offset_mapping"], strict=True)
        ]

    def _read(self, text: str, offsets: Sequence[tuple[int, int]]) -> int:
        if len(offsets) <= self.max_length:
            return len(text)
        # Special tokens have the offsets (0, 0) and take places of their own.
        n_special = sum(1 for start, end in offsets if start == end)
        words = [end for start, end in offsets if end > start]
        return words[max(self.max_length - n_special, 0) - 1] if self.max_length > n_special else 0


def _fix(options: argparse.Namespace, source: RawPairs, validation: RawPairs | None, rule: WeightRule) -> Mended:
    held_out: list[str] = []
    if options.drop_leaks and validation is not None:
        seen = raw_records(validation)
        held_out = [text for raw in seen for text in (raw.query, *(text for _, text in raw.positives)) if text]
    mended = mend(source, rule=rule, held_out=held_out)
    if not mended.items:
        raise DataError(f"{source.name}: no record would be left. Fix: correct the file by hand")
    out = Path(options.fix)
    write_atomically(out, as_text(out, mended.items))
    changes = json.dumps([asdict(change) for change in mended.changes], ensure_ascii=False, indent=1)
    write_atomically(_changes_path(options.fix), changes + "\n")
    return mended


def _changes_path(out: str) -> Path:
    return Path(f"{out}.changes.json")


def _fix_facts(out: str, mended: Mended) -> dict[str, Any]:
    counts = Counter(change.kind for change in mended.changes)
    return {"path": out, "records": len(mended.items), "changes": dict(counts), "list": str(_changes_path(out))}


def _describe_fix(out: str, mended: Mended) -> str:
    facts = _fix_facts(out, mended)
    done = ", ".join(f"{count:,} {kind}" for kind, count in facts["changes"].items()) or "nothing to mend"
    return f"\nWrote {out} with {counted(len(mended.items), 'record')} ({done}); every change is in {facts['list']}\n"


def describe(checkup: Checkup) -> str:
    """The checkup for a reader: what it looked at, each finding with examples, a last line that sums up.

    Args:
        checkup: What was found.

    Returns:
        Lines of text.
    """
    lines = [
        f"{one.name}: {counted(one.records, 'record')}, {counted(one.queries, 'query')},"
        f" {counted(one.documents, 'document')}, {counted(one.hard_negatives, 'hard negative')}"
        for one in checkup.files
    ]
    lines += [f"note: {note}" for note in checkup.notes]
    for finding in checkup.findings:
        lines += ["", *_finding_lines(finding, several=len(checkup.files) > 1)]
    return "\n".join([*lines, "", *_batch_lines(checkup), "", _summary(checkup), ""])


def _finding_lines(finding: Finding, *, several: bool) -> list[str]:
    by_file = Counter(place.file for place in finding.places)
    where = ", ".join(f"{count:,} in {name}" for name, count in by_file.items()) if several else ""
    head = f"{finding.level.upper():8}{len(finding.places):,} {finding.title} [{finding.kind}]"
    lines = [head, *([f"        {where}"] if where else [])]
    lines += [_place_line(place) for place in finding.places[:_EXAMPLES]]
    if len(finding.places) > _EXAMPLES:
        lines.append(f"          and {len(finding.places) - _EXAMPLES:,} more")
    return [*lines, f"        Fix: {finding.fix}"]


def _place_line(place: Place) -> str:
    # repr, since what is wrong may be white space or invisible.
    shown = repr(place.text if len(place.text) <= _WIDTH else place.text[: _WIDTH - 1] + "…")
    text = f": {shown}" if place.text else ""
    other = f" ({place.other})" if place.other else ""
    return f"          {place.file}[{place.record - 1}]{place.field} (record {place.record:,}){text}{other}"


def _batch_lines(checkup: Checkup) -> list[str]:
    found = checkup.collisions
    if not found.expected + found.expected_hard:
        batch = counted(found.batch_size, "pair")
        return [f"A batch of {batch} holds no false negatives: no text that answers one of them stands in another."]
    return [
        f"A batch of {counted(found.batch_size, 'pair')} holds {found.expected:.2f} false negatives on average"
        f" (and {found.expected_hard:.2f} among the hard negatives);",
        f"{found.anchors:.1f} of its queries ({found.share:.1%}) meet at least one. A loss that does not mask equal"
        " texts pushes them away from a right answer.",
    ]


def _summary(checkup: Checkup) -> str:
    levels = Counter(finding.level for finding in checkup.findings)
    if checkup.is_clean:
        return f"Nothing wrong ({counted(levels[NOTE], 'note')})."
    wrong = counted(levels["wrong"], "kind[s] of finding [are|is] wrong")
    return f"{wrong}, {levels['suspect']} suspect, {counted(levels[NOTE], 'note')}."
