"""Counts per image."""

from __future__ import annotations

from dataclasses import dataclass

from perpixel import metrics
from perpixel.evaluation.base import Evaluator
from perpixel.labels import LabelSpace


@dataclass(frozen=True)
class ImageCounts(Evaluator):
    """Counts of every image, from which the 95 % intervals of mIoU and of each class follow, paired tests and slices.

    See :class:`perpixel.metrics.ImageCounts` and :mod:`perpixel.uncertainty`.
    """

    def metric(self, labels: LabelSpace) -> metrics.ImageCounts:
        return metrics.ImageCounts(labels)
