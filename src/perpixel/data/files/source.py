"""A data set of image and mask files."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from perpixel.config import together
from perpixel.config.ranges import normalisation_faults
from perpixel.data.base import NOTHING, Array, DataSource, Sample, Split, SplitName
from perpixel.data.files.decoded_cache import decoded
from perpixel.data.files.extras import Extra, read_extras
from perpixel.data.files.file_cache import remembered
from perpixel.data.files.inspection import BadFiles, Inspection, all_faults_told, check_sizes, inspect, inspect_again
from perpixel.data.files.pairs import Pair
from perpixel.data.files.statistics import channel_statistics, evenly, readable
from perpixel.data.files.table import PairTable
from perpixel.data.formats.decode import image_shape, read_image
from perpixel.data.formats.suffixes import MASK_SUFFIXES
from perpixel.data.hashing import digest, file_digest
from perpixel.data.masks.original_ids import original_ids
from perpixel.data.masks.policy import apply_policy
from perpixel.data.masks.reader import MaskReader
from perpixel.windows import Window, Windowed

OnBadFile = Literal["error", "skip"]

_WITHOUT_LABELS: Mapping[SplitName, tuple[str, str]] = {
    "train": ("training", "which teaches nothing"),  # weights would only decay, and the loss be 0
    "val": ("validation", "by which no checkpoint can be chosen: give it labelled samples"),
}
"""What masks without any label are called, and what is lost."""


class FileSplit(Split):
    """Samples that are pairs of files.

    Args:
        pairs: the samples.
        read_mask: gives class indices for a mask file.
        channels: C of the images.
        cache: keep decoded images and masks on disk and map them into memory.
        extras: what else the pairs bring.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        read_mask: MaskReader,
        channels: int = 3,
        cache: bool = False,
        extras: Sequence[Extra] = (),
    ) -> None:
        self.pairs = pairs if isinstance(pairs, PairTable) else PairTable.of(pairs)
        self.read_mask = read_mask
        self.channels = channels
        self.cache = cache
        self.extras = tuple(extras)

    def without(self, names: Collection[str]) -> FileSplit:
        """The split without some samples."""
        kept = [pair for pair in self.pairs if pair.name not in names]
        return FileSplit(kept, self.read_mask, self.channels, self.cache, self.extras)

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int, rng: np.random.Generator) -> Sample:
        """Decode pair ``index``; ``rng`` is not used.

        Raises:
            ValueError: a file is damaged, the sizes differ, or the mask holds an unknown value; names the file.
        """
        return self._read(self.pairs[index])

    def _read(self, pair: Pair) -> Sample:
        image, mask = decoded(pair, self._meaning, lambda: self._decode(pair)) if self.cache else self._decode(pair)
        if not self.extras:
            return Sample(image, mask, pair.name)
        return Sample(image, mask, pair.name, read_extras(self.extras, pair.extras, pair.window, mask.shape))

    @cached_property
    def _meaning(self) -> str:
        """What the arrays depend on besides the files."""
        return f"{self.read_mask.key()} {self.channels}"

    def open(self, index: int, rng: np.random.Generator) -> Sample:
        """Pair ``index``, of which only what a recipe cuts out is decoded.

        Raises:
            ValueError: as ``read``; damage outside what is cut out, and unknown values there, are left to ``verify``.
        """
        pair = self.pairs[index]
        if self.cache or pair.mask.suffix.lower() not in MASK_SUFFIXES:
            return self._read(pair)
        whole = image_shape(pair.image)
        check_sizes(pair, whole, image_shape(pair.mask))
        window = pair.window or Window(0, 0, *whole)
        image = Windowed(window[2:], lambda part: read_image(pair.image, self.channels, window.part(part)))
        mask = Windowed(window[2:], lambda part: self.read_mask(pair.mask, window.part(part)))
        extras = read_extras(self.extras, pair.extras, pair.window, window[2:]) if self.extras else NOTHING
        return Sample(cast(Array, image), cast(Array, mask), pair.name, extras)

    def _decode(self, pair: Pair) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
        image = read_image(pair.image, self.channels, pair.window)
        mask = self.read_mask(pair.mask, pair.window)
        check_sizes(pair, image.shape[:2], mask.shape)
        return image, mask

    def sample_name(self, index: int) -> str:
        """Of the pair."""
        return self.pairs[index].name

    def conditions(self, index: int) -> Mapping[str, str]:
        """The pair's group, and whatever else is known."""
        pair = self.pairs[index]
        return ({"group": pair.group} if pair.group else {}) | dict(pair.conditions)

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) from the image's header."""
        pair = self.pairs[index]
        return (pair.window.height, pair.window.width) if pair.window else image_shape(pair.image)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel, in units of full scale, of some images spread over the split."""
        chosen = evenly(self.pairs)
        images: list[Pair] = []

        def read(pair: Pair) -> Array:
            image = read_image(pair.image, self.channels, pair.window)
            images.append(pair)
            return image

        def measure() -> str:
            return json.dumps(channel_statistics(readable(chosen, read)))

        try:
            key = self._stamp()
        except OSError:  # a file is missing, which is told when all files are looked at
            text = measure()
        else:
            text = remembered("statistics", key, measure, keep=lambda: len(images) == len(chosen))
        mean, std = json.loads(text)
        return tuple(mean), tuple(std)

    def fingerprint(self) -> str:
        """From names, files' bytes and what mask values mean; where the files lie does not count."""
        return remembered("hash", self._stamp(), self._hash)

    def inspect(self) -> Inspection:
        """What is wrong with which pair, and which classes occur; looked at once for unchanged, sound files."""
        given = (self.pairs, self.read_mask, self.channels, self.extras)
        fresh: list[Inspection] = []

        def look() -> str:
            fresh.append(inspect(*given))
            return fresh[0].to_json()

        kept = Inspection.from_json(remembered("inspection", self._stamp(), look))
        return kept if fresh else inspect_again(kept, *given)

    def verify(self, use: SplitName | None = None) -> None:
        """Look at every pair before training.

        Raises:
            ValueError: lists the first faulty files, each with its reason and mend; or what all masks hold together
                teaches nothing. Published test masks, say, may be without any label.
        """
        found = self.inspect()
        found.raise_faults(len(self.pairs), self.read_mask.labels)
        if use is not None and use in _WITHOUT_LABELS:
            self._refuse_unlabelled(*_WITHOUT_LABELS[use], found.present)
        if use == "train" and not found.counted:
            self._refuse_weightless()
        self._refuse_unread_binary(found.present)

    def _hash(self) -> str:
        parts = (f"{pair.name} {' '.join(map(file_digest, pair.files))} {pair.window}" for pair in sorted(self.pairs))
        return digest(self.read_mask.key(), *parts)

    def _stamp(self) -> str:
        return digest(
            self.pairs.stamp(),
            repr(self.read_mask.labels),
            self.read_mask.key(),
            str(self.channels),
            *map(str, self.extras),
        )

    def _refuse_unlabelled(self, which: str, why: str, present: Sequence[int]) -> None:
        if not any(value < self.read_mask.labels.num_classes for value in present):
            raise ValueError(
                f"no pixel of the {len(self.pairs)} {which} masks has a label (the first is '{self.pairs[0].mask}'): "
                f"all are {self.read_mask.labels.fill}, the ignore value, {why}. See to it that "
                "data.source.masks names the labels, and that data.source and data.policy say what their values mean."
            )

    def _refuse_weightless(self) -> None:
        """The loss would be 0, and weights of the network only decay."""
        at = next(place for place, extra in enumerate(self.extras) if extra.name == "weight")
        raise ValueError(
            f"every labelled pixel of the {len(self.pairs)} training samples has the weight 0 (the first file is "
            f"'{self.pairs[0].extras[at]}'), which teaches nothing. See to it that data.source.weights names the "
            "weights (255 counts as 1, 65535 in 16 bits; floats count as they are), or leave it out."
        )

    def _refuse_unread_binary(self, present: Sequence[int]) -> None:
        """0/255 masks with 255 as ignore value would train on background alone, and look perfect."""
        labels = self.read_mask.labels
        if set(present) == {0, 255} and labels.ignore_index == 255 and self.read_mask.stores_indices:
            masks = (self.read_mask(pair.mask, pair.window) for pair in self.pairs)
            counts = (
                (pair.mask, int(np.count_nonzero(mask == 255))) for pair, mask in zip(self.pairs, masks, strict=True)
            )
            path, pixels = next((path, pixels) for path, pixels in counts if pixels)
            raise ValueError(
                f"all {len(self.pairs)} masks hold only the values 0 and 255 ('{path}' has 255 in {pixels:,} pixels), "
                f"and 255 is the ignore value: nothing but '{labels.names[0]}' would be learnt. If these are 0/255 "
                "binary masks, set data.source.binary=true, and 255 becomes class 1."
            )


class FileSource(DataSource):
    """A data set of image and mask files.

    Args:
        pairs: the samples of each split that exists; empty splits do not.
        read_mask: gives class indices for a mask file.
        policy: file of a label policy over the reader's classes, or None.
        channels: C of the images.
        mean, std: per channel, in units of full scale; both are measured on the training images where one is None.
        on_bad_file: ``error`` refuses to train on faulty files; ``skip`` leaves faulty pairs out, up to ``max_bad``,
            and names them in ``quarantined``.
        max_bad: greatest share of faulty pairs in a split that ``skip`` tolerates; never all of them.
        cache: keep decoded images and masks in the user's cache folder and map them into memory.
        extras: what else the pairs bring.
    """

    def __init__(
        self,
        pairs: Mapping[SplitName, Sequence[Pair]],
        read_mask: MaskReader,
        policy: str | None,
        channels: int,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        on_bad_file: OnBadFile = "error",
        max_bad: float = 0.0,
        cache: bool = False,
        extras: Sequence[Extra] = (),
    ) -> None:
        if on_bad_file not in ("error", "skip"):
            raise ValueError(f"data.on_bad_file={on_bad_file!r} is unknown: choose error or skip.")
        if not 0 <= max_bad <= 1:
            raise ValueError(f"data.max_bad={max_bad:g}: give the greatest share of faulty files in a split, 0…1.")
        if channels < 1:
            raise ValueError(f"data.source.channels={channels}: give the images' number of channels, 3 for RGB.")
        read_mask, self.rules = apply_policy(policy, read_mask)
        self._splits = {
            name: FileSplit(part, read_mask, channels, cache, extras) for name, part in pairs.items() if part
        }
        self.extras = {extra.name: extra.kind for extra in extras}
        self.splits = tuple(self._splits)
        self.labels = read_mask.labels
        self.original_ids = original_ids(read_mask)
        self.channels = channels
        if on_bad_file == "skip":
            self._quarantine(max_bad)
        measure = mean is None or std is None
        if faults := normalisation_faults("data.source", mean, std, channels):
            raise together(faults)
        self.mean, self.std = self._measured() if measure else (tuple(mean or ()), tuple(std or ()))

    def _measured(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of the training images; where none can be read, all faulty files are told."""
        with all_faults_told(self):
            return self._splits["train"].statistics()

    def split(self, name: SplitName) -> FileSplit:
        """The image and mask pairs of one split.

        Raises:
            ValueError: the data has no such split.
        """
        if name not in self._splits:
            raise ValueError(f"the data has no '{name}' split, only {', '.join(self.splits)}.")
        return self._splits[name]

    def _quarantine(self, max_bad: float) -> None:
        found = {name: split.inspect() for name, split in self._splits.items()}
        shares = {name: len(found[name].faults) / len(split) for name, split in self._splits.items()}
        if over := {name: share for name, share in shares.items() if share > max_bad or share == 1}:
            raise BadFiles.of_splits(
                {name: found[name].bad_files(len(self._splits[name]), self.labels) for name in over},
                _too_many(over, max_bad),
            )
        for name, split in self._splits.items():
            self._splits[name] = split.without(found[name].faults)
            self.quarantined = (*self.quarantined, *found[name].faults.values())


def _too_many(shares: Mapping[SplitName, float], allowed: float) -> str:
    """Why ``skip`` refuses all the same, and what would do."""
    enough = math.ceil(100 * max(shares.values())) / 100
    more = f", or allow more with data.max_bad={enough:g}" if enough < 1 else ""
    told = " and ".join(f"{share:.1%} of {name}" for name, share in shares.items())
    return (
        f"data.on_bad_file=skip leaves faulty pairs out up to a share of data.max_bad={allowed:g} of a "
        f"split, and never all of it, but {told} are faulty. Mend or remove the files below{more}."
    )
