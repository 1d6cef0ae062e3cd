"""What a data source gives: splits of samples that know their labels and their content hash."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from perpixel.augment.targets import Kind
from perpixel.data.unused import Unused
from perpixel.labels import LabelSpace

SplitName = Literal["train", "val", "test"]
Array = npt.NDArray[Any]
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Sample(NamedTuple):
    """One image and its labels, before augmentation.

    Attributes:
        image: (H, W, C) uint8 (or uint16/float32 for sensors that give more), colours in RGB order.
        mask: (H, W) uint8 class indices, the policy's ignore index where there is no label.
        name: unique within its split; names files and table rows, so it holds no path separator.
        extras: what else there is for the same pixels, by the names that the source's ``extras`` lists.
    """

    image: npt.NDArray[np.generic]
    mask: npt.NDArray[np.integer]
    name: str
    extras: Mapping[str, Array] = NOTHING

    @property
    def targets(self) -> dict[str, Array]:
        """All arrays by name, as recipes take them."""
        return {"image": self.image, "mask": self.mask, **self.extras}

    @classmethod
    def of(cls, targets: Mapping[str, Array], name: str) -> Sample:
        """The sample of some arrays by name."""
        extras = {key: array for key, array in targets.items() if key not in ("image", "mask")}
        return cls(targets["image"], targets["mask"], name, extras or NOTHING)


class Split(ABC):
    """A fixed sequence of samples."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int, rng: np.random.Generator) -> Sample:
        """Sample ``index``; a split that draws (a random window, say) takes all its randomness from ``rng``."""

    def open(self, index: int, rng: np.random.Generator) -> Sample:
        """What ``read`` gives, for a recipe that will cut a part of it: image and mask may be ``augment.Windowed``."""
        return self.read(index, rng)

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what the split holds: equal content gives equal hashes on every machine."""

    def shape(self, index: int) -> tuple[int, int] | None:
        """(H, W) of a sample without decoding it, or None where all samples of the split share one size.

        Evaluation batches hold images of one size each, so that no score depends on padding.
        """
        return None

    def sample_name(self, index: int) -> str:
        """The name that ``read`` gives to a sample."""
        return self.read(index, np.random.default_rng(index)).name

    @property
    def fixed(self) -> bool:
        """Whether sample ``index`` is the same picture at every reading."""
        return True

    def conditions(self, index: int) -> Mapping[str, str]:
        """Under what a sample was taken, as ``{"camera": "bus", "weather": "fog"}``, where it is known."""
        return NOTHING

    def verify(self, use: SplitName | None = None) -> None:  # noqa: B027 - masks may be right by construction
        """Look at every sample's labels before training.

        Args:
            use: as what a training takes the split; None where it is only scored.

        Raises:
            ValueError: a sample cannot be read or breaks the label policy, or all labels together do not serve that
                use; names the file and the mend.
        """


class DataSource(ABC):
    """A data set: its labels, its channel statistics and its splits.

    Attributes:
        labels: the label space of every mask.
        channels: C of every image.
        mean, std: per channel, in units of the image's full scale (0…1), for normalisation.
        splits: the splits that exist; users' data may come without a test split.
        rules: by class name, what an annotator needs to know, where a policy says it.
        quarantined: what is wrong with each file that was left out, for the run's manifest.
        unused: files that lie among the data and are used for nothing, by reason.
        drawn: whether the splits were drawn by a seed, so that a run should keep who stands where.
        groups_are: what the ``group`` in a split's ``conditions`` is, in the plural: intervals are over them.
        original_ids: for each class the value that mask files store for it; None where files hold no such numbers.
        extras: what each sample brings besides image and mask, by name: a further ``image`` (H, W, C), a further
            ``mask`` (H, W) or per-pixel ``weight`` (H, W). The weight of the loss is the one named ``weight``.
    """

    splits: tuple[SplitName, ...] = ("train", "val", "test")
    rules: Mapping[str, str] = NOTHING
    extras: Mapping[str, Kind] = NOTHING
    quarantined: tuple[str, ...] = ()
    unused: tuple[Unused, ...] = ()
    drawn: bool = False
    groups_are: str = "groups"
    original_ids: tuple[int, ...] | None = None
    labels: LabelSpace
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @abstractmethod
    def split(self, name: SplitName) -> Split:
        """The samples of one split.

        Raises:
            ValueError: the data set has no such split.
        """
