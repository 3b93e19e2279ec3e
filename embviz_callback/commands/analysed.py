"""What `embviz analyse` looks at: checkpoints, saved embeddings or the kept evaluations of a run."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.kept_runs import kept_snapshots, refuse_beside_run, run_at
from embviz_callback.commands.looking import look_at
from embviz_callback.commands.request import extract_of, reading_of, refuse_several_sets, request_from, rule_of
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.run.data_check import without_unkept
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.pairs.check.checkup import Demands, check
from embviz_callback.pairs.check.findings import Checkup
from embviz_callback.pairs.check.raw import RawPairs, read_raw
from embviz_callback.snapshot import Snapshot

if TYPE_CHECKING:
    from embviz_callback.encoding.subject import Subject


@dataclass(frozen=True, eq=False)
class Analysed:
    """Evaluations of one model, and what is known beside them.

    Attributes:
        history: Oldest first, at least one; the last is analysed.
        checkup: What is wrong with the data; None where only saved embeddings are at hand.
        encode: The last one's model, for more documents; None where only embeddings were saved.
        run: That they come from, if they do.
    """

    history: tuple[Snapshot, ...]
    checkup: Checkup | None = None
    encode: Callable[[list[str]], ArrayLike] | None = None
    run: RunFolder | None = None

    @property
    def last(self) -> Snapshot:
        """The evaluation that is analysed."""
        return self.history[-1]


def analysed_by(options: argparse.Namespace, terminal: Terminal) -> Analysed:
    """What the options name.

    Args:
        options: Of `embviz analyse`.
        terminal: Hears what is going on.

    Returns:
        The evaluations.

    Raises:
        UsageError: If an option is missing, has no use here, or what it names cannot be used.
    """
    if (options.run is None) == (not options.checkpoint):
        raise UsageError("give either --checkpoint or --run")
    refuse_several_sets(options)
    if options.run is None and options.epoch is not None:
        raise UsageError("--epoch picks an evaluation of a run; give its folder with --run")
    return _from_run(options) if options.run is not None else _from_checkpoints(options, terminal)


def _checkup(options: argparse.Namespace, own: RawPairs) -> Checkup:
    demands = Demands(extract=extract_of(options), compare=(options.place, "price"), rule=rule_of(options))
    if not options.train:
        return check(own, None, demands)
    return check(read_raw(options.train, replace(reading_of(options), split="train")), own, demands)


def _from_run(options: argparse.Namespace) -> Analysed:
    refuse_beside_run(options)
    run = run_at(options.run)
    kept = kept_snapshots(run)
    epochs = [one.epoch for one in kept]
    if options.epoch is None:
        upto = len(kept)
    elif options.epoch in epochs:
        upto = len(kept) - epochs[::-1].index(options.epoch)
    else:
        there = ", ".join(str(epoch) for epoch in dict.fromkeys(epochs) if epoch is not None)
        raise UsageError(f"--epoch: {run.path} keeps no snapshot of epoch {options.epoch}; there are: {there}")
    history = tuple(kept[:upto])
    pairs = RawPairs("the evaluated pairs", tuple(history[-1].subset.as_file()))
    return Analysed(history, without_unkept(_checkup(options, pairs)), run=run)


def _from_checkpoints(options: argparse.Namespace, terminal: Terminal) -> Analysed:
    # First: what is wrong with the file is worth more than what a model makes of it.
    checkup = None if options.data is None else _checkup(options, read_raw(options.data, reading_of(options)))
    request = request_from(options, rule_of(options))
    history, subject = [], None
    for look in look_at(request, terminal):
        history.append(look.snapshot)
        subject = look.subject
    encode = None if subject is None else partial(_encode, subject, request.settings.batch_size)
    return Analysed(tuple(history), checkup, encode)


def _encode(subject: "Subject", batch_size: int, texts: list[str]) -> ArrayLike:
    from embviz_callback.encoding.encode import encode_texts
    from embviz_callback.encoding.isolation import observe

    side = subject.documents
    with observe(subject.module):
        return encode_texts(side.encode, [side.prompt + text for text in texts], batch_size=batch_size)
