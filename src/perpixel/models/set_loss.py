"""Mask2Former's loss: labels as a set of masks, matched to the queries."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from perpixel.labels import PADDING_INDEX
from perpixel.losses.base import Loss
from perpixel.losses.cross_entropy import CrossEntropy
from perpixel.losses.pixels import Pixels
from perpixel.models.mask_queries import STRIDE, MaskQueries


class SetLoss(Loss):
    """Hungarian matching of an image's class masks to queries, then class, mask and dice losses (Cheng et al. 2022).

    Summed over the final layer and, as deep supervision, all earlier ones. Masks are compared at random points, most of
    them where the prediction is unsure. As in the authors' code, pixels without a label belong to no mask. A
    class absent from an image has no mask in it; queries that match nothing learn "no object".

    For per-pixel logits (validation) it is the cross-entropy of the semantic inference, so the values of training and
    validation do not compare.

    Args:
        ignore_index: target value of pixels without a label.
        class_weight: of the classes' cross-entropy.
        mask_weight: of the masks' binary cross-entropy.
        dice_weight: of the masks' dice loss.
        no_object_weight: of the queries that match nothing, in the cross-entropy.
        points: at which masks are compared.

    Raises:
        ValueError: the ``transformers`` library is missing.
    """

    takes_masks = True
    unweighted_because = "it compares masks at sampled points, in the transformers library's own code"

    def __init__(
        self,
        ignore_index: int = PADDING_INDEX,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        points: int = 12544,
    ) -> None:
        super().__init__(ignore_index)
        self.weights = {"loss_cross_entropy": class_weight, "loss_mask": mask_weight, "loss_dice": dice_weight}
        self.no_object_weight = no_object_weight
        self.points = points
        self.dense = CrossEntropy(ignore_index)
        # In a dictionary, and so no submodule: its buffers are settings, and belong in no checkpoint.
        self._criteria: dict[int, Any] = {}

    def forward(self, logits: Tensor | MaskQueries, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of one batch.

        Args:
            logits: :class:`perpixel.models.mask_queries.MaskQueries` in training, per-pixel logits in validation.
            target: (B, H, W) int64.
            weight: refused, see `check_pixel_weights`.
        """
        if isinstance(logits, Tensor):
            return super().forward(logits, target, weight)
        if weight is not None:
            self.check_pixel_weights()
        masks, labels = self._as_sets(target, logits.masks[-1].shape[-2:])
        layers = list(zip(logits.classes, logits.masks, strict=True))
        with torch.autocast(target.device.type, enabled=False):
            values = [self._of_layer(c.float(), m.float(), masks, labels) for c, m in layers]
        self.parts = {name.removeprefix("loss_"): values[-1][name].detach() for name in self.weights}
        return torch.stack([weight * value[name] for value in values for name, weight in self.weights.items()]).sum()

    def measure(self, pixels: Pixels) -> Tensor:
        """Cross-entropy of per-pixel logits."""
        return self.dense.measure(pixels)

    def _of_layer(
        self, classes: Tensor, masks: Tensor, mask_labels: list[Tensor], class_labels: list[Tensor]
    ) -> dict[str, Tensor]:
        if sum(map(len, class_labels)) == 0:  # nothing to match: all queries keep still
            nothing = 0 * (classes.sum() + masks.sum())
            return dict.fromkeys(self.weights, nothing)
        found: dict[str, Tensor] = self._matching(classes)(masks, classes, mask_labels, class_labels)
        return found

    def _matching(self, classes: Tensor) -> Any:
        """The library's criterion, made when the number of classes is known."""
        count = classes.shape[-1] - 1
        if count not in self._criteria:
            self._criteria[count] = library_criterion(count, self.weights, self.no_object_weight, self.points)
        return self._criteria[count].to(classes.device)

    def _as_sets(self, target: Tensor, size: torch.Size) -> tuple[list[Tensor], list[Tensor]]:
        """Per image the classes that occur, and a mask (padded as the image was) for each."""
        height, width = (STRIDE * n for n in size)
        pads = (0, width - target.shape[-1], 0, height - target.shape[-2])
        padded = F.pad(target, pads, value=self.ignore_index)
        labels = [image.unique() for image in padded]
        labels = [values[values != self.ignore_index] for values in labels]
        masks = [(image[None] == values[:, None, None]).float() for image, values in zip(padded, labels, strict=True)]
        return masks, labels


def library_criterion(num_classes: int, weights: dict[str, float], no_object_weight: float, points: int) -> Any:
    """The ``transformers`` library's matcher and losses.

    Raises:
        ValueError: the library is not installed.
    """
    try:
        from transformers import Mask2FormerConfig
        from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss
    except ImportError as error:
        raise ValueError(f"loss=mask2former needs pip install 'perpixel[mask2former]' ({error}).") from error
    options: dict[str, Any] = {
        "num_labels": num_classes,
        "class_weight": weights["loss_cross_entropy"],
        "mask_weight": weights["loss_mask"],
        "dice_weight": weights["loss_dice"],
        "no_object_weight": no_object_weight,
        "train_num_points": points,
    }
    return Mask2FormerLoss(Mask2FormerConfig(**options), weight_dict=weights)
