"""Whether confidences are right."""

from __future__ import annotations

from dataclasses import dataclass

from perpixel import metrics
from perpixel.evaluation.base import Evaluator
from perpixel.labels import LabelSpace


@dataclass(frozen=True)
class Calibration(Evaluator):
    """Expected calibration error and the reliability diagram: see :class:`perpixel.metrics.Calibration`.

    Args:
        bins: of confidence, of equal width over 0…1.

    Raises:
        ValueError: there is no bin.
    """

    bins: int = 15

    def __post_init__(self) -> None:
        self.metric(LabelSpace(("any",), ((0, 0, 0),)))  # which checks the range

    def metric(self, labels: LabelSpace) -> metrics.Calibration:
        return metrics.Calibration(labels, self.bins)
