"""UPerNet: a feature pyramid with pyramid pooling on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder as SmpDecoder
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.upsampling import Upsampling


class UPerNetDecoder(SmpDecoder):
    """smp's decoder, whose features are upsampled by the chosen 2× steps; its weights keep their names.

    The pooled regions of the pyramid (1, 2², 3² and 6² of them) are still interpolated to the map they describe: that
    is no 2× step, and no choice of ``decoder=``.

    Shapes: feature maps fine to coarse → (B, channels, H/4, W/4).
    """

    def place(self, upsampling: Upsampling, channels: int) -> None:
        """Make the 2× steps: one down each level of the pyramid, and those that bring each level to 1/4."""
        levels = len(self.fpn_lateral_blocks)
        self.top_down = nn.ModuleList(upsampling.make(channels) for _ in range(levels))
        self.to_quarter = nn.ModuleList(upsampling.chain(channels, 2**n) for n in range(levels, -1, -1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        *lateral, coarsest = [norm(level) for norm, level in zip(self.feature_norms, features[2:], strict=True)]
        pyramid = [self.psp(coarsest)]
        for block, upsample, level in zip(self.fpn_lateral_blocks, self.top_down, reversed(lateral), strict=True):
            pyramid.append(upsample(pyramid[-1]) + block.conv_norm_relu(level))
        refined = [conv(level) for conv, level in zip(self.fpn_conv_blocks, pyramid[1:], strict=True)]
        levels = zip(self.to_quarter, [pyramid[0], *refined], strict=True)
        fused: Tensor = self.fusion_block(torch.cat([upsample(level) for upsample, level in levels][::-1], dim=1))
        return fused


class UPerNet(SegmentationModel):
    """UPerNet (Xiao et al. 2018) on any encoder, smp's decoder.

    Args:
        encoder: the encoder to build.
        upsampling: makes each 2× step: 3 down the pyramid, 3 + 2 + 1 to bring its levels to 1/4, 2 on the logits.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        channels: channels of the decoder.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        channels: int = 256,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        network = encoder.build(in_channels)
        decoder = UPerNetDecoder(network.out_channels, decoder_channels=channels)
        initialize_decoder(decoder)
        head = PixelHead(channels, num_classes, kernel_size=1)
        with forked_rng():
            decoder.place(upsampling, channels)
            head.restore(upsampling, factor=4)
        super().__init__(network, decoder, head, stride=32)
        self.add_aux(aux, num_classes, in_channels)
