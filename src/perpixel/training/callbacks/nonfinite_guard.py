"""Losses, gradients and weights that are not finite end a training before they are saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from perpixel.config.errors import UserFacingError
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


class NonFinite(UserFacingError):
    """A loss, a gradient or the weights were NaN or infinite.

    Attributes:
        step: the first such step. One without batches was made before this process began: nothing of it is known.
        names: the samples that went into it, of all ranks.
    """

    def __init__(self, step: Step, names: Sequence[str], what: str = "the loss or a gradient was") -> None:
        self.step = step
        self.names = list(names)
        samples = f"Samples of that step: {', '.join(self.names)}. " if names else ""
        super().__init__(
            f"{what} NaN or infinite at step {step.number} (epoch {step.epoch}). {samples}Nothing of it was saved. "
            f"A lower optimizer.lr, a longer scheduler.warmup_steps, trainer.gradient_clip_val=1 or "
            f"trainer.precision=bf16-mixed in place of 16-mixed often cures it; training.on_nan=rollback goes back to "
            f"the last checkpoint and trains on other samples in that step's place."
        )


class NonFiniteGuard(pl.Callback):
    """Looks at the loss and the gradients' norm of every step; reads what it saw every few steps, before every
    validation and before every checkpoint, so that a GPU need not wait for the host in between.

    A step's own loss tells nothing of what its update made of the weights, so they are looked at with each reading, and
    so is every loss of a validation. Gradients are looked at before they are clipped: clipping by value would make
    infinite ones finite.

    With float16 and a loss scaler, infinite gradients are how it finds its scale: only the loss counts then, and
    a scale that has fallen so far that every step must have been skipped for a while.

    Args:
        every_n_steps: optimiser steps between two readings.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._steps: list[Step] = []
        self._last: Step | None = None
        self._gradients: Tensor | None = None
        self._hook: RemovableHandle | None = None
        self._losses: list[Tensor] = []
        self._validated: list[tuple[list[str], Tensor]] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Listen to the loss: the mean that is logged may leave out what is NaN."""
        if stage == "fit" and isinstance(loss := getattr(pl_module, "loss", None), torch.nn.Module):
            self._hook = loss.register_forward_hook(lambda _, inputs, value: self._heard(trainer, value))

    def _heard(self, trainer: pl.Trainer, value: Tensor) -> None:
        if trainer.validating:
            self._losses.append(torch.isfinite(value.detach()).all())

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """The loss outlives this training."""
        if self._hook is not None:
            self._hook.remove()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Lightning tears nothing down then; behind a rollback a new guard listens."""
        self.teardown(trainer, pl_module, "fit")

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """The gradients as they are, not yet clipped."""
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            self._gradients = torch.isfinite(_gradient_norm(pl_module))

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
            if self._gradients is not None:
                step.finite.append(self._gradients)
            if len(self._steps) >= self.every_n_steps:
                self.check(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Broken weights are not worth scoring."""
        if _fits(trainer):
            self._losses, self._validated = [], []
            self.check(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note whose loss it was."""
        if _fits(trainer) and self._losses:
            self._validated.append((list(batch["name"]), torch.stack(self._losses).all()))
            self._losses = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Weights that give no finite loss any more are never the best, whatever their mIoU; every rank must call.

        A score that is undefined (no class has a pixel in the split) is no fault of the weights.

        Raises:
            NonFinite: the loss of a validation batch was not finite.
        """
        if not _fits(trainer):
            return
        validated, self._validated = self._validated, []
        broken = [names for names, finite in validated if not finite]
        found = [name for rank in from_all_ranks(trainer, broken) for names in rank for name in names]
        if found:
            self._raise(trainer, f"the loss of the validation samples {_few(found)} was", self._last)

    def check(self, trainer: pl.Trainer) -> None:
        """Read what the steps since the last reading gave; every rank must call.

        Raises:
            NonFinite: one of them was not finite.
        """
        steps, self._steps = self._steps, []
        self._last = steps[-1] if steps else self._last
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if steps and scaler is not None and scaler.get_scale() < SMALLEST_SCALE:
            steps[-1].finite.append(torch.zeros((), dtype=torch.bool, device=steps[-1].finite[0].device))
        first = next((step for step in steps if not torch.stack(step.finite).all()), None)
        found = [step for step in from_all_ranks(trainer, first and _plain(first)) if step is not None]
        if found:
            step = min(found, key=lambda step: step.number)
            self._raise(trainer, "the loss or a gradient was", step, steps)
        if not all(from_all_ranks(trainer, _has_finite_weights(trainer.lightning_module))):
            self._raise(trainer, "the weights, or their squares, were", self._last)

    def _raise(self, trainer: pl.Trainer, what: str, step: Step | None, steps: Sequence[Step] = ()) -> None:
        step = step or Step(trainer.global_step, trainer.current_epoch)
        own = [name for one in steps or [step] if one.number == step.number for name in one.names]
        names = [name for rank in from_all_ranks(trainer, own) for name in rank]
        raise NonFinite(_plain(step), names, what)


def _fits(trainer: pl.Trainer) -> bool:
    return trainer.state.fn == "fit" and not trainer.sanity_checking


def _plain(step: Step) -> Step:
    """Without tensors of a device."""
    return Step(step.number, step.epoch, step.batches, step.names)


def _few(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _gradient_norm(module: torch.nn.Module) -> Tensor:
    """One number that is not finite if any gradient is not (or is so large that its square overflows)."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def _has_finite_weights(module: torch.nn.Module) -> bool:
    """False also for weights whose squares overflow (beyond 1e19 in float32): nothing they give is finite for long."""
    weights = [parameter.detach() for parameter in module.parameters() if parameter.is_floating_point()]
    return bool(torch.isfinite(torch.nn.utils.get_total_norm(weights)))
