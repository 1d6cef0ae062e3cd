"""Upsampling by a learned kernel: the transposed convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from perpixel.models.upsampling.base import Upsampler, Upsampling

Init = Literal["interpolation", "random"]


@torch.no_grad()
def nearest_(weight: Tensor) -> Tensor:
    """Fill a (C_in, C_out, 2, 2) stride-2 kernel so that it repeats channel i as 2×2 pixels of channel i.

    Channels beyond the smaller count begin at zero.
    """
    both = torch.arange(min(weight.shape[:2]), device=weight.device)
    weight.zero_()
    weight[both, both] = 1.0
    return weight


@torch.no_grad()
def bilinear_(weight: Tensor) -> Tensor:
    """Fill a (C_in, C_out, 4, 4) stride-2 kernel with bilinear interpolation of channel i to channel i.

    As Long et al. 2015 (FCN, section 4.3) initialise their score upsampling. Channels beyond the smaller count begin at
    zero.
    """
    if weight.shape[2:] != (4, 4):
        raise ValueError(f"2× bilinear interpolation is a 4×4 kernel, and this one is {tuple(weight.shape[2:])}.")
    tent = weight.new_tensor([0.25, 0.75, 0.75, 0.25])
    both = torch.arange(min(weight.shape[:2]), device=weight.device)
    weight.zero_()
    weight[both, both] = torch.outer(tent, tent)
    return weight


class Transposed2x(Upsampler):
    """2× upsampling by a transposed convolution of stride 2 (Dumoulin & Visin 2016; the U-Net's "up-convolution").

    The kernel size is a multiple of the stride, so that every output pixel is written equally often: an uneven overlap
    draws a checkerboard (Odena et al. 2016). ``init="random"`` keeps the variance of the features: each output pixel
    sums C_in·(k/2)² products (on average, where the kernel is odd), so weights are drawn from N(0, 1 / (C_in·(k/2)²)).

    Shapes: (B, C_in, H, W) → (B, C_out, 2H, 2W).
    """

    def __init__(self, channels: int, out_channels: int, kernel_size: int, init: Init) -> None:
        super().__init__()
        padding = {"padding": (kernel_size - 1) // 2, "output_padding": kernel_size % 2}
        self.conv = skip_init(nn.ConvTranspose2d, channels, out_channels, kernel_size, stride=2, **padding)
        if init == "interpolation":
            nearest_(self.conv.weight) if kernel_size == 2 else bilinear_(self.conv.weight)
        else:
            nn.init.normal_(self.conv.weight, std=(channels * (kernel_size / 2) ** 2) ** -0.5)
        nn.init.zeros_(self.conv.bias)

    def forward(self, features: Tensor) -> Tensor:
        upsampled: Tensor = self.conv(features)
        return upsampled


@dataclass(frozen=True)
class Transposed(Upsampling):
    """Transposed convolution with stride 2.

    Args:
        kernel_size: 2 (the textbook U-Net's) or 4 (neighbouring outputs overlap, four times the weights).
        init: what training starts from: "interpolation" (nearest with 2×2 kernels, bilinear with 4×4), so that a
            pretrained encoder's features reach the decoder unmixed; or "random".

        uneven: True admits ``kernel_size=3`` with ``init="random"``, for those who want to see the checkerboard.

    Raises:
        ValueError: the kernel would overlap unevenly.
    """

    kernel_size: int = 2
    init: Init = "interpolation"
    uneven: bool = False

    def __post_init__(self) -> None:
        if self.kernel_size not in ((2, 3, 4) if self.uneven else (2, 4)):
            raise ValueError(
                f"decoder.kernel_size={self.kernel_size}: a 2× transposed convolution whose kernel is not a multiple "
                f"of its stride overlaps unevenly and draws a checkerboard (Odena et al. 2016). Use 2 or 4 (or, to see "
                f"it happen, 3 with decoder.uneven=true)."
            )
        if self.kernel_size == 3 and self.init != "random":
            raise ValueError("decoder.kernel_size=3 interpolates nothing: set decoder.init=random, or use 2 or 4.")

    def make(self, channels: int, out_channels: int | None = None) -> Transposed2x:
        return Transposed2x(channels, out_channels or channels, self.kernel_size, self.init)
