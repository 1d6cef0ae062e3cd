"""Light on the scene: sun with shadows, sky, street lamps, headlights."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from perpixel_scenes.mesh import Lamp, Point
from perpixel_scenes.samples import Samples
from perpixel_scenes.street import END, Street
from perpixel_scenes.textures import read_at

Field = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

_METRES = 9
"""Texels per metre of the ground's shadow map."""
_WIDTH, _LENGTH = 26.0, 90.0
"""Half width and length of the shadow map in metres."""


def canyon(street: Street, samples: Samples, sun: Array) -> Field:
    """Where the buildings on the sun's side let the sun through: (R, C), 0 shadow … 1 sun.

    The ray to the sun meets the building line at a height; it passes where that is above the roofs there.
    """
    x, y, z = samples.place
    side = 1 if sun[0] > 0 else -1
    off = x - np.float32(street.curve) * np.clip(z, 0, END) ** 2
    run = np.maximum(street.edge - side * off, 0) * np.float32(1 / abs(sun[0]))
    ahead = np.clip(z + run * np.float32(sun[2]), 0, END - 1).astype(np.int64)
    roofs = np.array(street.roofs[side], np.float32)
    clearance = y + run * np.float32(sun[1]) - roofs.take(ahead)
    return np.asarray(np.clip(clearance * 2.5 + 0.5, 0, 1), np.float32)


def cast(
    shadows: Sequence[Sequence[Point]], street: Street, sun: Array, below: float = np.inf
) -> npt.NDArray[np.uint8]:
    """Shadow map of the ground in street coordinates (x from the axis, z ahead): 255 lit, 0 in shadow.

    Args:
        shadows: sets of points whose hull's shadow is drawn.
        sun: direction towards the light.
        below: only points lower than this cast, metres (contact shadows under a grey sky).
    """
    ground = np.full((int(_LENGTH * _METRES), int(2 * _WIDTH * _METRES)), 255, np.uint8)
    slope = sun[[0, 2]] / max(sun[1], 0.08)
    for points in shadows:
        corners = np.array([point for point in points if point[1] <= below], np.float64).reshape(-1, 3)
        if len(corners) < 3 or corners[0, 2] > _LENGTH + 30:
            continue
        spots = corners[:, [0, 2]] - corners[:, 1:2] * slope
        spots[:, 0] -= street.curve * np.maximum(spots[:, 1], 0) ** 2
        texels = np.rint((spots + np.array([_WIDTH, 0.0])) * _METRES * 8).astype(np.int32)
        cv2.fillConvexPoly(ground, cv2.convexHull(texels), 0, cv2.LINE_8, 3)
    return ground


def fallen(ground: npt.NDArray[np.uint8], softness: float, street: Street, x: Field, z: Field) -> Field:
    """Read a shadow map at places on the ground (N,); ``softness`` is its blur in metres."""
    reach = 2 * int(softness * _METRES) + 1
    soft = np.asarray(cv2.blur(ground, (reach, reach)), np.uint8)
    column = (x - np.float32(street.curve) * z * z + np.float32(_WIDTH)) * np.float32(_METRES)
    return read_at(soft, column, z * np.float32(_METRES), outside=255) * np.float32(1 / 255)


def lamplight(lamps: list[Lamp], samples: Samples, most: int = 6) -> Field:
    """Light of the nearest street lamps, (R, C); every second sample is computed, for light is smooth."""
    x, y, z = (axis[::2, ::2] for axis in samples.place)
    light = np.full(x.shape, 0.0, np.float32)
    for lamp in sorted(lamps, key=lambda lamp: lamp.position[2])[:most]:
        dx, dy, dz = (np.float32(p) - axis for p, axis in zip(lamp.position, (x, y, z), strict=True))
        square = dx * dx + dy * dy + dz * dz + 1.5
        downward = np.clip(dy / np.sqrt(square) + 0.15, 0.04, 1)
        light += downward / square
    rows, columns = samples.near.shape
    return np.repeat(np.repeat(26 * light, 2, 0)[:rows], 2, 1)[:, :columns]


def headlight(camera: float, samples: Samples) -> Field:
    """Light of the camera's own car: a cone that stays below the horizon."""
    x, y, z = samples.place
    spread = 0.16 * z + 1.2
    beam = np.exp(-(((x - np.float32(camera)) / spread) ** 2)) * np.clip(1.5 - 0.8 * y, 0.05, 1)
    return np.asarray(40 * beam / (z + 6) ** 2, np.float32)
