"""Procedural street scenes with exact labels: ``data=scenes``."""

from perpixel_scenes.camera import CAMERAS
from perpixel_scenes.classes import Class
from perpixel_scenes.source import Scenes
from perpixel_scenes.weather import WEATHERS

__all__ = ["CAMERAS", "WEATHERS", "Class", "Scenes"]
