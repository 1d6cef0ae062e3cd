"""Test-time augmentation: the mean of what a model says about an image, its mirror images, turns and other scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from perpixel.inference.backend import Backend

FLIPS = ("hflip", "vflip", "rot90")
SCALES = (0.1, 10.0)
"""Least and greatest factor by which an image is scaled."""


class View(NamedTuple):
    """An image mirrored, then turned, then scaled.

    Attributes:
        turns: by 90°, counter-clockwise.
        mirrored: left and right change places, before turning.
        scale: factor of both sides.
    """

    turns: int = 0
    mirrored: bool = False
    scale: float = 1.0

    def of(self, images: Tensor) -> Tensor:
        """(B, C, H, W) images as the view shows them."""
        seen = images.flip(3) if self.mirrored else images
        seen = torch.rot90(seen, self.turns, (2, 3)) if self.turns else seen
        if self.scale == 1:
            return seen
        height, width = (max(round(side * self.scale), 1) for side in seen.shape[-2:])
        return _resized(seen, (height, width))

    def undo(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, K, h, w) maps of the view back to the image's size (H, W)."""
        height, width = size[::-1] if self.turns % 2 else size
        back = maps if self.scale == 1 else _resized(maps, (height, width))
        back = torch.rot90(back, -self.turns, (2, 3)) if self.turns else back
        return back.flip(3) if self.mirrored else back


def views(names: Sequence[str | float]) -> tuple[View, ...]:
    """All combinations of what is asked for, each once, the image as it is first.

    Args:
        names: ``hflip`` (left and right), ``vflip`` (top and bottom), ``rot90`` (four turns), and numbers, the scales
            beside 1.

    Raises:
        ValueError: a name is unknown, or a scale out of its range.
    """
    found = [View()]
    scales = [1.0]
    for name in names:
        if isinstance(name, int | float) and not isinstance(name, bool):
            if not SCALES[0] <= name <= SCALES[1]:
                raise ValueError(f"tta={name}: a scale lies between {SCALES[0]:g} and {SCALES[1]:g}.")
            scales.append(float(name))
        elif name == "rot90":
            found = [one._replace(turns=(one.turns + turns) % 4) for turns in range(4) for one in found]
        elif name in FLIPS:
            half = 2 if name == "vflip" else 0  # top and bottom change places: mirrored, then turned by 180°
            found += [View((half - one.turns) % 4, not one.mirrored) for one in found]
        else:
            raise ValueError(f"tta={name}: choose from {', '.join(FLIPS)} and scales, as in tta=[hflip,0.75,1.25].")
    return tuple(dict.fromkeys(one._replace(scale=scale) for scale in scales for one in found))


class TTABackend:
    """A backend whose probabilities are the mean over several views of an image.

    Its logits are the logarithms of the mean probabilities, so that their softmax is the mean.

    Args:
        backend: what looks at each view.
        names: see :func:`views`.

    Raises:
        ValueError: as :func:`views`.
    """

    def __init__(self, backend: Backend, names: Sequence[str | float]) -> None:
        self.backend = backend
        self.views = views(names)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """See :class:`Backend`."""
        return self.probabilities(images).clamp_min(torch.finfo(torch.float32).tiny).log()

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """(B, C, H, W) images in 0…1 of full scale → (B, K, H, W) float32, summing to 1 over the classes.

        Views that agree give exactly what each of them says: the mean moves by a share of the difference.
        """
        size = (int(images.shape[-2]), int(images.shape[-1]))
        mean: Tensor | None = None
        for number, view in enumerate(self.views, start=1):
            found = self._probabilities(view, images, size)
            mean = found if mean is None else mean + (found - mean) / number
        assert mean is not None
        return mean

    def _probabilities(self, view: View, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Turned back before the softmax, whose rounding depends on a pixel's place in memory; scaled after it."""
        logits = self.backend(view.of(images)).float()
        if view.scale == 1:
            return view.undo(logits, size).contiguous().softmax(dim=1)
        return view.undo(logits.softmax(dim=1), size)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, over all pixels that a smaller one covers, so that nothing is skipped."""
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
