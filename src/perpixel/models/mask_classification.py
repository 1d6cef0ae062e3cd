"""What models that predict a set of masks have in common: queries in training, a label per pixel otherwise."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, pad_to_stride
from perpixel.models.mask_queries import STRIDE, MaskQueries

EPSILON = 1e-6
"""Added to a class's evidence before the logarithm: pixels that no mask claims keep finite logits."""


class SemanticInference(nn.Module):
    """Queries → per-pixel logits, log(Σ_q p_q(class)·σ(mask_q) + ε) (Cheng et al. 2021, section 3.4).

    The logarithm makes arg-max, tiling and export work as for every other model, and softmax of it gives the classes'
    shares of the evidence.

    Shapes: :class:`MaskQueries` → (B, num_classes, H, W).
    """

    def forward(self, queries: MaskQueries) -> Tensor:
        classes = queries.classes[-1].softmax(dim=-1)[..., :-1]
        masks = F.interpolate(queries.masks[-1], scale_factor=float(STRIDE), mode="bilinear").sigmoid()
        return torch.log(torch.einsum("bqc,bqhw->bchw", classes, masks) + EPSILON)


class MaskClassification(SegmentationModel):
    """A model whose decoder gives :class:`MaskQueries`, trained by matching them to the labels' masks.

    Attributes:
        word: the model's choice, for messages.
    """

    word: ClassVar[str]

    def forward(self, images: Tensor) -> Any:
        """Label every pixel.

        Args:
            images: (B, C_in, H, W) float, any H and W.

        Returns:
            (B, num_classes, H, W) logits; in training :class:`MaskQueries` of the padded image, for the set loss (with
            auxiliary heads, a :class:`perpixel.models.base.SegmentationOutput` of them).
        """
        if not self.training:
            return super().forward(images)
        height, width = images.shape[-2:]
        features = self.encoder(pad_to_stride(images, self.stride))
        return self.with_aux(self.decoder(features), features, (height, width))

    @classmethod
    def check_loss(cls, kind: type[nn.Module]) -> None:
        """Refuse any loss but the set loss.

        Raises:
            ValueError: it compares pixels one by one.
        """
        if not getattr(kind, "takes_masks", False):
            raise ValueError(
                f"model={cls.word} predicts a set of masks and is trained by matching them to the labels' masks; "
                f"{kind.__name__} compares pixels one by one. Use loss=mask2former."
            )

    @classmethod
    def library_decoder(cls, module: str, name: str, version: str = "") -> Any:
        """A decoder's class, whose module needs the ``transformers`` library.

        Args:
            module, name: where it is.
            version: what else may be wrong, for the message: `` or older than …``.

        Raises:
            ValueError: the library is not installed, or too old.
        """
        try:
            return getattr(import_module(module), name)
        except ImportError as error:
            raise ValueError(
                f"model={cls.word} uses the transformers library, which is not installed{version} ({error}). "
                f"Run pip install 'perpixel[mask2former]'."
            ) from error
