"""Grey textures, drawn once per process: tileable surfaces and the silhouettes of plants.

All are functions of fixed seeds, so that they belong to the generator as its code does. A texture multiplies a
surface's colour: 128 leaves it alone, 255 doubles it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

SIZE = 256
"""Side of a texture in texels."""

NEUTRAL = 128


class Tile(IntEnum):
    """Place of each texture in the atlas."""

    PLAIN = 0
    ASPHALT = 1
    SLABS = 2
    BRICK = 3
    PLASTER = 4
    PANELS = 5
    ROOF = 6
    LEAVES = 7
    GRASS = 8
    CLOTH = 9
    CANOPY = 10


CANOPIES = 5
"""Broad crowns in the atlas from ``Tile.CANOPY`` on; after them stand the conifers and the bushes."""
CONIFERS = 2
BUSHES = 3


@cache
def atlas() -> Grey:
    """All textures below each other, each with one texel of wrapped border: (n · (SIZE + 2), SIZE + 2) uint8."""
    tiles = [_surface(tile) for tile in Tile if tile < Tile.CANOPY] + [shade for _, shade in _plants()]
    return np.concatenate([cv2.copyMakeBorder(tile, 1, 1, 1, 1, cv2.BORDER_WRAP) for tile in tiles])


@cache
def silhouette(tile: int) -> Grey:
    """Where a plant of the atlas is opaque: (SIZE, SIZE) uint8, 0 outside, 255 inside, a soft edge of few texels."""
    return _plants()[tile - Tile.CANOPY][0]


@cache
def clouds() -> Field:
    """Tileable cloud noise, (512, 512) float32 in 0…1."""
    return _noise(np.random.default_rng(71), 512, exponent=1.75)


@cache
def dice() -> Field:
    """4096 uniform numbers for hashed cells (which window is lit, which curtain is drawn)."""
    return np.random.default_rng(72).random(4096, dtype=np.float32)


def _noise(rng: np.random.Generator, size: int, exponent: float) -> Field:
    """Periodic 1/f noise, rank-scaled to 0…1: exponent 0 is white, 2 is cloudy."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency**exponent
    field = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(np.clip(0.5 + field / (5 * field.std()), 0, 1), np.float32)


def _grey(field: npt.NDArray[np.floating]) -> Grey:
    """Multipliers around 1 as texels."""
    return np.asarray(np.clip(field * NEUTRAL, 0, 255), np.uint8)


def _surface(tile: Tile) -> Grey:
    rng = np.random.default_rng([70, int(tile)])
    fine, coarse = _noise(rng, SIZE, 0.35), _noise(rng, SIZE, 1.3)
    mottled = 1 + 0.5 * (coarse - 0.5)
    drawn = {
        Tile.PLAIN: lambda: np.ones((SIZE, SIZE)),
        Tile.ASPHALT: lambda: mottled * (1 + 0.9 * (fine - 0.5)) * _cracks(rng),
        Tile.SLABS: lambda: _blocks(rng, rows=8, columns=4, joint=3, spread=0.12) * mottled * (1 + 0.4 * (fine - 0.5)),
        Tile.BRICK: lambda: _blocks(rng, rows=32, columns=10, joint=2, spread=0.3, mortar=1.3) * mottled,
        Tile.PLASTER: lambda: 1 + 0.5 * (coarse - 0.5) + 0.25 * (fine - 0.5),
        Tile.PANELS: lambda: _blocks(rng, rows=4, columns=2, joint=2, spread=0.08) * mottled,
        Tile.ROOF: lambda: _blocks(rng, rows=24, columns=14, joint=3, spread=0.35, mortar=0.55),
        Tile.LEAVES: lambda: 0.45 + 1.1 * _noise(rng, SIZE, 0.7),
        Tile.GRASS: lambda: (0.7 + 0.6 * coarse) * (0.6 + 0.8 * fine),
        Tile.CLOTH: lambda: 1 + 0.5 * (_noise(rng, SIZE, 0.9) - 0.5),
    }
    return _grey(drawn[tile]())


def _blocks(
    rng: np.random.Generator, rows: int, columns: int, joint: int, spread: float, mortar: float = 0.6
) -> npt.NDArray[np.float64]:
    """Bricks in running bond: each its own tone, joints of ``joint`` texels in tone ``mortar``."""
    tones = 1 + spread * (rng.random((rows, columns)) - 0.5) * 2
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    row = y * rows // SIZE
    shifted = (x + (row % 2) * SIZE // (2 * columns)) % SIZE
    field = tones[row, shifted * columns // SIZE]
    in_joint = ((y * rows) % SIZE < joint * rows) | ((shifted * columns) % SIZE < joint * columns)
    return np.where(in_joint, mortar, field)


def _cracks(rng: np.random.Generator) -> Field:
    """Dark meandering lines where a smooth noise crosses its middle."""
    level = np.abs(_noise(rng, SIZE, 1.5) - 0.5)
    return np.where(level < 0.004, 0.65, 1.0).astype(np.float32)


@cache
def _plants() -> tuple[tuple[Grey, Grey], ...]:
    """(silhouette, shade) of every plant: broad crowns, conifers, bushes."""
    crowns = [_plant(seed, _crown) for seed in range(CANOPIES)]
    conifers = [_plant(seed, _cone) for seed in range(CANOPIES, CANOPIES + CONIFERS)]
    bushes = [_plant(seed, _mound) for seed in range(CANOPIES + CONIFERS, CANOPIES + CONIFERS + BUSHES)]
    return tuple(crowns + conifers + bushes)


Clump = tuple[float, float, float]
"""Centre x, y and radius of a clump of leaves, in units of the texture (y downwards)."""


def _crown(rng: np.random.Generator) -> Clump:
    angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.32
    return 0.5 + 1.08 * reach * np.cos(angle), 0.47 + reach * np.sin(angle), rng.uniform(0.07, 0.14)


def _cone(rng: np.random.Generator) -> Clump:
    height = rng.uniform(0.06, 0.92)
    return 0.5 + rng.uniform(-0.42, 0.42) * height, height, 0.03 + 0.06 * height


def _mound(rng: np.random.Generator) -> Clump:
    x = rng.uniform(0.12, 0.88)
    top = 0.25 + 1.2 * (x - 0.5) ** 2
    return x, rng.uniform(top, 0.95), rng.uniform(0.08, 0.13)


def _plant(seed: int, clump: Callable[[np.random.Generator], Clump]) -> tuple[Grey, Grey]:
    """Clumps of leaves painted from the back to the front, each lit from above; leaf noise frays the edge."""
    rng = np.random.default_rng([73, seed])
    clumps = sorted((clump(rng) for _ in range(95)), key=lambda c: c[1] + 0.15 * rng.random())
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    body, shade = np.full((SIZE, SIZE), -1, np.float32), np.full((SIZE, SIZE), 0.25, np.float32)
    leaves = _noise(rng, SIZE, 0.75)
    for cx, cy, radius in clumps:
        distance = np.hypot(x - cx, y - cy) / radius + 1.1 * (leaves - 0.5)
        inside = distance < 1
        light = 0.75 - 0.55 * (y - cy) / radius - 0.2 * distance - 0.45 * (cy - 0.5)
        shade[inside] = (light * (0.55 + 0.9 * leaves))[inside]
        body = np.maximum(body, 1 - distance)
    holes = _noise(rng, SIZE, 1.0) < 0.28
    alpha = np.where(holes & (body < 0.35), -0.2, body)
    return np.clip(128 + 900 * alpha, 0, 255).astype(np.uint8), _grey(np.clip(shade, 0.1, 1.9))


def read_at(texture: Grey | Field, column: Field, row: Field, outside: float = 0.0) -> Field:
    """Bilinear look-up at places (N,); they go in rows of 1024, for ``remap`` takes no side above 32767."""
    count, width = len(column), 1024
    if not count:
        return np.zeros(0, np.float32)
    padded = [np.resize(axis, (-(-count // width), width)) for axis in (column, row)]
    found = cv2.remap(texture, padded[0], padded[1], cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, outside)
    return np.asarray(found.ravel()[:count], np.float32)
