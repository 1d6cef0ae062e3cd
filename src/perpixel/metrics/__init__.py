"""Metrics: counts first, scores from counts."""

from perpixel.metrics.confusion import confusion_matrix
from perpixel.metrics.predictions import to_labels
from perpixel.metrics.scores import scores
from perpixel.metrics.segmentation import SegmentationMetrics

__all__ = ["SegmentationMetrics", "confusion_matrix", "scores", "to_labels"]
