"""Buildings along a street: blocks with shops, houses with gables, and the skyline at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from perpixel_scenes import palette
from perpixel_scenes.classes import Class
from perpixel_scenes.mesh import Colour, Facade, Material, Mesh, Point, Surface
from perpixel_scenes.textures import Tile

Bend = Callable[[float], float]
"""How far the street's axis has moved sideways at a distance ahead (metres)."""


class Plot(NamedTuple):
    """Where a building stands: side of the street (-1, +1), its front's distance from the axis, and its stretch."""

    side: int
    front: float
    start: float
    end: float
    bend: Bend

    def at(self, depth: float, height: float, z: float) -> Point:
        """A point ``depth`` metres behind the front."""
        return self.bend(z) + self.side * (self.front + depth), height, z


def _wall(rng: np.random.Generator) -> tuple[Colour, int, float]:
    """Colour, texture and metres per repeat of a wall."""
    kind = rng.random()
    if kind < 0.34:
        return palette.BRICK[rng.integers(len(palette.BRICK))], Tile.BRICK, 2.6
    if kind < 0.52:
        return palette.CONCRETE[rng.integers(len(palette.CONCRETE))], Tile.PANELS, 7.0
    return palette.PLASTER[rng.integers(len(palette.PLASTER))], Tile.PLASTER, 6.0


def _facade(mesh: Mesh, rng: np.random.Generator, storey: float, height: float, shop: float) -> int:
    """Draw a window grid; its index comes back."""
    mesh.facades.append(
        Facade(
            bay=float(rng.uniform(1.9, 3.4)),
            storey=storey,
            window_width=(0.42, 0.5, 0.58, 0.88)[int(rng.integers(4))],
            window_height=float(rng.uniform(0.45, 0.62)),
            shop=shop,
            lit=float(rng.uniform(0.12, 0.55)),
            seed=int(rng.integers(1 << 12)),
            height=height,
        )
    )
    return len(mesh.facades) - 1


def add_block(mesh: Mesh, rng: np.random.Generator, plot: Plot, storeys: int, shops: bool) -> float:
    """A building with a flat roof at the pavement; its height comes back."""
    storey, shop = float(rng.uniform(2.9, 3.6)), float(rng.uniform(3.6, 4.4)) if shops else 0.0
    height = shop + storeys * storey + 0.9
    albedo, tile, scale = _wall(rng)
    style = _facade(mesh, rng, storey, height, shop)
    mesh.begin(plot.end)
    for _ in range(int(rng.integers(0, 4))):
        _roof_box(mesh, rng, plot, height)
    _upright(
        mesh, Surface(Class.BUILDING, _dim(albedo, 0.85), tile=tile, scale=scale), plot, (0.0, 14.0), plot.start, height
    )
    _front(mesh, Surface(Class.BUILDING, albedo, Material.FACADE, tile, scale, style=style), plot, height)
    if shops and rng.random() < 0.55:
        _awnings(mesh, rng, plot, shop)
    return height


def add_house(mesh: Mesh, rng: np.random.Generator, plot: Plot) -> float:
    """A house of one or two storeys, its ridge along the street; the height of its eaves comes back."""
    storey = float(rng.uniform(2.6, 3.0))
    eaves, rise, half = (
        storey * int(rng.integers(1, 3)) + 0.5,
        float(rng.uniform(2.0, 3.4)),
        float(rng.uniform(3.2, 4.6)),
    )
    albedo, tile, scale = _wall(rng)
    style = _facade(mesh, rng, storey, eaves + 9, 0.0)
    mesh.begin(plot.end)
    surface = Surface(Class.BUILDING, albedo, Material.FACADE, tile, scale, style=style)
    z = plot.start
    gable = [plot.at(d, h, z) for d, h in ((0, 0), (2 * half, 0), (2 * half, eaves), (half, eaves + rise), (0, eaves))]
    mesh.add(surface._replace(material=Material.PLAIN), gable, frame=[gable[0], gable[1], plot.at(0, 1, z)])
    for low in np.arange(0.9, eaves + rise * 0.4, storey).tolist():
        _gable_window(mesh, plot, half, low, storey)
    _front(mesh, surface, plot, eaves)
    roof = Surface(Class.BUILDING, palette.ROOF[rng.integers(len(palette.ROOF))], tile=Tile.ROOF, scale=3.2)
    over, drop = 0.45, 0.45 * rise / half
    slope = [
        plot.at(-over, eaves - drop, plot.start - 0.3), plot.at(-over, eaves - drop, plot.end + 0.3),
        plot.at(half, eaves + rise, plot.end + 0.3), plot.at(half, eaves + rise, plot.start - 0.3),
    ]  # fmt: skip
    mesh.add(roof, slope)
    verge = [plot.at(half, eaves + rise, z - 0.3), plot.at(2 * half + over, eaves - drop, z - 0.3)]
    verge += [plot.at(2 * half + over, eaves - drop - 0.25, z - 0.3), plot.at(half, eaves + rise - 0.25, z - 0.3)]
    mesh.add(Surface(Class.BUILDING, _dim(roof.albedo, 0.8)), verge)
    _chimney(mesh, rng, plot, half, eaves + rise)
    return eaves + 0.5 * rise


def _dim(albedo: Colour, factor: float) -> Colour:
    return albedo[0] * factor, albedo[1] * factor, albedo[2] * factor


def _front(mesh: Mesh, surface: Surface, plot: Plot, height: float) -> None:
    """The wall along the street."""
    corners = ((0.0, plot.start), (0.0, plot.end), (height, plot.end), (height, plot.start))
    mesh.add(surface, [plot.at(0.0, y, z) for y, z in corners])


def _upright(mesh: Mesh, surface: Surface, plot: Plot, depth: tuple[float, float], z: float, height: float) -> None:
    """A wall across the street's direction."""
    corners = ((depth[0], 0.0), (depth[1], 0.0), (depth[1], height), (depth[0], height))
    mesh.add(surface, [plot.at(d, y, z) for d, y in corners])


def _roof_box(mesh: Mesh, rng: np.random.Generator, plot: Plot, height: float) -> None:
    """A stairhead, a chimney or a tank on the roof."""
    tall, wide = float(rng.uniform(0.8, 3.0)), float(rng.uniform(0.6, 3.2))
    z = float(rng.uniform(plot.start, max(plot.end - wide, plot.start + 0.1)))
    back = float(rng.uniform(0.4, 3.0))
    albedo = palette.CONCRETE[rng.integers(len(palette.CONCRETE))]
    near = [plot.at(back + d, height + y, z) for d, y in ((0, -1), (wide, -1), (wide, tall), (0, tall))]
    along = [plot.at(back, height + y, z + d) for d, y in ((0, -1), (wide, -1), (wide, tall), (0, tall))]
    mesh.add(Surface(Class.BUILDING, albedo, tile=Tile.PLASTER, scale=3.0), near)
    mesh.add(Surface(Class.BUILDING, albedo, tile=Tile.PLASTER, scale=3.0), along)


def _awnings(mesh: Mesh, rng: np.random.Generator, plot: Plot, shop: float) -> None:
    """Cloth over the shop windows, every other stripe white."""
    cloth = palette.AWNING[rng.integers(len(palette.AWNING))]
    width, z = float(rng.uniform(2.5, 4.0)), plot.start + 0.8
    low, high, out = shop - 1.3, shop - 0.65, float(rng.uniform(0.9, 1.4))
    while z + width < plot.end:
        stripes = 6
        for stripe in range(stripes):
            a, b = z + stripe * width / stripes, z + (stripe + 1) * width / stripes
            albedo = cloth if stripe % 2 else (0.72, 0.70, 0.66)
            points = [plot.at(-out, low, a), plot.at(-out, low, b), plot.at(0, high, b), plot.at(0, high, a)]
            mesh.add(Surface(Class.BUILDING, albedo), points)
        z += width + float(rng.uniform(0.6, 3.0))


def _gable_window(mesh: Mesh, plot: Plot, half: float, low: float, storey: float) -> None:
    """A framed window in the end wall."""
    for grow, surface in (
        (0.12, Surface(Class.BUILDING, (0.7, 0.7, 0.68))),
        (0.0, Surface(Class.BUILDING, palette.GLASS, Material.GLASS)),
    ):
        left, right = half - 0.55 - grow, half + 0.55 + grow
        corners = (
            (left, low - grow),
            (right, low - grow),
            (right, low + 0.42 * storey + grow),
            (left, low + 0.42 * storey + grow),
        )
        mesh.add(surface, [plot.at(d, y, plot.start - 0.02) for d, y in corners])


def _chimney(mesh: Mesh, rng: np.random.Generator, plot: Plot, half: float, ridge: float) -> None:
    z = plot.start + float(rng.uniform(0.2, 0.8)) * (plot.end - plot.start)
    brick = Surface(Class.BUILDING, palette.BRICK[2], tile=Tile.BRICK, scale=2.0)
    mesh.add(brick, [plot.at(half - 0.4 + d, ridge + y, z) for d, y in ((0, -0.5), (0.8, -0.5), (0.8, 1.1), (0, 1.1))])
    mesh.add(brick, [plot.at(half - 0.4, ridge + y, z + d) for d, y in ((0, -0.6), (0.8, -0.6), (0.8, 1.1), (0, 1.1))])


def add_skyline(mesh: Mesh, rng: np.random.Generator, middle: float, tall: float) -> None:
    """Distant blocks across the end of the street, the far ones higher."""
    styles = [_facade(mesh, rng, 3.2, 1e3, 0.0) for _ in range(6)]
    for distance in (420.0, 330.0, 260.0):
        mesh.begin(distance)
        x = middle - 1.1 * distance
        while x < middle + 1.1 * distance:
            width, height = float(rng.uniform(10, 34)), tall * float(rng.uniform(0.35, 1.0)) * distance / 300
            style = styles[int(rng.integers(len(styles)))]
            albedo, tile, scale = _wall(rng)
            surface = Surface(Class.BUILDING, albedo, Material.FACADE, tile, scale, style=style)
            mesh.card(surface, (x, 0.0, distance), [(0, 0), (width, 0), (width, height), (0, height)])
            x += width + (float(rng.uniform(0, 14)) if rng.random() < 0.4 else 0.0)
