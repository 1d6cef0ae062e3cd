from __future__ import annotations

import torch
from torchmetrics.classification import MulticlassCalibrationError

from perpixel.labels import LabelSpace
from perpixel.metrics import Calibration

SPACE = LabelSpace(("a", "b", "c"), ((0, 0, 0),) * 3)


def test_ece_is_torchmetrics() -> None:
    ours, theirs = Calibration(SPACE), MulticlassCalibrationError(3, n_bins=15, norm="l1", ignore_index=255)
    for seed in range(3):
        rng = torch.Generator().manual_seed(seed)
        logits, target = torch.randn(2, 3, 17, 9, generator=rng) * 2, torch.randint(0, 3, (2, 17, 9), generator=rng)
        target[0, :3] = 255
        ours.update(logits, target)
        theirs.update(logits, target)
    torch.testing.assert_close(ours.compute()["ECE"].float(), theirs.compute(), rtol=1e-5, atol=1e-6)


def test_reliability_is_the_diagram() -> None:
    metric = Calibration(SPACE, bins=2)
    logits = torch.tensor([[9.0, 0, 0], [9.0, 0, 0], [0.1, 0.0, 0.0], [9.0, 0, 0]]).t().view(1, 3, 1, 4)
    metric.update(logits, torch.tensor([[[0, 1, 1, 255]]]))
    diagram = metric.reliability()
    torch.testing.assert_close(diagram.share, torch.tensor([1 / 3, 2 / 3]).double())
    torch.testing.assert_close(diagram.accuracy, torch.tensor([0.0, 0.5]).double())
    assert metric.compute()["ECE"] > 0.4


def test_without_pixels_it_is_nan() -> None:
    assert Calibration(SPACE).reliability().ece.isnan()
