"""How sure a score is: intervals over groups or images, tests of two runs, seeds as a second level (NumPy, SciPy)."""

from perpixel.uncertainty.comparison import ALPHA, Comparison, compare, holm
from perpixel.uncertainty.contrasts import Contrast, Measured, contrast, mean_weights
from perpixel.uncertainty.files import counts_file, read_counts, write_counts
from perpixel.uncertainty.intervals import Interval, intervals, read_intervals
from perpixel.uncertainty.per_image import Conditions, PerImage, Units
from perpixel.uncertainty.slices import Slice, slices

__all__ = [
    "ALPHA",
    "Comparison",
    "Conditions",
    "Contrast",
    "Interval",
    "Measured",
    "PerImage",
    "Slice",
    "Units",
    "compare",
    "contrast",
    "counts_file",
    "holm",
    "intervals",
    "mean_weights",
    "read_counts",
    "read_intervals",
    "slices",
    "write_counts",
]
