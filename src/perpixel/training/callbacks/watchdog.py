"""Ending a training that hangs, so that somebody can resume it."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing.process
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl

from perpixel.training.signals import handled
from perpixel.workers import marked

log = logging.getLogger(__name__)

GRACE_S = 5.0
"""How much longer this waits than collective calls and file reads, which end with an exception that names the cause."""

REAP_S = 5.0
"""How long killed workers are waited for. One that is stuck in the kernel (a dead drive) dies when that lets it go."""


def end_workers() -> None:
    """Kill this process's data workers, sleeping ones too, and none of its other children."""
    workers = marked()
    # torch's handler of SIGCHLD would raise for each of them, in place of the error that is being told
    with handled(signal.SIGCHLD, by=lambda *_: None):
        for worker in workers:
            worker.kill()
        end = time.monotonic() + REAP_S
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
    for worker in workers:
        if worker.is_alive():
            multiprocessing.process._children.discard(worker)  # type: ignore[attr-defined]  # else joined at exit


class Watchdog(pl.Callback):
    """Ends the process when for ``timeout_s`` no batch, of training, validation or test, began or ended.

    For hangs that raise nothing: a driver, a lock, a file on a dead drive. A thread looks, says where every thread
    stands and leaves with exit code 1; where the interpreter itself is stuck, ``faulthandler``'s own thread, which
    needs none, does so a little later.

    Args:
        timeout_s: seconds.
        on_hang: called with the message before the process ends.
    """

    def __init__(self, timeout_s: float, on_hang: Callable[[str], None] = lambda told: None) -> None:
        self.timeout_s = timeout_s + GRACE_S
        self.on_hang = on_hang
        self._last = 0.0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begin to watch."""
        self._done.clear()
        self.alive()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stop watching."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stop watching; kill the workers of a broken loader, which Python would join at exit, even sleeping ones."""
        self._stop()
        told = str(exception)
        if "DataLoader" in told and not told.startswith("Caught "):  # what a worker itself raises breaks nothing
            end_workers()

    def _stop(self) -> None:
        """Wait for the thread before its alarm is taken back: it may be just about to set it."""
        self._done.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def alive(self, *_: Any, **__: Any) -> None:
        """Called when something went on."""
        self._last = time.monotonic()

    on_train_batch_start = on_train_batch_end = alive
    on_validation_batch_start = on_validation_batch_end = alive
    on_test_batch_start = on_test_batch_end = on_test_epoch_start = on_test_epoch_end = alive
    on_train_epoch_start = on_train_epoch_end = on_validation_epoch_start = on_validation_epoch_end = alive

    def _watch(self) -> None:
        interval = min(self.timeout_s / 10, 20.0)
        while not self._done.wait(interval):
            faulthandler.dump_traceback_later(self.timeout_s + GRACE_S, exit=True, file=sys.__stderr__ or sys.stderr)
            if time.monotonic() - self._last > self.timeout_s:
                self._end()

    def _end(self) -> None:
        told = (
            f"nothing has moved for {self.timeout_s:.0f} s (training.timeout_s): this process hangs and is ended. "
            "Where each thread stands is shown above. Go on with resume=<run directory>; if a step or a validation "
            "batch may take that long, allow more."
        )
        faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
        log.error(told)
        self.on_hang(told)
        os._exit(1)
