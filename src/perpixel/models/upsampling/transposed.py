"""Upsampling by a learned kernel: the transposed convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from perpixel.models.upsampling.base import Upsampler, Upsampling


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
    sums C_in·(k/2)² products, so weights are drawn from N(0, 1 / (C_in·(k/2)²)).

    Shapes: (B, C_in, H, W) → (B, C_out, 2H, 2W).
    """

    def __init__(self, channels: int, out_channels: int, kernel_size: int, init: Literal["random", "bilinear"]) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, out_channels, kernel_size, stride=2, padding=(kernel_size - 2) // 2)
        if init == "bilinear":
            bilinear_(self.conv.weight)
        else:
            nn.init.normal_(self.conv.weight, std=(channels * (kernel_size // 2) ** 2) ** -0.5)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        upsampled: Tensor = self.conv(features)
        return upsampled


@dataclass(frozen=True)
class Transposed(Upsampling):
    """Transposed convolution with stride 2.

    Args:
        kernel_size: 2 (the textbook U-Net's) or 4 (neighbouring outputs overlap, four times the weights).
        init: "random", or "bilinear" (4×4 kernels only): training starts from bilinear interpolation.

    Raises:
        ValueError: the kernel would overlap unevenly, or cannot hold the initialisation asked for.
    """

    kernel_size: int = 2
    init: Literal["random", "bilinear"] = "random"

    def __post_init__(self) -> None:
        if self.kernel_size not in (2, 4):
            raise ValueError(
                f"decoder.kernel_size={self.kernel_size}: a 2× transposed convolution whose kernel is not a multiple "
                f"of its stride overlaps unevenly and draws a checkerboard (Odena et al. 2016). Use 2 or 4."
            )
        if self.init == "bilinear" and self.kernel_size != 4:
            raise ValueError("decoder.init=bilinear needs decoder.kernel_size=4: 2× bilinear weights are a 4×4 kernel.")

    def make(self, channels: int, out_channels: int | None = None) -> Transposed2x:
        return Transposed2x(channels, out_channels or channels, self.kernel_size, self.init)
