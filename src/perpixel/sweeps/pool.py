"""Jobs as processes forked from this one, which has imported everything: as many at a time as there are slots.

A fork is sound as long as this process has used neither a GPU nor threads of torch; it only waits and draws the table.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from perpixel.sweeps.shares import Slot

FORK = multiprocessing.get_context("fork")
REFRESH_S = 1.0
GRACE_S = 120.0
"""For a step and a checkpoint of each job, once they are told to stop."""

PR_SET_PDEATHSIG = 1  # linux/prctl.h


_REPLACED: list[Any] = []
"""Streams of the process before the fork: once forgotten they would close the numbers that their successors use."""


@dataclass(frozen=True)
class Work:
    """A job to be run.

    Attributes:
        name: for people.
        run: its run directory.
        call: does it, in its own process; gives its score, None where another process has it.
    """

    name: str
    run: Path
    call: Callable[[], float | None]


@dataclass(frozen=True)
class Outcome:
    """How a job's process ended.

    Attributes:
        score: what the job gave; NaN where its process died.
        died: of what, None where it came to its end.
        seconds: how long it took.
    """

    score: float | None
    died: str | None
    seconds: float


@dataclass
class Running:
    """A job's process."""

    work: Work
    slot: Slot
    process: Any
    told: Connection
    began: float = field(default_factory=time.monotonic)


class Watcher(Protocol):
    """Is told what happens."""

    def started(self, work: Work) -> None:
        """A job's process was started."""

    def ended(self, work: Work, outcome: Outcome) -> None:
        """It ended."""

    def refresh(self, running: Sequence[Running]) -> None:
        """A moment has passed."""


def run_all(
    slots: Sequence[Slot],
    next_work: Callable[[], Work | None],
    ended: Callable[[Work, Outcome], None],
    watcher: Watcher,
) -> None:
    """Keep every slot busy until there is no more work; a job that dies harms no other.

    Whatever ends this (a signal, say) stops the jobs first: each writes its state.

    Args:
        slots: places for jobs.
        next_work: asked whenever a slot is free; None where nothing is left for now.
        ended: told of every end before the slot is filled again.
        watcher: shows it.
    """
    free, running = list(slots), list[Running]()
    try:
        while True:
            while free and (work := next_work()) is not None:
                running.append(_start(work, free.pop(0)))
                watcher.started(work)
            if not running:
                return
            wait([one.process.sentinel for one in running], timeout=REFRESH_S)
            for one in [one for one in running if not one.process.is_alive()]:
                running.remove(one)
                free.append(one.slot)
                outcome = _outcome(one)
                watcher.ended(one.work, outcome)
                ended(one.work, outcome)
            watcher.refresh(running)
    except BaseException:
        _stop(running)
        raise


def aside(call: Callable[[], object]) -> None:
    """Do something in a process of its own, so that this one can still be forked."""
    process = FORK.Process(target=call)
    process.start()
    process.join()


def _start(work: Work, slot: Slot) -> Running:
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_job, args=(work, slot, theirs, os.getpid()), name=work.name)
    sys.stdout.flush()
    process.start()
    theirs.close()
    return Running(work, slot, process, ours)


def _job(work: Work, slot: Slot, told: Connection, parent: int) -> None:
    os.setpgid(0, 0)  # Ctrl-C goes to the sweep, which tells each job once: a second signal would stop it at once
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the sweep is gone")
    import torch

    os.environ.update(slot.environment())
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    _redirect(work.run / "console.log")
    told.send(work.call())


def _redirect(path: Path) -> None:
    """Several jobs on one screen cannot be read: each has a file of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _REPLACED.extend([sys.stdin, sys.stdout, sys.stderr])
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, "w" if number else "r", buffering=1, closefd=False) for number in range(3)
    )


def _outcome(one: Running) -> Outcome:
    one.process.join()
    seconds = time.monotonic() - one.began
    with suppress(EOFError, OSError), one.told:
        if one.told.poll():
            return Outcome(one.told.recv(), None, seconds)
    code = one.process.exitcode
    died = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return Outcome(math.nan, died, seconds)


def _stop(running: Sequence[Running]) -> None:
    """Have the jobs write their states; a second signal meanwhile, or the end of ``GRACE_S``, kills them."""
    try:
        for one in running:
            one.process.terminate()
        end = time.monotonic() + GRACE_S
        for one in running:
            one.process.join(max(0.0, end - time.monotonic()))
    finally:
        for one in running:
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
