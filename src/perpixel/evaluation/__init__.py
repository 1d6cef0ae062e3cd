"""Evaluation of trained models beyond the confusion matrix of a run."""

from perpixel.evaluation.final import final_metrics

__all__ = ["final_metrics"]
