"""A linear layer per pixel on an encoder that is left as it is: what its features are worth without fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from segmentation_models_pytorch.base.initialization import initialize_head
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, forked_rng, pad_to_stride
from perpixel.models.encoder import PATCH, Encoder, VisionTransformer
from perpixel.models.maps import feature_maps
from perpixel.models.upsampling import Upsampling

PYRAMID = 4
"""Levels of an encoder with several resolutions: 1/4, 1/8, 1/16 and 1/32."""


class TokenMaps(nn.Module):
    """The maps of a vision transformer's patch tokens after its final layer norm, as DINOv2's own heads take them.

    Shapes: (B, C_in, H, W) → list of (B, C, H/16, W/16).
    """

    def __init__(self, network: VisionTransformer) -> None:
        super().__init__()
        self.network = network
        self.out_channels = network.out_channels

    def forward(self, images: Tensor) -> list[Tensor]:
        norm = self.network.model.norm
        maps = feature_maps(self.network(images))
        return [norm(each.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for each in maps]


class LinearDecoder(nn.Module):
    """A 1×1 convolution (after batch norm) on every map, and the sum of the scores at the finest one's resolution.

    That is the same as one linear layer on all maps put together at the finest resolution, for upsampling that is
    linear, and costs less: ``num_classes`` channels are upsampled instead of hundreds.

    Args:
        channels: of the maps, fine to coarse.
        num_classes: channels of the scores.
        batch_norm: normalise every map first.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, batch_norm: bool) -> None:
        super().__init__()
        norms = [nn.BatchNorm2d(width) if batch_norm else nn.Identity() for width in channels]
        self.scores = nn.ModuleList(
            nn.Sequential(norm, nn.Conv2d(width, num_classes, kernel_size=1))
            for norm, width in zip(norms, channels, strict=True)
        )
        self.upsample = nn.ModuleList()
        initialize_head(self)

    def place(self, upsampling: Upsampling, factors: Sequence[int], num_classes: int) -> None:
        """Make the steps from each map to the next finer one, from the coarsest on."""
        self.upsample = nn.ModuleList(upsampling.chain(num_classes, factor) for factor in factors)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        coarse, *finer = zip(reversed(self.scores), reversed(maps[-len(self.scores) :]), strict=True)
        total: Tensor = coarse[0](coarse[1])
        for upsample, (score, each) in zip(self.upsample, finer, strict=True):
            total = upsample(total) + score(each)
        return total


class Linear(SegmentationModel):
    """A linear head on an encoder that is frozen unless told otherwise: DINOv2's linear evaluation (Oquab et al. 2023,
    section 7.4): batch norm and a 1×1 convolution on the last layer's patch tokens.

    Frozen: the encoder's parameters take no gradient and are in no optimiser, and it stays in evaluation mode (its
    batch norms keep their statistics, nothing is dropped). With ``data.views`` a training then computes each
    view's features once.

    Args:
        encoder: a vision transformer (built with patches of 16), or any other encoder.
        upsampling: makes each 2× step, all on class scores: 4 of a vision transformer, 3 + 2 of a pyramid.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        frozen: leave the encoder as it is.
        batch_norm: before the linear layer.
        levels: maps that are used: of a vision transformer's blocks at equal distances, the last one included; of other
            encoders the coarsest ones. None: the last block, or 1/4, 1/8, 1/16 and 1/32.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.

    Raises:
        ValueError: fewer levels than one, or more than there are.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        frozen: bool = True,
        batch_norm: bool = True,
        levels: int | None = None,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        is_vit = encoder.is_vit()
        levels = levels if levels is not None else (1 if is_vit else PYRAMID)
        if levels < 1 or (levels > PYRAMID and not is_vit):
            raise ValueError(
                f"model.levels={levels}: use 1 to {PYRAMID} maps of '{encoder.name}' (a vision transformer has as many "
                "as blocks), or null."
            )
        network: nn.Module
        if is_vit:
            network = TokenMaps(encoder.build_vit(in_channels, levels, norm=True))
            factors, stride, finest = [1] * (levels - 1), PATCH, PATCH
        else:
            network = encoder.build(in_channels)
            factors, stride, finest = [2] * (levels - 1), 32, 32 >> (levels - 1)
        decoder = LinearDecoder(network.out_channels[-levels:], num_classes, batch_norm)
        with forked_rng():
            decoder.place(upsampling, factors, num_classes)
            head = upsampling.chain(num_classes, finest)
        super().__init__(network, decoder, head, stride=stride)
        self.frozen = frozen
        if frozen:
            self.encoder.requires_grad_(False)
            self.encoder.eval()
        self.add_aux(aux, num_classes, in_channels)

    def train(self, mode: bool = True) -> Linear:
        """As of any module, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Any:
        """Label every pixel: see :meth:`perpixel.models.SegmentationModel.forward`."""
        height, width = images.shape[-2:]
        return self.from_features(self.features(images), (height, width))

    def features(self, images: Tensor) -> Sequence[Tensor]:
        """The encoder's maps of the padded images that decoder and auxiliary heads use; without a graph where frozen.

        Args:
            images: (B, C_in, H, W) float, any H and W.
        """
        padded = pad_to_stride(images, self.stride)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps: Sequence[Tensor] = self.encoder(padded)
        return maps if self.aux is not None else maps[-len(self.decoder.scores) :]  # type: ignore[arg-type]

    def from_features(self, features: Sequence[Tensor], size: tuple[int, int]) -> Any:
        """What ``forward`` gives, of features that are known already.

        Args:
            features: as :meth:`features` gives them.
            size: H, W of the images that they are of.
        """
        height, width = size
        return self.with_aux(self.decode(features)[..., :height, :width], features, size)
