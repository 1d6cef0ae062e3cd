"""Atrous spatial pyramid pooling: which rates, and its image-level branch without a resize."""

from __future__ import annotations

from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP, ASPPPooling
from torch import Tensor, nn


class ImagePooling(nn.Sequential):
    """The mean over all positions, given back to each of them: (B, C_in, H, W) → (B, C_out, H, W).

    smp interpolates the single value; repeating it is the same without a resize.
    """

    def __init__(self, branch: ASPPPooling) -> None:
        super().__init__(*branch)

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = super().forward(features)
        return pooled.expand(-1, -1, *features.shape[-2:])


def repeat_pooled(aspp: ASPP) -> None:
    """Let the image-level branch repeat its value instead of interpolating it."""
    aspp.convs[-1] = ImagePooling(aspp.convs[-1])


def rates_at(output_stride: int) -> tuple[int, int, int]:
    """The papers' dilations of the three atrous branches (Chen et al. 2017, section 4.1): doubled where maps are.

    Args:
        output_stride: 16 or 8.

    Returns:
        6, 12 and 18 pixels of a map at 1/16; 12, 24 and 36 at 1/8, which are as many pixels of the image.
    """
    unit = 96 // output_stride
    return unit, 2 * unit, 3 * unit
