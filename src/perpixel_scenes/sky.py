"""The sky: gradient, clouds, sun, stars."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perpixel_scenes.textures import clouds, dice, read_at
from perpixel_scenes.weather import Weather

Field = npt.NDArray[np.float32]


def sky(weather: Weather, x: Field, y: Field, z: Field, detailed: bool = True) -> Field:
    """Light from directions (x, y, z), each (N,), of any length: (3, N) float32."""
    model = weather.model
    length = 1 / np.sqrt(x * x + y * y + z * z)
    height = np.clip(y * length, 0, 1)
    towards = (x * np.float32(weather.towards_sun[0]) + y * np.float32(weather.towards_sun[1])) * length
    towards += z * length * np.float32(weather.towards_sun[2])
    fall = np.exp(height * np.float32(-4.2))
    light = np.stack([zenith + (low - zenith) * fall for zenith, low in zip(model.zenith, model.horizon, strict=True)])
    if not detailed:
        return light
    sunny = max(model.sun) > 0
    if sunny:
        halo = 0.35 * np.clip(towards, 0, 1) ** 12 + 14 * np.clip((towards - 0.9988) * 1500, 0, 1)
        light += np.array(model.sun, np.float32)[:, None] * halo
    cover = _cover(weather, x, y, z, height)
    edge = 0.35 * np.clip(towards, 0, 1) ** 6 * cover * (1 - cover) * 4 if sunny else 0 * cover
    for channel in range(3):
        shade = model.cloud[channel] * (1.05 - 0.4 * cover) + model.sun[channel] * edge
        light[channel] += cover * (shade - light[channel])
    if max(model.zenith) < 0.05:
        light += _stars(x * length, y * length, height) * (1 - cover)
    return light


def _cover(weather: Weather, x: Field, y: Field, z: Field, height: Field) -> Field:
    """Share of cloud: noise on a flat ceiling, faint at the horizon."""
    noise = clouds()
    size = noise.shape[0]
    ceiling = np.float32(0.30 * size) / np.maximum(y, np.float32(0.03))
    column = (x * ceiling + np.float32(weather.drift[0] * size)) % np.float32(size - 1)
    row = (z * ceiling * np.float32(0.6) + np.float32(weather.drift[1] * size)) % np.float32(size - 1)
    level = read_at(noise, column.astype(np.float32), row.astype(np.float32))
    amount = np.clip((level - (1 - weather.model.cover) * 0.62 - 0.16) * 3.2, 0, 1)
    return np.asarray(amount * np.clip(height * 9, 0, 1), np.float32)


def _stars(x: Field, y: Field, height: Field) -> Field:
    cell = (np.floor(x * 260).astype(np.int64) * 7919 + np.floor(y * 260).astype(np.int64) * 104729) & 4095
    bright = dice().take(cell)
    return np.where(bright > 0.9965, (bright - 0.9965) * 45 * height, 0).astype(np.float32)
