"""Looking at every pair of files before training: can it be read, do sizes agree, does the mask keep to the labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perpixel.data.base import DataSource
from perpixel.data.files.extras import Extra, check_size, read_extras
from perpixel.data.files.pairs import Pair
from perpixel.data.formats import jpeg, png
from perpixel.data.formats.axes import axes_advice
from perpixel.data.formats.decode import image_shape, read_image, stored_orientation
from perpixel.data.formats.suffixes import TIFF_SUFFIXES
from perpixel.data.formats.tiff import tiff_header
from perpixel.data.masks.reader import MaskReader
from perpixel.labels import LabelSpace, UnknownValues, policy_for

SHOWN = 5
"""How many faulty files of a split an error lists; ``BadFiles.listing`` has all."""

Array = npt.NDArray[Any]
_THREADS = 4
_SHAPES = 4096
_SPOILS = (
    "pixels, which its header calls no data (GDAL_NODATA); it would spoil the weights. Fill them (with 0, say), and "
    "give those pixels the ignore value in the mask."
)
_IS_LEARNED = (
    "labelled pixels, which its header calls no data (GDAL_NODATA). Give those pixels the ignore value in the mask, "
    "or, if it was measured, take it out of the header (gdal_edit.py -unsetnodata)."
)


class BadFiles(ValueError):
    """Pairs that cannot be used.

    Args:
        told: the message: the first of them, each with its reason and mend.
        listing: the same with all of them.
        labels: of the classes that were listed, where the files store others.
        values: what these files store.
    """

    def __init__(
        self, told: str, listing: str = "", labels: LabelSpace | None = None, values: Iterable[int] = ()
    ) -> None:
        self.values = frozenset(values)
        self.labels = labels
        advice = policy_for(labels, self.values) if labels and self.values else ""
        self.told = told
        super().__init__("\n".join(filter(None, [told, advice])))
        self.listing = listing or told

    @classmethod
    def of_splits(cls, found: Mapping[str, BadFiles], why: str = "") -> BadFiles:
        """One error for several splits, by their names, that begins with ``why``."""
        head = [why] if why else []
        return cls(
            "\n".join([*head, *(f"{name}: {one.told}" for name, one in found.items())]),
            "\n".join([*head, *(f"{name}: {one.listing}" for name, one in found.items())]),
            next((one.labels for one in found.values() if one.values), None),
            {value for one in found.values() for value in one.values},
        )


def verify_splits(source: DataSource, training: bool) -> None:
    """Check the labels of all splits of a source.

    Args:
        source: whose splits.
        training: whether they are to be trained with.

    Raises:
        BadFiles: lists the faulty files of all splits.
        ValueError: a split breaks the label policy as a whole, or is of no use to a training.
    """
    faulty: dict[str, BadFiles] = {}
    for name in source.splits:
        try:
            source.split(name).verify(name if training else None)
        except BadFiles as error:
            faulty[name] = error
    if faulty:
        raise BadFiles.of_splits(faulty)


@contextmanager
def all_faults_told(source: DataSource) -> Iterator[None]:
    """Samples that are read before the check of all files: where one is faulty, all that are get told.

    Raises:
        BadFiles: lists the faulty files of all splits.
        ValueError: what was raised within, where no file is faulty.
    """
    try:
        yield
    except ValueError:
        verify_splits(source, training=False)
        raise


@dataclass
class Inspection:
    """What was found in a split.

    Attributes:
        faults: what is wrong and how to mend it, by sample name.
        present: class indices (and ignore value) that occur anywhere.
        depths: of images (dtypes), by target.
        counted: whether the loss counts any pixel: one with a label, and with a weight above 0 where there are weights.
        stored: values of masks that store others than the labels have.
    """

    faults: dict[str, str] = field(default_factory=dict)
    present: list[int] = field(default_factory=list)
    depths: dict[str, str] = field(default_factory=dict)
    counted: bool = False
    stored: list[int] = field(default_factory=list)

    def raise_faults(self, pairs: int, labels: LabelSpace | None = None) -> None:
        """Refuse faulty data.

        Raises:
            BadFiles: lists the first faulty files, each with its reason and mend.
        """
        if self.faults:
            raise self.bad_files(pairs, labels)

    def bad_files(self, pairs: int, labels: LabelSpace | None = None) -> BadFiles:
        """The faults as an error, of so many pairs in all whose masks were held against these labels."""
        head, faults = f"{len(self.faults)} of {pairs} pairs are faulty:", list(self.faults.values())
        more = [f"…and {len(faults) - SHOWN} more."] if len(faults) > SHOWN else []
        told, listing = "\n".join([head, *faults[:SHOWN], *more]), "\n".join([head, *faults])
        return BadFiles(told, listing, labels, {*self.stored, *self.present} if self.stored else ())

    def to_json(self) -> str:
        """As text, for keeping."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Inspection:
        """From kept text."""
        return cls(**json.loads(text))


class _Look(NamedTuple):
    """What one pair showed: classes, the depth of each image by the name of its target, and if a pixel counts."""

    values: list[int]
    depths: dict[str, str]
    counted: bool = False
    fault: str | None = None
    stored: frozenset[int] = frozenset()


def inspect(
    pairs: Sequence[Pair],
    read_mask: MaskReader,
    channels: int,
    extras: Sequence[Extra] = (),
    depths: Mapping[str, str] | None = None,
) -> Inspection:
    """Decode every file once, as a training would, and compare the sizes and depths of what belongs together.

    Args:
        pairs: the samples.
        read_mask: gives class indices for a mask file.
        channels: C of the images.
        extras: what else the pairs bring.
        depths: by target, what images must have, where that is known; else what most of them have.
    """
    shape_of, mask_shape_of = lru_cache(_SHAPES)(image_shape), lru_cache(_SHAPES)(read_mask.shape)  # tiles share files
    fault_of = lru_cache(_SHAPES)(_hidden_fault)

    def sizes(pair: Pair) -> None:
        whole = shape_of(pair.image)
        check_sizes(pair, whole, mask_shape_of(pair.mask))
        for extra, path in zip(extras, pair.extras, strict=True):
            check_size(extra.name, path, shape_of(path), whole)

    def look(pair: Pair) -> _Look:
        try:
            _exist(pair)
            sizes(pair)
            seen = _decoded(pair, read_mask, channels, extras)
            for path in pair.files:
                if fault := fault_of(path):
                    raise ValueError(f"'{path}' cannot be decoded ({fault}): copy it again.")
            return seen
        except UnknownValues as error:
            return _Look([], {}, fault=str(error), stored=error.values)
        except ValueError as error:
            return _Look([], {}, fault=str(error))
        except MemoryError:  # says nothing about the file
            raise
        except Exception as error:  # what nobody foresaw is one pair's fault, and does not end the look at the others
            kind = type(error).__name__
            told = f"'{pair.image}' and '{pair.mask}' cannot be used ({kind}: {error}): mend or remove them."
            return _Look([], {}, fault=told)

    found = Inspection()
    places: dict[str, dict[str, list[int]]] = {}
    present: set[int] = set()
    stored: set[int] = set()
    with ThreadPoolExecutor(_THREADS) as pool:
        for place, (pair, seen) in enumerate(zip(pairs, pool.map(look, pairs), strict=True)):
            present.update(seen.values)
            stored.update(seen.stored)
            found.counted |= seen.counted
            for target, depth in seen.depths.items():
                places.setdefault(target, {}).setdefault(depth, []).append(place)
            if seen.fault is not None:
                found.faults[pair.name] = seen.fault
    found.present, found.stored = sorted(present), sorted(stored)
    _compare_depths(found, pairs, places, depths or {})
    return found


def _compare_depths(
    found: Inspection, pairs: Sequence[Pair], places: dict[str, dict[str, list[int]]], known: Mapping[str, str]
) -> None:
    """A batch has one depth, and so must a split."""
    for target, by_depth in places.items():
        usual = known.get(target) or max(by_depth, key=lambda depth: len(by_depth[depth]))
        found.depths[target] = usual
        for depth, odd in by_depth.items():
            for pair in (pairs[place] for place in odd if depth != usual):
                found.faults[pair.name] = (
                    f"'{pair.image}' ({target}) is {depth}, but the split's others are {usual}: convert it."
                )


def inspect_again(
    found: Inspection, pairs: Sequence[Pair], read_mask: MaskReader, channels: int, extras: Sequence[Extra] = ()
) -> Inspection:
    """What was found before, but for the faulty pairs, which are looked at once more: a fault may be the moment's."""
    if not found.faults:
        return found
    faulty = [pair for pair in pairs if pair.name in found.faults]
    again = inspect(faulty, read_mask, channels, extras, found.depths)
    present = sorted({*found.present, *again.present})
    return Inspection(again.faults, present, again.depths | found.depths, found.counted or again.counted, again.stored)


def check_sizes(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """Image and mask must show the same picture.

    Raises:
        ValueError: names both files and their sizes, and their orientations where these are why they differ.
    """
    if image != mask:
        raise ValueError(
            f"image '{pair.image}' is {image[0]}×{image[1]} (H×W), but its mask '{pair.mask}' is {mask[0]}×{mask[1]}: "
            "they must be the same picture at the same size."
            f"{_turned(pair) if image == mask[::-1] else axes_advice(pair.image, pair.mask)}"
        )


def _turned(pair: Pair) -> str:
    of_image, of_mask = stored_orientation(pair.image), stored_orientation(pair.mask)
    if of_image == of_mask:
        return ""
    return (
        f" The image's header has it turned by orientation {of_image}, the mask's by {of_mask} (1 is upright): save "
        "both upright, or with the same orientation."
    )


def _exist(pair: Pair) -> None:
    for path in pair.files:
        if not path.exists():
            raise ValueError(f"'{path}' does not exist.")


def _refuse_no_data(path: Path, image: Array, labelled: Array) -> None:
    """Values on a scale of their own would be learned from, -9999 as a depth of ten kilometres.

    16 bits hold none beyond their scale: there it counts where a label asks to learn from it, and where all bands have
    it, as one alone may be saturated. In 8 bits it never counts: headers call 0 or 255 no data, and it is black or
    white as well.
    """
    deep = image.dtype in (np.float32, np.uint16) and path.suffix.lower() in TIFF_SUFFIXES
    value = tiff_header(path).no_data if deep else 0
    if not value:
        return
    with np.errstate(over="ignore"):
        found = image == value
    if image.dtype == np.float32:
        pixels, told = int(found.any(axis=2).sum()), _SPOILS
    else:
        pixels, told = int((found.all(axis=2) & labelled).sum()), _IS_LEARNED
    if pixels:
        raise ValueError(f"'{path}' holds {value:g} in {pixels:,} {told}")


def _hidden_fault(path: Path) -> str:
    """What decoders pass over, whatever the file is called; empty if nothing."""
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(jpeg.SIGNATURE) and jpeg.ends_early(path):
        return "its data end before the picture does"
    return png.fault(path.read_bytes()) if head == png.SIGNATURE else ""


def _decoded(pair: Pair, read_mask: MaskReader, channels: int, extras: Sequence[Extra]) -> _Look:
    mask = read_mask(pair.mask, pair.window)
    image = read_image(pair.image, channels, pair.window)
    check_sizes(pair, image.shape[:2], mask.shape)
    _refuse_no_data(pair.image, image, mask < read_mask.labels.num_classes)
    brought = read_extras(extras, pair.extras, pair.window, mask.shape)
    depths = {extra.name: brought[extra.name].dtype.name for extra in extras if extra.kind == "image"}
    labelled = mask != read_mask.labels.fill
    counted = bool((labelled & (brought["weight"] > 0) if "weight" in brought else labelled).any())
    values = np.flatnonzero(np.bincount(mask.ravel())).tolist()
    return _Look(values, {"image": image.dtype.name} | depths, counted)
