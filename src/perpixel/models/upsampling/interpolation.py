"""Upsampling without weights: bilinear and nearest interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from perpixel.models.upsampling.base import Upsampler, Upsampling


class Interpolate2x(Upsampler):
    """2× interpolation on pixel areas (``align_corners=False``: positions do not depend on the size of the image).

    Where the number of channels changes, a 1×1 convolution comes first: it commutes with interpolation (whose weights
    sum to one), and at the lower resolution it costs a quarter.

    Shapes: (B, C_in, H, W) → (B, C_out, 2H, 2W).
    """

    def __init__(self, channels: int, out_channels: int, mode: Literal["bilinear", "nearest"]) -> None:
        super().__init__()
        self.project = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, kernel_size=1)
        self.mode = mode

    def forward(self, features: Tensor) -> Tensor:
        return F.interpolate(self.project(features), scale_factor=2.0, mode=self.mode)

    def extra_repr(self) -> str:
        return f"mode={self.mode}"


@dataclass(frozen=True)
class Bilinear(Upsampling):
    """Bilinear interpolation: smooth, no weights, no checkerboard."""

    def make(self, channels: int, out_channels: int | None = None) -> Interpolate2x:
        return Interpolate2x(channels, out_channels or channels, mode="bilinear")


@dataclass(frozen=True)
class Nearest(Upsampling):
    """Nearest neighbour: every pixel becomes 2×2 equal ones."""

    def make(self, channels: int, out_channels: int | None = None) -> Interpolate2x:
        return Interpolate2x(channels, out_channels or channels, mode="nearest")
