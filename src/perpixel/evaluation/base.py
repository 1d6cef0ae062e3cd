"""Evaluators, and the loop that feeds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from perpixel.bundle import Predictor
from perpixel.labels import LabelSpace
from perpixel.metrics import PixelMetric, SegmentationMetrics


class Evaluator(ABC):
    """One thing that is measured when a split is scored; a node under ``evaluation`` in a config.

    All evaluators of an evaluation see the same single pass over the split. After a training on several ranks the
    metric's counts are summed over the ranks.
    """

    @abstractmethod
    def metric(self, labels: LabelSpace) -> PixelMetric:
        """A fresh metric, which receives the logits of every batch; its scores are what the evaluator found."""


def score(
    predictor: Predictor,
    batches: Iterable[Mapping[str, Any]],
    evaluators: Sequence[Evaluator],
    to_model: Callable[[Tensor], Tensor] = lambda target: target,
) -> Iterator[tuple[str, Any]]:
    """Run a model over batches and yield what the confusion matrix and the evaluators say, as ``(name, value)``.

    Values are floats (NaN where undefined) or, for tables such as ``confusion``, plain containers.

    Args:
        predictor: the model.
        batches: mappings with ``image`` (B, C, H, W) in a stored depth, ``mask`` (B, H, W) class indices and ``name``
            (B sample names).
        evaluators: what to measure beside the confusion matrix.
        to_model: translates class indices of the masks into those of the model, where they differ.

    Raises:
        ValueError: a mask holds a value that is neither a class nor the ignore index; names the sample.
    """
    labels = predictor.spec.labels
    metrics: list[PixelMetric] = [SegmentationMetrics(labels), *(each.metric(labels) for each in evaluators)]
    with torch.inference_mode():
        for batch in batches:
            logits = predictor.logits(batch["image"])
            target = to_model(batch["mask"].long()).to(logits.device)
            for metric in metrics:
                metric.to(logits.device).update(logits, target, batch["name"])
    for metric in metrics:
        yield from ((name, float(value)) for name, value in metric.compute().items())
        yield from metric.details.items()
