"""The data source: scenes that are drawn when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.data.base import DataSource, Sample, Split, SplitName
from perpixel.data.hashing import digest
from perpixel_scenes.camera import CAMERAS, Grid, View
from perpixel_scenes.classes import LABELS, RULES
from perpixel_scenes.lens import develop
from perpixel_scenes.mesh import Planes
from perpixel_scenes.raster import Painter
from perpixel_scenes.samples import resolve
from perpixel_scenes.shade import Looks, Shader, surfaces_label
from perpixel_scenes.street import build_street
from perpixel_scenes.weather import WEATHERS, Weather

VERSION = 1
"""Counts changes of the generator that change a picture or a mask."""

STREAMS: dict[SplitName, int] = {"train": 0, "val": 1, "test": 2}
"""Every split draws from random streams of its own: no scene is in two splits, whatever their sizes."""


class Facts(NamedTuple):
    """What was drawn before the scene: its groups."""

    camera: str
    weather: str


class Scenes(DataSource):
    """Street scenes with ten classes, from half of the picture (building, road) to under 1 % (wire, sign).

    Scene ``index`` of a split is a pure function of (seed, split, index, size and choices): five cameras, six weathers,
    four kinds of neighbourhood. The street does not depend on the weather: restricting ``weathers`` to one shows
    the same kind of streets with the same labels in another light. The scene is laid out in metres, so a size changes
    the sampling of the image plane and nothing else.

    Args:
        seed: of all splits.
        train, val, test: scenes per split.
        size: (H, W) of the pictures, at least 16 × 16; odd sizes are fine.
        cameras: names out of ``CAMERAS``, drawn with equal chance.
        weathers: names out of ``WEATHERS``, drawn with equal chance.
        keep: drawn scenes stay in memory, H · W · 4 bytes each, so that only the first epoch draws.

    Raises:
        ValueError: an unknown camera or weather, a size below 16, a negative number of scenes or seed.
    """

    labels = LABELS
    rules = RULES
    channels = 3
    mean = (0.48, 0.46, 0.45)
    std = (0.23, 0.22, 0.23)

    def __init__(
        self,
        seed: int = 0,
        train: int = 400,
        val: int = 60,
        test: int = 100,
        size: Sequence[int] = (128, 128),
        cameras: Sequence[str] = tuple(CAMERAS),
        weathers: Sequence[str] = tuple(WEATHERS),
        keep: bool = True,
    ) -> None:
        self.keep = keep
        self._kept: dict[tuple[SplitName, int], Sample] = {}
        self.seed = seed
        self.lengths: dict[SplitName, int] = {"train": train, "val": val, "test": test}
        self.size = _checked_size(size)
        self.cameras = _checked_names("cameras", cameras, CAMERAS)
        self.weathers = _checked_names("weathers", weathers, WEATHERS)
        counts = {"seed": seed, "train": train, "val": val, "test": test}
        negative = [f"{name}={value}" for name, value in counts.items() if value < 0]
        if negative:
            raise ValueError(f"data.source.{negative[0]} is negative; scenes are counted, and seeds start, from 0.")

    def split(self, name: SplitName) -> Split:
        """The scenes of one split."""
        if name not in STREAMS:
            raise ValueError(f"scenes have no split '{name}'; choose one of {', '.join(STREAMS)}.")
        return _SceneSplit(self, name, self.lengths[name])

    def describe(self, split: SplitName, index: int) -> dict[str, str]:
        """Camera and weather of a scene (``{"camera": "bus", "weather": "fog"}``), without drawing it."""
        return self._facts(split, index)._asdict()

    def recall(self, split: SplitName, index: int) -> Sample:
        """A scene that was kept, else drawn now; the arrays are the caller's own."""
        if not self.keep:
            return self.draw(split, index)
        if (split, index) not in self._kept:
            self._kept[split, index] = self.draw(split, index)
        kept = self._kept[split, index]
        return Sample(kept.image.copy(), kept.mask.copy(), kept.name)

    def draw(self, split: SplitName, index: int) -> Sample:
        """Draw one scene."""
        facts = self._facts(split, index)
        image, mask = render(
            self.size,
            facts,
            scene=self._stream(split, index, 1),
            sky=self._stream(split, index, 2),
            sensor=self._stream(split, index, 3),
        )
        return Sample(image, mask, scene_name(split, index))

    def _facts(self, split: SplitName, index: int) -> Facts:
        camera, weather = self._stream(split, index, 0).random(2)
        return Facts(
            self.cameras[int(camera * len(self.cameras))],
            self.weathers[int(weather * len(self.weathers))],
        )

    def _stream(self, split: SplitName, index: int, part: int) -> np.random.Generator:
        """The random stream of one part of a scene; ``spawn_key`` keeps (1, 0) and (1,) apart, plain lists do not."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(STREAMS[split], index, part)))


def scene_name(split: SplitName, index: int) -> str:
    """Split and number, as in ``train-00017``."""
    return f"{split}-{index:05d}"


def render(
    size: tuple[int, int],
    facts: Facts,
    scene: np.random.Generator,
    sky: np.random.Generator,
    sensor: np.random.Generator,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw a scene: picture (H, W, 3) uint8 and mask (H, W) uint8.

    Args:
        size: (H, W).
        facts: which camera, which weather.
        scene, sky, sensor: random streams of the street and its view, of the weather, of the picture's noise.
    """
    camera, weather = CAMERAS[facts.camera], Weather.draw(WEATHERS[facts.weather], sky)
    street = build_street(scene, camera.place, camera.height)
    view, grid = View.aim(camera, street.camera, scene), Grid(*size)
    canvas = Painter(grid, view).paint(street.mesh)
    label = np.append(0, surfaces_label(street.mesh.faces)).astype(np.uint8)
    mask = label[canvas[1::2, 1::2]]
    planes = Planes.of(street.mesh.faces, view.eye)
    samples = resolve(canvas, street.mesh, planes, view, grid)
    looks = Looks.of(street.mesh.faces, planes, weather)
    light = Shader(street, samples, looks, weather, view, grid).shade()
    return develop(light, camera, weather, sensor), mask


@dataclass(frozen=True)
class _SceneSplit(Split):
    """A number of scenes of one stream."""

    source: Scenes
    name: SplitName
    length: int

    def __len__(self) -> int:
        return self.length

    def read(self, index: int, rng: np.random.Generator) -> Sample:
        """Scene ``index``; a scene has its own random streams and takes nothing from ``rng``."""
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length} in split '{self.name}'")
        return self.source.recall(self.name, index)

    def conditions(self, index: int) -> Mapping[str, str]:
        """Camera and weather."""
        return self.source.describe(self.name, index)

    def sample_name(self, index: int) -> str:
        """Split and number."""
        return scene_name(self.name, index)

    def fingerprint(self) -> str:
        """SHA-256 of the generator's version, its arguments, and a coarse look at the split's first scene.

        The look (8 × 8 mean colours in 16 steps, class shares in whole percents) changes with the generator even where
        ``VERSION`` was forgotten, but not with the last bit of another machine's floating point.
        """
        source = self.source
        arguments = [VERSION, source.seed, self.name, self.length, source.size, source.cameras, source.weathers]
        return digest("scenes", json.dumps(arguments), json.dumps(_look(source.draw(self.name, 0))))


def _look(sample: Sample) -> list[list[int]]:
    small = cv2.resize(sample.image.astype(np.uint8), (8, 8), interpolation=cv2.INTER_AREA)
    shares = np.bincount(sample.mask.ravel(), minlength=LABELS.num_classes) / sample.mask.size
    return [(small // 16).ravel().tolist(), np.rint(100 * shares).astype(int).tolist()]


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 16:
        raise ValueError(f"data.source.size={list(size)} is not a size: give [height, width], each at least 16.")
    return int(size[0]), int(size[1])


def _checked_names(what: str, names: Sequence[str], known: Mapping[str, object]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        got = f"holds '{unknown[0]}'" if unknown else "is empty"
        raise ValueError(f"data.source.{what} {got}; choose from {', '.join(known)}.")
    return tuple(names)
