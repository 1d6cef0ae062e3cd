"""Pictures of each class: the labelling handbook."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from perpixel.data.audit.sample import SampleFacts
from perpixel.data.base import DataSource
from perpixel.data.checks.leaks import Leak
from perpixel.data.formats.display import as_rgb

PER_CLASS = 6
_SIDE = 200
_LEAST = 64
_SOME = 0.25
_DIMMED, _DIM_TO = 0.35, 40.0
_LINE = 5
_HIGHLIGHT = (255, 214, 0)


class Example(NamedTuple):
    """A picture of a class.

    Attributes:
        caption: the sample's split and name.
        uri: the picture, as a data URI.
    """

    caption: str
    uri: str


def examples(source: DataSource, facts: Sequence[SampleFacts], index: int) -> list[Example]:
    """Up to six samples that show a class, from where it is large to where it is small, cut out around it."""
    holders = sorted((f for f in facts if f.pixels[index] > 0), key=lambda f: -int(f.pixels[index]))
    places = np.unique(np.linspace(0, len(holders) - 1, min(PER_CLASS, len(holders))).astype(int)) if holders else ()
    return [_example(source, holders[int(place)], index) for place in places]


def _example(source: DataSource, fact: SampleFacts, index: int) -> Example:
    sample = source.split(fact.split).read(fact.index, np.random.default_rng(fact.index))  # type: ignore[arg-type]
    area = around(sample.mask == index)
    picture = outlined(as_rgb(sample.image[area]), sample.mask[area] == index)
    return Example(f"{fact.split}: {sample.name}", data_uri(picture))


def around(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """A square around the largest structure, with as much again on all sides, within the image."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    left, top, width, height, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    side = max(2 * max(int(width), int(height)), _LEAST)
    rows = _centred(int(top) + int(height) // 2, side, inside.shape[0])
    return rows, _centred(int(left) + int(width) // 2, side, inside.shape[1])


def outlined(picture: npt.NDArray[np.uint8], inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The picture, enlarged or shrunk to 200 pixels, a class as it is, a line around it, and all else dimmed.

    The line lies outside of the class: inside, it would hide a wire. Colours of the palette are no help here: many sets
    paint a class black.
    """
    factor = _SIDE / max(inside.shape)
    size = (max(1, round(inside.shape[1] * factor)), max(1, round(inside.shape[0] * factor)))
    result = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR))
    share = cv2.resize(
        inside.astype(np.float32), size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    )
    area = (share > _SOME).astype(np.uint8)
    shown = np.where(area[..., None] > 0, result, _DIMMED * result + (1 - _DIMMED) * _DIM_TO).astype(np.uint8)
    line = cv2.dilate(area, np.ones((_LINE, _LINE), np.uint8)) > area
    return np.where(line[..., None], np.asarray(_HIGHLIGHT, np.uint8), shown)


def side_by_side(source: DataSource, facts: Sequence[SampleFacts], pairs: Sequence[Leak]) -> list[list[Example]]:
    """The two samples of each leak, as pictures; a leak of which one sample cannot be read has none."""
    places = {(fact.split, fact.name): fact for fact in facts}
    return [
        [_whole(source, places[side]) for side in (leak.first, leak.second)]
        if {leak.first, leak.second} <= places.keys()
        else []
        for leak in pairs
    ]


def _whole(source: DataSource, fact: SampleFacts) -> Example:
    sample = source.split(fact.split).read(fact.index, np.random.default_rng(fact.index))  # type: ignore[arg-type]
    picture = as_rgb(sample.image)
    factor = _SIDE / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    return Example(f"{fact.split}: {sample.name}", data_uri(np.asarray(small, np.uint8)))


def data_uri(picture: npt.NDArray[np.uint8]) -> str:
    """A JPEG within a page."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _centred(centre: int, side: int, length: int) -> slice:
    start = max(0, min(centre - side // 2, length - side))
    return slice(start, min(start + side, length))
