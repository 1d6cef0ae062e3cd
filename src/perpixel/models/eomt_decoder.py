"""EoMT's last blocks, with queries among the patches. Importing it needs the ``transformers`` library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import EomtConfig
from transformers.models.eomt.modeling_eomt import EomtMaskHead, EomtPreTrainedModel, EomtScaleBlock

from perpixel.models.mask_queries import MaskQueries

STEPS = 2
"""2× steps from patches of 16 to masks at 1/4."""


class JointDecoder(EomtPreTrainedModel):
    """Queries and patches through the last blocks of a vision transformer, and what is predicted of each query.

    Mask head, upscaling, class predictor and queries are the library's, by its names and initialised as it does; the
    blocks and the norm are the encoder's, which keep their weights.

    Args:
        blocks: the encoder's last ones.
        norm: its final norm.
        channels: of the tokens.
        num_classes: classes, without "no object".
        queries: how many.

    Attributes:
        mask_probability: per block, how likely a query's attention is masked in training.
    """

    def __init__(self, blocks: nn.ModuleList, norm: nn.Module, channels: int, num_classes: int, queries: int) -> None:
        options: dict[str, Any] = {"num_labels": num_classes, "num_queries": queries, "num_upscale_blocks": STEPS}
        config = EomtConfig(hidden_size=channels, **options)
        super().__init__(config)
        self.query = nn.Embedding(queries, channels)
        self.upscale_block = EomtScaleBlock(config)
        self.mask_head = EomtMaskHead(config)
        self.class_predictor = nn.Linear(channels, num_classes + 1)
        self.post_init()  # before the blocks come, whose weights stay
        self.blocks = blocks
        self.layernorm = norm
        for block in blocks:
            attention: Any = block.attn
            if hasattr(attention, "num_prefix_tokens"):  # whose rotary embeddings leave the prefix out
                attention.num_prefix_tokens += queries
        self.mask_probability = [1.0] * len(blocks)

    def forward(self, features: tuple[Tensor, Tensor, Tensor | None]) -> MaskQueries:
        patches, prefix, rope = features
        size, before = patches.shape[-2:], self.query.num_embeddings + prefix.shape[1]
        queries = self.query.weight.expand(patches.shape[0], -1, -1).to(patches.dtype)
        tokens = torch.cat([queries, prefix, patches.flatten(2).transpose(1, 2)], dim=1)
        found = []
        for block, likely in zip(self.blocks, self.mask_probability, strict=True):
            options: dict[str, Any] = {} if rope is None else {"rope": rope}
            if self.training:  # only the set loss looks at what is predicted before the last block
                found.append(self._predict(tokens, size, before))
                options["attn_mask"] = self._mask(found[-1][1], size, tokens.shape[1], before, likely)
            tokens = block(tokens, **options)
        found.append(self._predict(tokens, size, before))
        classes, masks = zip(*found, strict=True)
        return MaskQueries(classes, masks)

    def _predict(self, tokens: Tensor, size: Sequence[int], before: int) -> tuple[Tensor, Tensor]:
        """Class logits (B, Q, K + 1) and mask logits (B, Q, H/4, W/4)."""
        tokens = self.layernorm(tokens)
        queries = tokens[:, : self.query.num_embeddings]
        pixels = self.upscale_block(tokens[:, before:].transpose(1, 2).unflatten(2, (size[0], size[1])))
        return self.class_predictor(queries), torch.einsum("bqc,bchw->bqhw", self.mask_head(queries), pixels)

    def _mask(self, masks: Tensor, size: Sequence[int], length: int, before: int, likely: float) -> Tensor:
        """(B, 1, N, N), True where a token may look: a query at patches within its mask, all others everywhere."""
        within = F.interpolate(masks.detach().float(), size=(size[0], size[1]), mode="bilinear").flatten(2) > 0
        free = torch.rand(within.shape[:2], device=within.device) >= likely
        allowed = torch.ones(len(masks), length, length, dtype=torch.bool, device=within.device)
        allowed[:, : within.shape[1], before:] = within | free[..., None]
        return allowed[:, None]
