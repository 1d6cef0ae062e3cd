"""Five cameras: where they stand, how they look, and what their lens and sensor do to the light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class CameraModel(NamedTuple):
    """A kind of camera.

    Attributes:
        height: above the road, metres.
        place: across the street: -1 left edge of the carriageway, +1 right edge, beyond 1 on the pavement.
        pitch: degrees, negative looks down.
        focal: focal length over the image's shorter side.
        noise: standard deviation of the sensor's noise at mid grey, of full scale.
        vignette: loss of light in the corners, 0…1.
        white: gain of red, green and blue.
        saturation, contrast: of the picture, 1 is neutral.
        softness: blur of the lens, of the shorter side.
    """

    height: float
    place: float
    pitch: float
    focal: float
    noise: float
    vignette: float
    white: tuple[float, float, float]
    saturation: float
    contrast: float
    softness: float


CAMERAS: dict[str, CameraModel] = {
    "dashcam": CameraModel(1.35, 0.42, -1.0, 0.92, 0.010, 0.22, (0.98, 1.0, 1.03), 1.0, 1.0, 0.0),
    "bus": CameraModel(2.7, 0.45, -5.0, 0.80, 0.006, 0.12, (1.0, 1.0, 1.0), 1.05, 0.96, 0.0),
    "phone": CameraModel(1.65, 1.22, 1.0, 1.05, 0.005, 0.15, (1.06, 1.0, 0.93), 1.22, 1.08, 0.0),
    "cctv": CameraModel(5.6, 1.0, -12.0, 1.15, 0.015, 0.42, (0.94, 1.03, 0.98), 0.72, 0.92, 0.0035),
    "helmet": CameraModel(1.5, 0.75, -2.0, 0.64, 0.013, 0.50, (1.02, 1.0, 0.99), 1.12, 1.12, 0.0015),
}
"""The cameras by name; the name is a sample's group where a split is to hold no camera on both sides."""


@dataclass(frozen=True)
class View:
    """A camera that was set up: eye in the world, turn from camera to world, focal length over the shorter side."""

    eye: Array
    turn: Array
    focal: float

    @classmethod
    def aim(cls, model: CameraModel, x: float, rng: np.random.Generator) -> View:
        """Set the camera up at ``x`` metres from the street's axis, with a hand's tremble."""
        yaw = np.deg2rad(rng.normal(0, 2.0) - np.sign(x) * 1.5)
        pitch = np.deg2rad(model.pitch + rng.normal(0, 0.8))
        roll = np.deg2rad(rng.normal(0, 0.8))
        eye = np.array([x, model.height * rng.uniform(0.95, 1.05), 0.0])
        return cls(eye, _turn(yaw, pitch, roll), model.focal)


def _turn(yaw: float, pitch: float, roll: float) -> Array:
    """Camera to world (x right, y up, z ahead): roll about z, then pitch about x, then yaw about y."""
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    turned: Array = about_y @ about_x @ about_z
    return turned


@dataclass(frozen=True)
class Grid:
    """Samples of the image plane.

    Pixel (row i, column j) has its centre on sample (2i + 1, 2j + 1): a mask takes just these samples, an image
    weighs the 3 × 3 samples around each with a tent. So both have one geometry, without any shift.

    Attributes:
        height, width: the image, in pixels.
    """

    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of samples."""
        return 2 * self.height + 1, 2 * self.width + 1

    def axes(self, focal: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Slope of the ray through each row (up) and each column (right), per metre ahead."""
        step = 1 / (2 * focal * min(self.height, self.width))
        rows, columns = self.shape
        up = ((rows - 1) / 2 - np.arange(rows)) * step
        right = (np.arange(columns) - (columns - 1) / 2) * step
        return up.astype(np.float32), right.astype(np.float32)

    def place(self, points: Array, focal: float) -> Array:
        """Sample coordinates (column, row) of points (N, 3) in the camera's own axes, z > 0."""
        scale = 2 * focal * min(self.height, self.width)
        rows, columns = self.shape
        slopes = points[:, :2] / points[:, 2:]
        return np.stack([(columns - 1) / 2 + slopes[:, 0] * scale, (rows - 1) / 2 - slopes[:, 1] * scale], axis=1)
