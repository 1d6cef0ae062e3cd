"""FCN: class scores at several resolutions, upsampled and summed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from segmentation_models_pytorch.base.initialization import initialize_decoder
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, forked_rng
from perpixel.models.encoder import Encoder
from perpixel.models.upsampling import Upsampling


class FCNDecoder(nn.Module):
    """Scores the coarsest map, and the finer ones that are to refine it.

    The two 3×3 convolutions stand where VGG's two fully connected layers, made convolutional, stand in the paper. The
    scores of the finer maps begin at zero, so that training starts from the coarse prediction (section 4.3).

    Shapes: feature maps → (B, num_classes, H/s, W/s) with s the finest stride.
    """

    def __init__(
        self, channels: Sequence[int], num_classes: int, hidden: int, refinements: int, dropout: float
    ) -> None:
        super().__init__()
        self.context = nn.Sequential(
            *convolution(channels[-1], hidden, dropout),
            *convolution(hidden, hidden, dropout),
        )
        self.score = nn.Conv2d(hidden, num_classes, kernel_size=1)
        finer = channels[::-1][1 : refinements + 1]
        self.scores = nn.ModuleList(nn.Conv2d(width, num_classes, kernel_size=1) for width in finer)
        self.upsample = nn.ModuleList()
        initialize_decoder(self)
        for score in self.scores:
            nn.init.zeros_(score.weight)  # type: ignore[arg-type]

    def place(self, upsampling: Upsampling) -> None:
        """Make the 2× step in front of each refinement."""
        self.upsample = nn.ModuleList(upsampling.make(score.out_channels) for score in self.scores)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        scores: Tensor = self.score(self.context(features[-1]))
        finer = features[::-1][1 : len(self.scores) + 1]
        for upsample, score, level in zip(self.upsample, self.scores, finer, strict=True):
            scores = upsample(scores) + score(level)
        return scores


class FCN(SegmentationModel):
    """Fully convolutional network (Long et al. 2015) on any encoder.

    The paper's upsampling is ``decoder=transposed decoder.kernel_size=4``.

    Args:
        encoder: the encoder to build.
        upsampling: makes each of the five 2× steps, all on class scores.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        variant: "32s" predicts from 1/32 alone, "16s" refines with 1/16, "8s" with 1/8, too.
        hidden: channels of the two convolutions on the coarsest map.
        dropout: share of their channels dropped in training.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`.

    Raises:
        ValueError: there is no such variant.
    """

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        variant: Literal["32s", "16s", "8s"] = "8s",
        hidden: int = 512,
        dropout: float = 0.5,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        if variant not in ("32s", "16s", "8s"):
            raise ValueError(f"model.variant={variant}: FCN is defined as 32s, 16s and 8s.")
        network = encoder.build(in_channels)
        stride = int(variant.removesuffix("s"))
        refinements = 5 - stride.bit_length() + 1
        decoder = FCNDecoder(network.out_channels, num_classes, hidden, refinements, dropout)
        with forked_rng():
            decoder.place(upsampling)
            head = upsampling.chain(num_classes, stride)
        super().__init__(network, decoder, head, stride=32)
        self.add_aux(aux, num_classes, in_channels)


def convolution(channels: int, out_channels: int, dropout: float) -> list[nn.Module]:
    """3×3 convolution, batch norm, ReLU and dropout of whole channels."""
    return [
        nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Dropout2d(dropout),
    ]
