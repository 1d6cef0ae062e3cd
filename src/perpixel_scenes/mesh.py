"""Flat faces in space, in groups that are painted from the far to the near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from perpixel_scenes.classes import Class
from perpixel_scenes.textures import Tile

Point = tuple[float, float, float]
"""x to the right, y up, z along the street, in metres; the camera's foot point is near the origin."""
Colour = tuple[float, float, float]
"""Linear light, red, green, blue."""

BLACK: Colour = (0.0, 0.0, 0.0)


class Material(IntEnum):
    """Which pattern a face carries besides its texture."""

    PLAIN = 0
    GROUND = 1
    ROAD = 2
    FACADE = 3
    GLASS = 4
    LEAVES = 5


class Surface(NamedTuple):
    """What a face is made of.

    Attributes:
        label: its class.
        albedo: share of the light it gives back, per channel.
        material: its pattern.
        tile, scale, contrast: its texture, metres per repeat, strength in 0…1.
        bulge: 0 for flat; else the half width in metres of something round, shaded towards its sides.
        emits: light it gives by itself when lamps are on.
        style: index of its façade in ``Mesh.facades``.
    """

    label: Class
    albedo: Colour
    material: Material = Material.PLAIN
    tile: int = Tile.PLAIN
    scale: float = 1.0
    contrast: float = 1.0
    bulge: float = 0.0
    emits: Colour = BLACK
    style: int = 0


class Facade(NamedTuple):
    """The window grid of a building, in metres."""

    bay: float
    storey: float
    window_width: float
    window_height: float
    shop: float
    lit: float
    seed: int
    height: float


class Lamp(NamedTuple):
    """A street lamp's light bulb."""

    position: Point
    colour: Colour


class Face(NamedTuple):
    """A flat polygon, a plant on a flat card, or a line.

    Attributes:
        points: its corners; a line's points.
        surface: what it is made of.
        frame: the origin of its texture and a point on each of its two axes (u, v).
        cutout: it shows only where its plant's silhouette is opaque.
        line: width of a line in metres, 0 for polygons.
    """

    points: Sequence[Point]
    surface: Surface
    frame: Sequence[Point]
    cutout: bool = False
    line: float = 0.0


@dataclass
class Mesh:
    """A scene in the making.

    Attributes:
        faces: all faces.
        groups: (distance, index of first face): groups are painted by falling distance, faces within in order.
        facades: the window grids that surfaces name by ``style``.
        shadows: point sets whose shadow on the ground is the hull of their points' shadows.
        lamps: bulbs that light their surroundings when lamps are on.
    """

    faces: list[Face] = field(default_factory=list)
    groups: list[tuple[float, int]] = field(default_factory=list)
    facades: list[Facade] = field(default_factory=list)
    shadows: list[Sequence[Point]] = field(default_factory=list)
    lamps: list[Lamp] = field(default_factory=list)

    def begin(self, distance: float) -> None:
        """Start a group of faces that hides what is farther than ``distance`` (metres along the street)."""
        self.groups.append((distance, len(self.faces)))

    def add(self, surface: Surface, points: Sequence[Point], frame: Sequence[Point] = (), cutout: bool = False) -> None:
        """Add a face; without a frame, u runs from its first point to the second, v towards the third."""
        self.faces.append(Face(points, surface, frame or points[:3], cutout))

    def card(
        self,
        surface: Surface,
        foot: Point,
        shape: Sequence[tuple[float, float]],
        scale: float = 1.0,
        cutout: bool = False,
    ) -> None:
        """Add a polygon that stands upright across the street, its corners (right, up) of ``foot``, times ``scale``."""
        x, y, z = foot
        points = [(x + scale * right, y + scale * up, z) for right, up in shape]
        self.faces.append(Face(points, surface, (foot, (x + 1, y, z), (x, y + 1, z)), cutout))

    def strand(self, surface: Surface, points: Sequence[Point], width: float) -> None:
        """Add a line that is never thinner than a pixel."""
        x, y, z = points[len(points) // 2]
        self.faces.append(Face(points, surface, ((x, y, z), (x + 1, y, z), (x, y + 1, z)), line=width))

    def order(self) -> list[int]:
        """Indices of all faces, the first to be painted first."""
        ends = [start for _, start in self.groups[1:]] + [len(self.faces)]
        spans = zip(self.groups, ends, strict=True)
        ranked = sorted(((-distance, start, end) for (distance, start), end in spans))
        return [index for _, start, end in ranked for index in range(start, end)]


@dataclass(frozen=True)
class Planes:
    """The faces' planes: origin and unit axes, all (F, 3) float64; normals look at the eye."""

    origin: npt.NDArray[np.float64]
    u: npt.NDArray[np.float64]
    v: npt.NDArray[np.float64]
    normal: npt.NDArray[np.float64]

    @classmethod
    def of(cls, faces: Sequence[Face], eye: npt.NDArray[np.float64]) -> Planes:
        """Read the planes off the faces' frames."""
        frames = np.array([face.frame[:3] for face in faces], np.float64)
        origin = frames[:, 0]
        u = _unit(frames[:, 1] - origin)
        towards = frames[:, 2] - origin
        v = _unit(towards - (towards * u).sum(1, keepdims=True) * u)
        normal = np.cross(u, v)
        away = ((eye - origin) * normal).sum(1) < 0
        return cls(origin, u, v, np.where(away[:, None], -normal, normal))


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
