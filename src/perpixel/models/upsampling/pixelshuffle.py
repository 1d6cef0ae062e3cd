"""Upsampling by moving channels into space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from perpixel.models.upsampling.base import Upsampler, Upsampling


@torch.no_grad()
def icnr_(weight: Tensor, scale: int = 2) -> Tensor:
    """Fill a (C·scale², C_in, k, k) weight so that each output pixel's scale² sub-pixels begin equal.

    ICNR, Aitken et al. 2017. The C distinct filters are drawn to keep the variance: N(0, 1 / fan_in).
    """
    filters = torch.empty_like(weight[:: scale**2])
    nn.init.normal_(filters, std=filters[0].numel() ** -0.5)
    weight.unflatten(0, (-1, scale**2)).copy_(filters.unsqueeze(1))  # repeated without a copy of its own
    return weight


class PixelShuffle2x(Upsampler):
    """2× upsampling that moves channels into space (Shi et al. 2016).

    A 1×1 convolution turns C_in channels into 4·C_out, which are laid out as 2×2 pixels. Its weights start as ICNR
    (Aitken et al. 2017): the four sub-pixels begin equal, so the untrained layer is nearest upsampling of a 1×1
    convolution and shows no checkerboard.

    Shapes: (B, C_in, H, W) → (B, C_out, 2H, 2W).
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.expand = skip_init(nn.Conv2d, channels, 4 * out_channels, kernel_size=1)
        icnr_(self.expand.weight, scale=2)
        nn.init.zeros_(self.expand.bias)

    def forward(self, features: Tensor) -> Tensor:
        return F.pixel_shuffle(self.expand(features), upscale_factor=2)


@dataclass(frozen=True)
class PixelShuffle(Upsampling):
    """Sub-pixel convolution, ICNR-initialised."""

    def make(self, channels: int, out_channels: int | None = None) -> PixelShuffle2x:
        return PixelShuffle2x(channels, out_channels or channels)
