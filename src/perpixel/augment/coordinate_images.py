"""Samples in which every pixel says where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.augment.targets import Kind, Targets
from perpixel.windows import Windowed

SIDE = 240
PERIOD = 31
"""Of the stripes, in pixels: short enough that even a small crop shows a few (a change of contrast turns about the mean
of a picture, and so shifts the phase of less than one), and no length that a program is likely to shift by."""

PHASES = 4

PROBES: dict[str, Kind] = {"coded_image": "image", "coded_mask": "mask", "coded_weight": "weight"}
"""One further target of each kind."""

_BAND = 48


class Code:
    """Pictures over one input axis; the coordinate is a pixel's place along it.

    Args:
        axis: 0 for rows, 1 for columns.
        fill: the mask value of padding, which codes no place.
        sought: class indices that the recipe looks for; coarse masks hold them.
    """

    def __init__(self, axis: int, fill: int, sought: Sequence[int] = ()) -> None:
        self.places = np.indices((SIDE, SIDE))[axis]
        self.stored = np.delete(np.arange(256), fill)[:SIDE].astype(np.uint8)
        self.place_of = np.zeros(256, np.int64)
        self.place_of[self.stored] = np.arange(SIDE)
        self._holds = np.isin(np.arange(256), self.stored)
        values = [value for one in (sought or (1, 2, 3)) for value in (one, 0 if fill else 4)]
        bands = np.arange(SIDE) // _BAND
        self.coarse = np.array(values, np.uint8)[bands % len(values)]

    def targets(self, phase: int, channels: int) -> Targets:
        """Stripes over the coordinate, and a mask that holds it."""
        return {"image": self.stripes(phase, channels), "mask": self.stored[self.places]}

    def probed(self, phase: int, channels: int) -> Targets:
        """A coarse mask, as large areas are sought, and the coordinate in one further target of each kind."""
        return {
            "image": self.stripes(phase, channels),
            "mask": self.coarse[self.places],
            "coded_image": self.stripes(phase, 1),
            "coded_mask": self.stored[self.places],
            "coded_weight": (self.places + 1).astype(np.float32),
        }

    def stripes(self, phase: int, channels: int) -> npt.NDArray[np.uint8]:
        """(H, W, C) cosine stripes, in four phases a quarter turn apart."""
        wave = 127.5 + 60 * np.cos(2 * np.pi * (self.places / PERIOD + phase / PHASES))
        return np.repeat(np.rint(wave)[..., None], channels, axis=2).astype(np.uint8)

    def labelled(self, mask: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where a mask holds a place."""
        return np.asarray(self._holds[mask])

    def torn(self, found: Targets, fill: int) -> int:
        """Pixels whose mask and further masks and weights say different places; none may."""
        place = self.place_of[found["coded_mask"]]
        labelled = self.labelled(found["coded_mask"])
        apart = labelled != (found["mask"] != fill)
        apart |= labelled & (found["mask"] != self.coarse[place])
        apart |= found["coded_weight"] != np.where(labelled, place + 1, 0)
        return int(apart.sum())


def windowed(targets: Targets) -> Targets:
    """The same sample as files are opened: what is cut out is read, and no more."""
    return {name: _windowed(array) for name, array in targets.items()}


def _windowed(array: npt.NDArray[Any]) -> Any:
    def read(part: tuple[int, int, int, int]) -> npt.NDArray[Any]:
        top, left, height, width = part
        return array[top : top + height, left : left + width]

    return Windowed((array.shape[0], array.shape[1]), read)
