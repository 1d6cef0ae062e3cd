"""What can be done to a prediction afterwards: edges drawn to the image's, specks removed, shapes smoothed.

None of it is on by default: whether it helps depends on the data, and a network has often learnt as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

Mask = npt.NDArray[np.integer[Any]]

GUIDED_EPS = 1e-3
"""Of the guided filter: variance of brightness (0…1) below which an area counts as even."""

CRF_RADIUS = 3
CRF_STEP = 2
"""Neighbours of a pixel: so many to each side, so many pixels apart."""

CRF_POSITION, CRF_COLOUR = 3.0, 0.1
"""Standard deviations of the kernels, in pixels and in full scales."""

CRF_SMOOTH, CRF_APPEARANCE = 0.3, 3.0
"""Weights of the kernel of position, and of that of position and colour; each kernel sums to 1 over the neighbours."""


@dataclass(frozen=True)
class Refinement:
    """Steps that follow a prediction, in this order; each is off unless it is given.

    Args:
        guided: radius of a guided filter over the probabilities, pixels.
        crf: steps of mean field in a conditional random field over near pixels.
        opening, closing: radius per class name, pixels: parts that are narrower vanish, gaps that are narrower close.
        small: pieces of a class with fewer pixels, and holes in others, take the label of what is nearest.

    Raises:
        ValueError: a number is below 1.
    """

    guided: int | None = None
    crf: int | None = None
    opening: Mapping[str, int] | None = None
    closing: Mapping[str, int] | None = None
    small: int | None = None

    def __post_init__(self) -> None:
        single = {"guided": self.guided, "crf": self.crf, "small": self.small}
        by_class = {f"{kind}.{name}": radius for kind in ("opening", "closing") for name, radius in self._of(kind)}
        for key, value in (single | by_class).items():
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise ValueError(f"refine.{key}={value}: give a whole number from 1 on, or null to leave it out.")

    def _of(self, kind: str) -> list[tuple[str, int]]:
        given = getattr(self, kind)
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"refine.{kind}={given}: give a radius for each class it is meant for, as {{road: 2}}.")
        return [] if given is None else list(given.items())

    @property
    def is_nothing(self) -> bool:
        """Whether no step is asked for."""
        return not (self.guided or self.crf or self.opening or self.closing or self.small)

    def check_classes(self, names: tuple[str, ...]) -> None:
        """Refuse steps for classes that there are not.

        Raises:
            ValueError: names the class and those that there are.
        """
        for kind in ("opening", "closing"):
            for name, _ in self._of(kind):
                if name not in names:
                    raise ValueError(f"refine.{kind}: there is no class '{name}'; there are {', '.join(names)}.")

    def __call__(self, logits: Tensor, image: Tensor, names: tuple[str, ...]) -> Tensor:
        """Refine the logits of one image.

        Where a step changes a label, the old and the new class exchange their probabilities: they still sum to 1, and
        the new one is the greatest.

        Args:
            logits: (K, H, W).
            image: (C, H, W) in 0…1 of full scale.
            names: of the K classes.

        Returns:
            (K, H, W) float32 logarithms of probabilities, on the CPU.
        """
        probabilities = logits.float().softmax(dim=0).cpu()
        if self.guided:
            probabilities = guided_filter(probabilities, image.mean(dim=0), self.guided)
        if self.crf:
            probabilities = mean_field(probabilities, image, self.crf)
        before = probabilities.argmax(dim=0).numpy()
        mask: Mask = before
        for kind, change in (("opening", opened), ("closing", closed)):
            for name, radius in self._of(kind):
                mask = change(mask, names.index(name), radius)
        if self.small:
            mask = without_small(mask, self.small)
        return _exchanged(probabilities, before, mask).clamp_min(torch.finfo(torch.float32).tiny).log()


def guided_filter(probabilities: Tensor, guide: Tensor, radius: int, eps: float = GUIDED_EPS) -> Tensor:
    """Probabilities as local linear functions of a picture's brightness (He et al. 2013, equations 5, 6 and 8).

    Args:
        probabilities: (K, H, W) float32, summing to 1 over the classes; so does the result.
        guide: (H, W) in 0…1.
        radius: of the boxes, pixels.
        eps: see ``GUIDED_EPS``.
    """
    picture = guide[None]
    mean, mean_p = _box(picture, radius), _box(probabilities, radius)
    variance = _box(picture * picture, radius) - mean * mean
    slope = (_box(picture * probabilities, radius) - mean * mean_p) / (variance + eps)
    start = mean_p - slope * mean
    found = (_box(slope, radius) * picture + _box(start, radius)).clamp_min(0)
    return found / found.sum(dim=0, keepdim=True)


def mean_field(probabilities: Tensor, image: Tensor, steps: int) -> Tensor:
    """Mean field in a conditional random field whose pairs are near pixels (after Krähenbühl and Koltun 2011).

    A pixel's neighbours lie on a grid of ``CRF_STEP`` pixels, ``CRF_RADIUS`` to each side. Two kernels weigh them, one
    by distance and one by distance and colour; a label costs nothing where neighbours share it (Potts).

    Args:
        probabilities: (K, H, W) float32.
        image: (C, H, W) in 0…1.
        steps: rounds of messages.
    """
    unary = probabilities.clamp_min(1e-6).log()
    found = probabilities
    for _ in range(steps):
        smooth, alike = torch.zeros_like(found), torch.zeros_like(found)
        smooth_sum, alike_sum = 0.0, torch.zeros(found.shape[1:])
        for down in range(-CRF_RADIUS, CRF_RADIUS + 1):
            for right in range(-CRF_RADIUS, CRF_RADIUS + 1):
                if down == right == 0:
                    continue
                offset = (down * CRF_STEP, right * CRF_STEP)
                near = float(np.exp(-(offset[0] ** 2 + offset[1] ** 2) / (2 * CRF_POSITION**2)))
                colour = ((image - _shifted(image, offset)) ** 2).mean(dim=0)
                weight = near * torch.exp(-colour / (2 * CRF_COLOUR**2))
                message = _shifted(found, offset)
                smooth.add_(message, alpha=near)
                alike.addcmul_(message, weight)
                smooth_sum += near
                alike_sum.add_(weight)
        support = CRF_SMOOTH * smooth / smooth_sum + CRF_APPEARANCE * alike / alike_sum.clamp_min(1e-6)
        found = (unary + support).softmax(dim=0)
    return found


def opened(mask: Mask, index: int, radius: int) -> Mask:
    """(H, W) labels without the parts of a class that a disc does not fit into; they take the nearest other label."""
    own = mask == index
    kept = ndimage.binary_opening(np.pad(own, radius, mode="edge"), _disc(radius))[radius:-radius, radius:-radius]
    lost = own & ~kept
    return _filled(mask, lost, own) if lost.any() and not own.all() else mask


def closed(mask: Mask, index: int, radius: int) -> Mask:
    """(H, W) labels in which a class takes the gaps that a disc does not fit into."""
    own = np.pad(mask == index, radius, mode="edge")
    gained = ndimage.binary_closing(own, _disc(radius))[radius:-radius, radius:-radius]
    return np.where(gained, np.array(index, mask.dtype), mask)


def without_small(mask: Mask, pixels: int) -> Mask:
    """(H, W) labels in which pieces (connected over edges) of fewer pixels take the nearest label of a larger one."""
    small = np.zeros(mask.shape, bool)
    for index in np.unique(mask):
        pieces, count = ndimage.label(mask == index)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        is_small = sizes < pixels
        is_small[0] = False
        small |= is_small[pieces]
    return _filled(mask, small, small) if small.any() and not small.all() else mask


def _filled(mask: Mask, where: npt.NDArray[np.bool_], not_from: npt.NDArray[np.bool_]) -> Mask:
    """Labels of the nearest pixel outside ``not_from``."""
    rows, columns = ndimage.distance_transform_edt(not_from, return_distances=False, return_indices=True)
    return np.where(where, mask[rows, columns], mask)


def _disc(radius: int) -> npt.NDArray[np.bool_]:
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(rows**2 + columns**2 <= radius**2)


def _box(maps: Tensor, radius: int) -> Tensor:
    """Means over boxes; at the border, of what lies inside. One direction after the other."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(maps[None], (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)[0]


def _shifted(maps: Tensor, offset: tuple[int, int]) -> Tensor:
    """What lies so many pixels down and to the right of each pixel; beyond the border, the border."""
    height, width = maps.shape[-2:]
    rows = (torch.arange(height) + offset[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + offset[1]).clamp(0, width - 1)
    return maps[:, rows][:, :, columns]


def _exchanged(probabilities: Tensor, before: Mask, after: Mask) -> Tensor:
    rows, columns = np.nonzero(before != after)
    if not len(rows):
        return probabilities
    old, new = before[rows, columns], after[rows, columns]
    found = probabilities.clone()
    found[old, rows, columns] = probabilities[new, rows, columns]
    found[new, rows, columns] = probabilities[old, rows, columns]
    return found
