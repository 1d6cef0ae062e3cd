"""Signals that ask a training to stop, taken where it can."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 143}
"""128 + the signal's number; SIGUSR1 is how clusters announce SIGTERM, and ends the same way."""

ECHOING = ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID")
"""Environment variables of processes that may get one signal twice: a rank from the system and from its launcher, which
passes it on; a cluster's job from Slurm and from the srun above it."""

ECHO_S = 2.0
"""There, the same signal so soon is not a second one."""


class Interrupted(SystemExit):
    """Training stopped on a signal; the exit code is the signal's."""

    def __init__(self, signum: int) -> None:
        super().__init__(EXIT_CODES[signal.Signals(signum)])
        self.signum = signum

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name}"


class Signals:
    """What to do with a signal: leave at once, or, while steps are made, note it and leave at the next step boundary.

    Attributes:
        deferred: whether signals are only noted.
        received: the one that was noted, 0 for none.
    """

    def __init__(self) -> None:
        self.deferred = False
        self.received = 0
        self._at = 0.0

    def handle(self, signum: int, _: Any) -> None:
        """The handler; it does nothing that could hang or be cut in half."""
        if not self.deferred:
            raise Interrupted(signum)
        if not self.received:
            self.received, self._at = signum, time.monotonic()
        elif not self._is_echo(signum):
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)

    def _is_echo(self, signum: int) -> bool:
        again = signum == self.received and time.monotonic() - self._at <= ECHO_S
        return again and any(name in os.environ for name in ECHOING)


@contextmanager
def handle_signals() -> Iterator[Signals]:
    """Handle SIGTERM, SIGINT and SIGUSR1 in here, and as before behind it.

    Outside the main thread (of a notebook's executor, say) Python allows no handlers; signals do what they did.
    """
    signals = Signals()
    with handled(*EXIT_CODES, by=signals.handle):
        yield signals


@contextmanager
def handled(*signums: int, by: Callable[[int, Any], Any]) -> Iterator[None]:
    """Handle signals in here, and as before behind it.

    Left alone are all of them outside the main thread, and those that a library handles from C: Python could not give
    such a handler back.
    """
    ours = threading.current_thread() is threading.main_thread()
    before = {signum: handler for signum in signums if ours and (handler := signal.getsignal(signum)) is not None}
    try:
        for signum in before:
            signal.signal(signum, by)
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
