"""Where errors lie: by distance to the true boundary, and as whole components that are missed or invented."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from perpixel.labels import LabelSpace
from perpixel.metrics.image_by_image import Counts, ImageByImage
from perpixel.metrics.maps import Labels, Mask, class_map

DISTANCES = (1, 3, 5, 10)
"""Pixels; what lies further away is interior."""

AREAS = (100, 1_000, 10_000)
"""Upper bounds (exclusive) of the sizes of components, in pixels; larger ones are the last bin."""

NEAR = 3
"""Pixels within which an error may be a matter of where the annotator drew the line."""


class ErrorPlaces(ImageByImage):
    """Errors by distance to the nearest true boundary, and components missed or invented by size.

    A boundary lies between two labelled pixels of different classes (edge to edge); the pixels on either side are 1
    away. A component (over edges and corners) of the truth is missed if none of its pixels is right, one of the
    prediction invented if none of its labelled pixels is. Counts are int64, summed over images and ranks; images are
    looked at one by one on the CPU.

    Scores: ``errors_near_boundary``, the share of all wrong pixels within 3 pixels of a boundary;
    ``missed_components`` and ``invented_components``, the shares of the truth's and the prediction's components.
    ``details`` holds ``errors_by_distance`` (``distance``, ``pixels``, ``wrong``: lists over the bins, the interior
    last) and ``components`` (``size``, ``truth``, ``missed``, ``predicted``, ``invented``).

    Args:
        labels: class names and the value that means "no label".
    """

    higher_is_better = False
    distances: Tensor
    components: Tensor

    def __init__(self, labels: LabelSpace) -> None:
        super().__init__(labels)
        self._add_counts("distances", 2, len(DISTANCES) + 1)
        self._add_counts("components", 4, len(AREAS) + 1)

    def compute(self) -> dict[str, Tensor]:
        """The scores by name, float64 scalars; NaN without an error or a component."""
        pixels, wrong = self.distances.tolist()
        truth, missed, predicted, invented = self.components.tolist()
        pairs = [f"{low}–{high} px" for low, high in pairwise(DISTANCES)]
        bounds = [f"{DISTANCES[0]} px", *pairs, f"> {DISTANCES[-1]} px (interior)"]
        ranges = [f"{low:,}–{high - 1:,} px" for low, high in pairwise(AREAS)]
        sizes = [f"< {AREAS[0]:,} px", *ranges, f"≥ {AREAS[-1]:,} px"]
        self.details = {
            "errors_by_distance": {"distance": bounds, "pixels": pixels, "wrong": wrong},
            "components": {
                "size": sizes, "truth": truth, "missed": missed, "predicted": predicted, "invented": invented,
            },
        }  # fmt: skip
        near = self.distances[1, : DISTANCES.index(NEAR) + 1].sum().double()
        totals = self.components.sum(1).double()
        return {
            "errors_near_boundary": near / self.distances[1].sum(),
            "missed_components": totals[1] / totals[0],
            "invented_components": totals[3] / totals[2],
        }

    def _states(self) -> tuple[Tensor, ...]:
        return self.distances, self.components

    def _count(self, prediction: Labels, target: Labels) -> Counts:
        classes = self.labels.num_classes
        truth = class_map(target, classes)
        labelled = truth != classes
        guess = class_map(prediction, classes, labelled)
        right = labelled & (guess == truth)
        bins = np.searchsorted(DISTANCES, boundary_distance(truth, classes), side="left")
        chosen = labelled, labelled & ~right
        by_distance = [np.bincount(bins[pixels], minlength=len(DISTANCES) + 1) for pixels in chosen]
        return (
            np.stack(by_distance).astype(np.int64),
            np.concatenate([component_counts(labels, right, classes) for labels in (truth, guess)]),
        )


def boundary_distance(truth: Labels, none: int) -> npt.NDArray[np.float32]:
    """(H, W) distance of each pixel to the nearest true boundary, 1 on either side of it; ∞ in an image without one."""
    edge = np.zeros(truth.shape, bool)
    for axis in (0, 1):
        before, after = np.moveaxis(truth, axis, 0)[:-1], np.moveaxis(truth, axis, 0)[1:]
        differs = (before != after) & (before != none) & (after != none)
        turned = np.moveaxis(edge, axis, 0)
        turned[:-1] |= differs
        turned[1:] |= differs
    if not edge.any():
        return np.full(truth.shape, np.inf, np.float32)
    distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance + 1, np.float32)


def component_counts(labels: Labels, right: Mask, none: int) -> npt.NDArray[np.int64]:
    """(2, sizes): components of a label map, and those of which no pixel is right."""
    counts = np.zeros((2, len(AREAS) + 1), np.int64)
    for index in np.unique(labels[labels != none]):
        mask = labels == index
        _, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        sizes = np.bincount(components[mask])[1:]
        hits = np.bincount(components[mask & right], minlength=len(sizes) + 1)[1:]
        bins = np.searchsorted(AREAS, sizes, side="right")
        counts[0] += np.bincount(bins, minlength=len(AREAS) + 1)
        counts[1] += np.bincount(bins[hits == 0], minlength=len(AREAS) + 1)
    return counts
