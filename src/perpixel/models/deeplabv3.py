"""DeepLabV3: atrous spatial pyramid pooling on a dilated encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3Decoder

from perpixel.models.aspp import rates_at, repeat_pooled
from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.upsampling import Upsampling


class DeepLabV3(SegmentationModel):
    """DeepLabV3 (Chen et al. 2017) on any convolutional encoder, smp's decoder.

    Args:
        encoder: the encoder to build.
        upsampling: bilinear, which restores the logits from the output stride, as in the paper; there is nothing else
            to choose it for.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        output_stride: 8 or 16; the encoder's last stages are dilated instead of strided.
        channels: channels of the decoder.
        atrous_rates: dilations of the three atrous branches, in pixels of the output stride; None: the papers', see
            :func:`perpixel.models.aspp.rates_at`.
        separable: depthwise separable atrous convolutions.
        dropout: share of context features dropped in training.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.

    Raises:
        ValueError: another upsampling was chosen.
    """

    bilinear_only = "it labels the encoder's coarse map and interpolates the logits (deeplabv3plus has a decoder)"

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        output_stride: Literal[8, 16] = 8,
        channels: int = 256,
        atrous_rates: tuple[int, int, int] | None = None,
        separable: bool = False,
        dropout: float = 0.5,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        self.check_upsampling(type(upsampling))
        rates = atrous_rates or rates_at(output_stride)
        network = encoder.build(in_channels, output_stride=output_stride)
        decoder = DeepLabV3Decoder(network.out_channels[-1], channels, rates, separable, dropout)
        repeat_pooled(decoder.aspp)
        head = PixelHead(channels, num_classes, kernel_size=1)
        with forked_rng():
            head.restore(upsampling, factor=output_stride)
        super().__init__(network, decoder, head, stride=output_stride)
        self.add_aux(aux, num_classes, in_channels)
