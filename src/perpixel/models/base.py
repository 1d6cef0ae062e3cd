"""What every model is: an encoder that squeezes, a decoder that restores, a head that labels every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SegmentationModel(nn.Module):
    """Base of all models: images of any size in, per-pixel logits of the same size out.

    Args:
        encoder: (B, C_in, H, W) → list of feature maps, fine to coarse. Its parameters get the encoder learning rate.
        decoder: that list → one feature map.
        head: that feature map → (B, num_classes, H, W).
        stride: H and W are padded to multiples of it.

    Subclasses build the three parts in this order, from the random stream of the caller, and the modules that depend on
    the upsampling last, from a fork of it. So one seed gives the same encoder, decoder convolutions and head for every
    ``decoder=``, and runs that differ in the upsampling differ in nothing else.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module, stride: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        """Label every pixel.

        Args:
            images: (B, C_in, H, W) float, any H and W.

        Returns:
            (B, num_classes, H, W) logits.
        """
        height, width = images.shape[-2:]
        features = self.encoder(pad_to_stride(images, self.stride))
        return self.decode(features)[..., :height, :width]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's feature maps → logits at the (padded) input's size."""
        logits: Tensor = self.head(self.decoder(features))
        return logits


def pad_to_stride(images: Tensor, stride: int) -> Tensor:
    """Repeat the right and bottom edge until H and W are multiples of ``stride``.

    Edges are repeated rather than set to zero or mirrored: zero is a colour that the network would have to learn, and
    mirroring needs images larger than the padding.
    """
    right, bottom = -images.shape[-1] % stride, -images.shape[-2] % stride
    # An exported graph must hold the padding even if the example needs none: its sizes are free.
    if not torch.compiler.is_exporting() and right == 0 and bottom == 0:
        return images
    return F.pad(images, (0, right, 0, bottom), mode="replicate")


def forked_rng() -> AbstractContextManager[None]:
    """A block whose draws do not move the caller's random stream (models are built on the CPU)."""
    return torch.random.fork_rng(devices=[])
