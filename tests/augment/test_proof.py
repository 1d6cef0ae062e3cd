from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import pytest

from perpixel.augment import CopyPaste, CutMix, Default, Light, Medical, Mosaic, Plain, Recipe, Satellite, Strong
from perpixel.augment.alignment import prove_alignment
from perpixel.augment.backend import A
from perpixel.windows import Windowed

SIZE = (128, 160)


@pytest.mark.parametrize("size", [(96, 96), SIZE, (256, 512)], ids=str)
@pytest.mark.parametrize("make", [Plain, Light, Default, Strong, Satellite, Medical], ids=lambda make: make.__name__)
def test_every_recipe_is_aligned(make: type[Recipe], size: tuple[int, int]) -> None:
    report = prove_alignment(make(size=size), samples=16)
    assert report.aligned, str(report)
    assert str(report).startswith("aligned")


@pytest.mark.parametrize("make", [Default, Strong, Medical], ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "mix", [CutMix, Mosaic, partial(CopyPaste, classes=[18, 3], p=0.9)], ids=["cut", "four", "paste"]
)
def test_mixtures_are_aligned(mix: Callable[[Recipe], Recipe], make: type[Recipe]) -> None:
    recipe = mix(make(size=SIZE))
    report = prove_alignment(recipe, samples=8)
    assert report.aligned, str(report)
    assert not recipe.additional_targets


def test_other_channels() -> None:
    assert prove_alignment(Satellite(size=SIZE), channels=6, samples=4).aligned
    assert prove_alignment(Light(size=SIZE), channels=1, samples=4).aligned


def blended_mask() -> Recipe:
    recipe = Recipe(SIZE, 255, None, geometry=[A.Resize(*SIZE)])
    recipe.geometry[0].mask_interpolation = cv2.INTER_LINEAR
    return recipe


def plain_nearest() -> Recipe:
    recipe = Recipe(SIZE, 255, None, geometry=[A.Resize(*SIZE)])
    recipe.geometry[0].mask_interpolation = cv2.INTER_NEAREST
    return recipe


class FlipsOneSide(Light):
    def apply(self, targets, rng):  # type: ignore[no-untyped-def]
        result = super().apply(targets, rng)
        image = result["image"]
        return result | {"image": np.ascontiguousarray(image[:, ::-1])}


class ShiftsHalfAPixel(Strong):
    def apply(self, targets, rng):  # type: ignore[no-untyped-def]
        result = super().apply(targets, rng)
        image = result["image"]
        shift = np.array([[1, 0, 0.5], [0, 1, 0]])
        moved = cv2.warpAffine(image, shift, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        return result | {"image": moved}


class CropsTheImageAlone(Default):
    def apply(self, targets, rng):  # type: ignore[no-untyped-def]
        result = super().apply(targets, rng)
        image = result["image"]
        offset = int(rng.integers(1, 4))
        return result | {"image": np.pad(image[offset:], ((0, offset), (0, 0), (0, 0)), mode="edge")}


class MosaicOfMirroredImages(Mosaic):
    def mix(self, targets, partner, rng):  # type: ignore[no-untyped-def]
        mixed = super().mix(targets, partner, rng)
        return mixed | {"image": np.ascontiguousarray(mixed["image"][:, ::-1])}


class PastesTheImageElsewhere(CopyPaste):
    def _pasted(self, array, other, chosen):  # type: ignore[no-untyped-def]
        return super()._pasted(array, np.roll(other, 9, axis=(0, 1)) if array.ndim == 3 else other, chosen)


class CutsTheMaskAlone(CutMix):
    """Further masks and weights stay behind."""

    def mix(self, targets, partner, rng):  # type: ignore[no-untyped-def]
        mixed = super().mix(targets, partner, rng)
        return mixed | {name: array for name, array in targets.items() if name not in ("image", "mask")}


class FlipsExtras(Light):
    def __init__(self, kind):  # type: ignore[no-untyped-def]
        super().__init__(size=SIZE)
        self.kind = kind

    def apply(self, targets, rng):  # type: ignore[no-untyped-def]
        result = super().apply(targets, rng)
        of_kind = [name for name, kind in self.additional_targets.items() if kind == self.kind and name in result]
        return result | {name: np.ascontiguousarray(result[name][::-1]) for name in of_kind}


class ShiftsWindows(Light):
    def sample(self, targets, rng, another):  # type: ignore[no-untyped-def]
        if isinstance(targets["image"], Windowed):
            targets = targets | {"image": np.roll(np.asarray(targets["image"]), 7, axis=(0, 1))}
        return super().sample(targets, rng, another)


class Moves(Recipe):
    """A recipe whose images, and no others, are moved once more, about their centre."""

    def __init__(self, recipe, matrix=((1, 0), (0, 1)), p=1.0):  # type: ignore[no-untyped-def]
        self.__dict__ |= recipe.__dict__
        self.matrix, self.p = np.array(matrix, float), p

    def apply(self, targets, rng):  # type: ignore[no-untyped-def]
        result = super().apply(targets, rng)
        image = result["image"]
        if rng.random() >= self.p:
            return result
        centre = (np.array(image.shape[1::-1]) - 1) / 2
        moved = np.column_stack([self.matrix, centre - self.matrix @ centre])
        return result | {"image": cv2.warpAffine(image, moved, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)}


def turn(degrees: float) -> np.ndarray:
    return cv2.getRotationMatrix2D((0, 0), degrees, 1.0)[:, :2]


CORNERS = np.diag([(side - 1) / side for side in SIZE[::-1]])
"""An image resized as with align_corners=True, a mask without."""

MISTAKES = {
    "a zoom of 2 % about the centre": lambda: Moves(Light(size=(256, 256)), np.diag([1.02, 1.02])),
    "a zoom of 3.5 % about the centre": lambda: Moves(Default(size=SIZE), np.diag([1.035, 1.035])),
    "a turn of one degree": lambda: Moves(Light(size=SIZE), turn(1)),
    "a turn of half a degree among warps": lambda: Moves(Strong(size=SIZE), turn(0.5)),
    "a stretch by aligned corners": lambda: Moves(Light(size=SIZE), CORNERS),
    "a stretch by aligned corners among scales": lambda: Moves(Default(size=SIZE), CORNERS),
    "a stretch by aligned corners among warps": lambda: Moves(Medical(size=SIZE), CORNERS),
    "a flip of one in ten": lambda: Moves(Light(size=SIZE), np.diag([-1, 1]), p=0.1),
    "a mosaic of mirrored images": lambda: MosaicOfMirroredImages(Light(size=SIZE), p=0.1),
    "an object pasted from elsewhere": lambda: PastesTheImageElsewhere(Light(size=SIZE), classes=[18]),
    "extras that are not mixed": lambda: CutsTheMaskAlone(Light(size=SIZE)),
    "a further image flipped": lambda: FlipsExtras("image"),
    "a further mask flipped": lambda: FlipsExtras("mask"),
    "a weight flipped": lambda: FlipsExtras("weight"),
    "images read from shifted windows": lambda: ShiftsWindows(size=SIZE),
    "bilinear mask": blended_mask,
    "mask by plain nearest": plain_nearest,
    "flip on one side only": lambda: FlipsOneSide(size=SIZE),
    "half-pixel shift": lambda: ShiftsHalfAPixel(size=SIZE),
    "crop offset on the image only": lambda: CropsTheImageAlone(size=SIZE),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistakes_are_caught(name: str) -> None:
    rare, shared = "one in ten" in name, any(word in name for word in ("zoom", "turn", "stretch"))
    report = prove_alignment(MISTAKES[name](), samples=48 if rare else 24 if shared else 8)
    assert not report.aligned, str(report)
    assert str(report).startswith("NOT ALIGNED")
    assert bool(report.alien) == (name == "bilinear mask")


def test_the_worst_displacement_is_reported() -> None:
    report = prove_alignment(Moves(Light(size=(256, 256)), np.diag([1.02, 1.02])), samples=4)
    assert 1.9 < report.worst < 2.6
    assert report.drift == pytest.approx(0.02 * np.hypot(127.5, 127.5), rel=0.1)
    assert max(map(abs, report.mean)) < 0.2
    assert "worst block 2." in str(report)


@pytest.mark.parametrize("size", [(6, 6), (32, 32)], ids=str)
def test_without_anything_to_compare_nothing_is_proved(size: tuple[int, int]) -> None:
    report = prove_alignment(Plain(size=size), samples=3)
    assert not report.aligned
    assert not report.proved
    assert str(report).startswith("nothing could be compared")
