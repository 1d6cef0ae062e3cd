"""What a model does to sizes: the spatial-size table, receptive fields and costs of every stage."""

from perpixel.analysis.shapes.measured import measure
from perpixel.analysis.shapes.stages import Stage, describe, totals

__all__ = ["Stage", "describe", "measure", "totals"]
