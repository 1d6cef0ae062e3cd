"""Feature pyramid network: one semantic map per resolution, summed at 1/4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.fpn.decoder import Conv3x3GNReLU, FPNBlock, FPNDecoder
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.upsampling import Upsampling


class TopDown(nn.Module):
    """One step down the pyramid: the coarser map, upsampled, plus a 1×1 convolution of the encoder's."""

    def __init__(self, block: FPNBlock, upsampling: Upsampling) -> None:
        super().__init__()
        self.skip_conv = block.skip_conv
        self.upsample = upsampling.make(block.skip_conv.out_channels)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        merged: Tensor = self.upsample(features) + self.skip_conv(skip)
        return merged


class ConvUp(nn.Module):
    """smp's 3×3 convolution, group norm and ReLU, then the chosen 2× step."""

    def __init__(self, convolution: Conv3x3GNReLU, upsampling: Upsampling) -> None:
        super().__init__()
        self.block = convolution.block
        self.upsample = upsampling.make(convolution.block[0].out_channels)

    def forward(self, features: Tensor) -> Tensor:
        upsampled: Tensor = self.upsample(self.block(features))
        return upsampled


class FPN(SegmentationModel):
    """Panoptic FPN's semantic branch (Kirillov et al. 2019) on any encoder, smp's decoder.

    Args:
        encoder: the encoder to build.
        upsampling: makes each 2× step: 3 down the pyramid, 3 + 2 + 1 to bring its levels to 1/4, 2 on the logits.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        pyramid_channels: channels of the pyramid's levels.
        segmentation_channels: channels of the maps that are merged at 1/4; a multiple of 32 (group norm).
        merge: "add" or "cat" the levels.
        dropout: share of merged channels dropped in training.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        pyramid_channels: int = 256,
        segmentation_channels: int = 128,
        merge: Literal["add", "cat"] = "add",
        dropout: float = 0.2,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        network = encoder.build(in_channels)
        decoder = FPNDecoder(
            encoder_channels=network.out_channels,
            pyramid_channels=pyramid_channels,
            segmentation_channels=segmentation_channels,
            dropout=dropout,
            merge_policy=merge,
        )
        initialize_decoder(decoder)
        head = PixelHead(decoder.out_channels, num_classes, kernel_size=1)
        with forked_rng():
            place(upsampling, decoder)
            head.restore(upsampling, factor=4)
        super().__init__(network, decoder, head, stride=32)
        self.add_aux(aux, num_classes, in_channels)


def place(upsampling: Upsampling, decoder: FPNDecoder) -> None:
    """Put the chosen 2× steps where smp's decoder interpolates."""
    decoder.p4 = TopDown(decoder.p4, upsampling)
    decoder.p3 = TopDown(decoder.p3, upsampling)
    decoder.p2 = TopDown(decoder.p2, upsampling)
    for level in decoder.seg_blocks:
        level.block = nn.Sequential(*(ConvUp(conv, upsampling) if conv.upsample else conv for conv in level.block))
