"""Training: objects in, a run directory out."""

from perpixel.training.callbacks import CacheFeatures, CanaryScores, FirstBatch, NonFinite, Overlays, Pruned, Pruning
from perpixel.training.experiment import Experiment
from perpixel.training.fit import fit
from perpixel.training.launch import RankFailed, launch_ranks, num_ranks, prepare_rank, started_by_launcher
from perpixel.training.misconfigured import misconfigured
from perpixel.training.module import Scores, SegmentationModule
from perpixel.training.scoring import evaluate, load_best, write_scores
from perpixel.training.signals import Interrupted, handle_signals
from perpixel.training.store import CheckpointError, CheckpointStore

__all__ = [
    "CacheFeatures",
    "CanaryScores",
    "CheckpointError",
    "CheckpointStore",
    "Experiment",
    "FirstBatch",
    "Interrupted",
    "NonFinite",
    "Overlays",
    "Pruned",
    "Pruning",
    "RankFailed",
    "Scores",
    "SegmentationModule",
    "evaluate",
    "fit",
    "handle_signals",
    "launch_ranks",
    "load_best",
    "misconfigured",
    "num_ranks",
    "prepare_rank",
    "started_by_launcher",
    "write_scores",
]
