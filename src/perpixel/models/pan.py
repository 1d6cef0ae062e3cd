"""PAN: attention from a pyramid at the bottleneck, and from coarse to fine maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.pan.decoder import FPABlock, GAUBlock, PANDecoder
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.upsampling import Upsampling


class PyramidAttention(nn.Module):
    """smp's feature pyramid attention, its three resizes made 2× steps; its weights keep their names.

    Pooling rounds odd sizes up, and what a 2× step makes too much is cut off: so any size works.

    Shapes: (B, C_in, H, W) → (B, C_out, H, W).
    """

    def __init__(self, block: FPABlock, upsampling: Upsampling) -> None:
        super().__init__()
        self.branch1 = block.branch1
        self.mid = block.mid
        self.down1, self.down2, self.down3 = block.down1, block.down2, block.down3
        for down in (self.down1, self.down2, self.down3):
            down[0] = nn.MaxPool2d(kernel_size=2, ceil_mode=True)
        self.conv1, self.conv2 = block.conv1, block.conv2
        self.upsample = nn.ModuleList(upsampling.make(1) for _ in range(3))

    def forward(self, features: Tensor) -> Tensor:
        half = self.down1(features)
        quarter = self.down2(half)
        attention = self._up(0, self.down3(quarter), like=quarter)
        attention = self._up(1, self.conv2(quarter) + attention, like=half)
        attention = self._up(2, self.conv1(half) + attention, like=features)
        fused: Tensor = attention * self.mid(features) + self.branch1(features)
        return fused

    def _up(self, step: int, coarse: Tensor, like: Tensor) -> Tensor:
        upsampled: Tensor = self.upsample[step](coarse)
        return upsampled[..., : like.shape[-2], : like.shape[-1]]


class AttentionUp(nn.Module):
    """smp's global attention upsample with the chosen 2× step (none where both maps have one size)."""

    def __init__(self, block: GAUBlock, upsampling: Upsampling, factor: int) -> None:
        super().__init__()
        self.conv1 = block.conv1
        self.conv2 = block.conv2
        self.upsample = upsampling.chain(block.conv2.conv.out_channels, factor)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        refined: Tensor = self.upsample(coarse) + self.conv2(fine) * self.conv1(coarse)
        return refined


class PAN(SegmentationModel):
    """Pyramid attention network (Li et al. 2018) on any convolutional encoder, smp's decoder.

    Args:
        encoder: the encoder to build.
        upsampling: makes each 2× step: 3 on the pyramid's attention map, 2 or 3 up to 1/4, 2 on the logits.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        output_stride: 16, where the encoder's last stage is dilated instead of strided, or 32.
        channels: channels of the decoder.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.
    """

    export_limits = (
        "it takes images of the example's size, and others only where the attention's maps round alike: torch.export "
        "keeps for which of them a 2× step makes a row or column too much"
    )

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        output_stride: Literal[16, 32] = 16,
        channels: int = 32,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        network = encoder.build(in_channels, output_stride=output_stride)
        decoder = PANDecoder(network.out_channels, encoder_depth=5, decoder_channels=channels)
        initialize_decoder(decoder)
        head = PixelHead(channels, num_classes, kernel_size=3)
        with forked_rng():
            decoder.fpa = PyramidAttention(decoder.fpa, upsampling)
            for name, factor in (("gau3", output_stride // 16), ("gau2", 2), ("gau1", 2)):
                setattr(decoder, name, AttentionUp(getattr(decoder, name), upsampling, factor))
            head.restore(upsampling, factor=4)
        super().__init__(network, decoder, head, stride=output_stride)
        self.add_aux(aux, num_classes, in_channels)
