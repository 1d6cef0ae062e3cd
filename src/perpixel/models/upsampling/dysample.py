"""Upsampling that looks where to sample: DySample."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from perpixel.models.upsampling.base import Upsampler, Upsampling


class DySample2x(Upsampler):
    """2× upsampling by sampling at learned, content-aware points (Liu et al. 2023, "LP" style with static scope).

    A 1×1 convolution predicts, for each of the 2×2 output pixels of an input pixel and each channel group, how far from
    its own place to sample bilinearly, in input pixels: offset = 0.25·conv(x) + the place's own offset (±0.25). The
    convolution starts near zero, so the untrained layer is bilinear interpolation.

    No feature map is copied, with two exceptions that come with ``grid_sample``. It takes one set of points per image,
    so groups are sampled as images: in ``channels_last`` their channels lie apart and are gathered first (one copy of
    the input, none with one group), and the result is contiguous as ``grid_sample`` writes it. And it takes features
    and points of one dtype: maps of half precision go through float32, for half-precision coordinates would be whole
    pixels off on wide maps.

    Shapes: (B, C_in, H, W) → (B, C_out, 2H, 2W).
    """

    def __init__(self, channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.project = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, kernel_size=1)
        self.groups = gcd(groups, out_channels)
        self.offset = skip_init(nn.Conv2d, out_channels, 2 * self.groups * 4, kernel_size=1)
        nn.init.normal_(self.offset.weight, std=0.001)
        nn.init.zeros_(self.offset.bias)
        self.register_buffer("places", initial_places(self.groups), persistent=False)

    places: Tensor

    def forward(self, features: Tensor) -> Tensor:
        features = self.project(features)
        batch, channels, height, width = features.shape
        offset = F.pixel_shuffle(self.offset(features) * 0.25 + self.places, upscale_factor=2)
        grid = sampling_grid(offset.unflatten(1, (self.groups, 2)), height, width)
        grouped = features.reshape(batch * self.groups, channels // self.groups, height, width)
        sampled = F.grid_sample(
            grouped.to(grid.dtype), grid.flatten(0, 1), mode="bilinear", padding_mode="border", align_corners=False
        )
        return sampled.to(features.dtype).reshape(batch, channels, 2 * height, 2 * width)


def initial_places(groups: int) -> Tensor:
    """Offsets of the four output pixels' centres from their input pixel's, laid out for ``pixel_shuffle``.

    Returns:
        (1, groups·2·4, 1, 1): per group x then y, each for the sub-pixels (0,0), (0,1), (1,0), (1,1).
    """
    x = torch.tensor([-0.25, 0.25, -0.25, 0.25])
    y = torch.tensor([-0.25, -0.25, 0.25, 0.25])
    return torch.cat([x, y]).repeat(groups).reshape(1, -1, 1, 1)


def sampling_grid(offset: Tensor, height: int, width: int) -> Tensor:
    """Offsets from each output pixel's input pixel → coordinates for ``grid_sample`` (−1…1, ``align_corners=False``).

    Args:
        offset: (B, groups, 2, 2H, 2W), x then y, in input pixels, in any memory format.

    Returns:
        (B, groups, 2H, 2W, 2), contiguous, at least float32.
    """
    offset = offset.to(torch.promote_types(offset.dtype, torch.float32))
    rows = torch.arange(2 * height, device=offset.device).div(2, rounding_mode="floor")
    columns = torch.arange(2 * width, device=offset.device).div(2, rounding_mode="floor")
    x = (offset[:, :, 0] + columns + 0.5) * (2 / width) - 1
    y = (offset[:, :, 1] + rows[:, None] + 0.5) * (2 / height) - 1
    return torch.stack([x, y], dim=-1)


@dataclass(frozen=True)
class DySample(Upsampling):
    """Dynamic upsampling by point sampling, in plain PyTorch.

    Args:
        groups: channel groups with offsets of their own (fewer where they do not divide the channels).

    Raises:
        ValueError: there is no group.
    """

    groups: int = 4

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise ValueError(f"decoder.groups={self.groups}: there is at least one group of channels.")

    def make(self, channels: int, out_channels: int | None = None) -> DySample2x:
        return DySample2x(channels, out_channels or channels, self.groups)
