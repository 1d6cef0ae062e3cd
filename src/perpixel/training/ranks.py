"""What ranks must agree on before they act: one of them alone in a collective call waits for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch.distributed


def any_rank(trainer: pl.Trainer, flag: bool) -> bool:
    """Whether the flag is up in any rank; all of them must call."""
    return flag if trainer.world_size == 1 else bool(trainer.strategy.reduce_boolean_decision(flag, all=False))


def from_all_ranks(trainer: pl.Trainer, value: Any) -> Sequence[Any]:
    """The value of each rank, by rank; all of them must call."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(values, value)
    return values
