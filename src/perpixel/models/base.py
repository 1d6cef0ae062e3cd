"""What every model is: an encoder that squeezes, a decoder that restores, a head that labels every pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perpixel.models.aux import Auxiliary, AuxiliaryHead, AuxiliaryHeads, DeepSupervision, stage_channels
from perpixel.models.upsampling import Bilinear, Upsampling


class SegmentationOutput(NamedTuple):
    """What a model with auxiliary heads gives in training.

    The training loss is ``loss(logits) + model.aux_weight · mean(loss(each) for each in aux)``.

    Attributes:
        logits: (B, num_classes, H, W); of Mask2Former its queries.
        aux: (B, num_classes, H, W) from each auxiliary head.
    """

    logits: Any
    aux: tuple[Tensor, ...]


class SegmentationModel(nn.Module):
    """Base of all models: images of any size in, per-pixel logits of the same size out.

    Args:
        encoder: (B, C_in, H, W) → list of feature maps, fine to coarse. Its parameters get the encoder learning rate.
        decoder: that list → one feature map.
        head: that feature map → (B, num_classes, H, W).
        stride: H and W are padded to multiples of it.

    Attributes:
        aux: auxiliary heads, None without; used in training only.
        aux_weight: weight of their losses' mean.
        export_limits: which sizes of image an exported graph (``torch.export``) of the model does not take, and why;
            None where it takes any.
        bilinear_only: why no upsampling but bilinear can be chosen; None where any can.

    Subclasses build the three parts in this order, from the random stream of the caller, and whatever depends on the
    upsampling last, from a fork of it. So one seed gives the same encoder, decoder convolutions and head for every
    ``decoder=``, and runs that differ in the upsampling differ in nothing else.
    """

    export_limits: ClassVar[str | None] = None
    bilinear_only: ClassVar[str | None] = None

    @classmethod
    def check_upsampling(cls, kind: type[Upsampling]) -> None:
        """Refuse an upsampling that would replace nothing; called before anything is built, and by the constructors.

        Raises:
            ValueError: the model has no 2× steps between feature maps, and ``kind`` is not Bilinear.
        """
        if cls.bilinear_only is not None and not issubclass(kind, Bilinear):
            raise ValueError(
                f"model={cls.__name__.lower()} has nothing that decoder={kind.__name__.lower()} could replace: "
                f"{cls.bilinear_only}. Use decoder=bilinear."
            )

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module, stride: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.stride = stride
        self.aux: AuxiliaryHeads | None = None
        self.aux_weight = 0.0

    def add_aux(
        self,
        aux: Mapping[str, Any] | None,
        num_classes: int,
        in_channels: int,
        head: type[AuxiliaryHead] | type[DeepSupervision] = AuxiliaryHead,
    ) -> None:
        """Add the auxiliary heads that ``model.aux`` asks for: see :class:`perpixel.models.aux.Auxiliary`."""
        wanted = Auxiliary(**(aux or {}))
        if wanted.weight:
            sizes = stage_channels(self, in_channels)
            with forked_rng():
                self.aux = AuxiliaryHeads(self.decoder, wanted.stages, sizes, num_classes, head)
            self.aux_weight = wanted.weight

    def forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        """Label every pixel.

        Args:
            images: (B, C_in, H, W) float, any H and W.

        Returns:
            (B, num_classes, H, W) logits; in training with auxiliary heads, a :class:`SegmentationOutput`.
        """
        height, width = images.shape[-2:]
        features = self.encoder(pad_to_stride(images, self.stride))
        output: Tensor | SegmentationOutput = self.with_aux(
            self.decode(features)[..., :height, :width], features, (height, width)
        )
        return output

    def with_aux(self, output: Any, features: Any, size: tuple[int, int]) -> Any:
        """The model's output; in training with auxiliary heads their logits beside it.

        Args:
            output: what the training loss takes.
            features: the encoder's, from which the output was just computed.
            size: H, W of the images of which these are the features.
        """
        if self.aux is None or not self.training:
            return output
        height, width = size
        logits = self.aux(features, padded(height, self.stride), padded(width, self.stride))
        return SegmentationOutput(output, tuple(each[..., :height, :width] for each in logits))

    def set_progress(self, fraction: float) -> None:
        """Called before every training step with how much of the training is over, 0…1."""

    @classmethod
    def check_loss(cls, kind: type[nn.Module]) -> None:
        """Refuse a kind of loss that this model cannot be trained with; called before anything is built.

        Raises:
            ValueError: the loss matches sets of masks, and this model labels pixels.
        """
        if getattr(kind, "takes_masks", False):
            raise ValueError(
                f"loss=mask2former matches sets of masks, and {cls.__name__} labels pixels one by one. "
                f"Use another loss (loss=dice), or model=mask2former."
            )

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's feature maps → logits at the (padded) input's size."""
        logits: Tensor = self.head(self.decoder(features))
        return logits


def padded(size: int, stride: int) -> int:
    """The next multiple of the stride."""
    return size + -size % stride


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
