"""What a pixel's value means: class names, colours and the value that marks "no label"."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PADDING_INDEX = 255
"""Target value of pixels that augmentation invents (padding), when a policy itself has no ignore index."""


_YAML_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
MOST_LINES = 40
"""Values from which on a policy is not written out for a mask: it looks like a picture."""

SEVERAL = 3
"""Values far beyond the classes from which on a mask looks like a picture's grey."""


NONZERO = "set data.source.binary=nonzero: 0 is then the first class, and every other value the second"


class UnknownValues(ValueError):
    """A mask holds values that its labels do not have.

    Attributes:
        values: all that the mask stores.
    """

    def __init__(self, message: str, values: Iterable[int] = ()) -> None:
        super().__init__(message)  # alone when torch builds it anew from a data worker's message
        self.values = frozenset(values)


def policy_for(labels: LabelSpace, values: Collection[int]) -> str:
    """What to do about masks that store other values than the indices of the listed classes: the policy file to write.

    Args:
        labels: of the classes that were listed.
        values: all that the masks store.

    Returns:
        A paragraph, empty where a policy is not the likely fix (colours saved as grey, 0/255 masks).
    """
    ignored = sorted(value for value in values if value < 0 or value == labels.ignore_index)
    stored = sorted({*values} - {*ignored})
    if labels.ignore_index in ignored and len(stored) == labels.num_classes - 1:  # else one class would have no value
        ignored, stored = ignored[:-1], [*stored, ignored[-1]]
    outside = any(not 0 <= value < labels.num_classes for value in (*ignored, *stored) if value != labels.ignore_index)
    from_one = stored in ([*range(1, labels.num_classes + 1)], [*range(labels.num_classes + 1)])
    if not outside or from_one or not stored or len(stored) > MOST_LINES or {*values} <= {0, 255}:
        return ""
    names = [*labels.names, *(f"value_{value}" for value in stored[labels.num_classes :])]
    lines = [
        *([f"ignore: {ignored}"] if ignored else []),
        "classes:",
        *(f"  - {{name: {_in_yaml(name)}, from: {value}}}" for name, value in zip(names, stored, strict=False)),
    ]
    told = f"These masks store the values {', '.join(map(str, sorted(values)))}. A policy file says what each becomes: "
    told += "check these lines, and save them as labels.yaml,\n" + "\n".join(f"    {line}" for line in lines)
    told += "\nthen set data.policy=labels.yaml data.source.classes=null."
    if len(stored) > labels.num_classes:
        told += " Values without a name of yours are called value_… here: name them, or list them under 'ignore'."
    if labels.num_classes == 2 and len(stored) > 2:
        told += f" (Where they are ids of single objects, {NONZERO}.)"
    return told


def _in_yaml(name: str) -> str:
    """A name that YAML reads as this text, within braces."""
    plain = name.replace("_", "").replace("-", "").replace(" ", "")
    is_text = plain.isalnum() and name[0].isalpha() and name == name.strip() and name.lower() not in _YAML_WORDS
    return name if is_text else "'" + name.replace("'", "''") + "'"


def likely_mends(counts: Mapping[int, int], num_classes: int) -> Iterator[str]:
    """What a mask's stored values tell of how it was made, and so of the mend.

    Args:
        counts: pixels by stored value.
        num_classes: of the label space that does not fit.
    """
    beyond = [value for value in counts if value > num_classes and value != PADDING_INDEX]
    if num_classes == 2 and len({*counts} - {0, 1, PADDING_INDEX}) >= SEVERAL:
        yield f"Where the values are ids of single objects, {NONZERO}."
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
        raise UnknownValues(
            f"mask '{where}' holds the value {bad} in {pixels:,} pixels, but the label policy "
            f"({self.num_classes} classes, ignore_index={ignore}) knows 0…{self.num_classes - 1}. "
            f"{self._likely_mend(dict(zip(values.tolist(), counts.tolist(), strict=True)), bad)}",
            values.tolist(),
        )

    def _likely_mend(self, counts: Mapping[int, int], bad: int) -> str:
        mends = [*likely_mends(counts, self.num_classes)]
        if not mends and 255 in counts and self.ignore_index is None:
            mends = ["If 255 marks unlabelled pixels, set data.source.ignore_index=255."]
        becomes = f"'ignore: [{bad}]'" + (f", or 'from: {bad}' at a class" if bad >= 0 else "")
        return " ".join(
            mends
            or [
                "Name all classes in data.source.classes; where ids have gaps or are negative, write a policy file "
                f"(data.policy) that says what each becomes ({becomes}); or fix the mask."
            ]
        )

    def colour(
        self, mask: npt.NDArray[np.integer], unlabelled: Sequence[int] = (255, 255, 255)
    ) -> npt.NDArray[np.uint8]:
        """Paint a mask: (H, W) class indices → (H, W, 3) uint8 RGB, anything outside the classes in ``unlabelled``."""
        table = np.empty((self.num_classes + 1, 3), np.uint8)
        table[:-1] = self.palette
        table[-1] = unlabelled
        inside = (mask >= 0) & (mask < self.num_classes)
        return table[np.where(inside, mask, self.num_classes)]
