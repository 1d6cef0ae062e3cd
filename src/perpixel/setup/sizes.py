"""Crop, batch, and length of a training from what the data are; used by ``init`` and where a config leaves them out."""

from __future__ import annotations

import math
from collections.abc import Mapping

Shape = tuple[int, int]

STEP = 32
"""Crops are multiples of an encoder's stride, so that nothing is padded within the network."""

LEAST, USUAL_CROP, CROP_CPU, CROP_GPU = 64, 96, 192, 512
OBJECTS = 3.0
"""A crop is so many times as wide as a typical object, where the image has room for it."""

PIXELS_CPU, PIXELS_GPU = 8 * 96 * 96, 8 * 512 * 512
LEAST_BATCH, MOST_BATCH_CPU, MOST_BATCH_GPU = 4, 8, 32
PASSES_A_VALIDATION = 20
"""Steps between two validations at least: with few images an epoch shows each several times."""

LEAST_STEPS, USUAL_STEPS = 300, 500
"""A network that starts from pretrained weights is not done before; below the first number a training warns."""

USUAL_EPOCHS = 11
LARGE = 1600
"""Images with a longer side are cut into tiles, to be read and scored piece by piece."""


def crop_size(shapes: Mapping[Shape, int], gpu: bool, objects: float = 0.0) -> tuple[Shape, str]:
    """(H, W) of a training sample, and why.

    Args:
        shapes: (H, W) of the images, with their numbers.
        gpu: whether there is one.
        objects: typical side of an object in pixels, 0 where it is not known.
    """
    most = CROP_GPU if gpu else CROP_CPU
    wanted = max(float(USUAL_CROP if not gpu else 256), OBJECTS * objects) if objects else float(most)
    limit = min(most, _up(wanted))
    height, width = (_quantile(shapes, side) for side in (0, 1))
    size = (_fit(height, limit), _fit(width, limit))
    whole = size[0] >= height - STEP and size[1] >= width - STEP
    why = f"most images are {height}×{width} (H×W) or larger"
    if whole:
        return size, f"{why}: the whole image, in steps of {STEP}"
    object_told = f", objects about {objects:.0f} wide" if objects else ""
    return size, f"{why}{object_told}: a crop costs less and shows another part each time"


def _fit(side: int, limit: int) -> int:
    """The largest multiple within image and limit; images smaller than the least crop are padded."""
    return min(limit, max(side // STEP * STEP, LEAST if side > STEP else STEP))


def _up(value: float) -> int:
    return math.ceil(value / STEP) * STEP


def _quantile(shapes: Mapping[Shape, int], side: int) -> int:
    """The side that nine in ten images have at least."""
    listed = sorted(shape[side] for shape, number in shapes.items() for _ in range(number))
    return listed[len(listed) // 10]


def batch_size(size: Shape, gpu: bool) -> int:
    """Samples of a step: as many pixels as a device is busy with, and enough for batch norm."""
    pixels, most = (PIXELS_GPU, MOST_BATCH_GPU) if gpu else (PIXELS_CPU, MOST_BATCH_CPU)
    return max(LEAST_BATCH, min(most, pixels // (size[0] * size[1])))


def evaluation_batch(shapes: Mapping[Shape, int], gpu: bool) -> int:
    """Only images of one size share a batch."""
    height, width = (_quantile(shapes, side) for side in (0, 1))
    pixels = PIXELS_GPU if gpu else PIXELS_CPU
    return max(1, min(16, 2 * pixels // max(height * width, 1)))


def repeats(samples: int, batch: int, steps: int = PASSES_A_VALIDATION) -> int:
    """How often an epoch shows each image, so that it has so many steps at least."""
    return max(1, math.ceil(steps * batch / max(samples, 1)))


def steps_of(samples: int, batch: int, repeat: int) -> int:
    """Steps of an epoch; the incomplete last one is dropped."""
    return max(1, samples * repeat // batch)


def epochs(steps_an_epoch: int, steps: int = USUAL_STEPS) -> int:
    """Epochs of a training of so many steps at least."""
    return max(1, math.ceil(steps / steps_an_epoch))


def tile(shapes: Mapping[Shape, int], gpu: bool) -> Shape | None:
    """Windows to cut large images into, None where images are read whole."""
    if max(max(shape) for shape in shapes) <= LARGE:
        return None
    side = 1024 if gpu else 512
    return side, side
