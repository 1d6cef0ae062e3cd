"""Pictures of data, predictions and training, as uint8 RGB arrays or PNG files."""

from perpixel.reporting.pictures.plots import confusion_picture, curves_picture
from perpixel.reporting.pictures.reliability import reliability_picture
from perpixel.reporting.pictures.sheet import batch_picture
from perpixel.reporting.pictures.strip import overlay_strip, panels

__all__ = ["batch_picture", "confusion_picture", "curves_picture", "overlay_strip", "panels", "reliability_picture"]
