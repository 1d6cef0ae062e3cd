"""Stored mask values → class indices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.data.formats.axes import one_hot_advice
from perpixel.data.formats.decode import image_shape, read_values
from perpixel.labels import NONZERO, PADDING_INDEX, LabelSpace, likely_mends
from perpixel.windows import Window

Values = npt.NDArray[Any]

SHOWN_COLOURS = 3
"""How many of a mask's colours an error names."""


class MaskReader(ABC):
    """Reads mask files of one encoding.

    Attributes:
        labels: the label space of what it gives.
        stores_indices: whether the files hold the class indices themselves.
        table: stored value → class index (or ignore value); None where files hold no such numbers, or not all the same.
    """

    labels: LabelSpace
    stores_indices = False
    table: Mapping[int, int] | None = None

    @abstractmethod
    def __call__(self, path: Path, window: Window | None = None) -> npt.NDArray[np.uint8]:
        """Class indices of a mask file or a window of it, (H, W) uint8.

        Raises:
            ValueError: the file cannot be read or holds what the labels do not know; names the file and the mend.
        """

    def shape(self, path: Path) -> tuple[int, int]:
        """(H, W) of a mask file, from its header where it has one.

        Raises:
            ValueError: the file cannot be read.
        """
        return image_shape(path)

    @abstractmethod
    def key(self) -> str:
        """What the classes depend on besides the files' bytes, for the content hash."""


class ValueMasks(MaskReader):
    """Reads pictures that hold a value, or a colour, for each pixel.

    Attributes:
        colours: whether a palette's colours are meant rather than its indices.
    """

    colours = False

    def __call__(self, path: Path, window: Window | None = None) -> npt.NDArray[np.uint8]:
        """Class indices of a mask file or a window of it, (H, W) uint8."""
        return self.decode(read_values(path, window, self.colours), str(path))

    @abstractmethod
    def decode(self, values: Values, where: str) -> npt.NDArray[np.uint8]:
        """Stored values, (H, W) or (H, W, 3), → (H, W) class indices."""


class IndexMasks(ValueMasks):
    """Masks whose values are class indices, or are translated to them by a table.

    Args:
        labels: the label space of the result.
        table: stored value → class index, for stored values that differ from the index; values that it does not list
            are errors. None where stored values are the indices.
    """

    table: Mapping[int, int]

    def __init__(self, labels: LabelSpace, table: Mapping[int, int] | None = None) -> None:
        self.labels = labels
        self.stores_indices = table is None
        self.table = dict(table) if table is not None else {index: index for index in _own_values(labels)}
        self._low = min([0, *self.table])
        size = 1 + max([0, *self.table]) - self._low
        self._known = np.zeros(size, bool)
        self._index = np.zeros(size, np.uint8)
        for stored, index in self.table.items():
            self._known[stored - self._low] = True
            self._index[stored - self._low] = index

        self._known_bytes = np.resize(np.append(self._known[-self._low :], np.zeros(256, bool)), 256).astype(np.uint8)
        self._index_bytes = np.resize(np.append(self._index[-self._low :], np.zeros(256, np.uint8)), 256)

    def decode(self, values: Values, where: str) -> npt.NDArray[np.uint8]:
        """(H, W) stored values → class indices."""
        _need_grey(values, where)
        if values.dtype == np.uint8:
            if not cv2.LUT(values, self._known_bytes).all():
                self._refuse(values, where)
            return np.asarray(cv2.LUT(values, self._index_bytes), np.uint8)
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        if low < self._low or high >= len(self._known) + self._low:
            self._refuse(values, where)
        places = values.astype(np.int64) - self._low if self._low else values
        if not self._known[places].all():
            self._refuse(values, where)
        return self._index[places]

    def key(self) -> str:
        """The table."""
        return repr(sorted(self.table.items()))

    def _refuse(self, values: Values, where: str) -> None:
        if self.stores_indices:
            self.labels.check(values, where)
        stored, numbers = np.unique(values, return_counts=True)
        counts: dict[int, int] = dict(zip(stored.tolist(), numbers.tolist(), strict=True))
        value = next(value for value in counts if value not in self.table)
        raise ValueError(
            f"mask '{where}' holds the value {value} in {counts[value]:,} pixels; this data set knows "
            f"{in_short(self.table)}. {self._likely_mend(counts)}"
        )

    def _likely_mend(self, counts: Mapping[int, int]) -> str:
        """For a table of the user's, or of a published set."""
        guesses = likely_mends(counts, max([0, *(value for value in self.table if value != PADDING_INDEX)]))
        return next(guesses, "") or (
            "Say in a policy what becomes of it (its 'from' or 'ignore'): a line '- {name: …, from: <value>}' under "
            "'classes', or 'ignore: [<value>]'; or fix the mask."
        )


class BinaryMasks(IndexMasks):
    """0/255 masks: 0 is class 0, 255 is class 1 (0/1 masks are read too, never both in one file)."""

    def __init__(self, labels: LabelSpace) -> None:
        if labels.num_classes != 2:
            raise ValueError(
                f"data.source.binary=true needs two classes, background first, but data.source.classes has "
                f"{labels.num_classes}."
            )
        super().__init__(labels, {0: 0, 1: 1, 255: 1})

    def _likely_mend(self, counts: Mapping[int, int]) -> str:
        return (
            f"{len(set(counts) - set(self.table))} values besides 0 and 255 mean that it was resized or compressed "
            "with blending (save it anew, with hard edges), or that it has more classes than two: then list them in "
            f"data.source.classes and leave data.source.binary=false. Where they are ids of single objects, {NONZERO}."
        )


class NonzeroMasks(ValueMasks):
    """Masks with an id for each object, or whatever else is not 0: 0 is class 0, everything else class 1.

    Ids may have any depth; of colours (an RGB id each), black is class 0. There is no ignore value: 255 is an id.
    """

    def __init__(self, labels: LabelSpace) -> None:
        if labels.num_classes != 2:
            raise ValueError(
                f"data.source.binary=nonzero needs two classes, background first, but data.source.classes has "
                f"{labels.num_classes}: data.source.classes=[background,thing]."
            )
        self.labels = labels

    def decode(self, values: Values, where: str) -> npt.NDArray[np.uint8]:
        """(H, W) ids, or (H, W, 3) colours → class indices."""
        if values.dtype.kind == "i" and (low := int(values.min(initial=0))) < 0:
            raise ValueError(
                f"mask '{where}' holds the value {low}, and data.source.binary=nonzero would make it "
                f"'{self.labels.names[1]}': give such pixels 0 or an id, or say by a policy file (data.policy) what "
                "each value becomes."
            )
        found = (values != 0).any(axis=2) if values.ndim == 3 else values != 0
        return np.asarray(found, np.uint8)

    def key(self) -> str:
        """That it is these."""
        return "nonzero"


class ColourMasks(ValueMasks):
    """Masks that show each class in its palette colour.

    Args:
        labels: its palette is the code.
        ignore_colours: colours of pixels without a label.
    """

    colours = True

    def __init__(self, labels: LabelSpace, ignore_colours: Sequence[Sequence[int]] = ()) -> None:
        self.labels = labels
        colours = [*labels.palette, *ignore_colours]
        indices = [*range(labels.num_classes), *[labels.fill] * len(ignore_colours)]
        codes = np.array([_code(np.array(colour, np.uint8)) for colour in colours])
        if len(set(codes.tolist())) < len(codes):
            raise ValueError("RGB-coded masks need a different colour for each class: mend data.source.palette.")
        order = np.argsort(codes)
        self._codes = codes[order]
        self._index = np.array(indices, np.uint8)[order]

    def decode(self, values: Values, where: str) -> npt.NDArray[np.uint8]:
        """(H, W, 3) colours → class indices."""
        colours = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
        codes = _code(colours)
        place = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        unknown = self._codes[place] != codes
        if unknown.any():
            self._refuse(codes[unknown], where)
        return np.asarray(self._index[place])

    def key(self) -> str:
        """The colours and what they mean."""
        return repr((self._codes.tolist(), self._index.tolist()))

    def _refuse(self, codes: Values, where: str) -> None:
        found, counts = np.unique(codes, return_counts=True)
        code, pixels = int(found[counts.argmax()]), int(counts.max())
        colour = [code >> 16, code >> 8 & 255, code & 255]
        raise ValueError(
            f"mask '{where}' holds the colour {colour} in {pixels:,} pixels ({len(found)} unknown colours in all), "
            "which no class has: add it to data.source.palette, or to data.source.ignore_colours if it marks no label. "
            "Many unknown colours mean that the mask was resized or compressed with blending."
        )


def _code(colours: Values) -> Any:
    """RGB → one integer."""
    wide = colours.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _own_values(labels: LabelSpace) -> list[int]:
    ignore = [] if labels.ignore_index is None else [labels.ignore_index]
    return [*range(labels.num_classes), *ignore]


def _need_grey(values: Values, where: str) -> None:
    if values.ndim == 3 and values.max(initial=0) <= 1:
        raise ValueError(f"{one_hot_advice(Path(where), values.shape)}.")
    if values.ndim == 3:
        frequent = ", ".join(f"{colour} in {pixels:,} pixels" for colour, pixels in _most_frequent(values))
        raise ValueError(
            f"mask '{where}' holds colours, most often {frequent}, but data.source.encoding=index expects one class "
            "index per pixel: set data.source.encoding=colour, and give each class its colour in data.source.palette."
        )


def _most_frequent(colours: Values) -> list[tuple[list[int], int]]:
    """The first few colours of (H, W, 3) with their pixels, the most frequent first."""
    bits = 8 * colours.dtype.itemsize
    codes = sum(colours[..., channel].astype(np.uint64) << np.uint64(bits * (2 - channel) % 64) for channel in range(3))
    _, places, counts = np.unique(np.asarray(codes).ravel(), return_index=True, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:SHOWN_COLOURS]
    return [(colours.reshape(-1, 3)[places[one]].tolist(), int(counts[one])) for one in first]


def in_short(values: Iterable[int]) -> str:
    """Numbers with runs as ranges: 0…149, 255."""
    ordered = sorted(values)
    runs = [list(run) for _, run in groupby(enumerate(ordered), lambda pair: pair[1] - pair[0])]
    ends = [(run[0][1], run[-1][1]) for run in runs]
    return ", ".join(f"{low}" if low == high else f"{low}…{high}" for low, high in ends)
