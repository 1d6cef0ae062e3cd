"""Atrous spatial pyramid pooling's image-level branch, without a resize."""

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
