"""DPT: a plain vision transformer's tokens, reassembled into a feature pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder, FusionBlock, ReassembleBlock
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import PATCH, Encoder
from perpixel.models.upsampling import Upsampling


class Fusion(nn.Module):
    """smp's fusion of two levels with the chosen 2× step; its weights keep their names."""

    def __init__(self, block: FusionBlock, upsampling: Upsampling) -> None:
        super().__init__()
        self.residual_conv_block1 = block.residual_conv_block1
        self.residual_conv_block2 = block.residual_conv_block2
        self.upsample = upsampling.make(block.project.in_channels)
        self.project = block.project

    def forward(self, feature: Tensor, previous_feature: Tensor | None = None) -> Tensor:
        """smp's signature: ``feature`` of this level, the fused one of the level below."""
        feature = self.residual_conv_block1(feature)
        if previous_feature is not None:
            feature = feature + previous_feature
        fused: Tensor = self.project(self.upsample(self.residual_conv_block2(feature)))
        return fused


class DPTHead(nn.Module):
    """Refines at 1/2, labels, and brings the logits to the image's size: (B, C, H/2, W/2) → (B, num_classes, H, W)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.refine = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
        )
        self.conv = nn.Conv2d(channels, num_classes, kernel_size=1)
        self.upsample: nn.Module = nn.Identity()
        initialize_head(self)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.upsample(self.conv(self.refine(features)))
        return logits


class DPT(SegmentationModel):
    """Dense prediction transformer (Ranftl et al. 2021) on a plain ViT such as DINOv2's or DINOv3's, smp's decoder.

    Args:
        encoder: a vision transformer; one with other patches is built with patches of 16 (its weights are resampled).
        upsampling: makes each 2× step: 2 + 1 to reassemble 1/4 and 1/8 from the tokens at 1/16, 4 in the fusions, 1 on
            the logits.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        readout: what becomes of the class token: "cat" or "add" to every token, or "ignore".
        intermediate_channels: of the four reassembled levels, fine to coarse.
        channels: of the fusions.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.

    Raises:
        ValueError: the encoder is not a plain vision transformer.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        readout: Literal["cat", "add", "ignore"] = "cat",
        intermediate_channels: Sequence[int] = (256, 512, 1024, 1024),
        channels: int = 256,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        network = encoder.build_vit(in_channels, levels=len(intermediate_channels))
        decoder = DPTDecoder(
            encoder_out_channels=network.out_channels,
            # As if the finer levels were as fine already: smp would make transposed convolutions, only to lose them.
            encoder_output_strides=[min(stride, 4 << level) for level, stride in enumerate(network.output_strides)],
            encoder_has_prefix_tokens=network.has_prefix_tokens,
            readout=readout if network.has_prefix_tokens else "ignore",
            intermediate_channels=intermediate_channels,
            fusion_channels=channels,
        )
        initialize_decoder(decoder)
        head = DPTHead(channels, num_classes)
        with forked_rng():
            for level, block in enumerate(decoder.reassemble_blocks):
                reassemble(block, upsampling, finer=PATCH // 4 >> level)
            decoder.fusion_blocks = nn.ModuleList(Fusion(block, upsampling) for block in decoder.fusion_blocks)
            head.upsample = upsampling.make(num_classes)
        super().__init__(network, decoder, head, stride=2 * PATCH)
        self.add_aux(aux, num_classes, in_channels)

    def decode(self, features: Any) -> Tensor:
        """The encoder's maps and class tokens → logits at the (padded) input's size."""
        maps, prefix_tokens = features
        logits: Tensor = self.head(self.decoder(maps, prefix_tokens))
        return logits


def reassemble(block: ReassembleBlock, upsampling: Upsampling, finer: int) -> None:
    """Put the chosen 2× steps where smp's own model has a transposed convolution of stride 4 or 2."""
    if finer > 1:
        block.upsample = upsampling.chain(block.project_to_out_channel.out_channels, finer)
