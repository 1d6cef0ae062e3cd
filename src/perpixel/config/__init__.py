"""Compose, check and build: from what the user types to objects. Imports no torch."""

from perpixel.config.compose import Job, compose, expand, install
from perpixel.config.errors import ConfigError, together
from perpixel.config.foreign import read_run_config, read_yaml
from perpixel.config.objects import admit, build, faults
from perpixel.config.paths import conf_dir
from perpixel.config.resume import resume_directory, resumed_config

__all__ = [
    "ConfigError",
    "Job",
    "admit",
    "build",
    "compose",
    "conf_dir",
    "expand",
    "faults",
    "install",
    "read_run_config",
    "read_yaml",
    "resume_directory",
    "resumed_config",
    "together",
]
