"""Tracking that can cost a training nothing: whatever the service does, calls return at once and nothing is raised."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger

from perpixel.tracking.call_queue import CallQueue
from perpixel.tracking.loggers import RunIdentity, Tracker

log = logging.getLogger(__name__)


class BackgroundTracker(Tracker):
    """Another tracker, whose faults are logged once and whose calls are made in the background.

    Args:
        tracker: the one that does the work.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.timeout_s = tracker.timeout_s
        self._courier = CallQueue(type(tracker).__name__)

    def start(self, run: RunIdentity) -> Logger:
        """The logger of one run; of a service that cannot be started, one that does nothing.

        Raises:
            ValueError: the configuration is at fault (a missing package, say).
        """
        try:
            return BackgroundLogger(self.tracker.start(run), self._courier)
        except ValueError:
            raise
        except Exception as error:
            log.warning(
                "logger: %s cannot be started (%s: %s). Training goes on; metrics.jsonl in the run directory has "
                "everything.",
                self._courier.service,
                type(error).__name__,
                error,
            )
            return DummyLogger()

    def pictures(self, pictures: Mapping[str, Path]) -> None:
        self._courier.send("logging pictures", lambda: self.tracker.pictures(pictures))

    def finish(self, failed: bool) -> None:
        """The run is over. Waits for the service, but not for ever."""
        self._courier.send("closing the run", lambda: self.tracker.finish(failed))
        if not self._courier.close(2 * self.timeout_s):
            log.warning("logger: %s has not taken everything within its time: %s", self._courier.service, self.mend())

    def mend(self) -> str:
        return self.tracker.mend()


class BackgroundLogger(Logger):
    """A Lightning logger whose calls go through a courier."""

    def __init__(self, logger: Logger, courier: CallQueue) -> None:
        super().__init__()
        self._logger = logger
        self._courier = courier

    @property
    def name(self) -> str | None:
        return self._logger.name

    @property
    def version(self) -> int | str | None:
        return self._logger.version

    @property
    def save_dir(self) -> str | None:
        return self._logger.save_dir

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        told = dict(metrics)
        self._courier.send("logging scores", lambda: self._logger.log_metrics(told, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._courier.send("logging hyperparameters", lambda: self._logger.log_hyperparams(params, *args, **kwargs))

    def save(self) -> None:
        self._courier.send("saving", self._logger.save)

    def finalize(self, status: str) -> None:
        self._courier.send("finalising", lambda: self._logger.finalize(status))
