"""A split of image and mask files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from perpixel.data.base import Sample, Split
from perpixel.data.decode import image_shape, read_image
from perpixel.data.hashing import digest, file_digest
from perpixel.data.masks import BinaryMasks, MaskReader
from perpixel.data.statistics import channel_statistics, evenly

SHOWN = 5
"""How many faulty files an error lists."""

_JPEG = (".jpg", ".jpeg")
_THREADS = 4


class Pair(NamedTuple):
    """An image, its mask, and a name for both that is unique within the split."""

    name: str
    image: Path
    mask: Path


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
        name, image_path, mask_path = self.pairs[index]
        image = read_image(image_path, self.channels)
        mask = self.read_mask(mask_path)
        if image.shape[:2] != mask.shape:
            raise ValueError(_different_sizes(self.pairs[index], image.shape[:2], mask.shape))
        return Sample(image, mask, name)

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) from the image's header."""
        return image_shape(self.pairs[index].image)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel, in units of full scale, of some images spread over the split."""
        return channel_statistics(read_image(pair.image, self.channels) for pair in evenly(self.pairs))

    def fingerprint(self) -> str:
        """From names, files' bytes and what mask values mean; where the files lie does not count."""
        parts = (f"{name} {file_digest(image)} {file_digest(mask)}" for name, image, mask in sorted(self.pairs))
        return digest(self.read_mask.key(), *parts)

    def verify(self) -> None:
        """Decode every mask, and compare its size with its image's header.

        Raises:
            ValueError: lists the first faulty files, each with its reason and mend.
        """
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
