"""Pictures of predictions beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch

# (batch, index in the batch, predicted labels (H, W)) → None
Draw = Callable[[Mapping[str, Any], int, torch.Tensor], None]


class Overlays(pl.Callback):
    """Draws validation samples evenly spread over the split: the same ones in every run of a sweep.

    Args:
        count: how many.
        total: samples in the split, over all ranks.
        draw: draws one sample.
    """

    def __init__(self, count: int, total: int, draw: Draw) -> None:
        count = min(count, total)
        self.positions = {round((i + 0.5) * total / count - 0.5) for i in range(count)} if count else set()
        self.draw = draw
        self._seen = 0

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from the first sample."""
        self._seen = 0

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the chosen samples; rank r of R holds samples r, r + R, … of the split."""
        for index in range(len(batch["mask"])):
            position = (self._seen + index) * trainer.world_size + trainer.global_rank
            if position in self.positions:
                self.draw(batch, index, outputs[index])
        self._seen += len(batch["mask"])
