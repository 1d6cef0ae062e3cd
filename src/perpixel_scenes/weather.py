"""Six weathers: the light, the air and the wetness of a street. They change its look, never its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from perpixel_scenes.mesh import Colour


class WeatherModel(NamedTuple):
    """A kind of weather; all light is linear, a white sheet in the shade of a clear day is about 0.5.

    Attributes:
        zenith, horizon: the sky's colours.
        ambient: light from everywhere.
        sun: light from the sun or moon; 0 where there are no shadows.
        elevation: range of the sun's height in degrees.
        cloud, cover: the clouds' colour and share.
        haze: extinction of the air per metre (range).
        lamps: how far lamps, windows and headlights are on, 0…1.
        wet: range of the ground's wetness, 0…1.
        rain: strength of rain streaks, 0…1.
        key: brightness the exposure aims at.
        shadow_tint, light_tint: grading of dark and bright tones.
    """

    zenith: Colour
    horizon: Colour
    ambient: Colour
    sun: Colour
    elevation: tuple[float, float]
    cloud: Colour
    cover: float
    haze: tuple[float, float]
    lamps: float
    wet: tuple[float, float]
    rain: float
    key: float
    shadow_tint: Colour
    light_tint: Colour


WEATHERS: dict[str, WeatherModel] = {
    "clear": WeatherModel(
        (0.085, 0.22, 0.58), (0.46, 0.62, 0.82), (0.28, 0.34, 0.46), (1.95, 1.70, 1.30), (24, 52),
        (0.95, 0.94, 0.94), 0.42, (0.0010, 0.0024), 0.0, (0.0, 0.0), 0.0, 0.20, (0.96, 1.0, 1.07), (1.03, 1.0, 0.95),
    ),
    "overcast": WeatherModel(
        (0.40, 0.45, 0.53), (0.62, 0.66, 0.70), (0.74, 0.78, 0.84), (0.0, 0.0, 0.0), (40, 60),
        (0.50, 0.54, 0.60), 0.75, (0.0025, 0.005), 0.0, (0.0, 0.25), 0.0, 0.19, (0.97, 1.0, 1.04), (1.0, 1.0, 0.99),
    ),
    "dusk": WeatherModel(
        (0.075, 0.11, 0.27), (0.98, 0.50, 0.24), (0.17, 0.16, 0.22), (0.62, 0.30, 0.13), (5, 12),
        (0.62, 0.28, 0.22), 0.55, (0.002, 0.005), 0.75, (0.0, 0.5), 0.0, 0.17, (0.90, 0.95, 1.16), (1.08, 0.99, 0.90),
    ),
    "night": WeatherModel(
        (0.006, 0.009, 0.022), (0.034, 0.030, 0.036), (0.020, 0.023, 0.034), (0.0, 0.0, 0.0), (30, 60),
        (0.030, 0.026, 0.028), 0.6, (0.002, 0.009), 1.0, (0.0, 0.8), 0.0, 0.085, (0.88, 0.98, 1.16), (1.05, 1.0, 0.93),
    ),
    "rain": WeatherModel(
        (0.27, 0.30, 0.35), (0.44, 0.47, 0.51), (0.38, 0.41, 0.46), (0.0, 0.0, 0.0), (40, 60),
        (0.30, 0.32, 0.36), 0.9, (0.006, 0.012), 0.55, (0.75, 1.0), 1.0, 0.155, (0.93, 1.0, 1.09), (0.99, 1.0, 1.0),
    ),
    "fog": WeatherModel(
        (0.66, 0.69, 0.72), (0.72, 0.74, 0.75), (0.62, 0.65, 0.68), (0.0, 0.0, 0.0), (30, 50),
        (0.70, 0.72, 0.74), 0.1, (0.014, 0.032), 0.6, (0.1, 0.5), 0.0, 0.22, (0.98, 1.0, 1.04), (1.0, 1.0, 0.98),
    ),
}  # fmt: skip
"""The weathers by name."""


@dataclass(frozen=True)
class Weather:
    """The weather of one picture: its model and what was drawn for this day.

    Attributes:
        model: the kind.
        towards_sun: unit vector (x, y, z).
        haze: extinction per metre.
        wet: wetness of the ground, 0…1.
        drift: where the clouds stand, in repeats of their texture.
    """

    model: WeatherModel
    towards_sun: npt.NDArray[np.float64]
    haze: float
    wet: float
    drift: tuple[float, float]

    @classmethod
    def draw(cls, model: WeatherModel, rng: np.random.Generator) -> Weather:
        """Draw the sun's place, the air's clearness and the ground's wetness."""
        height, side = np.deg2rad(rng.uniform(*model.elevation)), np.deg2rad(rng.uniform(35, 75))
        across = np.sin(side) * (1 if rng.random() < 0.5 else -1)
        # Low suns stand ahead (backlight), high ones mostly behind the camera.
        ahead = np.cos(side) * (1 if rng.random() < (0.8 if model.elevation[1] < 15 else 0.3) else -1)
        sun = np.array([across * np.cos(height), np.sin(height), ahead * np.cos(height)])
        low, high = np.log(model.haze)
        haze = float(np.exp(rng.uniform(low, high)))
        return cls(model, sun, haze, float(rng.uniform(*model.wet)), (float(rng.random()), float(rng.random())))
