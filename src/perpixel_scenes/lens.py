"""From light to picture: glare, exposure, film curve, grading, vignette, noise, rain in the air."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perpixel_scenes.camera import CameraModel
from perpixel_scenes.weather import Weather

Field = npt.NDArray[np.float32]

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def develop(light: Field, camera: CameraModel, weather: Weather, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Samples' light (3, 2H + 1, 2W + 1) → picture (H, W, 3) uint8."""
    picture = gather(np.minimum(light, 6)).transpose(1, 2, 0)
    picture = picture + _glare(light, weather, picture.shape[:2])
    picture *= _exposure(picture, weather) * _vignette(picture.shape[:2], camera.vignette)[..., None]
    if weather.model.rain > 0:
        picture += _streaks(picture.shape[:2], weather, rng)[..., None] * np.float32(0.16)
    picture = _film(picture * np.array(camera.white, np.float32))
    picture = _grade(picture, camera, weather)
    picture = _soften(picture, camera.softness)
    return _sense(picture, camera, weather, rng)


def gather(light: Field) -> Field:
    """Pixels from samples: the 3 × 3 samples around each centre under a tent (1 2 1): (3, R, C) → (3, H, W)."""
    rows = light[:, 0:-2:2] + 2 * light[:, 1:-1:2] + light[:, 2::2]
    tent: Field = (rows[..., 0:-2:2] + 2 * rows[..., 1:-1:2] + rows[..., 2::2]) / 16
    return tent


def _glare(light: Field, weather: Weather, shape: tuple[int, int]) -> Field:
    """Light that bright spots scatter: two wide blurs of what exceeds white, wider and stronger in bad air."""
    height, width = shape
    small = (max(width // 2, 1), max(height // 2, 1))
    excess = np.maximum(light - 1, 0).transpose(1, 2, 0)
    spots = cv2.resize(excess, small, interpolation=cv2.INTER_AREA)
    thick = 1 + 25 * weather.haze
    unit = min(small) / 128
    glow = 0.30 * cv2.GaussianBlur(spots, (0, 0), max(1.6 * unit, 0.3))
    glow += 0.28 * thick * cv2.GaussianBlur(spots, (0, 0), max(7 * unit, 0.5))
    return np.asarray(cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR))


def _exposure(picture: Field, weather: Weather) -> np.float32:
    """Gain towards the weather's key; the camera's automatic goes three quarters of the way."""
    mean = float(np.exp(np.mean(np.log(picture @ LUMA + 1e-3))))
    return np.float32((weather.model.key / mean) ** 0.75)


def _vignette(shape: tuple[int, int], strength: float) -> Field:
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in shape)
    radius = (y[:, None] ** 2 + x[None] ** 2) / 2
    return np.asarray(1 - np.float32(strength) * radius ** np.float32(1.3), np.float32)


def _streaks(shape: tuple[int, int], weather: Weather, rng: np.random.Generator) -> Field:
    """Falling rain: short slanted lines, near ones long and blurred."""
    height, width = shape
    field, unit = np.zeros(shape, np.float32), min(shape)
    slant = float(rng.normal(0, 0.12))
    count = int(320 * weather.model.rain)
    place = rng.random((count, 2)) * (width, height)
    length = unit * rng.uniform(0.015, 0.075, count)
    ends = place + np.stack([slant * length, length], axis=1)
    for start, end, strength in zip(place * 16, ends * 16, rng.uniform(0.1, 0.6, count).tolist(), strict=True):
        (x0, y0), (x1, y1) = np.rint([start, end]).astype(int).tolist()
        cv2.line(field, (x0, y0), (x1, y1), strength, 1, cv2.LINE_8, 4)
    return np.asarray(cv2.GaussianBlur(field, (0, 0), max(unit / 420, 0.4)), np.float32)


def _film(light: Field) -> Field:
    """The filmic curve of Narkowicz (2015, a fit of ACES), then gamma 2.2."""
    curve = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return np.asarray(np.clip(curve, 0, 1) ** np.float32(1 / 2.2), np.float32)


def _grade(picture: Field, camera: CameraModel, weather: Weather) -> Field:
    """Tint shadows and lights, then saturation and contrast."""
    luma = (picture @ LUMA)[..., None]
    dark, bright = (np.array(t, np.float32) for t in (weather.model.shadow_tint, weather.model.light_tint))
    picture = picture * (dark + (bright - dark) * luma)
    vivid = luma + (picture - luma) * np.float32(camera.saturation)
    return np.asarray(0.45 + (vivid - 0.45) * np.float32(camera.contrast), np.float32)


def _soften(picture: Field, softness: float) -> Field:
    if softness == 0:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(softness * min(picture.shape[:2]), 0.25)))


def _sense(picture: Field, camera: CameraModel, weather: Weather, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Sensor noise, more of it in the dark and at high gain, then 8 bits."""
    gain = 1 + 1.6 * (0.24 - weather.model.key) / 0.24
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    level = np.float32(camera.noise * gain) * (1.35 - 0.7 * picture)
    return np.asarray(np.clip((picture + grain * level) * 255 + 0.5, 0, 255), np.uint8)
