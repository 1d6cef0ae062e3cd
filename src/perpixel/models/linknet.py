"""Linknet: a light decoder whose skip connections are sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.linknet.decoder import LinknetDecoder

from perpixel.models.base import forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.skips import SkippingModel
from perpixel.models.upsampling import Upsampling


class Linknet(SkippingModel):
    """Linknet on any encoder (Chaurasia & Culurciello 2017), smp's decoder.

    Args:
        encoder: the encoder to build.
        upsampling: makes the 2× step of each decoder block, at a quarter of its input channels; the paper's are
            transposed convolutions.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        depth: encoder stages used, 3…5.
        prefinal_channels: channels at full resolution.
        skips: False cuts the skip connections; the decoder, which only adds them, stays the same.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        depth: int = 5,
        prefinal_channels: int = 32,
        skips: bool = True,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        network = encoder.build(in_channels, depth=depth)
        # Its widths are the skips': of skips without channels smp would make every block as wide as the bottleneck.
        decoder = LinknetDecoder(network.out_channels, prefinal_channels=prefinal_channels, n_blocks=depth)
        initialize_decoder(decoder)
        head = PixelHead(prefinal_channels, num_classes, kernel_size=1)
        with forked_rng():
            place(upsampling, decoder)
        super().__init__(network, decoder, head, stride=2**depth, skips=skips)
        self.add_aux(aux, num_classes, in_channels)


def place(upsampling: Upsampling, decoder: LinknetDecoder) -> None:
    """Put the chosen 2× step where smp has a transposed convolution; norm and ReLU after it stay."""
    for block in decoder.blocks:
        step = block.block[1]
        step[0] = upsampling.make(step[0].in_channels)
