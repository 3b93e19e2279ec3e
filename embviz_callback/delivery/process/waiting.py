"""The end of a training waits for its drawings, and its beginning sets aside what another one left."""

import logging
import time
from functools import partial

from embviz_callback.delivery.guarding import say, say_plainly
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.training_side import Worker
from embviz_callback.grammar import counted

_log = logging.getLogger("embviz_callback")


def wait_for_drawings(worker: Worker, limit_s: float) -> None:
    """Waits, says how long and for how much, and in the end what is left and how to draw it.

    Args:
        worker: Of the run.
        limit_s: Longest wait in seconds.
    """
    begun = time.monotonic()
    worker.poll()
    waited = worker.n_unfinished > 0
    worker.finish(limit_s, partial(_say_progress, limit_s))
    if waited and not worker.n_unfinished:
        failed = len(worker.jobs.names("failed"))
        some = f"{counted(failed, 'evaluation')} could not be drawn, the others are"
        what = some if failed else "all figures are drawn"
        say_plainly(f"{what}, {time.monotonic() - begun:.0f} s after training")
    left = worker.n_unfinished + len(worker.jobs.names("deferred"))
    if left:
        undrawn = counted(left, "evaluation[s] [are|is] not drawn; draw [them|it] with")
        _log.warning("embviz: %s: %s", undrawn, worker.how_to_finish)


def _say_progress(limit_s: float, left: int) -> None:
    waiting = counted(left, "evaluation[s] [are|is]")
    say_plainly(f"training is over, {waiting} still being drawn (at most {limit_s:.0f} s)")


def set_aside_earlier(jobs: Jobs) -> None:
    """Sets aside what an earlier training left undrawn in the same folder, unless another one is drawing it."""
    if jobs.is_served():  # another training is drawing them
        return
    if n_left := jobs.abandon():
        say(f"an earlier run in this folder left {n_left} undrawn; they lie in {jobs.root}/abandoned")
