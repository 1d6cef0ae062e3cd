"""What a pixel's value means: class names, colours and the value that marks "no label"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PADDING_INDEX = 255
"""Target value of pixels that augmentation invents (padding), when a policy itself has no ignore index."""


SEVERAL = 3
"""Values far beyond the classes from which on a mask looks like a picture's grey."""


def likely_mends(counts: Mapping[int, int], num_classes: int) -> Iterator[str]:
    """What a mask's stored values tell of how it was made, and so of the mend.

    Args:
        counts: pixels by stored value.
        num_classes: of the label space that does not fit.
    """
    beyond = [value for value in counts if value > num_classes and value != PADDING_INDEX]
    if set(counts) <= {0, 255}:
        yield (
            f"This is a 0/255 binary mask, with 255 in {counts.get(255, 0):,} pixels: set data.source.binary=true and "
            "two data.source.classes, background first; 255 then becomes the second."
        )
    elif len(beyond) >= SEVERAL:
        yield (
            f"{len(beyond)} of its values lie beyond the classes, up to {max(beyond)}: an RGB or palette mask saved as "
            "grey? Take the original with its colours, data.source.encoding=colour and data.source.palette. (Or it was "
            "resized or compressed with blending.)"
        )
    elif num_classes in counts and not beyond:
        unlabelled = f"{counts[0]:,} pixels" if 0 in counts else "and is not in this mask"
        yield (
            f"The masks seem to count from 1: if so, set data.source.reduce_zero_label=true (0, {unlabelled}, then has "
            "no label); if 0 is a class, one is missing in data.source.classes."
        )


class PixelCounts(NamedTuple):
    """Pixels of a split by class: what the rules of class weights need.

    Attributes:
        pixels: of each class.
        room: labelled pixels, of all classes, of the images that show the class.
    """

    pixels: Sequence[int]
    room: Sequence[int]


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set, in the order of their indices.

    Args:
        names: one name per class; class i is ``names[i]``.
        palette: one (R, G, B) triple in 0…255 per class, for pictures.
        ignore_index: value of pixels without a label, or None where every pixel has one.

    Raises:
        ValueError: names and palette differ in length, a name stands twice, or the ignore index is a class.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int | None = PADDING_INDEX

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise ValueError(
                f"a label space needs one colour per class, but has {len(self.names)} names and "
                f"{len(self.palette)} colours."
            )
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"class names must differ, but {', '.join(twice)} stands more than once.")
        if self.ignore_index is not None and 0 <= self.ignore_index < len(self.names):
            raise ValueError(
                f"ignore_index={self.ignore_index} is the index of class '{self.names[self.ignore_index]}'; "
                f"choose a value outside 0…{len(self.names) - 1} (255 is usual)."
            )

    @property
    def num_classes(self) -> int:
        return len(self.names)

    @property
    def fill(self) -> int:
        """The value that losses and metrics skip and that padding writes."""
        return PADDING_INDEX if self.ignore_index is None else self.ignore_index

    def check(self, mask: npt.NDArray[np.integer], where: str) -> None:
        """Refuse a mask that holds a value outside the policy.

        Args:
            mask: (H, W) integers.
            where: what to call the mask in the error, usually its path.

        Raises:
            ValueError: names the file, the value, its pixel count and the likely mend.
        """
        values, counts = np.unique(mask, return_counts=True)
        allowed = (values >= 0) & (values < self.num_classes)
        if self.ignore_index is not None:
            allowed |= values == self.ignore_index
        if allowed.all():
            return
        bad, pixels = int(values[~allowed][0]), int(counts[~allowed][0])
        ignore = "none" if self.ignore_index is None else self.ignore_index
        raise ValueError(
            f"mask '{where}' holds the value {bad} in {pixels:,} pixels, but the label policy "
            f"({self.num_classes} classes, ignore_index={ignore}) knows 0…{self.num_classes - 1}. "
            f"{self._likely_mend(dict(zip(values.tolist(), counts.tolist(), strict=True)))}"
        )

    def _likely_mend(self, counts: Mapping[int, int]) -> str:
        mends = [*likely_mends(counts, self.num_classes)]
        if not mends and 255 in counts and self.ignore_index is None:
            mends = ["If 255 marks unlabelled pixels, set data.source.ignore_index=255."]
        return " ".join(mends or ["Name all classes in data.source.classes, or mend the mask."])

    def colour(
        self, mask: npt.NDArray[np.integer], unlabelled: Sequence[int] = (255, 255, 255)
    ) -> npt.NDArray[np.uint8]:
        """Paint a mask: (H, W) class indices → (H, W, 3) uint8 RGB, anything outside the classes in ``unlabelled``."""
        table = np.empty((self.num_classes + 1, 3), np.uint8)
        table[:-1] = self.palette
        table[-1] = unlabelled
        inside = (mask >= 0) & (mask < self.num_classes)
        return table[np.where(inside, mask, self.num_classes)]
