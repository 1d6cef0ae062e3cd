from __future__ import annotations

import cv2
import numpy as np
import pytest

from perpixel.augment import CutMix, Default, Light, Medical, Plain, Recipe, Satellite, Strong
from perpixel.augment.alignment import prove_alignment
from perpixel.augment.backend import A

SIZE = (128, 160)


@pytest.mark.parametrize("size", [(96, 96), SIZE, (256, 512)], ids=str)
@pytest.mark.parametrize("make", [Plain, Light, Default, Strong, Satellite, Medical], ids=lambda make: make.__name__)
def test_every_recipe_is_aligned(make: type[Recipe], size: tuple[int, int]) -> None:
    report = prove_alignment(make(size=size), samples=10)
    assert report.aligned, str(report)
    assert str(report).startswith("aligned")


def test_mixing_recipes_and_other_channels() -> None:
    assert prove_alignment(CutMix(Default(size=SIZE)), samples=4).aligned
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
    def __call__(self, image, mask, rng):  # type: ignore[no-untyped-def]
        image, mask = super().__call__(image, mask, rng)
        return np.ascontiguousarray(image[:, ::-1]), mask


class ShiftsHalfAPixel(Strong):
    def __call__(self, image, mask, rng):  # type: ignore[no-untyped-def]
        image, mask = super().__call__(image, mask, rng)
        shift = np.array([[1, 0, 0.5], [0, 1, 0]])
        return cv2.warpAffine(image, shift, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), mask


class CropsTheImageAlone(Default):
    def __call__(self, image, mask, rng):  # type: ignore[no-untyped-def]
        image, mask = super().__call__(image, mask, rng)
        offset = int(rng.integers(1, 4))
        return np.pad(image[offset:], ((0, offset), (0, 0), (0, 0)), mode="edge"), mask


MISTAKES = {
    "bilinear mask": blended_mask,
    "mask by plain nearest": plain_nearest,
    "flip on one side only": lambda: FlipsOneSide(size=SIZE),
    "half-pixel shift": lambda: ShiftsHalfAPixel(size=SIZE),
    "crop offset on the image only": lambda: CropsTheImageAlone(size=SIZE),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistakes_are_caught(name: str) -> None:
    report = prove_alignment(MISTAKES[name](), samples=8)
    assert not report.aligned, str(report)
    assert str(report).startswith("NOT ALIGNED")
    assert bool(report.alien) == (name == "bilinear mask")


def test_without_anything_to_compare_nothing_is_proved() -> None:
    report = prove_alignment(Plain(size=(6, 6)), samples=3)
    assert not report.aligned
    assert str(report).startswith("nothing could be compared")
