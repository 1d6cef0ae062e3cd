"""Mask2Former: a set of queries, each a class and a mask, instead of a label per pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perpixel.models.base import SegmentationModel, pad_to_stride
from perpixel.models.encoder import Encoder
from perpixel.models.mask_queries import STRIDE, MaskQueries
from perpixel.models.upsampling import Upsampling

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


class Mask2Former(SegmentationModel):
    """Mask2Former (Cheng et al. 2022): masked attention, no-object class, deep supervision, on any encoder.

    Pixel decoder and transformer decoder are the ``transformers`` library's (extra "mask2former"). Trains with
    ``loss=mask2former`` only: labels are matched to queries as a set.

    Args:
        encoder: the encoder to build.
        upsampling: bilinear, for the final masks; the pixel decoder is deformable attention, without 2× steps.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        queries: masks predicted per image; more than an image ever has classes.
        channels: of pixel decoder and transformer; a multiple of 32 and of ``heads``.
        heads: attention heads.
        pixel_layers: layers of the pixel decoder.
        decoder_layers: layers of the transformer decoder; each is supervised.
        dropout: in attention and feed-forward layers.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`. They label pixels one by one, so their loss is
            the pixels' cross-entropy.

    Raises:
        ValueError: the ``transformers`` library is missing, or another upsampling was chosen.
    """

    export_limits = (
        "it takes images of the example's size only: the transformers library's deformable attention turns the sizes "
        "of its maps into plain numbers"
    )

    bilinear_only = "its pixel decoder is deformable attention over all resolutions"

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        queries: int = 100,
        channels: int = 256,
        heads: int = 8,
        pixel_layers: int = 6,
        decoder_layers: int = 9,
        dropout: float = 0.0,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        self.check_upsampling(type(upsampling))
        decoder_class = mask_decoder_class()
        network = encoder.build(in_channels)
        if network.out_channels[2:].count(0):
            raise ValueError(f"model=mask2former needs maps at 1/4, 1/8, 1/16 and 1/32, which '{encoder.name}' lacks.")
        decoder = decoder_class(
            network.out_channels[2:],
            num_labels=num_classes,
            num_queries=queries,
            feature_size=channels,
            mask_feature_size=channels,
            hidden_dim=channels,
            encoder_feedforward_dim=4 * channels,
            dim_feedforward=8 * channels,
            num_attention_heads=heads,
            encoder_layers=pixel_layers,
            decoder_layers=decoder_layers + 1,  # transformers counts the prediction before the first layer
            dropout=dropout,
        )
        super().__init__(network, decoder, SemanticInference(), stride=32)
        self.add_aux(aux, num_classes, in_channels)

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
                f"model=mask2former predicts a set of masks and is trained by matching them to the labels' masks; "
                f"{kind.__name__} compares pixels one by one. Use loss=mask2former."
            )


def mask_decoder_class() -> Any:
    """The decoder's class, whose module needs the ``transformers`` library.

    Raises:
        ValueError: the library is not installed.
    """
    try:
        from perpixel.models.mask2former_decoder import MaskDecoder
    except ImportError as error:
        raise ValueError(
            f"model=mask2former uses the transformers library, which is not installed ({error}). "
            f"Run pip install 'perpixel[mask2former]'."
        ) from error
    return MaskDecoder
