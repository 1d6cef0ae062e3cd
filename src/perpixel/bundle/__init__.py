"""The trained model: as files (:class:`ModelBundle`) and in use (:class:`Predictor`)."""

from perpixel.bundle.bundle import ModelBundle
from perpixel.bundle.prediction import Prediction
from perpixel.bundle.predictor import Predictor

__all__ = ["ModelBundle", "Prediction", "Predictor"]
