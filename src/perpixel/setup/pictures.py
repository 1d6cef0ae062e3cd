"""What the images of a folder are: channels, depth, sizes, which belong together, whether they have an up and down."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.data.files.pairs import Pair
from perpixel.data.files.statistics import evenly
from perpixel.data.formats.decode import image_shape, read_image, stored_channels

HEADERS = 2000
DECODED = 48
"""Images whose headers are read, and that are decoded, at most; evenly spaced."""

_THUMB = 24
_GREY = 4
_SIDED = 0.85
_ALIKE = 0.5
_FEW = 3
_TILE = r"(?:r|row|y)_?\d+[-_]?(?:c|col|x)_?\d+"
_GROUPS = (
    (r"^([^/]+)/", "folders", 3),
    (rf"^(.+?)[-_]?{_TILE}", "scenes that tiles were cut from", 5),
    (r"^([^-_/]*\d[^-_/]*)[-_].*[-_]", "beginnings of names", 5),
    (r"^(.*?(?:r|row|y)_?\d+)[-_]?(?:c|col|x)_?\d+$", "rows of tiles: neighbours show the same things", 3),
    (r"^(.*?\d+)[-_]\d+$", "rows, series or patients by the number before the last", 3),
    (r"^(.*?[^-_\d])[-_]?\d+$", "series of numbered files", 5),
)
"""Patterns over keys, what their groups are, and how many there must be at least."""


@dataclass(frozen=True)
class Pictures:
    """Facts of the images.

    Attributes:
        count: how many there are.
        shapes: (H, W) with their numbers.
        channels: C to read them with.
        depth: dtype name once decoded.
        colours: whether channels differ; grey stored as RGB does not count.
        sided: whether nearly all are brighter on the same side, above or below: photographs, not scans or tiles.
        group_by: pattern over the key for what belongs together, None where names say nothing.
        groups: how many such groups there are.
        why_group: in words.
    """

    count: int
    shapes: Mapping[tuple[int, int], int]
    channels: int
    depth: str
    colours: bool
    sided: bool
    group_by: str | None
    groups: int
    why_group: str

    @property
    def usual_shape(self) -> tuple[int, int]:
        """The median height and width."""
        listed = [shape for shape, number in self.shapes.items() for _ in range(number)]
        height, width = np.median(np.array(listed), axis=0)
        return int(height), int(width)


def find_pictures(pairs: Mapping[str, Pair], with_groups: bool = True) -> Pictures:
    """Look at the images.

    Args:
        pairs: by key.
        with_groups: whether what belongs together matters, as it does where splits are drawn.

    Raises:
        ValueError: not one can be read: the reason of the last; or they differ in their number of channels.
    """
    images = [pair.image for pair in pairs.values()]
    shapes, bands = Counter[tuple[int, int]](), Counter[int]()
    examples: dict[int, str] = {}
    last: ValueError | None = None
    for path in evenly(images, HEADERS):
        try:
            shapes[image_shape(path)] += 1
            bands[stored_channels(path)] += 1
            examples.setdefault(stored_channels(path), str(path))
        except ValueError as error:  # named with all other faulty files when the data are checked
            last = error
    if not shapes:
        raise ValueError(f"none of the {len(images)} images can be read: {last}")
    channels = _channels(bands, examples)
    thumbs, depths, colours = _decoded(images, channels)
    if channels == 3 and not colours:
        channels = 1
    rule, groups, why = _groups(list(pairs), thumbs) if with_groups else (None, 0, "")
    depth = depths.most_common(1)[0][0] if depths else "uint8"
    return Pictures(len(images), shapes, channels, depth, colours, _are_sided(thumbs), rule, groups, why)


def _channels(bands: Counter[int], examples: Mapping[int, str]) -> int:
    if set(bands) <= {1, 3}:
        return max(bands)
    if len(bands) > 1:
        told = ", ".join(
            f"{count} images have {number} channels ('{examples[number]}')" for number, count in bands.items()
        )
        raise ValueError(f"the images differ: {told}. Convert them to one form, or take the others away.")
    return next(iter(bands))


def _decoded(images: Sequence[object], channels: int) -> tuple[list[npt.NDArray[np.float32]], Counter[str], bool]:
    """Thumbnails of evenly spaced images (grey, 0…1 of their own range), depths, and whether there are colours."""
    thumbs, depths, colours = [], Counter[str](), False
    for path in evenly(images, DECODED):
        try:
            image = read_image(path, channels)  # type: ignore[arg-type]
        except ValueError:
            continue
        depths[image.dtype.name] += 1
        if channels == 3 and not colours:
            few = image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)].astype(np.float32)
            colours = bool(np.abs(few - few.mean(axis=2, keepdims=True)).mean() > _GREY * (few.max() or 1) / 255 / 4)
        grey = image.astype(np.float32).mean(axis=2)
        small = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
        thumbs.append(np.asarray((small - small.min()) / max(float(np.ptp(small)), 1e-6), np.float32))
    return thumbs, depths, colours


def _are_sided(thumbs: Sequence[npt.NDArray[np.float32]]) -> bool:
    """Sky above, street below: the same side is brighter in nearly all."""
    if len(thumbs) < 8:
        return False
    third = _THUMB // 3
    above = np.array([thumb[:third].mean() > thumb[-third:].mean() for thumb in thumbs])
    return bool(max(above.mean(), 1 - above.mean()) >= _SIDED)


def _groups(keys: Sequence[str], thumbs: Sequence[npt.NDArray[np.float32]]) -> tuple[str | None, int, str]:
    for pattern, what, least in _GROUPS:
        found = [re.search(pattern, key) for key in keys]
        values = {match[1] for match in found if match}
        if all(match and match[1] for match in found) and least <= len(values) <= len(keys) / 2:
            return pattern, len(values), f"{len(values)} {what} ({', '.join(sorted(values)[:_FEW])}, …)"
    if _is_film(keys, thumbs):
        values = {key[:-1] for key in keys}
        return r"^(.*)\d$", len(values), "neighbouring numbers look alike, as frames or slices do: tens stay together"
    return None, 0, ""


def _is_film(keys: Sequence[str], thumbs: Sequence[npt.NDArray[np.float32]]) -> bool:
    """Whether files with neighbouring, evenly long numbers look far more alike than others do."""
    numbered = len({len(key) for key in keys}) == 1 and all(re.search(r"\d\d$", key) for key in keys)
    if not numbered or len(thumbs) != len(keys) or len(keys) < 30:
        return False
    stack = np.stack(thumbs)
    near = np.abs(stack[1:] - stack[:-1]).mean()
    far = np.abs(stack - np.roll(stack, len(stack) // 2, axis=0)).mean()
    return bool(near < _ALIKE * far)
