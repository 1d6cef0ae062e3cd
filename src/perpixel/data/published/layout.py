"""What the readers of published data sets share: class tables, layouts, and what to say when a folder is missing."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from perpixel.data.files.pairs import Pair
from perpixel.data.files.walking import files_below
from perpixel.data.masks.reader import IndexMasks
from perpixel.labels import PADDING_INDEX, LabelSpace

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Layout:
    """A data set's published layout.

    Args:
        name: of the data set.
        home: where it is obtained.
        tree: the layout, for people.
    """

    name: str
    home: str
    tree: str

    def need(self, root: Path, *alternatives: str) -> Path:
        """The first of the alternatives that exists under ``root``.

        Raises:
            ValueError: none exists; says which paths were looked for, the layout, and where the set is obtained.
        """
        for relative in alternatives:
            if (path := root / relative).exists():
                return path
        looked = "\n".join(f"  {root / relative}" for relative in alternatives)
        raise ValueError(
            f"{self.name} was not found: looked for\n{looked}\nSet data.source.root to a folder of this layout:\n"
            f"{self.tree}\nThe data set is obtained from {self.home}."
        )

    def paired(self, images: Sequence[Path], masks: Sequence[Path], groups: Sequence[str] | None = None) -> list[Pair]:
        """Images and their masks as pairs named by the image's stem.

        Raises:
            ValueError: masks, or listed images, are missing; says how many and which comes first.
        """
        absent = [image for image in images if not image.is_file()]
        if absent:
            raise ValueError(
                f"{self.name}: {len(absent)} of {len(images)} listed images do not exist, first '{absent[0]}'. "
                f"Unpack the data set again, as\n{self.tree}"
            )
        missing = [mask for mask in masks if not mask.is_file()]
        if missing or not images:
            first = f", first '{missing[0]}'" if missing else ""
            raise ValueError(
                f"{self.name}: {len(images)} images found, {len(missing)} of them without mask{first}. "
                f"Unpack the data set again, as\n{self.tree}"
            )
        labelled = groups or [""] * len(images)
        return [Pair(i.stem, i, m, g) for i, m, g in zip(images, masks, labelled, strict=True)]


def class_table(name: str, offset: int = 0, ignored: Sequence[int] = ()) -> IndexMasks:
    """The mask reader of a published class table.

    Args:
        name: of a CSV in ``classes/`` with the columns value, name, red, green, blue, in the order of the indices.
        offset: added to the table's values to give the stored ones.
        ignored: stored values without a label.
    """
    with (files("perpixel.data.published") / "classes" / f"{name}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    palette = tuple((int(row["red"]), int(row["green"]), int(row["blue"])) for row in rows)
    labels = LabelSpace(tuple(row["name"] for row in rows), palette, PADDING_INDEX)
    table = {int(row["value"]) + offset: index for index, row in enumerate(rows)}
    return IndexMasks(labels, dict.fromkeys(ignored, PADDING_INDEX) | table)


def with_suffix(folder: Path, suffix: str) -> list[Path]:
    """Files under a folder, at any depth and behind links, whose names end in ``suffix``; sorted."""
    return sorted(path for path in files_below(folder) if path.name.endswith(suffix))


def listed(path: Path) -> Iterator[str]:
    """The stems that a list file names: one a line, as ``2007_000032`` or as ``/JPEGImages/2007_000032.jpg …``."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield Path(line.split()[0]).stem
