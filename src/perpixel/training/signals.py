"""Signals that ask a training to stop, taken where it can."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 143}
"""128 + the signal's number; SIGUSR1 is how clusters announce SIGTERM, and ends the same way."""

ECHO_S = 2.0
"""A cluster signals a rank and its parent, which passes the signal on: the same signal so soon is not a second one."""


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
        elif signum != self.received or time.monotonic() - self._at > ECHO_S:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)


@contextmanager
def taken_over() -> Iterator[Signals]:
    """Handle SIGTERM, SIGINT and SIGUSR1 in here, and as before behind it.

    Outside the main thread (of a notebook's executor, say) Python allows no handlers; signals do what they did.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {signum: signal.signal(signum, signals.handle) for signum in EXIT_CODES}
    try:
        yield signals
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
