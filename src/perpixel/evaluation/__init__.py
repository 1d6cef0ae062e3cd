"""Evaluation of trained models: what is measured when a split is scored for the record."""

from perpixel.evaluation.base import Evaluator, score
from perpixel.evaluation.baselines import measure_baselines
from perpixel.evaluation.calibration import Calibration
from perpixel.evaluation.error_places import ErrorPlaces
from perpixel.evaluation.image_counts import ImageCounts
from perpixel.evaluation.spatial import Spatial

__all__ = ["Calibration", "ErrorPlaces", "Evaluator", "ImageCounts", "Spatial", "measure_baselines", "score"]
