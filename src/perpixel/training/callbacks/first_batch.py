"""A picture of what the network is really fed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl


class FirstBatch(pl.Callback):
    """Draws the first augmented training batch.

    Args:
        path: PNG to write.
        draw: (batch, path) → None.
    """

    def __init__(self, path: Path, draw: Callable[[Mapping[str, Any], Path], None]) -> None:
        self.path = path
        self.draw = draw

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Once per run directory: a resumed run keeps the picture it has."""
        if trainer.is_global_zero and batch_idx == 0 and not self.path.exists():
            self.draw(batch, self.path)
