"""A street: its cross-section, what stands along it, and the order in which it is furnished.

The scene is laid out in metres; nothing here knows the size of the image. Along x: carriageway (with parking lanes at
its edges), kerb, pavement, then buildings or lawns. Along z the axis bends as a parabola.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from perpixel_scenes import buildings, furniture, palette, vehicles
from perpixel_scenes.buildings import Plot
from perpixel_scenes.classes import Class
from perpixel_scenes.mesh import Material, Mesh, Point, Surface
from perpixel_scenes.textures import Tile

KERB = 0.1
"""Height of the pavement over the road, metres."""

END = 240.0
"""Where the furnished street ends, metres ahead."""


class Quarter(NamedTuple):
    """A kind of neighbourhood; shares are probabilities per place."""

    storeys: tuple[int, int]
    houses: float
    setback: tuple[float, float]
    gaps: float
    shops: float
    trees: float
    utility: float
    span_wires: float
    people: tuple[int, int]
    parked: float
    lanes: int
    walk: tuple[float, float]
    skyline: float


QUARTERS: dict[str, Quarter] = {
    "centre": Quarter((3, 7), 0.0, (0.0, 0.4), 0.06, 0.85, 0.30, 0.0, 0.7, (8, 20), 0.55, 2, (3.0, 4.8), 55),
    "avenue": Quarter((4, 9), 0.0, (0.0, 2.0), 0.10, 0.5, 0.85, 0.0, 0.5, (5, 13), 0.6, 4, (4.0, 6.0), 70),
    "suburb": Quarter((1, 2), 0.9, (3.0, 7.0), 0.30, 0.0, 0.55, 1.0, 0.0, (2, 8), 0.4, 2, (1.8, 2.6), 9),
    "outskirts": Quarter((1, 4), 0.35, (0.5, 5.0), 0.38, 0.25, 0.4, 0.8, 0.1, (2, 8), 0.35, 2, (2.0, 3.4), 22),
}


@dataclass
class Street:
    """A furnished street.

    Attributes:
        quarter: its neighbourhood.
        lane: half width of the driven lanes; half: of the whole carriageway with parking; edge: of that and pavement.
        curve: the axis moves sideways by curve · z² metres.
        camera: x of the camera.
        crossings: z of the zebra crossings.
        junction: stretch (from, to) of a side street, or None.
        roofs: per side (-1, +1), the height of what shades the street, one number per metre ahead.
        mesh: everything that is painted.
    """

    quarter: Quarter
    lane: float
    half: float
    edge: float
    curve: float
    camera: float
    crossings: list[float] = field(default_factory=list)
    junction: tuple[float, float] | None = None
    roofs: dict[int, list[float]] = field(default_factory=lambda: {-1: [0.0] * int(END), 1: [0.0] * int(END)})
    mesh: Mesh = field(default_factory=Mesh)

    def bend(self, z: float) -> float:
        """Sideways shift of the axis at ``z``."""
        return self.curve * min(max(z, 0.0), END) ** 2

    def clear(self, x: float, z: float, room: float = 1.0) -> bool:
        """Whether something at (x, z) leaves the camera's view open."""
        return z > 9.0 or (z > 2.5 and abs(x - self.camera) > room + 0.12 * z)

    def in_junction(self, z: float, margin: float = 1.5) -> bool:
        """Whether ``z`` lies in the side street."""
        return self.junction is not None and self.junction[0] - margin < z < self.junction[1] + margin


def build_street(rng: np.random.Generator, place: float, height: float) -> Street:
    """Lay out a street and furnish it.

    Args:
        place: where across the street the camera stands, as in ``CameraModel``.
        height: of the camera, metres.
    """
    street = _cross_section(rng, place)
    eye = (street.camera, height, 0.0)
    _ground(street, rng)
    if street.quarter.skyline > 15 or rng.random() < 0.5:
        buildings.add_skyline(street.mesh, rng, street.bend(END), street.quarter.skyline * float(rng.uniform(0.5, 1.0)))
    _treeline(street, rng)
    for side in (-1, 1):
        _row_of_buildings(street, rng, side)
        _row_of_trees(street, rng, side)
    _lamps(street, rng)
    _wires(street, rng)
    _signs(street, rng)
    _traffic(street, rng, eye)
    _people(street, rng)
    return street


def _cross_section(rng: np.random.Generator, place: float) -> Street:
    quarter = QUARTERS[str(rng.choice(list(QUARTERS), p=(0.32, 0.24, 0.26, 0.18)))]
    lane = quarter.lanes / 2 * float(rng.uniform(2.9, 3.4))
    half = lane + (2.1 if rng.random() < 0.75 else 0.3)
    edge = half + float(rng.uniform(*quarter.walk))
    curve = float(rng.normal(0, 4e-4))
    offset = place * lane if place <= 1 else half + 5 * (place - 1)
    street = Street(quarter, lane, half, edge, curve, offset)
    if rng.random() < 0.55:
        start = float(rng.uniform(16, 60))
        street.junction = (start, start + float(rng.uniform(7, 11)))
        street.crossings.append(start - 3.5)
    elif rng.random() < 0.5:
        street.crossings.append(float(rng.uniform(9, 35)))
    return street


_EDGES = [0.15, 2.0, 4.0, 7.0, 11.0, 17.0, 26.0, 40.0, 60.0, 90.0, 140.0, END, 900.0]
"""Where the ground is cut, so that short straight pieces follow the bend."""


def _ground(street: Street, rng: np.random.Generator) -> None:
    """Carriageway, kerbs, pavements and what lies beyond, from the camera's feet to the horizon."""
    road = Surface(Class.ROAD, palette.ASPHALT[rng.integers(3)], Material.ROAD, Tile.ASPHALT, 4.0)
    slabs = Surface(Class.SIDEWALK, palette.PAVEMENT[rng.integers(4)], Material.GROUND, Tile.SLABS, 2.4)
    green = street.quarter.setback[1] > 2
    lawn = Surface(Class.VEGETATION, palette.GRASS[rng.integers(3)], Material.GROUND, Tile.GRASS, 2.5)
    edges = sorted(_EDGES + list(street.junction or ()))
    street.mesh.begin(1e6)
    for near, far in reversed(list(pairwise(edges))):
        _strip(street, road, (-street.half, street.half), near, far, 0.0)
        crossing = street.junction is not None and near >= street.junction[0] and far <= street.junction[1]
        for side in (-1, 1):
            if crossing:
                _strip(street, road, (side * street.half, side * 300), near, far, 0.0)
                continue
            _kerb(street, side, near, far)
            _strip(street, slabs, (side * (street.half + 0.14), side * street.edge), near, far, KERB)
            _strip(street, lawn if green else slabs, (side * street.edge, side * 300), near, far, KERB)


def _strip(street: Street, surface: Surface, across: tuple[float, float], near: float, far: float, y: float) -> None:
    """A piece of ground between two distances from the axis and two distances ahead, textured by x and z."""
    a, b = street.bend(near), street.bend(far)
    left, right = across
    points = [(left + a, y, near), (right + a, y, near), (right + b, y, far), (left + b, y, far)]
    street.mesh.add(surface, points, frame=[(0, y, 0), (1, y, 0), (0, y, 1)])


def _kerb(street: Street, side: int, near: float, far: float) -> None:
    stone = Surface(Class.SIDEWALK, palette.KERB, tile=Tile.PLASTER, scale=3.0)
    a, b = street.bend(near) + side * street.half, street.bend(far) + side * street.half
    if (street.camera - a) * side < 0:
        street.mesh.add(stone, [(a, 0, near), (b, 0, far), (b, KERB, far), (a, KERB, near)])
    _strip(street, stone, (side * street.half, side * (street.half + 0.14)), near, far, KERB)


def _row_of_buildings(street: Street, rng: np.random.Generator, side: int) -> None:
    quarter, z = street.quarter, float(rng.uniform(-8, 2))
    while z < END - 20:
        house = rng.random() < quarter.houses
        length = float(rng.uniform(8, 13)) if house else float(rng.uniform(9, 22))
        if street.junction is not None and z < street.junction[1] and z + length > street.junction[0]:
            if street.junction[0] - z < 5:
                z = street.junction[1] + 0.5
                continue
            length = street.junction[0] - 0.5 - z
        if rng.random() < quarter.gaps:
            _garden(street, rng, side, z, length)
        else:
            _building(street, rng, side, z, length, house)
        z += length + (float(rng.uniform(2, 7)) if house else 0.0)


def _building(street: Street, rng: np.random.Generator, side: int, z: float, length: float, house: bool) -> None:
    quarter, start = street.quarter, max(z, 0.6)
    if z + length < start + 1:
        return
    front = street.edge + float(rng.uniform(*quarter.setback))
    plot = Plot(side, front, start, z + length, street.bend)
    shops = rng.random() < quarter.shops
    if house:
        height = buildings.add_house(street.mesh, rng, plot)
    else:
        height = buildings.add_block(
            street.mesh, rng, plot, int(rng.integers(quarter.storeys[0], quarter.storeys[1] + 1)), shops
        )
    first, last = int(start), min(int(z + length) + 1, int(END))
    street.roofs[side][first:last] = [height] * (last - first)
    if not house and shops and rng.random() < 0.6 and start + 2 > 6:
        sign_z = float(rng.uniform(start + 1, z + length - 1))
        furniture.add_shop_sign(street.mesh, rng, street.bend(sign_z) + side * front, sign_z, -side)
    if front - street.edge > 1.5:
        _hedge(street, rng, side, start, z + length)


def _garden(street: Street, rng: np.random.Generator, side: int, z: float, length: float) -> None:
    """Trees and bushes where no building stands."""
    for _ in range(int(length / 2.5)):
        at, behind = z + float(rng.random()) * length, float(rng.uniform(1.5, 16))
        x = street.bend(at) + side * (street.edge + behind)
        if at < 4:
            continue
        if rng.random() < 0.5:
            furniture.add_tree(street.mesh, rng, x, at, float(rng.uniform(0.8, 1.5)))
        else:
            furniture.add_bush(street.mesh, rng, x, at, float(rng.uniform(0.8, 2.2)))


def _hedge(street: Street, rng: np.random.Generator, side: int, start: float, end: float) -> None:
    if rng.random() < 0.4:
        return
    height = float(rng.uniform(0.7, 1.3))
    for z in np.arange(max(start, 4.0), min(end, 90.0), height * 0.9).tolist():
        furniture.add_bush(street.mesh, rng, street.bend(z) + side * (street.edge + 0.7), z, height)


def _row_of_trees(street: Street, rng: np.random.Generator, side: int) -> None:
    if rng.random() > street.quarter.trees:
        return
    step, size = float(rng.uniform(7, 14)), float(rng.uniform(0.8, 1.25))
    for z in np.arange(float(rng.uniform(5, 12)), 130, step).tolist():
        x = street.bend(z) + side * (street.half + 1.0)
        if not street.in_junction(z, 3) and street.clear(x, z, 2.0) and rng.random() < 0.85:
            furniture.add_tree(street.mesh, rng, x, z, size)


def _treeline(street: Street, rng: np.random.Generator) -> None:
    """Distant woods that close the horizon."""
    for _ in range(14):
        z = float(rng.uniform(240, 255))
        x = street.bend(END) + float(rng.uniform(-260, 260))
        furniture.add_bush(street.mesh, rng, x, z, float(rng.uniform(6, 13)))


def _lamps(street: Street, rng: np.random.Generator) -> None:
    """Street lamps on one side or both."""
    light = (palette.SODIUM, palette.LED, palette.WARM)[int(rng.integers(3))]
    step = float(rng.uniform(15, 19)) if light == palette.WARM else float(rng.uniform(22, 32))
    sides: tuple[tuple[int, float], ...] = (
        ((1, 0.0), (-1, step / 2)) if rng.random() < 0.7 else ((int(rng.choice([-1, 1])), 0.0),)
    )
    first = float(rng.uniform(6, 14))
    for side, shift in sides:
        for z in np.arange(first + shift, 150, step).tolist():
            x = street.bend(z) + side * (street.half + 0.55)
            if not street.in_junction(z) and street.clear(x, z):
                furniture.add_street_lamp(street.mesh, rng, x, z, -side, light)


def _wires(street: Street, rng: np.random.Generator) -> None:
    """A line of utility poles along one side, or wires across from house to house."""
    if rng.random() < street.quarter.utility:
        _utility_line(street, rng, int(rng.choice([-1, 1])))
    if rng.random() < street.quarter.span_wires:
        _span_wires(street, rng)
    elif rng.random() < 0.5:
        _service_drop(street, rng)


def _utility_line(street: Street, rng: np.random.Generator, side: int) -> None:
    hooks: list[list[Point]] = []
    for z in np.arange(float(rng.uniform(7, 16)), 170, float(rng.uniform(22, 34))).tolist():
        x = street.bend(z) + side * (street.half + 0.8)
        if not street.in_junction(z) and street.clear(x, z):
            hooks.append(furniture.add_utility_pole(street.mesh, rng, x, z))
    if not hooks:
        return
    behind = [(x - 1.5 * side, y, 0.4) for x, y, _ in hooks[0]]
    for start, end in zip([behind, *hooks], hooks, strict=False):
        for a, b in zip(start, end, strict=True):
            furniture.add_wire(street.mesh, a, b, sag=float(rng.uniform(0.35, 0.9)))
    _house_connections(street, rng, side, hooks)


def _house_connections(street: Street, rng: np.random.Generator, side: int, hooks: list[list[Point]]) -> None:
    """A wire from each pole over the road to the other side's eaves."""
    for points in hooks[:4]:
        x, y, z = points[3]
        other = (
            street.bend(z) - side * (street.edge + 4.0),
            float(rng.uniform(4.2, 5.6)),
            z + float(rng.uniform(2, 9)),
        )
        furniture.add_wire(street.mesh, (x, y, z), other, sag=0.5)


def _span_wires(street: Street, rng: np.random.Generator) -> None:
    """Tram wires along the axis, held by wires across."""
    height, reach = float(rng.uniform(5.8, 6.8)), street.edge
    stations = np.arange(float(rng.uniform(8, 18)), 130, float(rng.uniform(16, 26))).tolist()
    for z in stations:
        left, right = ((street.bend(z) + side * reach, height + 1.2, z) for side in (-1, 1))
        furniture.add_wire(street.mesh, left, right, sag=1.2)
    for x in (-1.6, 1.6):
        for a, b in zip([0.5, *stations], stations, strict=False):
            furniture.add_wire(street.mesh, (street.bend(a) + x, height, a), (street.bend(b) + x, height, b), sag=0.12)


def _service_drop(street: Street, rng: np.random.Generator) -> None:
    """A few single wires over the street."""
    for _ in range(int(rng.integers(1, 4))):
        z, height = float(rng.uniform(8, 45)), float(rng.uniform(5.0, 8.0))
        left, right = ((street.bend(z) + side * street.edge, height + float(rng.normal(0, 0.5)), z) for side in (-1, 1))
        furniture.add_wire(street.mesh, left, right, sag=float(rng.uniform(0.3, 1.0)))


def _signs(street: Street, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(3, 7))):
        z, side = 5.0 + 60.0 * float(rng.random()) ** 1.6, 1 if rng.random() < 0.65 else -1
        x = street.bend(z) + side * (street.half + 0.45)
        if not street.in_junction(z) and street.clear(x, z):
            furniture.add_traffic_sign(street.mesh, rng, x, z)
    if rng.random() < 0.35:
        z, side = float(rng.uniform(7, 25)), int(rng.choice([-1, 1]))
        furniture.add_bollards(street.mesh, street.bend(z) + side * (street.half + 0.4), z, int(rng.integers(3, 8)))


def _traffic(street: Street, rng: np.random.Generator, eye: Point) -> None:
    """Parked cars at the kerbs, moving cars in the lanes (they keep to the right)."""
    parking = street.half - street.lane > 1.5
    for side in (-1, 1):
        if parking:
            _parked(street, rng, side, eye)
        _moving(street, rng, side, eye)


def _parked(street: Street, rng: np.random.Generator, side: int, eye: Point) -> None:
    z = float(rng.uniform(5, 11))
    while z < 110:
        x = street.bend(z) + side * (street.half - 1.05)
        far_enough = abs(x - street.camera) > 2.0 or z > 13
        if (
            rng.random() < street.quarter.parked
            and far_enough
            and not street.in_junction(z, 4)
            and not _on_crossing(street, z)
        ):
            z += vehicles.add_car(
                street.mesh, rng, x + float(rng.normal(0, 0.06)), z, side if rng.random() < 0.9 else -side, eye
            )
        else:
            z += 4.5
        z += float(rng.uniform(0.6, 1.6))


def _on_crossing(street: Street, z: float) -> bool:
    return any(abs(z - crossing) < 4.5 for crossing in street.crossings)


def _moving(street: Street, rng: np.random.Generator, side: int, eye: Point) -> None:
    lanes = street.quarter.lanes // 2
    for lane in range(lanes):
        middle = side * street.lane * (lane + 0.5) / lanes
        own = side > 0 and abs(middle - street.camera) < 2.2
        z = float(rng.uniform(11, 30)) if own else float(rng.uniform(8, 40))
        while z < 120:
            x = street.bend(z) + middle + float(rng.normal(0, 0.15))
            vehicles.add_car(street.mesh, rng, x, z, side, eye)
            z += float(rng.uniform(9, 60))


def _people(street: Street, rng: np.random.Generator) -> None:
    """Walkers on the pavements, most of them near; some on the zebra crossings."""
    for _ in range(int(rng.integers(*street.quarter.people))):
        z, side = 4.5 + 50 * float(rng.random()) ** 1.5, int(rng.choice([-1, 1]))
        x = street.bend(z) + side * float(rng.uniform(street.half + 0.7, max(street.edge - 0.4, street.half + 0.9)))
        if street.clear(x, z, 0.8):
            furniture.add_person(street.mesh, rng, x, z, 0.0 if street.in_junction(z, 0) else KERB)
    for crossing in street.crossings:
        for _ in range(int(rng.integers(0, 4))):
            x = street.bend(crossing) + float(rng.uniform(-street.half, street.half))
            furniture.add_person(street.mesh, rng, x, crossing + float(rng.uniform(-1.2, 1.2)), 0.0)
