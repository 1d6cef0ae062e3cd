"""Image and mask must move together: |mean signed displacement| ≤ 0.02 px, at ratios that are no integers."""

from __future__ import annotations

import numpy as np
import pytest

from perpixel.augment import Default, Light, Medical, Plain, Recipe, Satellite, Strong
from perpixel.augment.backend import A
from perpixel.augment.crop import RandomScaleCrop

SHAPE = (161, 193)
FILL = 255
BOUND = 0.02
TRANSFORMS = {
    "crop and scale": [RandomScaleCrop((97, 83), (0.45, 2.3))],
    "resize down": [A.Resize(89, 71)],
    "resize up": [A.Resize(211, 247)],
    "random scale": [A.RandomScale((-0.6, 0.7), p=1), A.Resize(101, 103)],
    "longest side": [A.LongestMaxSize(131), A.CenterCrop(90, 90)],
    "smallest side": [A.SmallestMaxSize(113), A.CenterCrop(90, 90)],
    "resized crop": [A.RandomResizedCrop((91, 77), p=1)],
    "sized crop": [A.RandomSizedCrop((70, 140), (91, 77), p=1)],
    "horizontal flip": [A.HorizontalFlip(p=1)],
    "vertical flip": [A.VerticalFlip(p=1)],
    "quarter turns": [A.RandomRotate90(p=1), A.Resize(101, 103)],
    "transpose": [A.Transpose(p=1)],
    "eight symmetries": [A.D4(p=1)],
    "rotation": [A.Rotate(30, p=1)],
    "affine": [A.Affine(scale=(0.7, 1.4), rotate=(-20, 20), shear=(-8, 8), translate_percent=(-0.1, 0.1), p=1)],
    "perspective": [A.Perspective(p=1)],
    "elastic": [A.ElasticTransform(alpha=60, sigma=8, p=1)],
    "grid distortion": [A.GridDistortion(p=1)],
    "lens": [A.OpticalDistortion(p=1)],
}


def coordinates(shape: tuple[int, int]) -> np.ndarray:
    """(H, W, 2) float32: each pixel's row and column."""
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).astype(np.float32)


def displacement(recipe: Recipe, seeds: range) -> np.ndarray:
    """Mean signed (row, column) displacement between image and mask, in pixels of the result.

    The image shows coordinates, and so do two masks. Away from padding and edges, where bilinear values mix with the
    filling, both must say the same coordinate but for rounding, which has no preferred sign.
    """
    image = np.concatenate([coordinates(SHAPE), np.ones((*SHAPE, 1), np.float32)], axis=2)
    rows, columns = (coordinates(SHAPE)[..., axis].astype(np.uint8) for axis in (0, 1))
    recipe.expect({"columns": "mask"})
    total, count = np.zeros(2), 0
    for seed in seeds:
        result = recipe._run({"image": image, "mask": rows, "columns": columns}, np.random.default_rng(seed))
        inside = interior(result["image"])
        difference = result["image"][..., :2] - np.stack([result["mask"], result["columns"]], axis=-1)
        step = np.abs(np.gradient(result["image"][..., 0], axis=(0, 1))).sum(axis=0)[inside].mean()
        total += difference[inside].sum(axis=0) / step
        count += inside.sum()
    return total / count


def interior(image: np.ndarray) -> np.ndarray:
    """Pixels whose value is made of input pixels alone, and not of repeated edges."""
    row, column, present = np.moveaxis(image, -1, 0)
    margin = 2.0
    return (
        (present > 0.999)
        & (row > margin)
        & (row < SHAPE[0] - 1 - margin)
        & (column > margin)
        & (column < SHAPE[1] - 1 - margin)
    )


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_moves_image_and_mask_alike(name: str) -> None:
    recipe = Recipe((1, 1), FILL, None, geometry=TRANSFORMS[name])
    assert np.abs(displacement(recipe, range(12))).max() <= BOUND


@pytest.mark.parametrize("make", [Plain, Light, Default, Strong, Satellite, Medical], ids=lambda make: make.__name__)
def test_recipe_geometry_moves_image_and_mask_alike(make: type[Recipe]) -> None:
    recipe = make(size=(97, 83))
    assert np.abs(displacement(Recipe((97, 83), FILL, None, geometry=recipe.geometry), range(24))).max() <= BOUND


def test_the_measure_sees_a_mask_by_plain_nearest() -> None:
    recipe = Recipe((1, 1), FILL, None, geometry=[A.Resize(89, 71)])
    recipe.geometry[0].mask_interpolation = 0  # cv2.INTER_NEAREST
    assert np.abs(displacement(recipe, range(1))).max() > 0.2
