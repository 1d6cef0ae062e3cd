"""A proof that a recipe moves image and mask together.

The recipe is a black box that is shown pictures in which every pixel says where it came from, as in structured light:
the mask holds each pixel's row (then each pixel's column), and the image shows stripes over the same coordinate in four
phases. Randomness is a function of the generator (and, for crops that seek a class, of the mask), so four calls with
equal generators and one mask are one geometry. From four phases the coordinate follows whatever brightness, contrast,
blur, noise or compression the recipe adds; it must be the one that the mask holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.recipe import Recipe

MEAN_BOUND = 0.15
"""Greatest tolerated mean displacement of a sample, in pixels of the result: half a pixel is far beyond. (Rounding to
whole mask pixels leaves a few hundredths.)"""

LOCAL_BOUND = 4.0
"""Greatest tolerated displacement of a block of 16 × 16 pixels, which noise and compression make uncertain."""

_SIDE = 240
_PERIOD = 96
_PHASES = 4
_BLOCK = 16
_MARGIN = 5
_FAINT = 8.0
_FLOAT = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AlignmentReport:
    """What the proof found.

    Attributes:
        samples: how many draws of the recipe were looked at.
        mean: mean signed displacement of the image against the mask along input rows and columns, each of the sample
            where it is greatest, in pixels of the result.
        worst: greatest mean displacement of a block of 16 × 16 pixels in any sample, in pixels of the result.
        alien: how many pixels hold a mask value that was not in the input, by value.
        compared: blocks that were compared in all; without any, nothing is proved.
    """

    samples: int
    mean: tuple[float, float]
    worst: float
    alien: dict[int, int]
    compared: int

    @property
    def aligned(self) -> bool:
        """Whether image and mask moved together and no mask value was made up."""
        within = max(map(abs, self.mean)) <= MEAN_BOUND and self.worst <= LOCAL_BOUND
        return self.compared > 0 and within and not self.alien

    def __str__(self) -> str:
        """One line for people."""
        if self.compared == 0:
            return "nothing could be compared: crops are too small, or all is padding"
        made_up = f", mask values that were not in the input: {sorted(self.alien)[:5]}…" if self.alien else ""
        verdict = "aligned" if self.aligned else "NOT ALIGNED"
        return (
            f"{verdict}: mean displacement ({self.mean[0]:+.3f}, {self.mean[1]:+.3f}) px, "
            f"worst block {self.worst:.2f} px, {self.samples} samples{made_up}"
        )


def prove_alignment(recipe: Recipe, channels: int = 3, samples: int = 16, seed: int = 0) -> AlignmentReport:
    """Measure how far a recipe moves masks against images.

    Args:
        recipe: what is tried; of a mixing recipe, the part that every sample goes through.
        channels: C of the images.
        samples: draws of the recipe.
        seed: of the draws.
    """
    worst_means = [0.0, 0.0]
    worst, compared = 0.0, 0
    alien: Counter[int] = Counter()
    for sample in range(samples):
        alien += _made_up(recipe, channels, [seed, sample])
        for axis in range(2):
            displacement, seen = _displacement(recipe, axis, channels, [seed, sample])
            blocks = _block_means(displacement, seen)
            if len(blocks):
                mean = float(displacement[seen].mean())
                worst_means[axis] = max(worst_means[axis], mean, key=abs)
                worst = max(worst, float(np.abs(blocks).max()))
                compared += len(blocks)
    return AlignmentReport(samples, (worst_means[0], worst_means[1]), worst, dict(alien), compared)


def _displacement(recipe: Recipe, axis: int, channels: int, key: list[int]) -> tuple[_FLOAT, npt.NDArray[np.bool_]]:
    """How far the image lies off the mask along one input axis, in pixels of the result, and where that can be said."""
    places = np.indices((_SIDE, _SIDE))[axis]
    stored = np.delete(np.arange(256), recipe.fill)[:_SIDE].astype(np.uint8)  # values of coordinates: all but the fill
    calls = [recipe(image, stored[places], np.random.default_rng(key)) for image in _stripes(places, channels)]
    shown = [image.astype(np.float64).mean(axis=2) for image, _ in calls]
    sine, cosine = shown[3] - shown[1], shown[0] - shown[2]
    coordinate = np.arctan2(sine, cosine) * _PERIOD / (2 * np.pi)
    mask = calls[0][1]
    place_of = np.zeros(256)
    place_of[stored] = np.arange(_SIDE)
    seen = ~_near(np.isin(mask, stored, invert=True)) & (np.hypot(sine, cosine) > _FAINT)
    return _wrapped(coordinate - place_of[mask]) / _step(coordinate, seen), seen


def _step(coordinate: _FLOAT, seen: npt.NDArray[np.bool_]) -> float:
    """Input pixels per pixel of the result."""
    steps = [_wrapped(np.diff(coordinate, axis=axis)) for axis in range(2)]
    inside = [seen[1:] & seen[:-1], seen[:, 1:] & seen[:, :-1]]
    medians = [np.median(step[where]) if where.any() else 0.0 for step, where in zip(steps, inside, strict=True)]
    return float(np.hypot(medians[0], medians[1])) or 1.0


def _block_means(displacement: _FLOAT, seen: npt.NDArray[np.bool_]) -> _FLOAT:
    """Means of the blocks that can be seen whole."""
    height, width = (side // _BLOCK * _BLOCK for side in displacement.shape)
    shape = (height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    whole = seen[:height, :width].reshape(shape).all(axis=(1, 3))
    return np.asarray(displacement[:height, :width].reshape(shape).mean(axis=(1, 3))[whole])


def _made_up(recipe: Recipe, channels: int, key: list[int]) -> Counter[int]:
    """Mask values that come out of a patchwork of few and distant values, but did not go in."""
    rng = np.random.default_rng(0)
    values = np.delete(np.arange(0, 255, 17), 0).astype(np.uint8)
    mask = np.kron(rng.choice(values, (_SIDE // 8, _SIDE // 8)), np.ones((8, 8), np.uint8))
    image = rng.integers(0, 256, (_SIDE, _SIDE, channels), np.uint8)
    found, counts = np.unique(recipe(image, mask, np.random.default_rng(key))[1], return_counts=True)
    known = {*values.tolist(), recipe.fill}
    return Counter({int(v): int(n) for v, n in zip(found, counts, strict=True) if int(v) not in known})


def _stripes(places: npt.NDArray[np.int64], channels: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Cosine stripes over a coordinate, in four phases a quarter turn apart."""
    for phase in range(_PHASES):
        wave = 127.5 + 60 * np.cos(2 * np.pi * (places / _PERIOD + phase / _PHASES))
        yield np.repeat(np.rint(wave)[..., None], channels, axis=2).astype(np.uint8)


def _wrapped(coordinate: _FLOAT) -> _FLOAT:
    """The coordinate is known modulo the period; the nearest to zero is meant."""
    return np.asarray((coordinate + _PERIOD / 2) % _PERIOD - _PERIOD / 2)


def _near(outside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels close to padding, where interpolation mixes with what is no image, or to the border."""
    framed = np.pad(outside, 1, constant_values=True).astype(np.uint8)
    return np.asarray(cv2.dilate(framed, np.ones((_MARGIN, _MARGIN), np.uint8))[1:-1, 1:-1], bool)
