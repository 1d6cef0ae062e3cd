"""From decoder features to logits at the input's resolution."""

from __future__ import annotations

from segmentation_models_pytorch.base.initialization import initialize_head
from torch import Tensor, nn

from perpixel.models.upsampling import Upsampling


class PixelHead(nn.Module):
    """Labels every pixel: a convolution to ``num_classes`` channels, then 2× steps up to the input's size.

    Decoders that end at 1/4 leave the last steps to the head. They act on the logits, as FCN's do (Long et al. 2015):
    with a handful of classes, upsampling at full resolution then costs little.

    Shapes: (B, C, H/f, W/f) → (B, num_classes, H, W), f = 2^steps.
    """

    def __init__(self, channels: int, num_classes: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, num_classes, kernel_size, padding=kernel_size // 2)
        self.upsample = nn.Sequential()
        initialize_head(self)

    def restore(self, upsampling: Upsampling, factor: int) -> None:
        """Add the 2× steps that bring the logits to the input's size."""
        self.upsample = upsampling.chain(self.conv.out_channels, factor)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.upsample(self.conv(features))
        return logits
