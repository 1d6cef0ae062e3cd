"""Metrics: counts first, scores from counts."""

from perpixel.metrics.base import PixelMetric
from perpixel.metrics.calibration import Calibration, Reliability
from perpixel.metrics.confusion import confusion_matrix
from perpixel.metrics.error_places import ErrorPlaces
from perpixel.metrics.image_counts import ImageCounts
from perpixel.metrics.predictions import to_labels
from perpixel.metrics.scores import scores
from perpixel.metrics.segmentation import SegmentationMetrics
from perpixel.metrics.spatial import SpatialMetrics

__all__ = [
    "Calibration",
    "ErrorPlaces",
    "ImageCounts",
    "PixelMetric",
    "Reliability",
    "SegmentationMetrics",
    "SpatialMetrics",
    "confusion_matrix",
    "scores",
    "to_labels",
]
