"""The textbook U-Net, whole: encoder and decoder of plain 3×3 convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from perpixel.models.base import forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.head import PixelHead
from perpixel.models.skips import SkippingModel, decoder_inputs
from perpixel.models.upsampling import Upsampling


class Convolutions(nn.Sequential):
    """One or two 3×3 convolutions with ReLU, He-initialised as Ronneberger et al. 2015 ask (section 3).

    Shapes: (B, C_in, H, W) → (B, C_out, H, W).
    """

    def __init__(self, channels: int, out_channels: int, count: int, batch_norm: bool) -> None:
        super().__init__()
        for index in range(count):
            conv = nn.Conv2d(channels if index == 0 else out_channels, out_channels, 3, padding=1, bias=not batch_norm)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            norm = [nn.BatchNorm2d(out_channels)] if batch_norm else []
            self.extend([conv, *norm, nn.ReLU(inplace=True)])


class StarterEncoder(nn.Module):
    """Convolutions, 2×2 max-pool, and again: (B, C_in, H, W) → maps at 1, 1/2, 1/4, … fine to coarse."""

    def __init__(self, in_channels: int, channels: Sequence[int], convs_per_block: int, batch_norm: bool) -> None:
        super().__init__()
        inputs = [in_channels, *channels[:-1]]
        self.blocks = nn.ModuleList(
            Convolutions(i, o, convs_per_block, batch_norm) for i, o in zip(inputs, channels, strict=True)
        )
        self.pool = nn.MaxPool2d(kernel_size=2)
        self.out_channels = list(channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [self.blocks[0](images)]
        for block in self.blocks[1:]:
            maps.append(block(self.pool(maps[-1])))
        return maps


class StarterDecoder(nn.Module):
    """Upsample to half the channels, join the skip connection, convolve; up to full resolution.

    Args:
        skip_channels: of the encoder's maps as the decoder sees them, fine to coarse.
    """

    def __init__(
        self, channels: Sequence[int], skip_channels: Sequence[int], convs_per_block: int, batch_norm: bool
    ) -> None:
        super().__init__()
        self.channels = channels[::-1]
        self.upsample = nn.ModuleList()
        widths = zip(self.channels[1:], skip_channels[::-1][1:], strict=True)
        self.blocks = nn.ModuleList(Convolutions(c + skip, c, convs_per_block, batch_norm) for c, skip in widths)

    def place(self, upsampling: Upsampling) -> None:
        """Make the 2× step in front of each block."""
        pairs = zip(self.channels, self.channels[1:], strict=False)
        self.upsample = nn.ModuleList(upsampling.make(coarse, fine) for coarse, fine in pairs)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        *skips, features = maps
        for upsample, block, skip in zip(self.upsample, self.blocks, reversed(skips), strict=True):
            features = block(torch.cat([upsample(features), skip], dim=1))
        return features


class StarterUnet(SkippingModel):
    """The U-Net of a first segmentation course (Ronneberger et al. 2015, padded so that sizes are kept).

    Widths double at each of four 2×2 max-pools, 64→128→256→512, with the bottleneck of 1024 channels at 1/16;
    up-convolutions halve them again. It brings its own encoder.

    Args:
        encoder: must be ``encoder=none``.
        upsampling: makes each of the four 2× steps; the textbook's are transposed convolutions, 2×2.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        width: channels at full resolution.
        convs_per_block: 3×3 convolutions per block, 2 in the paper.
        batch_norm: normalise after each convolution (not in the paper; trains faster).
        skips: False cuts the skip connections.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.

    Raises:
        ValueError: an encoder was chosen, which would go unused, or the width is none.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        width: int = 64,
        convs_per_block: Literal[1, 2] = 2,
        batch_norm: bool = False,
        skips: bool = True,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        if width < 1:
            raise ValueError(f"model.width={width}: the channels at full resolution are 1 or more (64 in the paper).")
        encoder.refuse("model=starter_unet", instead="model=unet")
        channels = [width * 2**level for level in range(5)]
        network = StarterEncoder(in_channels, channels, convs_per_block, batch_norm)
        decoder = StarterDecoder(channels, decoder_inputs(channels, skips), convs_per_block, batch_norm)
        head = PixelHead(width, num_classes, kernel_size=1)
        with forked_rng():
            decoder.place(upsampling)
        super().__init__(network, decoder, head, stride=16, skips=skips)
        self.add_aux(aux, num_classes, in_channels)
