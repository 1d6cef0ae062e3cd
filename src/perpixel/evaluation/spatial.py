"""Edges, thin structures and small objects."""

from __future__ import annotations

from dataclasses import dataclass

from perpixel.evaluation.base import Evaluator
from perpixel.labels import LabelSpace
from perpixel.metrics import SpatialMetrics


@dataclass(frozen=True)
class Spatial(Evaluator):
    """Boundary IoU and F, thin-structure and small-object recall: see :class:`perpixel.metrics.SpatialMetrics`.

    Args:
        dilation_ratio: width of the edge in boundary IoU, as a share of the image's diagonal.
        tolerance: distance at which a contour is still met, as a share of the diagonal.
        thin_width: structures narrower than this many pixels are thin.
        small_area: objects of fewer pixels are small.

    Raises:
        ValueError: a setting is out of its range.
    """

    dilation_ratio: float = 0.02
    tolerance: float = 0.0075
    thin_width: int = 5
    small_area: int = 100

    def __post_init__(self) -> None:
        self.metric(LabelSpace(("any",), ((0, 0, 0),)))  # which checks the ranges

    def metric(self, labels: LabelSpace) -> SpatialMetrics:
        return SpatialMetrics(
            labels,
            dilation_ratio=self.dilation_ratio,
            tolerance=self.tolerance,
            thin_width=self.thin_width,
            small_area=self.small_area,
        )
