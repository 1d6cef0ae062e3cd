"""``doctor``: what is there, what is missing, and how to fix it. Imports torch only where that is asked for."""

from perpixel.workflows.doctor.finding import Finding, Level
from perpixel.workflows.doctor.run import diagnose

__all__ = ["Finding", "Level", "diagnose"]
