"""Reading that takes too long ends with the sample's name: a dead network drive never answers, and never fails."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from perpixel.config.errors import UserFacingError

BACKSTOP_S = 5.0
"""How much longer the loader waits for a worker than the worker for a file: whoever notices first knows the name."""

SILENT = "(data.timeout_s), and there is no sign of what it reads: is its drive still there?"


class DataLost(UserFacingError):
    """Samples do not arrive any more; the message says why and what to do."""


def reading(name: str, seconds: float | None) -> str:
    """What is told of a sample that takes too long."""
    return (
        f"reading the sample '{name}' has not ended within data.timeout_s={seconds}: is its drive still there? If it "
        "is only slow, give it more time, or set data.source.cache=true."
    )


@contextmanager
def at_most(seconds: float | None, told: Callable[[], str]) -> Iterator[None]:
    """Break off the block after so many seconds, even while it waits for a file.

    By SIGALRM, which interrupts a read: so in the main thread only, which is where loaders and their workers read. In
    other threads, and with None, the block takes as long as it takes.

    Args:
        seconds: greater than 0.
        told: what to say then.

    Raises:
        DataLost: time is up.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(*_: object) -> None:
        raise DataLost(told())

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def explained(error: RuntimeError) -> DataLost | None:
    """What errors of loader workers mean; None where they say it themselves."""
    text = str(error)
    if "DataLoader" not in text:
        return None
    if isinstance(error, DataLost):  # a worker's own, under the traceback that torch puts before it
        return DataLost(text.rpartition("DataLost: ")[2].strip())
    if killed := re.search(r"worker \(pid\(?s?\)? [\d, ]+\) (is killed by signal: \w+|exited unexpectedly)", text):
        return DataLost(
            f"a data {killed.group()}. Nobody but the system does that, mostly because memory ran out: take fewer "
            "workers (data.num_workers), smaller batches or images, or allow more memory. The training can go on with "
            "resume=<its directory>."
        )
    if timed := re.search(r"timed out after [\d.]+ seconds", text):
        return DataLost(f"a data worker {timed.group()} {SILENT}")
    return None
