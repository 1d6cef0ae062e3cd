"""The metric of a run: one confusion matrix over the whole data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perpixel.labels import PADDING_INDEX, LabelSpace
from perpixel.metrics.base import PixelMetric, check_targets
from perpixel.metrics.confusion import count_pairs
from perpixel.metrics.invalid_labels import seen_at_once
from perpixel.metrics.predictions import check_batch, to_labels
from perpixel.metrics.scores import counts_of, scores


class SegmentationMetrics(PixelMetric):
    """mIoU and its relatives from one int64 confusion matrix, summed over batches and ranks before any ratio is taken.

    Scores and their policy for absent classes: `perpixel.metrics.scores.scores`.

    In a loop of one's own, without a label space: ``SegmentationMetrics(num_classes=19, ignore_index=255)``, whose
    classes are called by their index, as in ``IoU/7``.

    Args:
        labels: class names and the value that means "no label".
        num_classes: C, in place of ``labels``.
        ignore_index: with ``num_classes``: target value of pixels without a label, any integer that is no class; None
            where every pixel has one.

    Raises:
        ValueError: not exactly one of ``labels`` and ``num_classes`` is given, there is no class, or the ignore index
            is a class.

    Attributes:
        confusion: (C, C) int64 counts of this rank so far, rows are the truth, columns the prediction.
        total: the counts of all ranks, as of the last ``compute()``; ``details`` holds it, too.
        absent: names of the classes with neither truth nor prediction pixels, as of the last ``compute()``.
    """

    higher_is_better = True
    confusion: Tensor
    total: Tensor
    absent: tuple[str, ...]

    def __init__(
        self,
        labels: LabelSpace | None = None,
        *,
        num_classes: int | None = None,
        ignore_index: int | None = PADDING_INDEX,
    ) -> None:
        super().__init__(_space(labels, num_classes, ignore_index))
        self._add_counts("confusion", self.labels.num_classes, self.labels.num_classes)
        self._clear()

    def update(self, logits_or_labels: Tensor, target: Tensor, names: Sequence[str] | None = None) -> None:
        """Count one batch.

        Args:
            logits_or_labels: (B, C, H, W) float logits or (B, H, W) integer class indices.
            target: (B, H, W) integer class indices, ``labels.fill`` where there is no label.
            names: of the B samples, for the error.

        Raises:
            ValueError: shapes or numbers of classes differ, or a value is neither a class nor the ignore index; names
                value, pixel count and sample. On a GPU, where looking at a value means waiting for it, `compute` raises
                it, with the first value and its sample.
        """
        check_batch(logits_or_labels, target, self.labels.num_classes)
        prediction = to_labels(logits_or_labels)
        try:
            self._update(prediction, target, names)
        except ValueError:
            if prediction.shape == target.shape and target.dim() == 3:
                check_targets(target, self.labels, names)  # looks again, image by image, to say which one it was
            raise

    def compute(self) -> dict[str, Tensor]:
        """All scores by name, float64 scalars.

        Raises:
            ValueError: pixels counted on a GPU held impossible values.
        """
        self._refuse_strays()
        self.total = self.confusion.clone()
        missing = ~counts_of(self.total).present
        self.absent = tuple(name for name, gone in zip(self.labels.names, missing.tolist(), strict=True) if gone)
        self.details = {"absent": self.absent, "confusion": self.total.tolist()}
        return self._compute(self.total)

    def reset(self) -> None:
        """Forget all counts."""
        super().reset()
        self._clear()

    def _update(self, prediction: Tensor, target: Tensor, names: Sequence[str] | None) -> None:
        confusion, found = count_pairs(prediction, target, self.labels.num_classes, self.labels.fill)
        self.confusion += confusion
        if not seen_at_once(target):
            self._note_strays(found, target, names)

    def _compute(self, confusion: Tensor) -> dict[str, Tensor]:
        return scores(confusion, self.labels.names)

    def _clear(self) -> None:
        self.total = torch.zeros_like(self.confusion)
        self.absent = self.labels.names


def _space(labels: LabelSpace | None, num_classes: int | None, ignore_index: int | None) -> LabelSpace:
    """The label space that was given, or one of classes called by their index."""
    if (labels is None) == (num_classes is None):
        raise ValueError(
            "give either a LabelSpace or num_classes, as in SegmentationMetrics(num_classes=19, ignore_index=255)."
        )
    if labels is not None:
        if not isinstance(labels, LabelSpace):
            raise ValueError(f"{labels!r} is no LabelSpace: name the number of classes, num_classes={labels!r}.")
        return labels
    if num_classes is None or num_classes < 1:
        raise ValueError(f"num_classes={num_classes}: give 1 or more.")
    return LabelSpace(tuple(map(str, range(num_classes))), ((0, 0, 0),) * num_classes, ignore_index)
