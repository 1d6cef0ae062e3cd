"""Multiply–accumulates against a count by hand."""

from __future__ import annotations

import torch
from torch import nn

from perpixel.analysis.shapes.graph import count_macs


def test_convolutions_are_counted_and_the_mode_is_kept() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 5, 1, bias=False)).train()
    assert count_macs(model, torch.rand(2, 3, 10, 12)) == 2 * 10 * 12 * (3 * 8 * 9 + 8 * 5)
    assert model.training
