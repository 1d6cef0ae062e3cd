"""An image file and its mask file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from perpixel.data.formats.decode import image_shape
from perpixel.windows import Window


class Pair(NamedTuple):
    """An image and its mask.

    Attributes:
        name: of both, unique within the split.
        image, mask: the files.
        group: what must not stand on both sides of a split (camera, city, patient), where it is known.
        window: the part of all files that is the sample; None for all.
        conditions: name and value of what it was taken under (weather, time of day), where that is known.
        extras: files of what else belongs to the sample, in the order of the source's extras.
    """

    name: str
    image: Path
    mask: Path
    group: str = ""
    window: Window | None = None
    extras: tuple[Path, ...] = ()
    conditions: tuple[tuple[str, str], ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the sample."""
        return (self.image, self.mask, *self.extras)


def unique_names(keys: Sequence[str]) -> list[str]:
    """Keys as names without path separators.

    Raises:
        ValueError: two keys give one name.
    """
    names = [key.replace("/", "__") for key in keys]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"two samples would be named '{twice[0]}': rename one of the files.")
    return names


def tiled(pair: Pair, tile: tuple[int, int]) -> Iterator[Pair]:
    """The windows of a grid over a pair, each a sample; those at the right and lower edges may be smaller.

    An image without a readable size stays whole, to be told of or left out with the other faulty files.
    """
    try:
        height, width = image_shape(pair.image)
    except (ValueError, OSError):
        yield pair
        return
    for top in range(0, height, tile[0]):
        for left in range(0, width, tile[1]):
            window = Window(top, left, min(tile[0], height - top), min(tile[1], width - left))
            yield pair._replace(name=f"{pair.name}_r{top}c{left}", window=window)
