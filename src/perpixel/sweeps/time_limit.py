"""An end to a sweep that is set beforehand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class TimeLimit:
    """Whether the time is over."""

    over: bool = False


@contextmanager
def time_limit(hours: float | None) -> Iterator[TimeLimit]:
    """Send this process a SIGTERM after so many hours: a training takes it as the sign to write its state and leave.

    It waits on the system's monotonic clock, so that setting the time of day changes nothing.
    """
    limit = TimeLimit()
    if hours is None:
        yield limit
        return

    def end() -> None:
        limit.over = True
        os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Timer(hours * 3600, end)
    timer.daemon = True
    timer.start()
    try:
        yield limit
    finally:
        timer.cancel()
