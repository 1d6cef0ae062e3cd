"""Cars: a side profile, extruded and tapered towards the roof."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perpixel_scenes import palette
from perpixel_scenes.classes import Class
from perpixel_scenes.mesh import BLACK, Colour, Material, Mesh, Point, Surface


class Body(NamedTuple):
    """A kind of car.

    Attributes:
        length, width: metres.
        taper: width of the roof over the width of the body.
        profile: ten (share of the length from the rear, height in metres): sill, bumper, boot, foot of the rear window,
            roof's rear, roof's front, foot of the windscreen, bonnet's front, front bumper, sill.
    """

    length: float
    width: float
    taper: float
    profile: tuple[tuple[float, float], ...]


BODIES = (
    Body(4.6, 1.80, 0.76, ((0, .32), (0, .70), (.02, .95), (.17, 1.0), (.30, 1.41),
                           (.56, 1.45), (.73, .98), (.97, .80), (1, .6), (1, .3))),
    Body(4.0, 1.74, 0.80, ((0, .34), (0, .72), (.01, .98), (.03, 1.0), (.12, 1.43),
                           (.58, 1.48), (.75, 1.0), (.96, .84), (1, .62), (1, .32))),
    Body(4.6, 1.90, 0.80, ((0, .42), (0, .85), (.01, 1.08), (.02, 1.1), (.09, 1.66),
                           (.60, 1.72), (.75, 1.14), (.97, 1.0), (1, .74), (1, .4))),
    Body(5.2, 1.95, 0.92, ((0, .36), (0, .90), (0, 1.18), (.005, 1.2), (.015, 2.1),
                           (.74, 2.16), (.90, 1.24), (.99, 1.0), (1, .7), (1, .36))),
)  # fmt: skip
"""Saloon, hatchback, off-roader, van."""

REAR_WINDOW, WINDSCREEN = 3, 5
TAIL, FRONT = 1, 7


DETAILED = 30.0
"""Nearer cars have rims, metres."""


class _Car(NamedTuple):
    """A body put on the road: its place, the way it heads (+1 away from the origin) and its paint."""

    mesh: Mesh
    body: Body
    x: float
    z: float
    heading: int
    paint: Colour

    def at(self, corner: int, side: float, inward: float = 1.0) -> Point:
        """A corner of the profile on one side of the car (-1 left, +1 right, between is inside)."""
        along, height = self.body.profile[corner]
        narrow = self.body.taper if corner in (4, 5) else 1.0
        return self.place(along, height, side * narrow * inward)

    def place(self, along: float, height: float, side: float) -> Point:
        """A point by its share of the length, height and side."""
        return self.x + side * self.body.width / 2, height, self.z + (along - 0.5) * self.body.length * self.heading

    def faces(self, strip: int, eye: Point) -> bool:
        """Whether the strip from profile corner ``strip`` to the next turns its outside to the eye."""
        (_, y0, z0), (_, y1, z1) = self.at(strip, 0), self.at(strip + 1, 0)
        ahead, up = (y0 - y1) * self.heading, (z1 - z0) * self.heading
        return ahead * (eye[2] - z0) + up * (eye[1] - y0) > 0


def add_car(mesh: Mesh, rng: np.random.Generator, x: float, z: float, heading: int, eye: Point) -> float:
    """Put a random car with its centre at (x, z); its length comes back."""
    body = BODIES[int(np.searchsorted((0.30, 0.65, 0.87), rng.random()))]
    car = _Car(mesh, body, x, z, heading, palette.PAINT[rng.integers(len(palette.PAINT))])
    mesh.begin(z)
    mesh.shadows.append([car.at(corner, side) for corner in range(10) for side in (-1, 1)])
    mesh.shadows.append([car.place(along, 0.0, side) for along in (0.02, 0.98) for side in (-1, 1)])
    _underside(car, eye)
    strips = [strip for strip in range(9) if car.faces(strip, eye)]
    for strip in sorted(strips, key=lambda strip: -car.at(strip, 0)[2]):
        _strip(car, strip)
    _flank(car, 1 if eye[0] > x else -1, rims=z < DETAILED)
    return body.length


def _underside(car: _Car, eye: Point) -> None:
    """The dark below the bumper, and the near pair of tyres."""
    end = 0.04 if (eye[2] - car.z) * car.heading < 0 else 0.96
    dark = Surface(Class.CAR, (0.006, 0.006, 0.007))
    tyre = Surface(Class.CAR, palette.RUBBER)
    car.mesh.add(dark, [car.place(end, y, side) for y, side in ((0.17, -0.9), (0.17, 0.9), (0.45, 0.9), (0.45, -0.9))])
    for side in (-0.82, 0.82):
        left, right = side - 0.13, side + 0.13
        car.mesh.add(tyre, [car.place(end, y, s) for y, s in ((0.0, left), (0.0, right), (0.4, right), (0.4, left))])


def _strip(car: _Car, strip: int) -> None:
    a, b = strip, strip + 1
    paint = Surface(Class.CAR, car.paint)
    car.mesh.add(paint, [car.at(a, -1), car.at(a, 1), car.at(b, 1), car.at(b, -1)])
    if strip in (REAR_WINDOW, WINDSCREEN):
        _pane(car, [car.at(a, -1), car.at(a, 1), car.at(b, 1), car.at(b, -1)], shrink=0.88)
    elif strip == TAIL:
        _lights(car, strip, palette.TAIL, (1.6, 0.06, 0.03), width=0.34)
        _patch(car, strip, palette.PLATE, (0.05, 0.05, 0.04), (-0.26, 0.26), (0.1, 0.45))
    elif strip == FRONT:
        _lights(car, strip, (0.75, 0.78, 0.8), tuple(14 * c for c in palette.HEADLIGHT), width=0.36)  # type: ignore[arg-type]
        _patch(car, strip, palette.RUBBER, BLACK, (-0.5, 0.5), (0.15, 0.8))
    elif strip in (0, 8):
        _patch(car, strip, palette.RUBBER, BLACK, (-0.95, 0.95), (0.0, 0.35) if strip == 0 else (0.65, 1.0))


def _lights(car: _Car, strip: int, albedo: Colour, emits: Colour, width: float) -> None:
    for side in (-1, 1):
        _patch(car, strip, albedo, emits, (side * (0.97 - width), side * 0.97), (0.18, 0.85))


def _patch(
    car: _Car, strip: int, albedo: Colour, emits: Colour, sides: tuple[float, float], heights: tuple[float, float]
) -> None:
    """A rectangle on a strip: between two sides, from and to a share of the strip's height."""
    (along0, y0), (along1, y1) = car.body.profile[strip : strip + 2]
    corners = ((sides[0], heights[0]), (sides[1], heights[0]), (sides[1], heights[1]), (sides[0], heights[1]))
    points = [car.place(along0 + t * (along1 - along0), y0 + t * (y1 - y0), side) for side, t in corners]
    car.mesh.add(Surface(Class.CAR, albedo, emits=emits), points)


def _pane(car: _Car, points: list[Point], shrink: float) -> None:
    """A window: the points drawn in towards their middle."""
    middle = [sum(point[axis] for point in points) / len(points) for axis in range(3)]
    drawn_in = [tuple(m + shrink * (c - m) for m, c in zip(middle, point, strict=True)) for point in points]
    car.mesh.add(Surface(Class.CAR, palette.GLASS, Material.GLASS), drawn_in)  # type: ignore[arg-type]


def _flank(car: _Car, side: int, rims: bool) -> None:
    """The side: body, cabin, two windows, door seam, wheels."""
    paint = Surface(Class.CAR, car.paint)
    car.mesh.add(paint, [car.at(3, side), car.at(4, side), car.at(5, side), car.at(6, side)])
    roof_middle, belt_middle = (_between(car.at(a, side), car.at(b, side), 0.48) for a, b in ((4, 5), (3, 6)))
    if car.body.taper < 0.9:
        _pane(car, [car.at(3, side), car.at(4, side), roof_middle, belt_middle], shrink=0.80)
    _pane(car, [belt_middle, roof_middle, car.at(5, side), car.at(6, side)], shrink=0.80)
    car.mesh.add(paint, [car.at(corner, side) for corner in (0, 1, 2, 3, 6, 7, 8, 9)])
    sill = Surface(Class.CAR, palette.RUBBER)
    car.mesh.add(sill, [car.place(a, y, side) for a, y in ((0.02, 0.2), (0.98, 0.2), (0.98, 0.36), (0.02, 0.36))])
    for along in (0.19, 0.80):
        _disc(car, along, side, 0.37, (0.005, 0.005, 0.006))
        if rims:
            _disc(car, along, side, 0.32, palette.RUBBER)
            _disc(car, along, side, 0.2, palette.HUB)


def _between(a: Point, b: Point, share: float) -> Point:
    return tuple(p + share * (q - p) for p, q in zip(a, b, strict=True))  # type: ignore[return-value]


def _disc(car: _Car, along: float, side: int, radius: float, albedo: Colour) -> None:
    _, _, middle = car.place(along, 0.0, side)
    x = car.x + side * car.body.width / 2
    ring = [(radius * c, 0.33 + radius * s) for c, s in _CIRCLE]
    points = [(x, max(height, 0.0), middle + ahead) for ahead, height in ring]
    car.mesh.add(Surface(Class.CAR, albedo), points, frame=[(x, 0, middle), (x, 0, middle + 1), (x, 1, middle)])


_CIRCLE = [(float(np.cos(a)), float(np.sin(a))) for a in np.linspace(0, 2 * np.pi, 12, endpoint=False)]
