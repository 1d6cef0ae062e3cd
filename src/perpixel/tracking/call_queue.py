"""Calls to a tracking service, made in a thread of their own: whoever has something to tell never waits."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""Calls that may wait; a service that is further behind than this loses the newest."""


class CallQueue:
    """Makes calls one after the other, in the order they were sent.

    An exception of a call is logged, the first of its kind only, and never raised.

    Args:
        service: its name, for messages.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._calls: queue.Queue[tuple[str, Callable[[], Any]] | None] = queue.Queue(MOST_WAITING)
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._deliver, name=f"courier to {service}", daemon=True)
        self._thread.start()

    def send(self, what: str, call: Callable[[], Any]) -> None:
        """Have a call made soon; returns at once.

        Args:
            what: the call in words, for the message if it fails.
            call: takes nothing; what it returns is dropped.
        """
        try:
            self._calls.put_nowait((what, call))
        except queue.Full:
            self._tell(
                "full", f"{self.service} is {MOST_WAITING:,} calls behind: some of the log will be missing there."
            )

    def close(self, timeout_s: float) -> bool:
        """Wait until all calls are made, but no longer than ``timeout_s``; whether they are."""
        try:
            self._calls.put(None, timeout=timeout_s)
        except queue.Full:
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _deliver(self) -> None:
        while (waiting := self._calls.get()) is not None:
            what, call = waiting
            try:
                call()
            except Exception as error:  # whatever a service's client may raise: the training goes on
                self._tell(
                    type(error).__name__,
                    f"{self.service}: {what} failed ({type(error).__name__}: {error}). Training goes on; metrics.jsonl "
                    "in the run directory has everything. Further failures of this kind are not shown.",
                )

    def _tell(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            log.warning(message)
