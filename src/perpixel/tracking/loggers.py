"""Where scores go besides the run directory: each choice of ``logger=`` makes a Lightning logger for one run."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


@dataclass(frozen=True)
class RunIdentity:
    """How a tracked run is called.

    Attributes:
        directory: the run directory.
        name: what tells it from its siblings.
        group: the sweep it belongs to, None for a single run.
        config: the resolved config.
    """

    directory: Path
    name: str
    group: str | None
    config: Mapping[str, Any]


class Tracker(ABC):
    """A tracking service. Only rank 0 talks to it."""

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


class Csv(Tracker):
    """``csv/metrics.csv`` in the run directory."""

    def start(self, run: RunIdentity) -> Logger:
        from lightning.pytorch.loggers import CSVLogger

        return CSVLogger(run.directory, name="csv", version="")


class TensorBoard(Tracker):
    """TensorBoard event files in ``tensorboard/`` of the run directory (``pip install 'perpixel[tensorboard]'``)."""

    def start(self, run: RunIdentity) -> Logger:
        _require("tensorboard")
        from lightning.pytorch.loggers import TensorBoardLogger

        self._logger = TensorBoardLogger(run.directory, name="tensorboard", version="", default_hp_metric=False)
        return self._logger

    def pictures(self, pictures: Mapping[str, Path]) -> None:
        import numpy as np
        from PIL import Image

        for title, path in pictures.items():
            self._logger.experiment.add_image(title, np.asarray(Image.open(path).convert("RGB")), dataformats="HWC")


class WandB(Tracker):
    """Weights & Biases (``pip install 'perpixel[wandb]'``): one run per job, grouped by sweep.

    Without an API key the run is kept offline in the run directory; ``wandb sync`` sends it later. A run's id follows
    from its directory, so a resumed run goes on as the same one.

    Args:
        project: W&B project.
        entity: W&B team or user; None for the key's own.
        mode: online, offline or disabled; None for online with a key and offline without.
    """

    def __init__(self, project: str = "perpixel", entity: str | None = None, mode: str | None = None) -> None:
        self.project, self.entity = project, entity
        self.mode = mode or ("online" if os.environ.get("WANDB_API_KEY") else "offline")

    def start(self, run: RunIdentity) -> Logger:
        _require("wandb")
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,  # type: ignore[arg-type]
            dir=run.directory,
            id=_identifier(run),
            name=run.name,
            group=run.group,
            resume="allow",
            config=dict(run.config),
            reinit="finish_previous",
        )
        return WandbLogger(experiment=self._run, save_dir=run.directory)

    def pictures(self, pictures: Mapping[str, Path]) -> None:
        import wandb

        self._run.log({title: wandb.Image(str(path)) for title, path in pictures.items()})

    def finish(self, failed: bool) -> None:
        """Mark the run finished, or failed."""
        self._run.finish(exit_code=int(failed))


def _identifier(run: RunIdentity) -> str:
    import hashlib

    key = f"{run.group}/{run.directory.name}"
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _require(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ValueError(f"logger={package} needs the package {package}: pip install 'perpixel[{package}]'.")
