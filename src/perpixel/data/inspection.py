"""Looking at every pair of files before training: can it be read, do sizes agree, does the mask keep to the labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from perpixel.data.decode import image_shape, is_cut_short, read_image
from perpixel.data.extras import Extra, check_size, read_extras
from perpixel.data.masks import MaskReader
from perpixel.data.pairs import Pair

SHOWN = 5
"""How many faulty files an error lists."""

_THREADS = 4
_SHAPES = 4096


@dataclass
class Inspection:
    """What was found in a split.

    Attributes:
        faults: what is wrong and how to mend it, by sample name.
        present: class indices (and ignore value) that occur anywhere.
    """

    faults: dict[str, str] = field(default_factory=dict)
    present: list[int] = field(default_factory=list)

    def raise_faults(self, pairs: int) -> None:
        """Refuse faulty data.

        Raises:
            ValueError: lists the first faulty files, each with its reason and mend.
        """
        if not self.faults:
            return
        more = [f"…and {len(self.faults) - SHOWN} more."] if len(self.faults) > SHOWN else []
        raise ValueError(
            "\n".join([f"{len(self.faults)} of {pairs} pairs are faulty:", *list(self.faults.values())[:SHOWN], *more])
        )

    def to_json(self) -> str:
        """As text, for keeping."""
        return json.dumps({"faults": self.faults, "present": self.present})

    @classmethod
    def from_json(cls, text: str) -> Inspection:
        """From kept text."""
        return cls(**json.loads(text))


def inspect(pairs: Sequence[Pair], read_mask: MaskReader, channels: int, extras: Sequence[Extra] = ()) -> Inspection:
    """Compare the sizes of each sample's files, decode masks and extras, and look whether images are complete."""

    shape_of, mask_shape_of = lru_cache(_SHAPES)(image_shape), lru_cache(_SHAPES)(read_mask.shape)  # tiles share files

    def sizes(pair: Pair) -> None:
        whole = shape_of(pair.image)
        check_sizes(pair, whole, mask_shape_of(pair.mask))
        for extra, path in zip(extras, pair.extras, strict=True):
            check_size(extra.name, path, shape_of(path), whole)

    def look(pair: Pair) -> tuple[list[int], str | None]:
        try:
            _exist(pair)
            sizes(pair)
            return _values(pair, read_mask, channels, extras), None
        except ValueError as error:
            return [], str(error)

    present: set[int] = set()
    faults: dict[str, str] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for pair, (values, fault) in zip(pairs, pool.map(look, pairs), strict=True):
            present.update(values)
            if fault is not None:
                faults[pair.name] = fault
    return Inspection(faults, sorted(present))


def inspect_again(
    found: Inspection, pairs: Sequence[Pair], read_mask: MaskReader, channels: int, extras: Sequence[Extra] = ()
) -> Inspection:
    """What was found before, but for the faulty pairs, which are looked at once more: a fault may be the moment's."""
    if not found.faults:
        return found
    again = inspect([pair for pair in pairs if pair.name in found.faults], read_mask, channels, extras)
    return Inspection(again.faults, sorted({*found.present, *again.present}))


def check_sizes(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """Image and mask must show the same picture.

    Raises:
        ValueError: names both files and their sizes.
    """
    if image != mask:
        raise ValueError(
            f"image '{pair.image}' is {image[0]}×{image[1]} (H×W), but its mask '{pair.mask}' is {mask[0]}×{mask[1]}: "
            "they must be the same picture at the same size."
        )


def _exist(pair: Pair) -> None:
    for path in pair.files:
        if not path.exists():
            raise ValueError(f"'{path}' does not exist.")


def _values(pair: Pair, read_mask: MaskReader, channels: int, extras: Sequence[Extra]) -> list[int]:
    mask = read_mask(pair.mask, pair.window)
    if is_cut_short(pair.image):
        read_image(pair.image, channels)  # junk after the picture is harmless: only a full decode tells
    read_extras(extras, pair.extras, pair.window, mask.shape)
    found: list[int] = np.flatnonzero(np.bincount(mask.ravel())).tolist()
    return found
