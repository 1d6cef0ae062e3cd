"""How a folder's labels are stored, and so which reader they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from perpixel.data.annotations import ShapeMasks
from perpixel.data.formats.suffixes import MASK_SUFFIXES
from perpixel.data.masks.palettes import RGB, rgb, voc_colours
from perpixel.data.masks.policy import Policy
from perpixel.data.masks.reader import BinaryMasks, ColourMasks, IndexMasks, MaskReader, NonzeroMasks
from perpixel.labels import LabelSpace

Encoding = Literal["index", "colour", "labelme", "coco"]
Binary = bool | Literal["nonzero"]

SUFFIXES: dict[Encoding, tuple[str, ...]] = {
    "index": MASK_SUFFIXES, "colour": MASK_SUFFIXES,
    "labelme": (".json",), "coco": (".json",),
}  # fmt: skip
"""Files that may hold labels, by their encoding."""

_IN_A_POLICY = {
    "binary": "'from: [255]' at the second class",
    "reduce_zero_label": "'ignore: [0]'",
    "palette": "each class's 'colour'",
}
"""How a policy says what a setting says of listed classes."""


@dataclass(frozen=True)
class Labelling:
    """What stored labels mean; the arguments are those of ``perpixel.data.Folder``."""

    encoding: Encoding
    classes: Sequence[str] | None
    palette: Sequence[Sequence[int]] | None
    binary: Binary
    reduce_zero_label: bool
    ignore_index: int | None
    ignore_colours: Sequence[Sequence[int]]
    default_class: str | None
    line_width: float

    def __post_init__(self) -> None:
        if self.encoding not in SUFFIXES:
            raise ValueError(f"data.source.encoding={self.encoding!r} is unknown: choose {', '.join(SUFFIXES)}.")
        if self.binary not in (True, False, "nonzero"):
            raise ValueError(f"data.source.binary={self.binary!r} is unknown: choose false, true or nonzero.")
        given = {"binary": self.binary, "reduce_zero_label": self.reduce_zero_label}
        of_values = [f"data.source.{name}={str(value).lower()}" for name, value in given.items() if value]
        if len(of_values) > 1:
            raise ValueError(f"{' and '.join(of_values)} say two things of stored values: leave one of them false.")
        if of_values and self.encoding != "index":
            raise ValueError(
                f"{of_values[0]} says what stored values mean, but with data.source.encoding={self.encoding} masks "
                "hold none: leave it false, or set data.source.encoding=index."
            )

    @property
    def drawn(self) -> bool:
        """Whether labels are shapes with names rather than pixels with values."""
        return self.encoding in ("labelme", "coco")

    def reader(self) -> MaskReader:
        """The reader of masks whose classes the config lists.

        Raises:
            ValueError: classes are missing, or do not fit the encoding.
        """
        labels = self._labels()
        if self.drawn:
            return self._shapes(labels, {name: index for index, name in enumerate(labels.names)}, rest_ignored=False)
        if self.binary:
            return NonzeroMasks(labels) if self.binary == "nonzero" else BinaryMasks(labels)
        if self.encoding == "colour":
            return ColourMasks(labels, [rgb(colour, "data.source.ignore_colours") for colour in self.ignore_colours])
        return IndexMasks(labels, _from_one(labels) if self.reduce_zero_label else None)

    def reader_by(self, policy: Policy) -> MaskReader:
        """The reader of masks whose stored values, or names of shapes, a policy explains.

        Raises:
            ValueError: the policy names classes where masks hold numbers, or numbers where shapes have names; or a
                setting is about classes that the config does not list.
        """
        self._refuse_without_classes(policy)
        if not self.drawn:
            return policy.on_values()
        return self._shapes(policy.labels, policy.by_name(), policy.rest_ignored)

    def _refuse_without_classes(self, policy: Policy) -> None:
        """Settings that a policy alone would leave unread."""
        if self.encoding == "colour":
            raise ValueError(
                f"policy '{policy.name}' says what stored values and names become, but with "
                "data.source.encoding=colour masks hold neither: give the colours names by data.source.classes and "
                "data.source.palette, and write these names in the policy's 'from' and 'ignore'."
            )
        for name, instead in _IN_A_POLICY.items():
            if getattr(self, name):
                raise ValueError(
                    f"data.source.{name} is about data.source.classes, which are not given: give them (the policy's "
                    f"'from' then takes their names), or leave it out and write {instead} in policy '{policy.name}'."
                )

    def _labels(self) -> LabelSpace:
        classes, ignore_index = self.classes, self.ignore_index
        if classes is None:
            raise ValueError("name your masks' classes: data.source.classes=[background,thing], or data.policy.")
        if not 1 <= len(classes) <= 255 or not (ignore_index is None or 0 <= ignore_index <= 255):
            raise ValueError(
                f"data.source has {len(classes)} classes and ignore_index={ignore_index}: masks are 8-bit, so name "
                "1…255 classes and choose an ignore index within 0…255 (or null)."
            )
        return LabelSpace(tuple(classes), self._colours(len(classes)), ignore_index)

    def _colours(self, count: int) -> tuple[RGB, ...]:
        if self.palette is None:
            return voc_colours(count)
        if len(self.palette) != count:
            raise ValueError(
                f"data.source.palette has {len(self.palette)} colours for {count} data.source.classes: give one "
                "[red, green, blue] a class, or null for PASCAL VOC's."
            )
        return tuple(rgb(colour, "data.source.palette") for colour in self.palette)

    def _shapes(self, labels: LabelSpace, indices: dict[str, int], rest_ignored: bool) -> ShapeMasks:
        if self.default_class is not None and self.default_class not in labels.names:
            raise ValueError(
                f"data.source.default_class='{self.default_class}' is not a class: choose one of "
                f"{', '.join(labels.names)}, or "
                "null where what nobody drew on has no label."
            )
        if self.default_class is None and labels.ignore_index is None:
            raise ValueError(
                "what nobody drew on needs a value: leave data.source.ignore_index at 255, or name the class of such "
                "pixels in data.source.default_class."
            )
        default_class = labels.fill if self.default_class is None else labels.names.index(self.default_class)
        return ShapeMasks(labels, indices, default_class, self.line_width, rest_ignored)


def _from_one(labels: LabelSpace) -> dict[int, int]:
    """Stored 0 has no label, 1 is the first class."""
    return {0: labels.fill, 255: labels.fill, **{index + 1: index for index in range(labels.num_classes)}}
