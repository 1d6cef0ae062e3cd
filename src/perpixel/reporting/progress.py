"""How far a long job is: a bar on a terminal, a line from time to time elsewhere."""

from __future__ import annotations

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

EVERY_S = 10.0
"""Seconds between two lines."""


class ImageProgress:
    """Counts images, with images/s and the time that is left.

    Args:
        total: images in all.
        every_s: seconds between two lines where there is no terminal.
    """

    def __init__(self, total: int, every_s: float = EVERY_S) -> None:
        self.total = total
        self.every_s = every_s
        self.done = 0
        self._start = self._told = time.monotonic()
        console = Console()
        self._bar = None
        if console.is_terminal:
            self._bar = Progress(
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total, speed="")

    def __enter__(self) -> ImageProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self) -> None:
        """One more image is done."""
        self.done += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, speed=f"{self.speed:.3g} images/s")
            return
        now = time.monotonic()
        if now - self._told >= self.every_s:
            self._told = now
            log.info("%s", self)

    @property
    def speed(self) -> float:
        """Images per second since the start."""
        return self.done / max(time.monotonic() - self._start, 1e-9)

    def __str__(self) -> str:
        left = (self.total - self.done) / max(self.speed, 1e-9)
        return f"{self.done}/{self.total} images, {self.speed:.3g} images/s, {in_words(left)} left"


def in_words(seconds: float) -> str:
    """A time as ``42 s``, ``3 min`` or ``2 h 5 min``."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
