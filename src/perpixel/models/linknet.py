"""Linknet: a light decoder whose skip connections are sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.base.modules import Conv2dReLU
from segmentation_models_pytorch.decoders.linknet import decoder as smp
from torch import nn

from perpixel.models.base import forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.skips import SkippingModel
from perpixel.models.upsampling import Upsampling


class LinknetBlock(smp.DecoderBlock):
    """smp's block with room for the 2× step, and its names; smp would make a transposed convolution only to lose it."""

    def __init__(self, channels: int, out_channels: int) -> None:
        nn.Module.__init__(self)
        inner = channels // 4
        self.block: Any = nn.Sequential(
            Conv2dReLU(channels, inner, kernel_size=1),
            nn.Sequential(nn.Identity(), nn.BatchNorm2d(inner), nn.ReLU(inplace=True)),
            Conv2dReLU(inner, out_channels, kernel_size=1),
        )

    def place(self, upsampling: Upsampling) -> None:
        """Make the 2× step; norm and ReLU follow it."""
        step = self.block[1]
        step[0] = upsampling.make(step[1].num_features)


class LinknetDecoder(smp.LinknetDecoder):
    """smp's decoder of such blocks.

    Args:
        channels: of the encoder's maps, fine to coarse; where one has none, the block's width is kept.
        prefinal_channels: of the result.
    """

    def __init__(self, channels: Sequence[int], prefinal_channels: int) -> None:
        nn.Module.__init__(self)
        widths = [channels[-1]]
        for skip in channels[-2:0:-1]:
            widths.append(skip or widths[-1])
        pairs = zip(widths, [*widths[1:], prefinal_channels], strict=True)
        self.blocks: Any = nn.ModuleList(LinknetBlock(i, o) for i, o in pairs)


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
        decoder = LinknetDecoder(network.out_channels, prefinal_channels)
        initialize_decoder(decoder)
        head = PixelHead(prefinal_channels, num_classes, kernel_size=1)
        with forked_rng():
            for block in decoder.blocks:
                block.place(upsampling)
        super().__init__(network, decoder, head, stride=2**depth, skips=skips)
        self.add_aux(aux, num_classes, in_channels)
