"""Skip connections as a switch: without them everything must pass through the bottleneck."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from perpixel.models.base import SegmentationModel


class SkippingModel(SegmentationModel):
    """Base of the U-Net family, whose skip connections ``model.skips=false`` switches off.

    The decoder is then fed skip maps of no channels and, where it concatenates them, built for such. Encoder and
    decoder are otherwise the same.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module, stride: int, skips: bool) -> None:
        super().__init__(encoder, decoder, head, stride)
        self.skips = skips

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's feature maps → logits at the (padded) input's size."""
        return super().decode(features if self.skips else without_skips(features))


def without_skips(features: Sequence[Tensor]) -> list[Tensor]:
    """The feature maps with all but the bottleneck emptied: (B, 0, h, w)."""
    return [*(each[:, :0] for each in features[:-1]), features[-1]]


def decoder_inputs(channels: Sequence[int], skips: bool) -> list[int]:
    """The encoder's channels as a decoder that concatenates them sees them."""
    return list(channels) if skips else [0] * (len(channels) - 1) + [channels[-1]]
