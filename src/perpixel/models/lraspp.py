"""LR-ASPP: MobileNetV3's head, a gate from the whole image on the coarse map and one finer map for detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from segmentation_models_pytorch.base.initialization import initialize_decoder
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.upsampling import Upsampling

DETAIL = 3
"""Level of the finer map: 1/8."""


class LRASPPDecoder(nn.Module):
    """Scores the coarsest map, gated by its average over the image, and the map at 1/8; the scores are summed.

    Modules and names are those of torchvision's ``LRASPPHead``, which averages over the whole map where the paper
    averages over windows of 49×49 pixels.

    Shapes: feature maps fine to coarse → (B, num_classes, H/8, W/8).
    """

    def __init__(self, encoder_channels: Sequence[int], channels: int, num_classes: int) -> None:
        super().__init__()
        coarse, fine = encoder_channels[-1], encoder_channels[DETAIL]
        self.cbr = nn.Sequential(
            nn.Conv2d(coarse, channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(coarse, channels, kernel_size=1, bias=False),
            nn.Sigmoid(),
        )
        self.low_classifier = nn.Conv2d(fine, num_classes, kernel_size=1)
        self.high_classifier = nn.Conv2d(channels, num_classes, kernel_size=1)
        self.upsample = nn.Sequential()
        initialize_decoder(self)

    def place(self, upsampling: Upsampling, channels: int, factor: int) -> None:
        """Add the 2× steps from the coarsest map to 1/8."""
        self.upsample = upsampling.chain(channels, factor)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        gated = self.cbr(features[-1]) * self.scale(features[-1])
        scores: Tensor = self.low_classifier(features[DETAIL]) + self.high_classifier(self.upsample(gated))
        return scores


class LRASPP(SegmentationModel):
    """LR-ASPP (Howard et al. 2019, section 6.4) on any encoder; the paper's is ``encoder=mobilenet_v3``.

    Args:
        encoder: the encoder to build.
        upsampling: makes each 2× step: 1 (of the encoder's 1/16) or 2 (of 1/32) up to 1/8, 3 on the scores.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        output_stride: 16, where the encoder's last stage is dilated instead of strided, as in the paper; 32 for
            encoders that cannot be dilated (MiT, ConvNeXt).
        channels: of the gated map.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        output_stride: Literal[16, 32] = 16,
        channels: int = 128,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        network = encoder.build(in_channels, output_stride=output_stride)
        decoder = LRASPPDecoder(network.out_channels, channels, num_classes)
        with forked_rng():
            decoder.place(upsampling, channels, factor=output_stride >> DETAIL)
            head = upsampling.chain(num_classes, 1 << DETAIL)
        super().__init__(network, decoder, head, stride=output_stride)
        self.add_aux(aux, num_classes, in_channels)
