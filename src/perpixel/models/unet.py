"""U-Net: a decoder that mirrors the encoder, with a skip connection at every resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder, UnetDecoderBlock
from torch import Tensor, nn

from perpixel.models.base import forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.skips import SkippingModel, decoder_inputs
from perpixel.models.upsampling import Upsampling


class UnetBlock(nn.Module):
    """smp's U-Net block with the chosen upsampling in place of interpolation; its weights keep their names."""

    def __init__(self, block: UnetDecoderBlock, upsampling: Upsampling, channels: int) -> None:
        super().__init__()
        self.upsample = upsampling.make(channels)
        self.conv1 = block.conv1
        self.attention1 = block.attention1
        self.conv2 = block.conv2
        self.attention2 = block.attention2

    def forward(
        self, features: Tensor, target_height: int, target_width: int, skip_connection: Tensor | None = None
    ) -> Tensor:
        """smp's signature; the target size is 2× the features' by the padding to the stride."""
        features = self.upsample(features)
        if skip_connection is not None:
            features = self.attention1(torch.cat([features, skip_connection], dim=1))
        fused: Tensor = self.attention2(self.conv2(self.conv1(features)))
        return fused


class Unet(SkippingModel):
    """U-Net on any encoder (Ronneberger et al. 2015), smp's decoder.

    Args:
        encoder: the encoder to build.
        upsampling: makes the 2× step of each decoder block.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        depth: encoder stages used, 3…5; the bottleneck lies at 1/2^depth.
        channels: output channels of the decoder blocks, coarse to fine; ``depth`` of them.
        attention: "scse" gates the decoder's features by channel and pixel (Roy et al. 2018).
        skips: False cuts the skip connections.
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
        attention: Literal["scse"] | None = None,
        skips: bool = True,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        network = encoder.build(in_channels, depth=depth)
        inputs = decoder_inputs(network.out_channels, skips)
        decoder = UnetDecoder(inputs, channels, n_blocks=depth, attention_type=attention)
        initialize_decoder(decoder)
        head = PixelHead(channels[-1], num_classes, kernel_size=3)
        with forked_rng():
            coarse = [network.out_channels[-1], *channels[:-1]]
            blocks = zip(decoder.blocks, coarse, strict=True)
            decoder.blocks = nn.ModuleList(UnetBlock(block, upsampling, width) for block, width in blocks)
        super().__init__(network, decoder, head, stride=2**depth, skips=skips)
        self.add_aux(aux, num_classes, in_channels)
