"""Losses and gradients that are not finite end a training before they are saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from perpixel.training.ranks import from_all_ranks

SMALLEST_SCALE = 2.0**-14
"""Thirty infinite gradients in a row below where loss scalers start (2^16)."""


@dataclass
class Step:
    """What went into one optimiser step.

    Attributes:
        number: the step, counted from 1.
        epoch: 0-based.
        batches: their indices in the epoch; several, with accumulation.
        names: the samples of this rank.
        finite: scalar bool tensors on the device, read later.
    """

    number: int
    epoch: int
    batches: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    finite: list[Tensor] = field(default_factory=list)


class NonFinite(RuntimeError):
    """A loss or gradient was NaN or infinite.

    Attributes:
        step: the first such step.
        names: the samples that went into it, of all ranks.
    """

    def __init__(self, step: Step, names: Sequence[str]) -> None:
        self.step = step
        self.names = list(names)
        super().__init__(
            f"the loss or a gradient was NaN or infinite at step {step.number} (epoch {step.epoch}). Samples of that "
            f"step: {', '.join(self.names)}. Nothing of it was saved. A lower optimizer.lr, a longer "
            f"scheduler.warmup_steps, trainer.gradient_clip_val=1 or trainer.precision=bf16-mixed in place of 16-mixed "
            f"often cures it; training.on_nan=rollback goes back to the last checkpoint and trains on other samples in "
            f"that step's place."
        )


class FiniteGuard(pl.Callback):
    """Looks at the loss and the gradients' norm of every step; reads what it saw every few steps, before every
    validation and before every checkpoint, so that a GPU need not wait for the host in between.

    With float16 and a loss scaler, infinite gradients are how it finds its scale: only the loss counts then, and
    a scale that has fallen so far that every step must have been skipped for a while.

    Args:
        every_n_steps: optimiser steps between two readings.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._steps: list[Step] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note what this batch gave."""
        stepped = not trainer.fit_loop._should_accumulate()
        number = trainer.global_step + (0 if stepped else 1)
        if not self._steps or self._steps[-1].number != number:
            self._steps.append(Step(number, trainer.current_epoch))
        step = self._steps[-1]
        step.batches.append(batch_idx)
        step.names += batch["name"]
        step.finite.append(torch.isfinite(outputs["loss"].detach()))
        if stepped:
            if getattr(trainer.precision_plugin, "scaler", None) is None:
                step.finite.append(torch.isfinite(_gradient_norm(pl_module)))
            if len(self._steps) >= self.every_n_steps:
                self.check(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Broken weights are not worth scoring."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.check(trainer)

    def check(self, trainer: pl.Trainer) -> None:
        """Read what the steps since the last reading gave; every rank must call.

        Raises:
            NonFinite: one of them was not finite.
        """
        steps, self._steps = self._steps, []
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if steps and scaler is not None and scaler.get_scale() < SMALLEST_SCALE:
            steps[-1].finite.append(torch.zeros((), dtype=torch.bool, device=steps[-1].finite[0].device))
        first = next((step for step in steps if not torch.stack(step.finite).all()), None)
        found = [step for step in from_all_ranks(trainer, _plain(first)) if step is not None]
        if found:
            step = min(found, key=lambda step: step.number)
            names = from_all_ranks(trainer, [n for s in steps if s.number == step.number for n in s.names])
            raise NonFinite(step, [name for rank in names for name in rank])


def _plain(step: Step | None) -> Step | None:
    """Without tensors of a device."""
    return None if step is None else Step(step.number, step.epoch, step.batches, step.names)


def _gradient_norm(module: torch.nn.Module) -> Tensor:
    """One number that is not finite if any gradient is not (or is so large that its square overflows)."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)
