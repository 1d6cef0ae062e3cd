"""COCO-Stuff (Caesar et al. 2018): 80 things and 91 stuff classes, per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from perpixel.data.base import SplitName
from perpixel.data.files.pairs import Pair
from perpixel.data.files.source import FileSource, OnBadFile
from perpixel.data.masks.reader import IndexMasks, MaskReader
from perpixel.data.published.layout import IMAGENET_MEAN, IMAGENET_STD, Layout, class_table, listed, with_suffix
from perpixel.windows import Window

Version = Literal["164k", "10k"]

LAYOUT_164K = Layout(
    name="COCO-Stuff 164k",
    home="github.com/nightrome/cocostuff (train2017.zip, val2017.zip, stuffthingmaps_trainval2017.zip)",
    tree="""  images/train2017/000000000009.jpg       (or train2017/ itself)
  images/val2017/000000000139.jpg
  annotations/train2017/000000000009.png  (or stuffthingmaps/, or stuffthingmaps_trainval2017/)
  annotations/val2017/000000000139.png""",
)
LAYOUT_10K = Layout(
    name="COCO-Stuff 10k",
    home="github.com/nightrome/cocostuff10k (cocostuff-10k-v1.1.zip)",
    tree="""  images/COCO_train2014_000000000077.jpg
  annotations/COCO_train2014_000000000077.mat
  imageLists/train.txt, test.txt""",
)


class COCOStuff(FileSource):
    """COCO-Stuff with its 171 classes (of 182 ids, 11 never occur); unlabelled pixels are ignored.

    Stuff has the colours of the data set's own tools (``getCMap`` in nightrome/cocostuffapi: a darkened "jet" in an
    order shuffled by the seed 42; cardboard and floor-tile are alike). Things are all black there, so pictures give
    them PASCAL VOC's colour map.

    Args:
        root: the folder that holds images and annotations.
        version: ``164k`` (2017 images, PNG maps that store id − 1), or ``10k`` (2014 images, MATLAB maps that store the
            id; its list ``test`` is the validation split).
        policy: file of a label policy that merges, renames or leaves out classes (see ``perpixel.data.masks.policy``).
        on_bad_file: ``error`` refuses to train on faulty files, ``skip`` leaves them out and names them.
        max_bad: greatest share of faulty files in a split that ``skip`` tolerates.
        cache: keep decoded samples in the user's cache folder (as large as the raw pixels) and map them into memory.
        mean, std: per channel, in units of full scale; None measures.

    Raises:
        ValueError: a folder is missing or files lack masks; says what was looked for, the layout and the source.
    """

    def __init__(
        self,
        root: str,
        version: Version = "164k",
        policy: str | None = None,
        on_bad_file: OnBadFile = "error",
        max_bad: float = 0.01,
        cache: bool = False,
        mean: Sequence[float] | None = IMAGENET_MEAN,
        std: Sequence[float] | None = IMAGENET_STD,
    ) -> None:
        base = Path(root).expanduser()
        pairs: dict[SplitName, list[Pair]]
        if version == "164k":
            pairs = {"train": _part_164k(base, "train2017"), "val": _part_164k(base, "val2017")}
            reader: MaskReader = class_table("coco_stuff", offset=-1, ignored=(255,))
        elif version == "10k":
            pairs = {"train": _part_10k(base, "train"), "val": _part_10k(base, "test")}
            reader = MatlabMasks(class_table("coco_stuff", ignored=(0,)))
        else:
            raise ValueError(f"data.source.version={version!r} is unknown: choose 164k or 10k.")
        super().__init__(pairs, reader, policy, 3, mean, std, on_bad_file, max_bad, cache)


class MatlabMasks(MaskReader):
    """Reads the variable ``S`` of MATLAB files."""

    def __init__(self, values: IndexMasks) -> None:
        self._values = values
        self.labels, self.table = values.labels, values.table

    def __call__(self, path: Path, window: Window | None = None) -> npt.NDArray[np.uint8]:
        """Class indices of a MATLAB file, (H, W) uint8.

        Raises:
            ValueError: the file cannot be read or holds no map.
        """
        from scipy.io import loadmat  # a second of import that only this data set needs

        try:
            content = loadmat(path, variable_names=["S"])
        except Exception as error:  # scipy raises half a dozen kinds for damaged files
            raise ValueError(f"'{path}' is no MATLAB file that can be read ({error}): copy it again.") from None
        if "S" not in content:
            raise ValueError(f"'{path}' holds no variable 'S', the map of COCO-Stuff 10k.")
        values = content["S"]
        part = values if window is None else values[window.slices]
        return self._values.decode(part.astype(np.int64), str(path))

    def shape(self, path: Path) -> tuple[int, int]:
        """(H, W); the file must be read for it."""
        height, width = self(path).shape
        return height, width

    def key(self) -> str:
        """The table of ids."""
        return self._values.key()


def _part_164k(root: Path, part: str) -> list[Pair]:
    images = with_suffix(LAYOUT_164K.need(root, f"images/{part}", part), ".jpg")
    places = ("annotations", "stuffthingmaps", "stuffthingmaps_trainval2017")
    masks = LAYOUT_164K.need(root, *(f"{place}/{part}" for place in places))
    return LAYOUT_164K.paired(images, [masks / f"{image.stem}.png" for image in images])


def _part_10k(root: Path, part: str) -> list[Pair]:
    stems = list(listed(LAYOUT_10K.need(root, f"imageLists/{part}.txt")))
    images, masks = LAYOUT_10K.need(root, "images"), LAYOUT_10K.need(root, "annotations")
    return LAYOUT_10K.paired([images / f"{stem}.jpg" for stem in stems], [masks / f"{stem}.mat" for stem in stems])
