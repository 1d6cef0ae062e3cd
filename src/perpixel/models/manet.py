"""MA-Net: attention over positions at the bottleneck, over channels at each fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.manet.decoder import DecoderBlock, MAnetDecoder, MFABBlock
from torch import Tensor, nn

from perpixel.models.base import forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.skips import SkippingModel, decoder_inputs
from perpixel.models.upsampling import Upsampling


class FusionBlock(nn.Module):
    """smp's multi-scale fusion attention block with the chosen upsampling; its weights keep their names."""

    def __init__(self, block: MFABBlock, upsampling: Upsampling) -> None:
        super().__init__()
        self.hl_conv = block.hl_conv
        self.upsample = upsampling.make(block.SE_hl[1].in_channels)
        self.SE_ll = block.SE_ll
        self.SE_hl = block.SE_hl
        self.conv1 = block.conv1
        self.conv2 = block.conv2

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        features = self.upsample(self.hl_conv(features))
        features = features * (self.SE_hl(features) + self.SE_ll(skip))
        fused: Tensor = self.conv2(self.conv1(torch.cat([features, skip], dim=1)))
        return fused


class PlainBlock(nn.Module):
    """smp's block where the encoder gives no map: the 2× step and two convolutions."""

    def __init__(self, block: DecoderBlock, upsampling: Upsampling) -> None:
        super().__init__()
        self.upsample = upsampling.make(block.conv1[0].in_channels)
        self.conv1 = block.conv1
        self.conv2 = block.conv2

    def forward(self, features: Tensor, skip: Tensor | None = None) -> Tensor:
        upsampled: Tensor = self.conv2(self.conv1(self.upsample(features)))
        return upsampled


class MANet(SkippingModel):
    """MA-Net on any encoder (Fan et al. 2020), smp's decoder.

    The attention over positions at the bottleneck takes memory with the square of their number: (H·W / 4^depth)².

    Args:
        encoder: the encoder to build.
        upsampling: makes the 2× step of each decoder block.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        depth: encoder stages used, 3…5.
        channels: output channels of the decoder blocks, coarse to fine; ``depth`` of them.
        attention_channels: channels of the bottleneck's queries and keys.
        reduction: channel attention squeezes its channels by this factor.
        skips: False cuts the skip connections, and with them the fusion attention.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        depth: int = 5,
        channels: Sequence[int] = (256, 128, 64, 32, 16),
        attention_channels: int = 64,
        reduction: int = 16,
        skips: bool = True,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        network = encoder.build(in_channels, depth=depth)
        decoder = MAnetDecoder(
            decoder_inputs(network.out_channels, skips),
            channels,
            n_blocks=depth,
            reduction=reduction,
            pab_channels=attention_channels,
        )
        initialize_decoder(decoder)
        head = PixelHead(channels[-1], num_classes, kernel_size=3)
        with forked_rng():
            decoder.blocks = nn.ModuleList(
                FusionBlock(block, upsampling) if isinstance(block, MFABBlock) else PlainBlock(block, upsampling)
                for block in decoder.blocks
            )
        super().__init__(network, decoder, head, stride=2**depth, skips=skips)
        self.add_aux(aux, num_classes, in_channels)
