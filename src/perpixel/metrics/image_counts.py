"""Counts of every image by itself: what intervals, paired tests and slices need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perpixel.labels import LabelSpace
from perpixel.metrics.base import PixelMetric, check_targets
from perpixel.metrics.confusion import count_pairs
from perpixel.metrics.invalid_labels import seen_at_once
from perpixel.metrics.predictions import check_batch, to_labels

IMAGES = "images"
"""The entry of ``details`` that holds what was counted."""


class ImageCounts(PixelMetric):
    """True positives, false positives and false negatives of every image and class.

    It keeps 3·C + 2 integers an image (1000 images of 150 classes: 3.6 MB), so its states grow with the data set. Ranks
    hand over what each of them saw; images then stand in the order of their names, so that any number of ranks gives
    the same.

    ``details`` holds, under ``images``: ``names`` (N), ``counts`` (N, 3, C) int64 and ``sizes`` (N, 2) int64, height
    and width, as arrays, not for JSON. There are no scores.

    Args:
        labels: class names and the value that means "no label".
    """

    rows: list[Tensor] | Tensor
    letters: list[Tensor] | Tensor

    def __init__(self, labels: LabelSpace) -> None:
        super().__init__(labels)
        # One dimension each, so that ranks may hold different amounts, and names of any length.
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.add_state("letters", [], dist_reduce_fx="cat")

    def update(self, logits_or_labels: Tensor, target: Tensor, names: Sequence[str] | None = None) -> None:
        """Count a batch, as `SegmentationMetrics` does; images without a name are numbered."""
        check_batch(logits_or_labels, target, self.labels.num_classes)
        prediction = to_labels(logits_or_labels)
        if prediction.shape != target.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must be alike.")
        try:
            self._update(prediction, target, names)
        except ValueError:
            check_targets(target, self.labels, names)  # looks again, image by image, to say which one it was
            raise

    def compute(self) -> dict[str, Tensor]:
        """No scores; see ``details``.

        Raises:
            ValueError: pixels counted on a GPU held impossible values.
        """
        self._refuse_strays()
        classes = self.labels.num_classes
        rows = _joined(self.rows).cpu().numpy().reshape(-1, 2 + 3 * classes)
        names = bytes(_joined(self.letters).to(torch.uint8).cpu().numpy()).decode().split("\0")[:-1]
        order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
        found: dict[str, Any] = {
            "names": tuple(names[place] for place in order),
            "counts": rows[order, 2:].reshape(-1, 3, classes),
            "sizes": rows[order, :2],
        }
        self.details = {IMAGES: found}
        return {}

    def _update(self, prediction: Tensor, target: Tensor, names: Sequence[str] | None) -> None:
        height, width = target.shape[1:]
        size = torch.tensor([height, width], device=target.device)
        rows = []
        for place in range(len(target)):
            one = slice(place, place + 1)
            confusion, found = count_pairs(prediction[one], target[one], self.labels.num_classes, self.labels.fill)
            if not seen_at_once(target):
                self._note_strays(found, target[one], None if names is None else names[one])
            hits = confusion.diagonal()
            rows.append(torch.cat([size, hits, confusion.sum(0) - hits, confusion.sum(1) - hits]))
        if names is None:
            names = [f"{self._numbered + place:08}" for place in range(len(target))]
            self._numbered += len(target)
        if not rows:
            return
        self._append("rows", torch.cat(rows))
        text = "".join(f"{name}\0" for name in names).encode()
        self._append("letters", torch.frombuffer(bytearray(text), dtype=torch.uint8).to(target.device))

    def _append(self, state: str, values: Tensor) -> None:
        held = getattr(self, state)
        assert isinstance(held, list), "counts are added between compute() calls only"
        held.append(values)

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        """A rank without images would send floating nothing, which does not join with integers."""
        for state, dtype in (("rows", torch.int64), ("letters", torch.uint8)):
            if not len(getattr(self, state)):
                setattr(self, state, [torch.zeros(0, dtype=dtype, device=self.device)])
        super()._sync_dist(*args, **kwargs)

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._numbered = 0

    _numbered = 0


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    if isinstance(state, Tensor):
        return state
    return torch.cat(state) if state else torch.zeros(0, dtype=torch.int64)
