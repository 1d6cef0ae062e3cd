"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class EMA(WeightAveraging):
    """Averages the weights after every optimiser step; validation, checkpoints and the saved model use the average.

    The decay warms up as min(decay, (1 + n) / (10 + n)) over the updates n = 0, 1, 2 …, so that a short run is not an
    average of its initial weights. The rule is that of TensorFlow's ExponentialMovingAverage with ``num_updates=n``,
    and three things differ from it. The first update (n = 0) copies the weights, where TensorFlow keeps a tenth of the
    initial ones. The updates are counted here, one an optimiser step, where TensorFlow takes the count from its caller.
    And batch-norm statistics are averaged with the weights (integer buffers are copied), where TensorFlow averages the
    variables it is given, usually the trainable ones.

    Lightning's own EMA callback updates tensor by tensor; this one hands all of them to the multi-tensor kernels at
    once.

    Args:
        decay: share of the old average that is kept at each update, in 0…1.

    Raises:
        ValueError: the decay lies outside 0…1.
    """

    def __init__(self, decay: float) -> None:
        if not 0.0 < decay < 1.0:
            raise ValueError(
                f"training.ema_decay={decay}: the decay lies between 0 and 1 (0.999 is usual); null switches EMA off."
            )
        super().__init__(multi_avg_fn=self._average)
        self.decay = decay
        self.updates = 0
        self._swapped = False

    def _average(self, averaged: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int) -> None:
        """Called once per device and dtype; counting in Python spares a host synchronisation for torch's counter."""
        if averaged[0].is_floating_point() or averaged[0].is_complex():
            decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
            torch._foreach_lerp_(list(averaged), list(current), 1.0 - decay)
        else:
            torch._foreach_copy_(list(averaged), list(current))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Update after a batch that ended an optimiser step."""
        before = self._latest_update_step
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self.updates += self._latest_update_step > before

    def weights(self, pl_module: Any) -> dict[str, Tensor]:
        """The averaged state of the module, by its own names."""
        assert self._average_model is not None
        averaged = pl_module if self._swapped else self._average_model.module
        return dict(averaged.state_dict())

    @contextmanager
    def swapped_in(self, pl_module: Any) -> Iterator[None]:
        """The module holds the average for a while."""
        self._swap_models(pl_module)
        try:
            yield
        finally:
            self._swap_models(pl_module)

    def _swap_models(self, pl_module: Any) -> None:
        super()._swap_models(pl_module)
        self._swapped = not self._swapped

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Averages under ``state_dict``, raw weights under ``current_model_state``.

        A run that is told to stop during validation saves while the two are swapped: they go back for that moment.
        """
        if not self._swapped:
            return super().on_save_checkpoint(trainer, pl_module, checkpoint)
        self._swap_models(pl_module)
        try:
            checkpoint["state_dict"] = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}
            super().on_save_checkpoint(trainer, pl_module, checkpoint)
            checkpoint["state_dict"] = {name: tensor.clone() for name, tensor in checkpoint["state_dict"].items()}
        finally:
            self._swap_models(pl_module)
        return None

    def state_dict(self) -> dict[str, Any]:
        """The number of updates goes on after a resume."""
        return {**super().state_dict(), "updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See ``state_dict``."""
        super().load_state_dict(state_dict)
        self.updates = state_dict["updates"]
