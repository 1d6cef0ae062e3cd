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
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.coordinate_images import PERIOD, PHASES, PROBES, SIDE, Code, windowed
from perpixel.augment.mixing import Mixing
from perpixel.augment.recipe import Recipe
from perpixel.augment.targets import Targets

MEAN_BOUND = 0.25
"""Greatest tolerated mean displacement of a sample, in pixels of the result: half a pixel is far beyond. (Rounding to
whole mask pixels leaves a tenth, in small crops.)"""

DRIFT_BOUND = 0.2
"""Greatest tolerated displacement that all samples share, in pixels of the result. What is centred leaves no mean: a
zoom, a turn, a stretch by aligned corners (0.5 px at the border). Over all samples, rounding leaves 0.1 px of it."""

LOCAL_BOUND = 1.25
"""Greatest tolerated displacement of a block of 16 × 16 pixels, without colours. Nearest-neighbour warps that hardly
move round a whole block alike, by up to half a pixel of the input: 0.9 px was the worst of the shipped recipes."""

COLOURED_BOUND = 2.0
"""The same after the recipe's colours: noise and compression make small parts uncertain."""

_BLOCK = 16
_MARGIN = 5
_FEWEST = 9
"""Blocks in a picture below which rounding would decide: 64 × 64 pixels have so many."""

_PART = 2
"""A sample of which less than half can be seen has no mean that tells; its blocks still do."""

_SOFT = 11
_LEAP = 12
_FAINT = 30.0
_CLIPPED = 2.0
"""In grey levels: stripes whose contrast is lower, and pixels at either end, tell no phase."""

_FLOAT = npt.NDArray[np.floating]


@dataclass(frozen=True)
class AlignmentReport:
    """What the proof found.

    Attributes:
        samples: how many draws of the recipe were looked at.
        mean: mean signed displacement of the image against the mask along input rows and columns, each of the sample
            where it is greatest, in pixels of the result.
        drift: greatest displacement, anywhere in the result, of the shift, zoom and turn that all samples share.
        worst: greatest mean displacement of a block of 16 × 16 pixels in any sample without the recipe's colours, in
            pixels of the result.
        alien: how many pixels hold a mask value that was not in the input, by value.
        compared: blocks that were compared in all; without any, nothing is proved.
        torn: pixels at which further masks or weights do not say what the mask says.
        coloured: as ``worst``, with colours, which make small parts uncertain.
    """

    samples: int
    mean: tuple[float, float]
    drift: float
    worst: float
    alien: dict[int, int]
    compared: int
    torn: int = 0
    coloured: float = 0.0

    @property
    def proved(self) -> bool:
        """Whether there is a verdict: something could be compared, or a mask was seen to go wrong."""
        return self.compared > 0 or bool(self.alien) or self.torn > 0

    @property
    def aligned(self) -> bool:
        """Whether image and mask moved together and no mask value was made up."""
        steady = max(map(abs, self.mean)) <= MEAN_BOUND and self.drift <= DRIFT_BOUND
        local = self.worst <= LOCAL_BOUND and self.coloured <= COLOURED_BOUND
        return self.compared > 0 and steady and local and not self.alien and self.torn == 0

    def __str__(self) -> str:
        """One line for people."""
        if not self.proved:
            return "nothing could be compared: crops are too small, or all is padding"
        made_up = f", mask values that were not in the input: {sorted(self.alien)[:5]}…" if self.alien else ""
        made_up += f", {self.torn} pixels of further masks or weights off the mask" if self.torn else ""
        verdict = "aligned" if self.aligned else "NOT ALIGNED"
        return (
            f"{verdict}: worst block {self.worst:.2f} px (with colours {self.coloured:.2f}), mean displacement "
            f"({self.mean[0]:+.3f}, {self.mean[1]:+.3f}) px, drift {self.drift:.2f} px, {self.samples} samples{made_up}"
        )


def prove_alignment(recipe: Recipe, channels: int = 3, samples: int = 48, seed: int = 0) -> AlignmentReport:
    """Measure how far a recipe moves masks against images, and further targets against both.

    Samples go the way of training, ``Recipe.sample``, with partners that are coded alike: every second one with a
    further image, mask and weight, mixed and without colours; the others unmixed, and half of those as windows.

    Args:
        recipe: what is tried; it is left as it is.
        channels: C of the images.
        samples: draws of the recipe; what goes wrong in one of ten is missed by 48 in one of 150 cases.
        seed: of the draws.

    Raises:
        ValueError: the recipe cannot take so many channels.
    """
    recipe.check_channels(channels)
    unmixed, probing = _unmixed(recipe), _probing(recipe)
    tally = _Tally()
    for sample in range(samples):
        key = [seed, sample]
        tally.alien += _made_up(probing if sample % 2 else unmixed, channels, key)
        for axis in range(2):
            code = Code(axis, recipe.fill, recipe.sought)
            found, apart = _probed(probing, code, channels, key) if sample % 2 else _plain(unmixed, code, channels, key)
            tally.torn += apart
            for name, blocks in found.items():
                tally.add(axis, name, blocks, coloured=not sample % 2)
    return tally.report(samples)


class _Blocks(NamedTuple):
    """The n blocks of one coded image that can be compared whole with its coded mask.

    Attributes:
        displacement: (n,) how far the image lies off the mask along an input axis, in pixels of the result.
        direction: (n, 2) the input axis, as a unit vector of the result's rows and columns.
        centre: (n, 2) row and column, from the middle of the result.
        all: how many blocks there are, with those that cannot be seen.
        shape: (H, W) of the result.
    """

    displacement: _FLOAT
    direction: _FLOAT
    centre: _FLOAT
    all: int
    shape: tuple[int, int]


class _Tally:
    """What was seen so far."""

    def __init__(self) -> None:
        self.mean = [0.0, 0.0]
        self.worst, self.coloured, self.compared, self.torn = 0.0, 0.0, 0, 0
        self.alien: Counter[int] = Counter()
        self.drifts: dict[str, _Drift] = {}

    def add(self, axis: int, name: str, blocks: _Blocks, coloured: bool) -> None:
        """Count in what one axis of one image showed."""
        seen = len(blocks.displacement)
        if blocks.all < _FEWEST or not seen:
            return
        greatest = float(np.abs(blocks.displacement).max())
        if coloured:
            self.coloured = max(self.coloured, greatest)
        else:
            self.worst = max(self.worst, greatest)
        if seen * _PART >= blocks.all:
            self.mean[axis] = max(self.mean[axis], float(blocks.displacement.mean()), key=abs)
        self.compared += seen
        self.drifts.setdefault(name, _Drift()).add(blocks)

    def report(self, samples: int) -> AlignmentReport:
        """The proof."""
        return AlignmentReport(
            samples=samples,
            mean=(self.mean[0], self.mean[1]),
            drift=max((drift.greatest() for drift in self.drifts.values()), default=0.0),
            worst=self.worst,
            alien=dict(self.alien),
            compared=self.compared,
            torn=self.torn,
            coloured=self.coloured,
        )


class _Drift:
    """The displacement that all samples share: shift + matrix · (place in the result), by least squares.

    An image moved by u(y, x) = E (1, y, x)ᵀ is seen off its mask by g · u along an input axis that lies in direction g
    of the result. Flips and turns change g and leave u as it is, so that no mistake of one side cancels out.
    """

    def __init__(self) -> None:
        self.squares, self.products = np.zeros((6, 6)), np.zeros(6)
        self.extent = (0.0, 0.0)

    def add(self, blocks: _Blocks) -> None:
        """Count in one image of one axis."""
        self.extent = (blocks.shape[0] / 2, blocks.shape[1] / 2)
        place = np.column_stack([np.ones(len(blocks.centre)), blocks.centre])
        terms = (blocks.direction[:, :, None] * place[:, None, :]).reshape(-1, 6)
        self.squares += terms.T @ terms
        self.products += terms.T @ blocks.displacement

    def greatest(self) -> float:
        """Its length, in pixels, in that corner of the result where it is greatest."""
        fitted = np.linalg.lstsq(self.squares, self.products)[0].reshape(2, 3)
        corners = np.array([[1, y * self.extent[0], x * self.extent[1]] for y in (-1, 1) for x in (-1, 1)])
        return float(np.hypot(*(fitted @ corners.T)).max())


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


def _plain(recipe: Recipe, code: Code, channels: int, key: list[int]) -> tuple[dict[str, _Blocks], int]:
    """How far the image lies off the mask, and where that can be said."""
    through = windowed if key[-1] % 4 == 2 else dict
    calls = [_sampled(recipe, through(code.targets(phase, channels)), key) for phase in range(PHASES)]
    return {"image": _blocks([call["image"] for call in calls], calls[0]["mask"], code)}, 0


def _probed(recipe: Recipe, code: Code, channels: int, key: list[int]) -> tuple[dict[str, _Blocks], int]:
    """How far both images lie off the coded mask, and how many pixels' masks and weights disagree."""
    calls = [_sampled(recipe, code.probed(phase, channels), key) for phase in range(PHASES)]
    mask = calls[0]["coded_mask"]
    off = {name: _blocks([call[name] for call in calls], mask, code) for name in ("image", "coded_image")}
    return off, code.torn(calls[0], recipe.fill)


def _sampled(recipe: Recipe, targets: Targets, key: list[int]) -> Targets:
    """A draw of the recipe, in which all partners are the same coded sample in other draws."""
    return recipe.sample(dict(targets), np.random.default_rng(key), lambda: dict(targets))


def _blocks(images: Sequence[npt.NDArray[Any]], mask: npt.NDArray[Any], code: Code) -> _Blocks:
    """How far four phases of an image lie off a coded mask, block by block: a mixture's parts have scales of their own.

    Where an image runs against its mask, its displacement runs through all phases within a block, and its mean is
    nothing: there, the mean of its absolute value is told.
    """
    shown = [_grey(image) for image in images]
    sine, cosine = shown[3] - shown[1], shown[0] - shown[2]
    coordinate = np.arctan2(sine, cosine) * np.float32(PERIOD / (2 * np.pi))
    place = code.place_of[mask]
    unknown = _near(~code.labelled(mask), _MARGIN) | _near(_seams(place), _SOFT)
    unknown |= (np.minimum.reduce(shown) < _CLIPPED) | (np.maximum.reduce(shown) > 255 - _CLIPPED)
    grid = _Grid(place.shape)
    whole = grid.cut(~unknown & (np.hypot(sine, cosine) > _FAINT)).all(axis=(2, 3))
    off = grid.cut(_wrapped(coordinate - place))[whole]
    signed, spread = off.mean(axis=(1, 2)), np.abs(off).mean(axis=(1, 2))
    steps = [grid.cut(_wrapped(np.diff(coordinate, axis=axis, append=0)))[whole] for axis in range(2)]
    slope = np.stack([np.median(step[:, ::3, ::3].reshape(-1, 36), axis=1) for step in steps], axis=1)
    pace = np.hypot(*slope.T)
    pace = np.maximum(pace, np.median(pace) / 2 if len(pace) else 1.0)
    displacement = np.where(spread > PERIOD / 8, spread, signed) / pace
    return _Blocks(
        displacement, slope / pace[:, None], grid.centres()[whole], whole.size, (mask.shape[0], mask.shape[1])
    )


class _Grid:
    """Blocks of 16 × 16 pixels in the middle of a picture, clear of its border."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.counts = tuple(max(side - 2 * (_MARGIN // 2), 0) // _BLOCK for side in shape)
        self.start = tuple((side - count * _BLOCK) // 2 for side, count in zip(shape, self.counts, strict=True))
        self.middle = tuple((side - 1) / 2 for side in shape)

    def cut(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(H, W) → (rows of blocks, columns of blocks, 16, 16)."""
        (rows, columns), (top, left) = self.counts, self.start
        area = array[top : top + rows * _BLOCK, left : left + columns * _BLOCK]
        return area.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2)

    def centres(self) -> _FLOAT:
        """(rows of blocks, columns of blocks, 2) row and column from the picture's middle."""
        along = zip(self.start, self.counts, self.middle, strict=True)
        axes = [first + _BLOCK * np.arange(count) + (_BLOCK - 1) / 2 - middle for first, count, middle in along]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _grey(image: npt.NDArray[Any]) -> _FLOAT:
    """Mean of the channels, one by one: numpy's mean over a short last axis is slow."""
    channels = image.shape[2]
    return np.asarray(sum(image[..., c].astype(np.float32) for c in range(channels)) / np.float32(channels))


def _seams(place: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Where one sample ends and another begins: the place leaps. Mixtures may blend images there."""
    leaps = np.zeros(place.shape, bool)
    leaps[1:] |= np.abs(np.diff(place, axis=0)) > _LEAP
    leaps[:, 1:] |= np.abs(np.diff(place, axis=1)) > _LEAP
    return leaps


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
