"""The metric of shapes: edges, thin structures and small objects over a whole data set."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from perpixel.labels import LabelSpace
from perpixel.metrics.edges import edge_counts, pixels_of_diagonal
from perpixel.metrics.image_by_image import Counts, ImageByImage
from perpixel.metrics.maps import Labels
from perpixel.metrics.structures import small_object_counts, thin_counts


class SpatialMetrics(ImageByImage):
    """Boundary IoU, boundary F, thin-structure and small-object recall, from counts summed over images and ranks.

    A class without pixels to count scores NaN and is left out of the means, whose names begin with m; ``details`` names
    it, as ``left_out``: by mean, the classes. Works on the CPU, image by image: for evaluation, not for every training
    step. Images may differ in size; widths given as a share follow each image's own diagonal.

    Args:
        labels: class names and the value that means "no label".
        dilation_ratio: width of the edge of boundary IoU, as a share of the image's diagonal (Cheng et al. 2021: 0.02).
        tolerance: distance at which a contour is still met, as a share of the diagonal (Csurka et al. 2013: 0.0075).
        thin_width: structures narrower than this many pixels are thin.
        small_area: objects of fewer pixels are small.

    Raises:
        ValueError: a width or an area is out of its range.
    """

    higher_is_better = True
    edges: Tensor
    thin: Tensor
    small: Tensor

    def __init__(
        self,
        labels: LabelSpace,
        dilation_ratio: float = 0.02,
        tolerance: float = 0.0075,
        thin_width: int = 5,
        small_area: int = 100,
    ) -> None:
        super().__init__(labels)
        for name, value, least in (
            ("dilation_ratio", dilation_ratio, 0.0),
            ("tolerance", tolerance, 0.0),
            ("thin_width", thin_width, 2),
            ("small_area", small_area, 2),
        ):
            if value < least:
                raise ValueError(f"{name}={value}: give {least:g} or more.")
        self.dilation_ratio, self.tolerance = dilation_ratio, tolerance
        self.thin_width, self.small_area = thin_width, small_area
        for name, rows in (("edges", 6), ("thin", 2), ("small", 2)):
            self._add_counts(name, rows, labels.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """The scores by name, float64 scalars: ``mBoundaryIoU``, ``mBoundaryF``, …, ``BoundaryIoU/<class>``, …"""
        return self._compute()

    def _count(self, prediction: Labels, truth: Labels) -> Counts:
        """One image's edges, thin structures and small objects."""
        classes = self.labels.num_classes
        band, tolerance = (pixels_of_diagonal(share, *truth.shape) for share in (self.dilation_ratio, self.tolerance))
        return (
            np.stack(edge_counts(prediction, truth, classes, band, tolerance)),
            thin_counts(prediction, truth, classes, self.thin_width),
            small_object_counts(prediction, truth, classes, self.small_area),
        )

    def _states(self) -> tuple[Tensor, ...]:
        return self.edges, self.thin, self.small

    def _compute(self) -> dict[str, Tensor]:
        common, either, found, truth, right, predicted = self.edges.double()
        per_class = {
            "BoundaryIoU": common / either,
            "BoundaryF": boundary_f(right / predicted, found / truth),
            "ThinRecall": self.thin[0].double() / self.thin[1],
            "SmallObjectRecall": self.small[0].double() / self.small[1],
        }
        self.details = {"left_out": {f"m{score}": self._without(values) for score, values in per_class.items()}}
        named = {f"m{score}": values.nanmean() for score, values in per_class.items()}
        for score, values in per_class.items():
            named |= {f"{score}/{name}": value for name, value in zip(self.labels.names, values, strict=True)}
        return named

    def _without(self, values: Tensor) -> list[str]:
        """Names of the classes that have no score."""
        return [name for name, gone in zip(self.labels.names, values.isnan().tolist(), strict=True) if gone]


def boundary_f(precision: Tensor, recall: Tensor) -> Tensor:
    """Harmonic mean; NaN only where there is neither a true nor a predicted contour, 0 where there is only one."""
    absent = precision.isnan() & recall.isnan()
    precision, recall = precision.nan_to_num(0.0), recall.nan_to_num(0.0)
    total = precision + recall
    score = 2 * precision * recall / torch.where(total > 0, total, torch.ones_like(total))
    return score.masked_fill(absent, torch.nan)
