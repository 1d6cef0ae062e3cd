"""A loss (let in by ``PERPIXEL_PLUGINS=experiments``) whose import times every state that this process writes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from perpixel.losses import Dice
from perpixel.training.callbacks import Checkpoints

_save = Checkpoints.save


class TimedDice(Dice):
    """Dice as it is."""


def _timed(checkpoints: Checkpoints, trainer: Any) -> None:
    """Rank 0 adds a line of seconds to the file that ``STATE_SECONDS`` names."""
    began = time.perf_counter()
    _save(checkpoints, trainer)
    if trainer.is_global_zero:
        with Path(os.environ["STATE_SECONDS"]).open("a", encoding="utf-8") as file:
            file.write(f"{time.perf_counter() - began}\n")


Checkpoints.save = _timed  # type: ignore[method-assign]
