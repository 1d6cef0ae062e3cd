"""Where errors lie."""

from __future__ import annotations

from dataclasses import dataclass

from perpixel import metrics
from perpixel.evaluation.base import Evaluator
from perpixel.labels import LabelSpace


@dataclass(frozen=True)
class ErrorPlaces(Evaluator):
    """Errors by distance to the true boundary, components missed and invented: see `perpixel.metrics.ErrorPlaces`."""

    def metric(self, labels: LabelSpace) -> metrics.ErrorPlaces:
        return metrics.ErrorPlaces(labels)
