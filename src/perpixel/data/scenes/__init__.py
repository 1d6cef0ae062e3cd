"""Procedural street scenes with exact labels: ``data=scenes``."""

from perpixel.data.scenes.camera import CAMERAS
from perpixel.data.scenes.classes import Class
from perpixel.data.scenes.source import Scenes
from perpixel.data.scenes.weather import WEATHERS

__all__ = ["CAMERAS", "WEATHERS", "Class", "Scenes"]
