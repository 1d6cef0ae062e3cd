"""Cityscapes (Cordts et al. 2016): 19 classes of the street, from 50 cities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from perpixel.data.base import SplitName
from perpixel.data.files.pairs import Pair
from perpixel.data.files.source import FileSource, OnBadFile
from perpixel.data.formats.decode import read_values
from perpixel.data.masks.reader import IndexMasks, MaskReader
from perpixel.data.published.layout import IMAGENET_MEAN, IMAGENET_STD, Layout, class_table, with_suffix
from perpixel.windows import Window

Annotations = Literal["fine", "coarse"]

LAYOUT = Layout(
    name="Cityscapes",
    home="cityscapes-dataset.com (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip, gtCoarse.zip)",
    tree="""  leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png   (train, val, train_extra)
  gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png     (or …_labelTrainIds.png)
  gtCoarse/train/aachen/aachen_000000_000019_gtCoarse_labelIds.png""",
)

LABEL_IDS = range(34)
"""Values of ``labelIds`` files; those that are not among the 19 evaluated classes are ignored."""


class Cityscapes(FileSource):
    """Cityscapes with its 19 train ids; the city is each sample's group.

    ``labelIds`` files (34 ids) are translated, ``labelTrainIds`` files are read where there are no others. Validation
    is always on the fine labels. The labels of the test set are not public: there is no test split.

    Args:
        root: the folder that holds leftImg8bit and gtFine.
        annotations: what to train on: ``fine``, or ``coarse`` polygons with the rest ignored.
        extra: with ``coarse``, the 20,000 images of ``train_extra`` too.
        policy: file of a label policy that merges, renames or leaves out classes (see ``perpixel.data.masks.policy``).
        on_bad_file: ``error`` refuses to train on faulty files, ``skip`` leaves them out and names them.
        max_bad: greatest share of faulty files in a split that ``skip`` tolerates.
        cache: keep decoded samples in the user's cache folder (as large as the raw pixels) and map them into memory.
        mean, std: per channel, in units of full scale; None measures.

    Raises:
        ValueError: a folder is missing or files lack masks; says what was looked for, the layout and the source.
    """

    groups_are = "cities"

    def __init__(
        self,
        root: str,
        annotations: Annotations = "fine",
        extra: bool = False,
        policy: str | None = None,
        on_bad_file: OnBadFile = "error",
        max_bad: float = 0.01,
        cache: bool = False,
        mean: Sequence[float] | None = IMAGENET_MEAN,
        std: Sequence[float] | None = IMAGENET_STD,
    ) -> None:
        if annotations not in ("fine", "coarse"):
            raise ValueError(f"data.source.annotations={annotations!r} is unknown: choose fine or coarse.")
        if extra and annotations == "fine":
            raise ValueError(
                "data.source.extra=true needs data.source.annotations=coarse: train_extra has no fine labels."
            )
        base = Path(root).expanduser()
        parts = ["train", "train_extra"] if extra else ["train"]
        kind = "gtFine" if annotations == "fine" else "gtCoarse"
        pairs: dict[SplitName, list[Pair]] = {
            "train": [pair for part in parts for pair in _part(base, kind, part)],
            "val": _part(base, "gtFine", "val"),
        }
        reader = StreetMasks(pair.mask for part in pairs.values() for pair in part)
        super().__init__(pairs, reader, policy, 3, mean, std, on_bad_file, max_bad, cache)


class StreetMasks(MaskReader):
    """Reads ``labelIds`` and ``labelTrainIds`` files, told apart by their names.

    Args:
        masks: the files; where they are of both kinds, a stored value has no one meaning (``table`` is None).
    """

    def __init__(self, masks: Iterable[Path]) -> None:
        self._by_id = class_table("cityscapes", ignored=LABEL_IDS)
        self.labels = self._by_id.labels
        self._by_train_id = IndexMasks(self.labels)
        kinds = {self._values(mask) for mask in masks}
        self.table = kinds.pop().table if len(kinds) == 1 else None

    def __call__(self, path: Path, window: Window | None = None) -> npt.NDArray[np.uint8]:
        """Train ids of a mask file, (H, W) uint8."""
        return self._values(path).decode(read_values(path, window), str(path))

    def key(self) -> str:
        """The table of label ids; that of train ids follows from it."""
        return self._by_id.key()

    def _values(self, path: Path) -> IndexMasks:
        return self._by_train_id if path.stem.endswith("_labelTrainIds") else self._by_id


def _part(root: Path, kind: str, part: str) -> list[Pair]:
    folder = LAYOUT.need(root, f"leftImg8bit/{part}")
    masks = LAYOUT.need(root, f"{kind}/{part}")
    images = with_suffix(folder, "_leftImg8bit.png")
    cities = [image.parent.name for image in images]
    return LAYOUT.paired(images, [_mask(masks, image, kind) for image in images], cities)


def _mask(folder: Path, image: Path, kind: str) -> Path:
    stem = image.name.removesuffix("_leftImg8bit.png")
    by_id, by_train_id = (folder / image.parent.name / f"{stem}_{kind}_{x}.png" for x in ("labelIds", "labelTrainIds"))
    return by_train_id if by_train_id.is_file() and not by_id.is_file() else by_id
