"""Optimisers and learning-rate schedules, as objects that a config describes and training calls."""

from perpixel.optim.optimizers import SGD, AdamW, OptimizerFactory
from perpixel.optim.schedules import Constant, Cosine, OneCycle, Poly, Schedule, Step

__all__ = ["SGD", "AdamW", "Constant", "Cosine", "OneCycle", "OptimizerFactory", "Poly", "Schedule", "Step"]
