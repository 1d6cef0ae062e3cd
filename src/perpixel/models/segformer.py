"""SegFormer: four resolutions, one linear layer each, joined at 1/4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.base.modules import Conv2dReLU
from segmentation_models_pytorch.decoders.segformer.decoder import MLP
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.upsampling import Upsampling


class SegformerDecoder(nn.Module):
    """The all-MLP decoder (Xie et al. 2021) on the encoder's maps at 1/4, 1/8, 1/16 and 1/32.

    smp's also takes a convolutional encoder's map at 1/2, scaled down; the paper's, and this one, does not.

    Shapes: feature maps fine to coarse, as smp's encoders give them → (B, channels, H/4, W/4).
    """

    def __init__(self, encoder_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.mlp_stage = nn.ModuleList(MLP(inputs, channels) for inputs in reversed(encoder_channels[2:]))
        self.upsample = nn.ModuleList(nn.Sequential() for _ in self.mlp_stage)
        self.fuse_stage = Conv2dReLU(len(self.mlp_stage) * channels, channels, kernel_size=1)
        initialize_decoder(self)

    def place(self, upsampling: Upsampling, channels: int) -> None:
        """Bring each level to 1/4 by the chosen 2× steps: 3 from 1/32, 2 from 1/16, 1 from 1/8."""
        steps = reversed(range(len(self.mlp_stage)))
        self.upsample = nn.ModuleList(upsampling.chain(channels, 2**n) for n in steps)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        levels = zip(reversed(features[2:]), self.mlp_stage, self.upsample, strict=True)
        fused: Tensor = self.fuse_stage(torch.cat([upsample(mlp(level)) for level, mlp, upsample in levels], dim=1))
        return fused


class Segformer(SegmentationModel):
    """SegFormer's decoder (Xie et al. 2021) on any encoder; the paper's are ``encoder=mit_b0…b5``.

    Args:
        encoder: the encoder to build.
        upsampling: makes each 2× step: 3 + 2 + 1 to bring the levels to 1/4, 2 on the logits.
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
        decoder = SegformerDecoder(network.out_channels, channels)
        head = PixelHead(channels, num_classes, kernel_size=1)
        with forked_rng():
            decoder.place(upsampling, channels)
            head.restore(upsampling, factor=4)
        super().__init__(network, decoder, head, stride=32)
        self.add_aux(aux, num_classes, in_channels)
