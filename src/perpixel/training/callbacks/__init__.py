"""What happens around the training loop, one idea a file."""

from perpixel.training.callbacks.canary import CanaryScores
from perpixel.training.callbacks.checkpoints import Checkpoints
from perpixel.training.callbacks.ema import EMA
from perpixel.training.callbacks.exact_resume import ExactResume
from perpixel.training.callbacks.features import CacheFeatures
from perpixel.training.callbacks.first_batch import FirstBatch
from perpixel.training.callbacks.history import History
from perpixel.training.callbacks.means import EpochMeans
from perpixel.training.callbacks.nonfinite_guard import NonFinite, NonFiniteGuard, Step
from perpixel.training.callbacks.overlays import Overlays
from perpixel.training.callbacks.pruning import Pruned, Pruning
from perpixel.training.callbacks.stop import StopOnSignal
from perpixel.training.callbacks.watchdog import Watchdog

__all__ = [
    "EMA",
    "CacheFeatures",
    "CanaryScores",
    "Checkpoints",
    "EpochMeans",
    "ExactResume",
    "FirstBatch",
    "History",
    "NonFinite",
    "NonFiniteGuard",
    "Overlays",
    "Pruned",
    "Pruning",
    "Step",
    "StopOnSignal",
    "Watchdog",
]
