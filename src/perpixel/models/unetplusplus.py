"""U-Net++: skip connections that are decoders themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import DecoderBlock, UnetPlusPlusDecoder
from torch import Tensor, nn

from perpixel.models.aux import DeepSupervision
from perpixel.models.base import forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.skips import SkippingModel, decoder_inputs
from perpixel.models.upsampling import Upsampling


class DenseBlock(nn.Module):
    """smp's U-Net++ node with the chosen upsampling in place of interpolation; its weights keep their names."""

    def __init__(self, block: DecoderBlock, upsampling: Upsampling, channels: int) -> None:
        super().__init__()
        self.upsample = upsampling.make(channels)
        self.conv1 = block.conv1
        self.attention1 = block.attention1
        self.conv2 = block.conv2
        self.attention2 = block.attention2

    def forward(self, features: Tensor, skip: Tensor | None = None) -> Tensor:
        features = self.upsample(features)
        if skip is not None:
            features = self.attention1(torch.cat([features, skip], dim=1))
        fused: Tensor = self.attention2(self.conv2(self.conv1(features)))
        return fused


class EmptyBlock(nn.Module):
    """A node at a resolution where the encoder (or ``skips=false``) gives no map: it passes on a map of no channels."""

    def forward(self, features: Tensor, skip: Tensor | None = None) -> Tensor:
        batch, _, height, width = features.shape
        return features.new_empty(batch, 0, 2 * height, 2 * width)


class UnetPlusPlus(SkippingModel):
    """U-Net++ on any encoder (Zhou et al. 2018), smp's decoder.

    Args:
        encoder: the encoder to build.
        upsampling: makes the 2× step of each of the 11 nodes (with depth 5).
        num_classes: channels of the logits.
        in_channels: channels of the images.
        depth: encoder stages used, 3…5.
        channels: output channels of the final nodes, coarse to fine; ``depth`` of them.
        attention: "scse" gates the nodes' features by channel and pixel (Roy et al. 2018).
        skips: False cuts the skip connections, and with them all inner nodes.
        deep_supervision: in training every inner node at 1/2 labels the pixels, too, with equal weight.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.

    Raises:
        ValueError: deep supervision is asked for together with other auxiliary heads, or without skips.
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
        deep_supervision: bool = False,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        network = encoder.build(in_channels, depth=depth)
        inputs = decoder_inputs(network.out_channels, skips)
        decoder = UnetPlusPlusDecoder(inputs, channels, n_blocks=depth, attention_type=attention)
        initialize_decoder(decoder)
        head = PixelHead(channels[-1], num_classes, kernel_size=3)
        with forked_rng():
            place(upsampling, decoder)
        super().__init__(network, decoder, head, stride=2**depth, skips=skips)
        if deep_supervision:
            nodes = supervised_nodes(depth, skips, aux)
            self.add_aux({"weight": 1.0, "stages": nodes}, num_classes, in_channels, head=DeepSupervision)
        else:
            self.add_aux(aux, num_classes, in_channels)


def place(upsampling: Upsampling, decoder: UnetPlusPlusDecoder) -> None:
    """Put the chosen 2× step where smp's nodes interpolate."""
    for name, block in decoder.blocks.items():
        start, layer = map(int, name.split("_")[1:])
        channels = decoder.in_channels[layer] if start == 0 else decoder.skip_channels[layer - 1]
        decoder.blocks[name] = EmptyBlock() if block.is_empty else DenseBlock(block, upsampling, channels)


def supervised_nodes(depth: int, skips: bool, aux: Mapping[str, Any] | None) -> list[str]:
    """The inner nodes at 1/2, coarsest origin first; the outermost one feeds the model's own head."""
    if not skips:
        raise ValueError("model.deep_supervision=true supervises the inner nodes, and model.skips=false removes them.")
    if aux and aux.get("weight"):
        raise ValueError(
            "model.deep_supervision=true brings its own auxiliary heads. Set model.aux.weight=0, or leave "
            "deep_supervision off and name nodes such as decoder.blocks.x_1_3 in model.aux.stages."
        )
    last = depth - 2
    return [f"decoder.blocks.x_{start}_{last}" for start in range(1, last + 1)]
