"""Where scores go besides the run directory: each choice of ``logger=`` makes a Lightning logger for one run."""

from __future__ import annotations

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perpixel.tracking.connectivity import silence

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunIdentity:
    """How a tracked run is called.

    Attributes:
        directory: the run directory.
        name: what tells it from its siblings.
        group: the sweep it belongs to, None for a single run.
        config: the resolved config.
        resumed_at: optimiser steps behind the state that it goes on from, None for a new one.
        id: what no other run is called, kept when the run is resumed or its directory moved; None: made of the path.
    """

    directory: Path
    name: str
    group: str | None
    config: Mapping[str, Any]
    resumed_at: int | None = None
    id: str | None = None


class Tracker(ABC):
    """A tracking service. Only rank 0 talks to it, through ``perpixel.tracking.background_tracker``.

    Attributes:
        timeout_s: how long its start and its end may take, each.
    """

    timeout_s: float = 20.0

    @abstractmethod
    def start(self, run: RunIdentity) -> Logger:
        """The logger of one run.

        Raises:
            ValueError: the service's package is not installed; the message says what to install.
        """

    def pictures(self, pictures: Mapping[str, Path]) -> None:  # noqa: B027 - a service need not take pictures
        """Log PNG files by title."""

    def finish(self, failed: bool) -> None:  # noqa: B027 - most services have nothing to close
        """The run is over."""

    def mend(self) -> str:
        """What to do where the service did not take everything."""
        return "metrics.jsonl in the run directory has everything."


class Csv(Tracker):
    """``csv/metrics.csv`` in the run directory: ``metrics.jsonl`` as a table, a column a name and a row an epoch."""

    def start(self, run: RunIdentity) -> Logger:
        from perpixel.tracking.table import TableLogger

        return TableLogger(run.directory / "metrics.jsonl", run.directory / "csv" / "metrics.csv")


class TensorBoard(Tracker):
    """TensorBoard event files in ``tensorboard/`` of the run directory (``pip install 'perpixel[tensorboard]'``)."""

    def start(self, run: RunIdentity) -> Logger:
        require("tensorboard")
        from lightning.pytorch.loggers import TensorBoardLogger

        self._logger = TensorBoardLogger(
            run.directory, name="tensorboard", version="", default_hp_metric=False, purge_step=run.resumed_at
        )
        return self._logger

    def pictures(self, pictures: Mapping[str, Path]) -> None:
        import numpy as np
        from PIL import Image

        for title, path in pictures.items():
            self._logger.experiment.add_image(title, np.asarray(Image.open(path).convert("RGB")), dataformats="HWC")


class WandB(Tracker):
    """Weights & Biases (``pip install 'perpixel[wandb]'``): one run per job, grouped by sweep.

    Without an API key the run is kept offline in the run directory; ``wandb sync`` sends it later. A run's id is drawn
    from its full path and the time it was started, and kept in its manifest: runs that are named alike stay apart, and
    a resumed run goes on as the same one, wherever its directory has been moved.

    W&B keeps its own log on disk in either mode. Where its server does not answer in time, the run goes on offline; at
    the end the upload gets as long again, and what is left can be sent with ``wandb sync``.

    Args:
        project: W&B project.
        entity: W&B team or user; None for the key's own.
        mode: online, offline or disabled; None for online with a key and offline without.
        timeout_s: how long the start may wait for the server, and the end for the upload.

    Raises:
        ValueError: an unknown mode, or a time that is not positive.
    """

    def __init__(
        self,
        project: str = "perpixel",
        entity: str | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
        timeout_s: float = 20.0,
    ) -> None:
        if timeout_s <= 0:
            raise ValueError(f"logger.timeout_s={timeout_s}: give the seconds that may be waited for the server.")
        self.project, self.entity, self.timeout_s = project, entity, timeout_s
        self._run: Any = None
        self.mode = mode or ("online" if os.environ.get("WANDB_API_KEY") else "offline")

    def start(self, run: RunIdentity) -> Logger:
        require("wandb")
        from lightning.pytorch.loggers import WandbLogger

        self._run = self._online(run) if self.mode == "online" else self._init(run, self.mode)
        return WandbLogger(experiment=self._run, save_dir=run.directory)

    def _online(self, run: RunIdentity) -> Any:
        """An online run, or an offline one where the server stays silent or refuses."""
        import wandb

        reason = silence(wandb.setup().settings.base_url, self.timeout_s)
        try:
            if reason is None:
                return self._init(run, "online")
        except Exception as error:  # W&B's own kinds, and whatever its service process may raise
            reason = f"{type(error).__name__}: {error}"
        self._run = self._init(run, "offline")
        log.warning("logger: the W&B server cannot be used (%s). The run is kept offline; %s", reason, self.mend())
        return self._run

    def _init(self, run: RunIdentity, mode: str) -> Any:
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            mode=mode,  # type: ignore[arg-type]
            dir=run.directory,
            id=identifier(run),
            name=run.name,
            group=run.group,
            resume="allow",
            config=dict(run.config),
            reinit="finish_previous",
            settings=wandb.Settings(
                init_timeout=self.timeout_s, login_timeout=self.timeout_s, finish_timeout=self.timeout_s
            ),
        )

    def pictures(self, pictures: Mapping[str, Path]) -> None:
        import wandb

        self._run.log({title: wandb.Image(str(path)) for title, path in pictures.items()})

    def finish(self, failed: bool) -> None:
        """Mark the run finished, or failed."""
        if self._run is None:
            return
        began = time.monotonic()
        self._run.finish(exit_code=int(failed))
        if time.monotonic() - began >= self.timeout_s:
            log.warning("logger: the W&B server did not take everything within its time: %s", self.mend())

    def mend(self) -> str:
        """The command that sends a run's local log; without the switch it passes over runs that were once online."""
        directory = getattr(getattr(self._run, "settings", None), "sync_dir", None)
        return f"send it later with: wandb sync --include-online {directory}" if directory else super().mend()


def identifier(run: RunIdentity) -> str:
    """What a run is called in a service: the same whenever it goes on."""
    return run.id or new_identifier(run.directory, "")


def new_identifier(directory: Path, moment: str) -> str:
    """An id for a run that starts at a moment in a directory: 16 hexadecimal digits."""
    import hashlib

    return hashlib.sha256(f"{directory.resolve()} {moment}".encode()).hexdigest()[:16]


def require(package: str) -> None:
    """Refuse a logger whose package is not installed.

    Raises:
        ValueError: says what to install.
    """
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ValueError(f"logger={package} needs the package {package}: pip install 'perpixel[{package}]'.")
