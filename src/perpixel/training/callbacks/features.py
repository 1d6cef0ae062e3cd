"""The features of a frozen encoder, computed before training instead of at every step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import disk_usage
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from perpixel.training.callbacks.watchdog import Watchdog
from perpixel.training.protocols import CachingData, FrozenModel

log = logging.getLogger(__name__)

FOLDER = "features"


class CacheFeatures(pl.Callback):
    """Computes what a frozen encoder makes of all views of the training samples, and of the validation samples.

    They lie in the run directory until training ends; a resumed run computes them again, to the same values. Only a
    training in one process does so: several ranks compute features at every step.

    Args:
        data: gives the samples, and takes their features.
        run: the run directory.
        draw: (batch, path) → None, for the picture of the first batch, which no step sees any more.
    """

    def __init__(self, data: CachingData, run: Path, draw: Callable[[Mapping[str, Any], Path], None]) -> None:
        self.data = data
        self.run = run
        self.draw = draw
        self._started = 0.0
        self._drawn = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fill the cache; after a rollback it is full already.

        Raises:
            ValueError: there is not enough room on the disk; says how much is needed.
        """
        if trainer.world_size > 1:
            log.warning("features are cached in a training of one process only: these ranks compute them at every step")
            return
        watchdogs = [one for one in trainer.callbacks if isinstance(one, Watchdog)]  # type: ignore[attr-defined]

        def encode(batch: Mapping[str, Any]) -> list[Tensor]:
            for watchdog in watchdogs:
                watchdog.alive()
            return self._encode(trainer, pl_module, batch)

        self._started = time.monotonic()
        count = self.data.cache_features(encode, self.run / FOLDER / "features.bin", self._check_room)
        if count:
            # Lightning has asked for the training loader already, when it counted steps for the schedule.
            trainer.fit_loop._combined_loader = None
            seconds = time.monotonic() - self._started
            log.info("features of %s views and validation samples computed in %.0f s", f"{count:,}", seconds)

    def _encode(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Mapping[str, Any]) -> list[Tensor]:
        ready = trainer.strategy.batch_to_device(batch, module.device)  # normalised there, by the data's own hook
        if not self._drawn and not (picture := self.run / "first_batch.png").exists():
            self.draw(ready, picture)
        self._drawn = True
        model: Any = module.model
        assert isinstance(model, FrozenModel)
        order = torch.channels_last if module.channels_last else torch.contiguous_format
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            return list(model.features(ready["image"].contiguous(memory_format=order)))

    def _check_room(self, needed: int) -> None:
        """Called once, when the size of all features is known from the first batch's."""
        free = disk_usage(self.run).free
        log.info("the encoder is frozen: its features, %s MB, are computed once", f"{needed / 1e6:,.0f}")
        if needed > free:
            raise ValueError(
                f"the features of data.views={self.data.views} views take {needed / 1e9:.1f} GB, and '{self.run}' has "
                f"{free / 1e9:.1f} GB left. Take fewer views or smaller crops (data.size), or compute features at "
                "every step: training.cache_features=false."
            )

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the file."""
        self.data.forget_features()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Remove the file."""
        self.data.forget_features()
