"""A split of image and mask files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from perpixel.data.base import DataSource, Sample, Split, SplitName
from perpixel.data.decode import image_shape, read_image
from perpixel.data.hashing import digest, file_digest
from perpixel.data.masks import BinaryMasks, MaskReader
from perpixel.data.remembered import remembered, stamp
from perpixel.data.statistics import channel_statistics, evenly

SHOWN = 5
"""How many faulty files an error lists."""

_JPEG = (".jpg", ".jpeg")
_THREADS = 4


class Pair(NamedTuple):
    """An image and its mask.

    Attributes:
        name: of both, unique within the split.
        image, mask: the files.
        group: what must not stand on both sides of a split (camera, city, patient), where it is known.
    """

    name: str
    image: Path
    mask: Path
    group: str = ""


class FileSplit(Split):
    """Samples that are pairs of files.

    Args:
        pairs: the samples.
        read_mask: gives class indices for a mask file.
        channels: C of the images.
    """

    def __init__(self, pairs: Sequence[Pair], read_mask: MaskReader, channels: int = 3) -> None:
        self.pairs = tuple(pairs)
        self.read_mask = read_mask
        self.channels = channels

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int, rng: np.random.Generator) -> Sample:
        """Decode pair ``index``; ``rng`` is not used.

        Raises:
            ValueError: a file is damaged, the sizes differ, or the mask holds an unknown value; names the file.
        """
        pair = self.pairs[index]
        image = read_image(pair.image, self.channels)
        mask = self.read_mask(pair.mask)
        if image.shape[:2] != mask.shape:
            raise ValueError(_different_sizes(pair, image.shape[:2], mask.shape))
        return Sample(image, mask, pair.name)

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) from the image's header."""
        return image_shape(self.pairs[index].image)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel, in units of full scale, of some images spread over the split."""
        return channel_statistics(read_image(pair.image, self.channels) for pair in evenly(self.pairs))

    def fingerprint(self) -> str:
        """From names, files' bytes and what mask values mean; where the files lie does not count."""
        return remembered("hash", self._stamp(), self._hash)

    def _hash(self) -> str:
        parts = (f"{pair.name} {file_digest(pair.image)} {file_digest(pair.mask)}" for pair in sorted(self.pairs))
        return digest(self.read_mask.key(), *parts)

    def _stamp(self) -> str:
        files = stamp(path for pair in self.pairs for path in (pair.image, pair.mask))
        return digest(files, *(pair.name for pair in self.pairs), repr(self.read_mask.labels), self.read_mask.key())

    def verify(self) -> None:
        """Decode every mask, and compare its size with its image's header; done once for unchanged files.

        Raises:
            ValueError: lists the first faulty files, each with its reason and mend.
        """
        missing = [path for pair in self.pairs for path in (pair.image, pair.mask) if not path.exists()]
        if missing:
            raise ValueError(f"{len(missing)} files of the data set do not exist, first: '{missing[0]}'.")
        remembered("verified", self._stamp(), self._verify)

    def _verify(self) -> str:
        present: Counter[int] = Counter()
        faults: list[str] = []
        with ThreadPoolExecutor(_THREADS) as pool:
            for values, fault in pool.map(self._inspect, self.pairs):
                present.update(values)
                faults.extend(fault)
        if faults:
            more = [f"…and {len(faults) - SHOWN} more."] if len(faults) > SHOWN else []
            lines = [f"{len(faults)} of {len(self.pairs)} pairs are faulty:", *faults[:SHOWN], *more]
            raise ValueError("\n".join(lines))
        self._refuse_unread_binary(set(present))
        return f"{len(self.pairs)} pairs\n"

    def _inspect(self, pair: Pair) -> tuple[set[int], list[str]]:
        try:
            mask = self.read_mask(pair.mask)
            shape = image_shape(pair.image)
            if shape != mask.shape:
                return set(), [_different_sizes(pair, shape, mask.shape)]
            if pair.image.suffix.lower() in _JPEG and not _ends_as_jpeg(pair.image):
                read_image(pair.image, self.channels)  # junk after the picture is harmless: only a full decode tells
        except ValueError as error:
            return set(), [str(error)]
        return set(np.flatnonzero(np.bincount(mask.ravel())).tolist()), []

    def _refuse_unread_binary(self, present: set[int]) -> None:
        """0/255 masks with 255 as ignore value would train on background alone, and look perfect."""
        labels = self.read_mask.labels
        if present == {0, 255} and labels.ignore_index == 255 and not isinstance(self.read_mask, BinaryMasks):
            raise ValueError(
                f"all {len(self.pairs)} masks (first: '{self.pairs[0].mask}') hold only the values 0 and 255, and 255 "
                f"is the ignore value: nothing but '{labels.names[0]}' would be learnt. If these are 0/255 binary "
                "masks, set data.source.binary=true, and 255 becomes class 1."
            )


class FileSource(DataSource):
    """A data set of image and mask files.

    Args:
        pairs: the samples of each split that exists; empty splits do not.
        read_mask: gives class indices for a mask file.
        channels: C of the images.
        mean, std: per channel, in units of full scale; both are measured on the training images where one is None.
    """

    def __init__(
        self,
        pairs: Mapping[SplitName, Sequence[Pair]],
        read_mask: MaskReader,
        channels: int,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> None:
        self._splits = {name: FileSplit(part, read_mask, channels) for name, part in pairs.items() if part}
        self.splits = tuple(self._splits)
        self.labels = read_mask.labels
        self.channels = channels
        measure = mean is None or std is None
        self.mean, self.std = self._splits["train"].statistics() if measure else (tuple(mean or ()), tuple(std or ()))

    def split(self, name: SplitName) -> FileSplit:
        """The image and mask pairs of one split.

        Raises:
            ValueError: the data has no such split.
        """
        if name not in self._splits:
            raise ValueError(f"the data has no '{name}' split, only {', '.join(self.splits)}.")
        return self._splits[name]


def unique_names(keys: Sequence[str]) -> Iterator[str]:
    """Keys as names without path separators.

    Raises:
        ValueError: two keys give one name.
    """
    names = [key.replace("/", "__") for key in keys]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"two samples would be named '{twice[0]}': rename one of the files.")
    return iter(names)


def _different_sizes(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> str:
    return (
        f"image '{pair.image}' is {image[0]}×{image[1]} (H×W), but its mask '{pair.mask}' is {mask[0]}×{mask[1]}: "
        "they must be the same picture at the same size."
    )


def _ends_as_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2))
        return file.read() == b"\xff\xd9"
