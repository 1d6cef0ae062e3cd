"""Mask2Former: a set of queries, each a class and a mask, instead of a label per pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perpixel.models.encoder import Encoder
from perpixel.models.mask_classification import MaskClassification, SemanticInference
from perpixel.models.upsampling import Upsampling


class Mask2Former(MaskClassification):
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

    word = "mask2former"
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
        decoder_class = self.library_decoder("perpixel.models.mask2former_decoder", "MaskDecoder")
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
