"""`embviz power`: how many queries it takes to see a difference between two models."""

import argparse

from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.verdict.power import discordance, planned, queries_needed, smallest_difference
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.ending import write_out
from embviz_callback.commands.kept_runs import kept_snapshots, run_at
from embviz_callback.commands.looking import look_at
from embviz_callback.commands.request import reading_of, request_from
from embviz_callback.commands.terminal import Terminal, quietly
from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.pairs.subset import Subset, choose_subset

_PART = "of the data's {of:,} queries the {asked:,} that --max-samples leaves are"


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    if not 0 < options.difference <= 1:
        raise UsageError(f"--difference must be above 0 and at most 1, got {options.difference:g}")
    if options.discordance is not None and not 0 <= options.discordance <= 1:
        raise UsageError(f"--discordance must lie from 0 to 1, got {options.discordance:g}")
    if sum(given is not None for given in (options.discordance, options.run, options.checkpoint)) > 1:
        raise UsageError("give one of --discordance, --run and --checkpoint")
    with quietly():
        measured = _measured(options, terminal)
        subset = None if options.data is None else _subset(options)
    has = [] if subset is None else [_has(subset, measured)]
    write_out("\n".join([*_lines(options.difference, measured), *has]) + "\n")
    return 0


def _measured(options: argparse.Namespace, terminal: Terminal) -> float | None:
    """The discordance; None where nobody knows it."""
    if options.run is not None:
        kept = kept_snapshots(run_at(options.run))
        kept = [one for one in kept if one.subset.fingerprint == kept[-1].subset.fingerprint]
        if len(kept) < 2:
            raise UsageError(f"--run: expected two evaluations of one subset in {options.run}, found {len(kept)}")
        first, last = (one.metrics.per_query for one in kept[-2:])
    elif options.checkpoint is not None:
        if options.data is None:
            raise UsageError("--checkpoint needs --data, the pairs on which the two are held against each other")
        options.corpus = None
        first, last = (look.snapshot.metrics.per_query for look in look_at(request_from(options), terminal))
    else:
        return None if options.discordance is None else float(options.discordance)
    assert first is not None
    assert last is not None
    return discordance(first, last)


def _subset(options: argparse.Namespace) -> Subset:
    """The queries that an evaluation of the data would ask."""
    pairs = read_pairs(options.data, reading_of(options))
    return choose_subset(pairs.records, max_samples=options.max_samples, seed=options.seed)


def _lines(difference: float, measured: float | None) -> list[str]:
    points = f"{100 * difference:g} point{'' if difference == 0.01 else 's'} of rank-1"
    if measured is not None:
        if measured < difference:
            return [f"two models that disagree on {100 * measured:.1f} % of the queries cannot differ by {points}"]
        n = queries_needed(difference, measured)
        return [f"{points} at a discordance of {100 * measured:.1f} %: {counted(n, 'query')}, each on its own"]
    rows = [
        ("discordance", "queries"),
        *((f"{100 * one:g} %", "cannot be" if n is None else f"{n:,}") for one, n in planned(difference)),
    ]
    are = "is" if difference == 0.01 else "are"
    return [
        f"{points} {are} found in 80 % of comparisons with so many queries, each on its own:",
        *(f"  {one:<13}{n}" for one, n in rows),
    ]


def _has(subset: Subset, measured: float | None) -> str:
    sampling = Sampling.of(subset.relevance, len(subset.queries))
    n_groups, is_chained = sampling.n_groups, sampling.is_chained
    at = 0.10 if measured is None else measured
    least = smallest_difference(n_groups, at)
    found = "no difference" if least != least else f"differences from {100 * least:.1f} points on"
    kind = "group" if is_chained else "independent group"
    more = ", more where they hang together by shared documents" if is_chained else ""
    asked = len(subset.queries)
    have = "the data have" if asked == subset.n_available else _PART.format(asked=asked, of=subset.n_available)
    return f"{have} {counted(n_groups, kind)} of queries, which show {found} at {100 * at:.1f} %{more}"
