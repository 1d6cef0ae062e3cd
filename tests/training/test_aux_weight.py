"""The auxiliary heads' share of the training loss."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from perpixel.labels import LabelSpace
from perpixel.losses import Loss
from perpixel.losses.pixels import Pixels
from perpixel.models import SegmentationOutput
from perpixel.training.module import SegmentationModule


class WithAux(nn.Module):
    """Logits of 0, and two auxiliary ones of 1 and 3."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.aux_weight = weight
        self.level = nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> SegmentationOutput:
        zeros = self.level * torch.zeros(len(images), 2, *images.shape[-2:])
        return SegmentationOutput(zeros + 5, (zeros + 1, zeros + 3))


class MeanLogit(Loss):
    """A loss whose value is plain to see."""

    def measure(self, pixels: Pixels) -> torch.Tensor:
        return pixels.logits.mean()


@pytest.mark.parametrize(("weight", "total"), [(0.0, 5.0), (0.4, 5.8), (1.0, 7.0)])
def test_the_mean_auxiliary_loss_is_added_with_its_weight(weight: float, total: float, monkeypatch) -> None:
    module = SegmentationModule(WithAux(weight), MeanLogit(), LabelSpace(("sky", "road"), ((0, 0, 0), (9, 9, 9))))
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(module, "_progress", lambda: 0.0)  # it belongs to no trainer
    batch = {"image": torch.zeros(2, 3, 4, 4), "mask": torch.zeros(2, 4, 4, dtype=torch.long)}
    found = module.training_step(batch, 0)
    assert found["loss"].item() == pytest.approx(total)
    assert found["logged"]["train/loss/aux"].item() == pytest.approx(2.0)
    assert found["logged"]["train/loss"].item() == pytest.approx(total)
