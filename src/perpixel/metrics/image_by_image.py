"""What metrics have in common that look at label maps one image at a time, on the CPU."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from perpixel.metrics.base import PixelMetric, check_targets
from perpixel.metrics.maps import Labels
from perpixel.metrics.predictions import check_batch, check_labels, to_labels
from perpixel.threads import for_each

Counts = tuple[npt.NDArray[np.int64], ...]


class ImageByImage(PixelMetric):
    """Counts each image by itself, several of them at once, and sums the counts."""

    def update(self, logits_or_labels: Tensor, target: Tensor, names: Sequence[str] | None = None) -> None:
        """Count a batch, as `SegmentationMetrics` does; a GPU is waited for."""
        check_batch(logits_or_labels, target, self.labels.num_classes)
        truths = target.cpu()
        check_targets(truths, self.labels, names)
        predictions = to_labels(logits_or_labels).cpu()
        if predictions.shape != truths.shape:
            raise ValueError(f"prediction {tuple(predictions.shape)} and target {tuple(truths.shape)} must be alike.")
        check_labels(predictions, self.labels.num_classes)
        counted: dict[int, Counts] = {}

        def count(image: int, _: None) -> None:
            counted[image] = self._count(predictions[image].numpy(), truths[image].numpy())

        for_each(count, range(len(truths)), truths.device, lambda: None)
        for counts in counted.values():  # integers: their order does not matter
            for state, more in zip(self._states(), counts, strict=True):
                state += torch.from_numpy(more).to(state.device)

    @abstractmethod
    def _count(self, prediction: Labels, truth: Labels) -> Counts:
        """What one image adds to each state: (H, W) labels, the truth with ``labels.fill`` where there is none."""

    @abstractmethod
    def _states(self) -> tuple[Tensor, ...]:
        """The states that the counts are added to, in the order of ``_count``."""
