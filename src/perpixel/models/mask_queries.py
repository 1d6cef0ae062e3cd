"""What a mask-classification decoder predicts: between the decoder, the semantic inference and the set loss."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

STRIDE = 4
"""The masks are predicted at 1/4."""


class MaskQueries(NamedTuple):
    """What the decoder predicts, once per layer for deep supervision, the final layer last.

    Attributes:
        classes: per layer (in evaluation, of the final one) (B, queries, num_classes + 1) logits; the last one means
            "no object".
        masks: per layer (B, queries, H/4, W/4) logits.
    """

    classes: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
