"""PSPNet: context from averages over a pyramid of regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder

from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.upsampling import Upsampling


class PSPNet(SegmentationModel):
    """Pyramid scene parsing network (Zhao et al. 2017) on a dilated convolutional encoder, smp's decoder.

    Region averages (1, 2², 3² and 6² of them) are interpolated to the feature map's size; features are never upsampled.

    Args:
        encoder: the encoder to build.
        upsampling: bilinear, which restores the logits from the output stride, as in the paper; there is nothing else
            to choose it for.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        output_stride: 8 (the paper's), 16 or 32; below 32 the last stages are dilated instead of strided.
        channels: channels of the decoder.
        dropout: share of its channels dropped in training.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`; the paper's is weight 0.4 on encoder.4.

    Raises:
        ValueError: another upsampling was chosen.
    """

    bilinear_only = "it labels the encoder's coarse map and interpolates the logits"

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        output_stride: Literal[8, 16, 32] = 8,
        channels: int = 512,
        dropout: float = 0.2,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        self.check_upsampling(type(upsampling))
        network = encoder.build(in_channels, output_stride=output_stride)
        decoder = PSPDecoder(network.out_channels, out_channels=channels, dropout=dropout)
        initialize_decoder(decoder)
        head = PixelHead(channels, num_classes, kernel_size=3)
        with forked_rng():
            head.restore(upsampling, factor=output_stride)
        super().__init__(network, decoder, head, stride=output_stride)
        self.add_aux(aux, num_classes, in_channels)
