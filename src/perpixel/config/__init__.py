"""Compose, check and build: from what the user types to objects. Imports no torch."""

from perpixel.config.compose import Job, compose, expand, install
from perpixel.config.errors import ConfigError, together
from perpixel.config.objects import admit, build, complete, faults
from perpixel.config.paths import conf_dir
from perpixel.config.resume import changed_config, resume_directory, resumed_config
from perpixel.config.untrusted import read_run_config, read_yaml, run_config_text

__all__ = [
    "ConfigError",
    "Job",
    "admit",
    "build",
    "changed_config",
    "complete",
    "compose",
    "conf_dir",
    "expand",
    "faults",
    "install",
    "read_run_config",
    "read_yaml",
    "resume_directory",
    "resumed_config",
    "run_config_text",
    "together",
]
