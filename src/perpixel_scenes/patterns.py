"""Patterns that are computed where they are seen: window grids and road markings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from perpixel_scenes.mesh import Facade
from perpixel_scenes.street import Street
from perpixel_scenes.textures import dice

Field = npt.NDArray[np.float32]
Flat = npt.NDArray[np.int64]

PAINT = 7.0
"""Brightness of road paint over that of asphalt."""


class Windows(NamedTuple):
    """A façade's samples, all (N,).

    Attributes:
        wall: multiplies the wall's colour.
        glass: share of glass, 0…1.
        mirror: how much sky the glass shows, 0…1.
        glow: lamplight behind the glass.
        warmth: 0 cold to 1 warm light.
    """

    wall: Field
    glass: Field
    mirror: Field
    glow: Field
    warmth: Field


def windows(facades: list[Facade], style: Flat, u: Field, v: Field, density: Field) -> Windows:
    """The window grids at places (u along the wall, v above the ground, metres).

    Args:
        facades: the grids.
        style: index of the grid of each sample.
        density: samples per metre; windows fade into the wall where they are finer than the samples.
    """
    table = np.array(facades, np.float32).T
    bay, storey, width, height, shop, lit, seed, top = (table[k].take(style) for k in range(8))
    ground = v < shop
    across, upwards = u / bay, (v - shop) / storey
    column, row = np.floor(across), np.floor(upwards)
    fx, fy = across - column, upwards - row
    half_x, half_y = 0.5 * width, 0.5 * height
    off_x, off_y = np.abs(fx - 0.5), np.abs(fy - 0.5)
    in_wall = ~ground & (v < top - 0.75) & (row >= 0)
    glass = in_wall & (off_x < half_x) & (off_y < half_y)
    frame = in_wall & ~glass & (off_x < half_x + 0.11 / bay) & (off_y < half_y + 0.11 / storey)
    bar = glass & ((off_x < 0.03 / bay) | (np.abs(fy - 0.62) < 0.03 / storey))
    show = ground & (off_x < 0.44) & (v > 0.55) & (v < shop - 1.0)
    fascia = ground & (v > shop - 0.85) & (v < shop - 0.2)
    cell = _cells(column, row, seed)
    chance, shade = dice().take(cell), dice().take((cell * 7 + 13) & 4095)
    wall = np.ones_like(u)
    wall[frame] = 1.35
    wall[bar] = 1.2
    wall[fascia] = (0.35 + 1.1 * dice().take(seed.astype(np.int64) & 4095))[fascia]
    wall[v > top - 0.35] = 1.2
    wall[(v < top - 0.35) & (v > top - 0.6)] = 0.65
    wall *= np.where(~ground & (fy < 0.06), np.float32(0.8), np.float32(1))
    wall *= np.clip(0.62 + 0.22 * v, 0.62, 1)
    glass = (glass & ~bar) | show
    detail = np.clip(bay * density / 5 - 0.3, 0, 1)
    mirror = (0.25 + 0.75 * shade) * np.where(fy > 0.5 + half_y - 0.13, np.float32(0.35), np.float32(1))
    glow = np.where(show, 0.9 + 0.6 * shade, np.where(chance < lit, 0.35 + 0.9 * shade, 0.02)) * (0.55 + 0.6 * fy)
    share = glass * detail + 0.25 * (1 - detail)
    return Windows(1 + (wall - 1) * detail, share, mirror, glow, (shade * 5) % 1)


def _cells(column: Field, row: Field, seed: Field) -> Flat:
    """A number in 0…4095 per window."""
    mixed = column.astype(np.int64) * 73856093 ^ row.astype(np.int64) * 19349663 ^ seed.astype(np.int64) * 83492791
    return (mixed ^ mixed >> 13) & 4095


def markings(street: Street, x: Field, z: Field) -> Field:
    """Brightness of the carriageway at (x, z), 1 for bare asphalt: lines, zebras, wheel tracks, patches, manholes."""
    off = x - np.float32(street.curve) * np.minimum(z, 240) ** 2
    aside = np.abs(off)
    paint = np.abs(aside - street.lane) < 0.06
    centre = aside < 0.07
    if street.quarter.lanes > 2:
        paint |= np.abs(aside - 0.14) < 0.05
        centre = np.abs(aside - street.lane / 2) < 0.06
    paint |= centre & (z % 9 < 4)
    side_street = np.zeros_like(paint)
    if street.junction is not None:
        side_street = (z > street.junction[0] - 1) & (z < street.junction[1] + 1)
    paint &= ~side_street
    paint &= aside < street.half
    for crossing in street.crossings:
        zebra = np.abs(z - crossing) < 1.6
        paint &= np.abs(z - crossing) > 2.6
        paint |= zebra & (aside < street.half - 0.2) & (off % 1.0 < 0.5)
        paint |= (np.abs(z - crossing + 3.0) < 0.18) & (off > 0.1) & (off < street.lane)
    lane = street.lane / (street.quarter.lanes // 2)
    track = np.abs(np.abs(aside % lane - 0.5 * lane) - 0.75)
    tone = 1 - 0.16 * np.clip(1 - 2.2 * track, 0, 1) - 0.14 * (aside > street.half - 0.35)
    patch = dice().take((np.floor(z / 6.5).astype(np.int64) * 31 + np.floor(off / 2.3).astype(np.int64) * 17) & 4095)
    tone *= np.where(patch > 0.9, np.float32(0.82), np.float32(1))
    manhole = (z % 23 - 11) ** 2 + (off - 0.5 * street.lane) ** 2
    tone *= np.where(manhole < 0.12, np.float32(0.55), np.float32(1))
    return np.where(paint, np.float32(PAINT) * 0.86, tone)
