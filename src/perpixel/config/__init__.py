"""Compose, check and build: from what the user types to objects. Imports no torch."""

from perpixel.config.compose import Job, compose, expand, install
from perpixel.config.errors import ConfigError, together
from perpixel.config.objects import build, faults
from perpixel.config.paths import conf_dir

__all__ = ["ConfigError", "Job", "build", "compose", "conf_dir", "expand", "faults", "install", "together"]
