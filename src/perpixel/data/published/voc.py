"""PASCAL VOC 2012 (Everingham et al. 2015), with the SBD labels (Hariharan et al. 2011) where they are unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perpixel.data.base import SplitName
from perpixel.data.files.pairs import Pair
from perpixel.data.files.source import FileSource, OnBadFile
from perpixel.data.published.layout import IMAGENET_MEAN, IMAGENET_STD, Layout, class_table, listed

LAYOUT = Layout(
    name="PASCAL VOC 2012",
    home="host.robots.ox.ac.uk/pascal/VOC/voc2012 (VOCtrainval_11-May-2012.tar)",
    tree="""  VOCdevkit/VOC2012/
    JPEGImages/2007_000032.jpg
    SegmentationClass/2007_000032.png
    ImageSets/Segmentation/train.txt, val.txt
  and for data.source.augmented=true (SBD's labels as PNG, 10,582 images):
    SegmentationClassAug/2007_000032.png
    ImageSets/Segmentation/trainaug.txt""",
)


class VOC(FileSource):
    """PASCAL VOC 2012: 20 things and background; 255 (borders, difficult objects) is ignored.

    The labels of the test set are not public: there is no test split.

    Args:
        root: the folder VOC2012, or one that holds it (VOCdevkit, or its parent).
        augmented: train on the list ``trainaug`` with ``SegmentationClassAug``; validation stays VOC's own.
        policy: file of a label policy that merges, renames or leaves out classes (see ``perpixel.data.masks.policy``).
        on_bad_file: ``error`` refuses to train on faulty files, ``skip`` leaves them out and names them.
        max_bad: greatest share of faulty files in a split that ``skip`` tolerates.
        cache: keep decoded samples in the user's cache folder (as large as the raw pixels) and map them into memory.
        mean, std: per channel, in units of full scale; None measures.

    Raises:
        ValueError: a folder or list is missing; says what was looked for, the layout and the source.
    """

    def __init__(
        self,
        root: str,
        augmented: bool = False,
        policy: str | None = None,
        on_bad_file: OnBadFile = "error",
        max_bad: float = 0.01,
        cache: bool = False,
        mean: Sequence[float] | None = IMAGENET_MEAN,
        std: Sequence[float] | None = IMAGENET_STD,
    ) -> None:
        places = ("JPEGImages", "VOC2012/JPEGImages", "VOCdevkit/VOC2012/JPEGImages")
        self._base = LAYOUT.need(Path(root).expanduser(), *places).parent
        train = ("trainaug.txt", "train_aug.txt") if augmented else ("train.txt",)
        pairs: dict[SplitName, list[Pair]] = {
            "train": self._listed_pairs("SegmentationClassAug" if augmented else "SegmentationClass", *train),
            "val": self._listed_pairs("SegmentationClass", "val.txt"),
        }
        super().__init__(pairs, class_table("voc", ignored=(255,)), policy, 3, mean, std, on_bad_file, max_bad, cache)

    def _listed_pairs(self, masks: str, *lists: str) -> list[Pair]:
        listing = LAYOUT.need(self._base, *(f"ImageSets/Segmentation/{name}" for name in lists))
        folder = LAYOUT.need(self._base, masks)
        stems = list(listed(listing))
        images = [self._base / "JPEGImages" / f"{stem}.jpg" for stem in stems]
        return LAYOUT.paired(images, [folder / f"{stem}.png" for stem in stems])
