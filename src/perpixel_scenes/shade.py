"""From samples to light: colours, textures, patterns, shadows, reflections, air."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perpixel_scenes import light, palette
from perpixel_scenes.camera import Grid, View
from perpixel_scenes.classes import Class
from perpixel_scenes.mesh import Face, Material, Planes
from perpixel_scenes.patterns import markings, windows
from perpixel_scenes.raster import SKY, Painter
from perpixel_scenes.samples import Samples
from perpixel_scenes.sky import sky
from perpixel_scenes.street import Street
from perpixel_scenes.textures import NEUTRAL, SIZE, Tile, atlas, read_at
from perpixel_scenes.weather import Weather

Field = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]
Flat = npt.NDArray[np.int64]

WINDOW_LIGHT = (np.array([0.75, 0.85, 1.0], np.float32), np.array([1.0, 0.66, 0.30], np.float32))
"""Cold and warm light behind windows."""


@dataclass(frozen=True)
class Looks:
    """Per face (column 0 is sky), what shading multiplies: colours (3, F + 1), the rest (F + 1,)."""

    albedo: Field
    shaded: Field
    sunny: Field
    emitted: Field
    material: Flat
    style: Flat
    tile: Flat
    scale: Field
    contrast: Field
    bulge: Field

    @classmethod
    def of(cls, faces: list[Face], planes: Planes, weather: Weather) -> Looks:
        """Light every face as a whole: ambient light from above, sun by its angle."""
        surfaces = [face.surface for face in faces]
        model, sun = weather.model, weather.towards_sun
        albedo = np.array([surface.albedo for surface in surfaces]).T
        glass = np.array([surface.material is Material.GLASS for surface in surfaces])
        bulge = np.array([surface.bulge for surface in surfaces])
        hemisphere = 0.72 + 0.28 * planes.normal[:, 1]
        # What is round or leafy catches the sun from any side; less where the sun stands behind it.
        cosine = np.where(bulge > 0, 0.52 - 0.25 * sun[2], np.clip(planes.normal @ sun, 0, 1))
        shaded = albedo * np.array(model.ambient)[:, None] * hemisphere
        mirrored = 0.13 * np.array(model.horizon) + 0.08 * np.array(model.zenith)
        shaded += glass * mirrored[:, None] * (0.6 + 0.8 * np.clip(planes.normal[:, 1], 0, 1))
        shaded += _gloss(surfaces_label(faces), planes) * np.array(model.zenith)[:, None] * 0.10
        sunny = albedo * np.array(model.sun)[:, None] * cosine
        emitted = np.array([surface.emits for surface in surfaces]).T * model.lamps
        return cls(
            albedo=_with_sky(albedo),
            shaded=_with_sky(shaded),
            sunny=_with_sky(sunny),
            emitted=_with_sky(emitted),
            material=np.append(0, [int(surface.material) for surface in surfaces]),
            style=np.append(0, [surface.style for surface in surfaces]),
            tile=np.append(0, [surface.tile for surface in surfaces]),
            scale=_with_sky(np.array([surface.scale for surface in surfaces])),
            contrast=_with_sky(np.array([surface.contrast for surface in surfaces])),
            bulge=_with_sky(bulge),
        )


def surfaces_label(faces: list[Face]) -> npt.NDArray[np.int64]:
    """Class of each face, (F,)."""
    return np.array([int(face.surface.label) for face in faces])


def _gloss(label: npt.NDArray[np.int64], planes: Planes) -> Array:
    """Car paint mirrors the sky where it looks up."""
    return np.asarray((label == Class.CAR) * np.clip(planes.normal[:, 1], 0, 1))


def _with_sky(values: Array) -> Field:
    padding = np.zeros((*values.shape[:-1], 1))
    return np.concatenate([padding, values], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Shader:
    """Shades the samples of one picture.

    Attributes:
        street: the scene.
        samples: what is seen.
        looks: what it is made of.
        weather: in which light.
        view, grid: from where.
    """

    street: Street
    samples: Samples
    looks: Looks
    weather: Weather
    view: View
    grid: Grid

    def shade(self) -> Field:
        """Linear light of every sample: (3, R, C) float32."""
        face, looks = self.samples.face, self.looks
        tone = self._texture()
        material = looks.material.take(face)
        ground = np.flatnonzero((material == Material.ROAD) | (material == Material.GROUND))
        road = np.flatnonzero(material == Material.ROAD)
        x, _, z = (axis.ravel() for axis in self.samples.place)
        tone.ravel()[road] *= markings(self.street, x[road], z[road])
        tone.ravel()[ground] *= 1 - 0.5 * self.weather.wet
        shaded, sunny = self._daylight(ground)
        lamps = self._lamplight()
        colour = np.empty((3, *face.shape), np.float32)
        tint = np.mean([lamp.colour for lamp in self.street.mesh.lamps] or [palette.WARM], axis=0)
        for channel in range(3):
            plane = looks.shaded[channel].take(face) * shaded
            if sunny is not None:
                plane += looks.sunny[channel].take(face) * sunny
            if lamps is not None:
                plane += looks.albedo[channel].take(face) * (lamps * np.float32(tint[channel]))
            plane *= tone
            plane += looks.emitted[channel].take(face)
            colour[channel] = plane
        flat = colour.reshape(3, -1)
        self._windows(flat, np.flatnonzero(material == Material.FACADE))
        if self.weather.wet > 0.05:
            self._reflect(flat, ground)
        self._air(colour)
        above = np.flatnonzero(face == SKY)
        x, y, z = (axis.ravel()[above] for axis in self.samples.ray)
        flat[:, above] = sky(self.weather, x, y, z)
        return colour

    def _texture(self) -> Field:
        """Brightness of textures and of round things: (R, C), around 1."""
        face, looks, samples = self.samples.face, self.looks, self.samples
        size = np.float32(SIZE)
        column = (samples.u - np.floor(samples.u)) * size + np.float32(0.5)
        row = (samples.v - np.floor(samples.v)) * size + (looks.tile * (SIZE + 2) + 0.5).astype(np.float32).take(face)
        texels = cv2.remap(atlas(), column, row, cv2.INTER_LINEAR)
        scale = looks.scale.take(face)
        # Texels finer than samples would shimmer: they fade into the mean.
        strength = np.clip(samples.density * scale * np.float32(2 / SIZE), 0.06, 1) * looks.contrast.take(face)
        tone = 1 + (texels * np.float32(1 / NEUTRAL) - 1) * strength
        return np.asarray(tone * self._roundness(), np.float32)

    def _roundness(self) -> Field:
        """Darker towards the sides of what bulges, brighter on the side of the sun."""
        looks, sun = self.looks, self.weather.towards_sun
        slope = np.divide(looks.scale, looks.bulge, out=np.zeros_like(looks.scale), where=looks.bulge > 0)
        leaves = looks.material == Material.LEAVES
        slope[leaves], start = 1.5, np.where(leaves, np.float32(-0.75), np.float32(0))
        aside = self.samples.u * slope.take(self.samples.face) + start.take(self.samples.face)
        aside = np.clip(aside, -1, 1)
        lean = np.float32(0.4 * sun[0] if max(self.weather.model.sun) > 0 else 0.12)
        return 1 - np.float32(0.35) * aside * aside + lean * aside

    def _daylight(self, ground: Flat) -> tuple[Field, Field | None]:
        """Shares of ambient light and of sun that reach each sample."""
        street, model = self.street, self.weather.model
        x, _, z = (axis.ravel()[ground] for axis in self.samples.place)
        shaded = np.ones(self.samples.face.shape, np.float32)
        contact = light.cast(street.mesh.shadows, street, np.array([0.0, 1.0, 0.0]), below=1.3)
        shaded.ravel()[ground] = 0.25 + 0.75 * light.fallen(contact, 0.5, street, x, z)
        if max(model.sun) == 0:
            return shaded, None
        sunny = light.canyon(street, self.samples, self.weather.towards_sun)
        cast = light.cast(street.mesh.shadows, street, self.weather.towards_sun)
        sunny.ravel()[ground] *= light.fallen(cast, 0.12, street, x, z)
        return shaded, sunny

    def _lamplight(self) -> Field | None:
        strength = self.weather.model.lamps
        if strength < 0.7:
            return None
        lamps = light.lamplight(self.street.mesh.lamps, self.samples)
        if abs(self.street.camera) < self.street.lane:
            lamps += light.headlight(self.street.camera, self.samples)
        return lamps * np.float32(strength**3)

    def _windows(self, colour: Field, facade: Flat) -> None:
        """Cut windows into the façades: panes that mirror the sky, and lamplight behind some."""
        if not len(facade):
            return
        samples, looks, model = self.samples, self.looks, self.weather.model
        face = samples.face.ravel()[facade]
        scale = looks.scale.take(face)
        u, v = samples.u.ravel()[facade] * scale, samples.v.ravel()[facade] * scale
        pattern = windows(self.street.mesh.facades, looks.style.take(face), u, v, samples.density.ravel()[facade])
        cold, warm = WINDOW_LIGHT
        lit = pattern.glow * np.float32(model.lamps**2)
        for channel in range(3):
            mirrored = 0.5 * model.horizon[channel] + 0.35 * model.zenith[channel]
            pane = 0.012 * model.ambient[channel] + pattern.mirror * np.float32(0.55 * mirrored)
            pane += lit * (cold[channel] + pattern.warmth * (warm[channel] - cold[channel]))
            wall = colour[channel, facade] * pattern.wall
            colour[channel, facade] = wall + pattern.glass * (pane - wall)

    def _reflect(self, colour: Field, ground: Flat) -> None:
        """Add to wet ground what it mirrors, smeared upright as ripples do; more at grazing angles, most in puddles."""
        image = self._mirror_image()
        x, y, z = (axis.ravel()[ground] for axis in self.samples.ray)
        grazing = 1 + y / np.sqrt(x * x + y * y + z * z)
        u, v = (axis.ravel()[ground] for axis in (self.samples.place[0], self.samples.place[2]))
        level = read_at(atlas(), (u * 9) % SIZE, (v * 6) % SIZE + Tile.PLASTER * (SIZE + 2))
        puddle = np.clip((level * np.float32(1 / NEUTRAL) - 0.88) * 4, 0.25, 1)
        share = np.float32(self.weather.wet) * puddle * (0.07 + 0.75 * np.clip(grazing, 0, 1) ** 4)
        for channel in range(3):
            colour[channel, ground] += share * (image[..., channel].ravel()[ground] - 0.5 * colour[channel, ground])

    def _mirror_image(self) -> Field:
        """The world upside down as the road would show it, (R, C, 3): painted coarsely, each face in one colour."""
        grid = Grid(max(self.grid.height // 3, 8), max(self.grid.width // 3, 8))
        face = Painter(grid, self.view, mirrored=True).paint(self.street.mesh)
        looks = self.looks
        table = looks.shaded + 0.4 * looks.sunny + 1.6 * looks.emitted
        facade = looks.material == Material.FACADE
        table[:, facade] += (0.22 * self.weather.model.lamps**2 * WINDOW_LIGHT[1])[:, None]
        up, right = grid.axes(self.view.focal)
        turn = self.view.turn.astype(np.float32)
        x, y, z = (turn[k, 0] * right[None] + (turn[k, 1] * up[:, None] + turn[k, 2]) for k in range(3))
        above = sky(self.weather, x.ravel(), np.abs(y).ravel(), z.ravel(), detailed=False)
        image = np.where(face == SKY, above.reshape(3, *grid.shape), table[:, face]).transpose(1, 2, 0)
        reach = max(grid.height // 5, 1)
        kernel = (max(grid.width // 60, 1), reach)
        rows, columns = self.samples.face.shape
        smeared = cv2.blur(cv2.blur(image, kernel), kernel)  # twice: a tent
        return np.asarray(cv2.resize(smeared, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)

    def _air(self, colour: Field) -> None:
        """Haze: distance takes a thing's light away and puts the horizon's in its place."""
        clear = np.exp(np.float32(-self.weather.haze) / self.samples.near)
        veil = 1 - clear
        for channel in range(3):
            colour[channel] *= clear
            colour[channel] += veil * np.float32(self.weather.model.horizon[channel])
