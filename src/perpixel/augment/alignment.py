"""A proof that a recipe moves image and mask together.

The recipe is a black box that is shown pictures in which every pixel says where it came from, as in structured light:
the mask holds each pixel's row (then each pixel's column), and the image shows stripes over the same coordinate in four
phases. Randomness is a function of the generator (and, for crops that seek a class, of the mask), so four calls with
equal generators and one mask are one geometry. From four phases the coordinate follows whatever brightness, contrast,
blur, noise or compression the recipe adds; it must be the one that the mask holds.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.coded import PERIOD, PHASES, PROBES, SIDE, Code, windowed
from perpixel.augment.mixing import Mixing
from perpixel.augment.recipe import Recipe
from perpixel.augment.targets import Targets

MEAN_BOUND = 0.15
"""Greatest tolerated mean displacement of a sample, in pixels of the result: half a pixel is far beyond. (Rounding to
whole mask pixels leaves a few hundredths.)"""

LOCAL_BOUND = 4.0
"""Greatest tolerated displacement of a block of 16 × 16 pixels, which noise and compression make uncertain."""

_BLOCK = 16
_MARGIN = 5
_SOFT = 11
_LEAP = 12
_FAINT = 8.0
_FLOAT = npt.NDArray[np.float64]
_Seen = tuple[_FLOAT, npt.NDArray[np.bool_]]


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
        torn: pixels at which further masks or weights do not say what the mask says.
    """

    samples: int
    mean: tuple[float, float]
    worst: float
    alien: dict[int, int]
    compared: int
    torn: int = 0

    @property
    def aligned(self) -> bool:
        """Whether image and mask moved together and no mask value was made up."""
        within = max(map(abs, self.mean)) <= MEAN_BOUND and self.worst <= LOCAL_BOUND
        return self.compared > 0 and within and not self.alien and self.torn == 0

    def __str__(self) -> str:
        """One line for people."""
        if self.compared == 0:
            return "nothing could be compared: crops are too small, or all is padding"
        made_up = f", mask values that were not in the input: {sorted(self.alien)[:5]}…" if self.alien else ""
        made_up += f", {self.torn} pixels of further masks or weights off the mask" if self.torn else ""
        verdict = "aligned" if self.aligned else "NOT ALIGNED"
        return (
            f"{verdict}: mean displacement ({self.mean[0]:+.3f}, {self.mean[1]:+.3f}) px, "
            f"worst block {self.worst:.2f} px, {self.samples} samples{made_up}"
        )


def prove_alignment(recipe: Recipe, channels: int = 3, samples: int = 16, seed: int = 0) -> AlignmentReport:
    """Measure how far a recipe moves masks against images, and further targets against both.

    Samples go the way of training, ``Recipe.sample``, with partners that are coded alike: every second one with a
    further image, mask and weight, mixed and without colours; the others unmixed, and half of those as windows.

    Args:
        recipe: what is tried; it is left as it is.
        channels: C of the images.
        samples: draws of the recipe.
        seed: of the draws.

    Raises:
        ValueError: the recipe cannot take so many channels.
    """
    recipe.check_channels(channels)
    unmixed, probing = _unmixed(recipe), _probing(recipe)
    worst_means = [0.0, 0.0]
    worst, compared, torn = 0.0, 0, 0
    alien: Counter[int] = Counter()
    for sample in range(samples):
        key = [seed, sample]
        alien += _made_up(probing if sample % 2 else unmixed, channels, key)
        for axis in range(2):
            code = Code(axis, recipe.fill, recipe.sought)
            found, apart = _probed(probing, code, channels, key) if sample % 2 else _plain(unmixed, code, channels, key)
            torn += apart
            for displacement, seen in found:
                blocks = _block_means(displacement, seen)
                if len(blocks):
                    worst_means[axis] = max(worst_means[axis], float(displacement[seen].mean()), key=abs)
                    worst = max(worst, float(np.abs(blocks).max()))
                    compared += len(blocks)
    return AlignmentReport(samples, (worst_means[0], worst_means[1]), worst, dict(alien), compared, torn)


def _unmixed(recipe: Recipe) -> Recipe:
    unmixed = copy.deepcopy(recipe)
    if isinstance(unmixed, Mixing):
        unmixed.p = 0.0
    return unmixed


def _probing(recipe: Recipe) -> Recipe:
    """The recipe with further targets, which mixes whenever it can; without colours, which small parts tell badly."""
    probing = copy.deepcopy(recipe)
    probing.colour = ()
    probing.expect(PROBES)
    if isinstance(probing, Mixing) and probing.p > 0:
        probing.p = 1.0
    return probing


def _plain(recipe: Recipe, code: Code, channels: int, key: list[int]) -> tuple[list[_Seen], int]:
    """How far the image lies off the mask, and where that can be said."""
    through = windowed if key[-1] % 4 == 2 else dict
    calls = [_sampled(recipe, through(code.targets(phase, channels)), key) for phase in range(PHASES)]
    return [_displacement([call["image"] for call in calls], calls[0]["mask"], code)], 0


def _probed(recipe: Recipe, code: Code, channels: int, key: list[int]) -> tuple[list[_Seen], int]:
    """How far both images lie off the coded mask, and how many pixels' masks and weights disagree."""
    calls = [_sampled(recipe, code.probed(phase, channels), key) for phase in range(PHASES)]
    mask = calls[0]["coded_mask"]
    off = [_displacement([call[name] for call in calls], mask, code) for name in ("image", "coded_image")]
    return off, code.torn(calls[0], recipe.fill)


def _sampled(recipe: Recipe, targets: Targets, key: list[int]) -> Targets:
    """A draw of the recipe, in which all partners are the same coded sample in other draws."""
    return recipe.sample(dict(targets), np.random.default_rng(key), lambda: dict(targets))


def _displacement(images: Sequence[npt.NDArray[Any]], mask: npt.NDArray[Any], code: Code) -> _Seen:
    """How far four phases of an image lie off a coded mask, in pixels of the result, and where that can be said."""
    shown = [image.astype(np.float64).mean(axis=2) for image in images]
    sine, cosine = shown[3] - shown[1], shown[0] - shown[2]
    coordinate = np.arctan2(sine, cosine) * PERIOD / (2 * np.pi)
    place = code.place_of[mask]
    unknown = _near(~code.labelled(mask), _MARGIN) | _near(_seams(place), _SOFT)
    seen = ~unknown & (np.hypot(sine, cosine) > _FAINT)
    return _wrapped(coordinate - place) / _step(coordinate, seen), seen


def _seams(place: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Where one sample ends and another begins: the place leaps. Mixtures may blend images there."""
    leaps = np.zeros(place.shape, bool)
    leaps[1:] |= np.abs(np.diff(place, axis=0)) > _LEAP
    leaps[:, 1:] |= np.abs(np.diff(place, axis=1)) > _LEAP
    return leaps


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
    mask = np.kron(rng.choice(values, (SIDE // 8, SIDE // 8)), np.ones((8, 8), np.uint8))
    image = rng.integers(0, 256, (SIDE, SIDE, channels), np.uint8)
    targets = {"image": image, "mask": mask}
    if recipe.additional_targets.keys() >= PROBES.keys():
        targets |= {"coded_image": image[..., :1], "coded_mask": mask, "coded_weight": mask.astype(np.float32)}
    found, counts = np.unique(_sampled(recipe, targets, key)["mask"], return_counts=True)
    known = {*values.tolist(), recipe.fill}
    return Counter({int(v): int(n) for v, n in zip(found, counts, strict=True) if int(v) not in known})


def _wrapped(coordinate: _FLOAT) -> _FLOAT:
    """The coordinate is known modulo the period; the nearest to zero is meant."""
    return np.asarray((coordinate + PERIOD / 2) % PERIOD - PERIOD / 2)


def _near(outside: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """Pixels close to padding or a seam, where interpolation mixes with something else, or to the border."""
    framed = np.pad(outside, 1, constant_values=True).astype(np.uint8)
    return np.asarray(cv2.dilate(framed, np.ones((width, width), np.uint8))[1:-1, 1:-1], bool)
