"""What happens around the training loop, one idea a file."""

from perpixel.training.callbacks.ema import EMA
from perpixel.training.callbacks.first_batch import FirstBatch
from perpixel.training.callbacks.history import History
from perpixel.training.callbacks.overlays import Overlays
from perpixel.training.callbacks.stop import Interrupted, StopOnSignal

__all__ = ["EMA", "FirstBatch", "History", "Interrupted", "Overlays", "StopOnSignal"]
