"""Mask2Former's decoder on feature maps of any encoder. Importing it needs the ``transformers`` library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)

from perpixel.models.mask_queries import MaskQueries


class MaskDecoder(Mask2FormerPreTrainedModel):
    """Pixel decoder, masked-attention transformer and class predictor, initialised as the library does.

    Args:
        feature_channels: of the encoder's maps at 1/4, 1/8, 1/16 and 1/32.
        options: of ``Mask2FormerConfig``.
    """

    def __init__(self, feature_channels: Sequence[int], **options: Any) -> None:
        config = Mask2FormerConfig(**options)
        super().__init__(config)
        self.pixel_decoder = Mask2FormerPixelDecoder(config, feature_channels=list(feature_channels))
        self.transformer_module = Mask2FormerTransformerModule(in_features=config.feature_size, config=config)
        self.class_predictor = nn.Linear(config.hidden_dim, options["num_labels"] + 1)
        self.post_init()

    def forward(self, features: Sequence[Tensor]) -> MaskQueries:
        pixels = self.pixel_decoder(list(features[2:]), return_dict=True)
        decoded = self.transformer_module(
            multi_scale_features=pixels.multi_scale_features,
            mask_features=pixels.mask_features,
            output_hidden_states=True,
        )
        # Only the set loss looks at the layers before the last.
        states = decoded.intermediate_hidden_states[0 if self.training else -1 :]
        return MaskQueries(
            classes=tuple(self.class_predictor(state.transpose(0, 1)) for state in states),
            masks=tuple(decoded.masks_queries_logits),
        )
