"""ADE20K in the layout of the scene parsing challenge (Zhou et al. 2017): 150 classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perpixel.data.base import SplitName
from perpixel.data.files.pairs import Pair
from perpixel.data.files.source import FileSource, OnBadFile
from perpixel.data.published.layout import IMAGENET_MEAN, IMAGENET_STD, Layout, class_table, with_suffix

LAYOUT = Layout(
    name="ADE20K (SceneParsing)",
    home="data.csail.mit.edu/places/ADEchallenge (ADEChallengeData2016.zip)",
    tree="""  ADEChallengeData2016/
    images/training/ADE_train_00000001.jpg
    images/validation/ADE_val_00000001.jpg
    annotations/training/ADE_train_00000001.png
    annotations/validation/ADE_val_00000001.png""",
)


class ADE20K(FileSource):
    """ADE20K-150. Stored 0 means "other" and is ignored; 1…150 become 0…149 (``reduce_zero_label`` elsewhere).

    The labels of the test set are not public: there is no test split.

    Args:
        root: ADEChallengeData2016 or the folder that holds it.
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
        policy: str | None = None,
        on_bad_file: OnBadFile = "error",
        max_bad: float = 0.01,
        cache: bool = False,
        mean: Sequence[float] | None = IMAGENET_MEAN,
        std: Sequence[float] | None = IMAGENET_STD,
    ) -> None:
        base = LAYOUT.need(Path(root).expanduser(), "images", "ADEChallengeData2016/images").parent
        pairs: dict[SplitName, list[Pair]] = {"train": _part(base, "training"), "val": _part(base, "validation")}
        super().__init__(pairs, class_table("ade20k", ignored=(0,)), policy, 3, mean, std, on_bad_file, max_bad, cache)


def _part(root: Path, part: str) -> list[Pair]:
    images = with_suffix(LAYOUT.need(root, f"images/{part}"), ".jpg")
    masks = LAYOUT.need(root, f"annotations/{part}")
    return LAYOUT.paired(images, [masks / f"{image.stem}.png" for image in images])
