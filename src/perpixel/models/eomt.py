"""EoMT: a plain vision transformer whose last blocks see queries beside the patches; no decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from perpixel.models.encoder import PATCH, Encoder, VisionTransformer
from perpixel.models.mask_classification import MaskClassification, SemanticInference
from perpixel.models.upsampling import Upsampling

FIRST_END, LAST_END = 1 / 4, 13 / 16
"""Shares of the training at which the first and the last joint block stop masking."""

RAMP = 1 / 8
"""Share of the training over which a block stops masking."""

POWER = 0.9


class PatchEncoder(nn.Module):
    """The first blocks of a vision transformer: (B, C_in, H, W) → its tokens, and what later blocks need of the size.

    Gives a map (B, C, H/16, W/16) of the patch tokens and the prefix tokens (B, P, C).

    Args:
        network: the whole transformer; its last ``joint`` blocks and its norm are taken out of it.
        joint: blocks that go to the decoder.

    Raises:
        ValueError: there are not so many blocks, or their position embeddings differ from block to block.
    """

    def __init__(self, network: VisionTransformer, joint: int) -> None:
        super().__init__()
        model = network.model
        if not 1 <= joint < len(model.blocks):
            raise ValueError(
                f"model.blocks={joint}: the queries join the last of {len(model.blocks)} blocks, so give 1 to "
                f"{len(model.blocks) - 1}."
            )
        if getattr(model, "rope_mixed", False):
            raise ValueError("model=eomt: this encoder's position embeddings differ from block to block. Use another.")
        self.model = model
        self.out_channels = network.out_channels
        self.last = model.blocks[-joint:]
        self.norm = model.norm
        model.blocks = model.blocks[:-joint]
        model.norm = nn.Identity()

    def take(self) -> tuple[nn.ModuleList, nn.Module]:
        """The last blocks and the norm, once: they are the decoder's."""
        found = (self.last, self.norm)
        del self.last, self.norm
        return found

    def rope(self, height: int, width: int) -> Tensor | None:
        """Rotary position embeddings of a grid of patches; None where the transformer has none."""
        rope = getattr(self.model, "rope", None)
        return None if rope is None else rope.get_embed(shape=(height, width))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        patches = self.model.patch_embed(images)
        height, width = patches.shape[1:3]
        embedded = self.model._pos_embed(patches)
        tokens, rope = embedded if isinstance(embedded, tuple) else (embedded, None)
        tokens = self.model.norm_pre(tokens)
        for block in self.model.blocks:
            tokens = block(tokens, **({} if rope is None else {"rope": rope}))
        prefix, rest = tokens[:, : self.model.num_prefix_tokens], tokens[:, self.model.num_prefix_tokens :]
        return rest.transpose(1, 2).unflatten(2, (height, width)), prefix, rope


class EoMT(MaskClassification):
    """Encoder-only mask transformer (Kerssies et al. 2025) on a plain ViT such as DINOv2's or DINOv3's.

    Queries join the patch tokens in the encoder's last blocks; a class and a mask is read from each. What stands behind
    the transformer is the ``transformers`` library's (extra "mask2former"). Trains with ``loss=mask2former`` only:
    labels are matched to queries as a set.

    In training a query may look only where the mask that it has so far is; block after block stops to do so, with a
    probability that falls to 0, so that in the end nothing is masked any more (section 3.3). Evaluation never masks:
    scores during the first part of a training are lower for it. When each block stops, is a share of the training's
    steps here.

    Args:
        encoder: a vision transformer; one with other patches is built with patches of 16 (its weights are resampled).
        upsampling: bilinear, for the final masks.
        num_classes: channels of the logits.
        in_channels: channels of the images.
        queries: masks predicted per image; more than an image ever has classes.
        blocks: of the encoder, that the queries pass through; each is supervised. Their parameters, with the final
            norm, count as the decoder's.
        aux: auxiliary heads, see :class:`perpixel.models.aux.Auxiliary`. Their loss is the pixels' cross-entropy.

    Raises:
        ValueError: the ``transformers`` library is missing, another upsampling was chosen, or the encoder is not a
            plain vision transformer.
    """

    word = "eomt"
    bilinear_only = "its two 2× steps are transposed convolutions of the transformers library, as published"

    def __init__(
        self,
        encoder: Encoder,
        upsampling: Upsampling,
        num_classes: int,
        in_channels: int = 3,
        queries: int = 100,
        blocks: int = 4,
        aux: Mapping[str, Any] | None = None,
    ) -> None:
        self.check_upsampling(type(upsampling))
        decoder_class = self.library_decoder("perpixel.models.eomt_decoder", "JointDecoder", " or older than 4.54")
        patches = PatchEncoder(encoder.build_vit(in_channels, levels=1, norm=True), blocks)
        joint, norm = patches.take()
        decoder = decoder_class(joint, norm, patches.out_channels[-1], num_classes, queries)
        super().__init__(patches, decoder, SemanticInference(), stride=PATCH)
        self.add_aux(aux, num_classes, in_channels)

    def set_progress(self, fraction: float) -> None:
        """Set how likely each joint block masks a query's attention, from how much of the training is over, 0…1."""
        count = len(self.decoder.blocks)  # type: ignore[arg-type]
        apart = (LAST_END - FIRST_END) / max(count - 1, 1)
        ends = [FIRST_END + index * apart for index in range(count)]
        self.decoder.mask_probability = [probability(fraction, end - RAMP, end) for end in ends]  # type: ignore[assignment]


def probability(fraction: float, start: float, end: float) -> float:
    """1 until ``start``, 0 from ``end`` on, falling as (1 − t)^0.9 in between."""
    through = min(max((fraction - start) / (end - start), 0.0), 1.0)
    return float((1 - through) ** POWER)
