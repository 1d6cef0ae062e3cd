"""DeepLabV3+: atrous spatial pyramid pooling, refined by one skip connection at 1/4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

from perpixel.models.aspp import rates_at, repeat_pooled
from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.upsampling import Upsampling


class DeepLabV3Plus(SegmentationModel):
    """DeepLabV3+ (Chen et al. 2018) on any convolutional encoder, smp's decoder.

    Args:
        encoder: the encoder to build.
        upsampling: makes each 2× step: from the output stride to 1/4 on the context, then 2 on the logits.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        output_stride: 16 or 8; the encoder's last stages are dilated instead of strided.
        channels: channels of the decoder.
        atrous_rates: dilations of the three atrous branches, in pixels of the output stride; None: the papers', see
            :func:`perpixel.models.aspp.rates_at`.
        separable: depthwise separable atrous convolutions.
        dropout: share of context features dropped in training.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        output_stride: Literal[8, 16] = 16,
        channels: int = 256,
        atrous_rates: tuple[int, int, int] | None = None,
        separable: bool = True,
        dropout: float = 0.5,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        rates = atrous_rates or rates_at(output_stride)
        network = encoder.build(in_channels, output_stride=output_stride)
        decoder = DeepLabV3PlusDecoder(
            encoder_channels=network.out_channels,
            encoder_depth=5,
            out_channels=channels,
            atrous_rates=rates,
            output_stride=output_stride,
            aspp_separable=separable,
            aspp_dropout=dropout,
        )
        repeat_pooled(decoder.aspp[0])
        head = PixelHead(channels, num_classes, kernel_size=1)
        with forked_rng():
            decoder.up = upsampling.chain(channels, output_stride // 4)
            head.restore(upsampling, factor=4)
        super().__init__(network, decoder, head, stride=output_stride)
        self.add_aux(aux, num_classes, in_channels)
