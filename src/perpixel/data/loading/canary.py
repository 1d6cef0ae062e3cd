"""A few fixed samples that are never trained on and are scored after every epoch, in every run."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from perpixel.data.base import DataSource, Sample, Split, SplitName
from perpixel.data.formats.texts import composed, read_text
from perpixel.data.hashing import digest
from perpixel.data.loading.subset import Subset

Choice = int | Sequence[str] | str
"""How many, their names, or a file that lists the names."""


class Canary(Split):
    """Samples of several splits of a source.

    Args:
        members: where each sample stands: split and index.
    """

    def __init__(self, source: DataSource, members: Sequence[tuple[SplitName, int]]) -> None:
        self.members = tuple(members)
        self._splits = {name: source.split(name) for name, _ in members}

    def __len__(self) -> int:
        return len(self.members)

    def read(self, index: int, rng: np.random.Generator) -> Sample:
        """Sample ``index``, in the order they were chosen."""
        name, place = self.members[index]
        return self._splits[name].read(place, np.random.default_rng(place))

    def shape(self, index: int) -> tuple[int, int] | None:
        """(H, W) of a sample; splits of one size need not say it."""
        name, place = self.members[index]
        return self._splits[name].shape(place) or self.read(index, np.random.default_rng(place)).mask.shape

    def sample_name(self, index: int) -> str:
        """The sample's own name."""
        name, place = self.members[index]
        return self._splits[name].sample_name(place)

    @property
    def names(self) -> list[str]:
        """Of all samples."""
        return [self.sample_name(index) for index in range(len(self))]

    def fingerprint(self) -> str:
        """From the samples' names and pixels alone: equal wherever the rest of the data set has grown or moved."""
        samples = [self.read(index, np.random.default_rng(index)) for index in range(len(self))]
        arrays = [array for sample in samples for array in sample.targets.values()]
        return digest(*self.names, *(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays))

    def within(self, split: SplitName) -> list[int]:
        """Indices of those that stand in a split."""
        return [place for name, place in self.members if name == split]


def choose_canary(source: DataSource, choice: Choice) -> Canary:
    """The canary samples of a data set.

    A number takes so many validation samples, those whose names' SHA-256 is smallest: the same ones in every run,
    whatever its seed, and still the same when others come or go. Names may stand in val or in train; those are then
    not trained on. A file holds names one a line, or is a ``canary.json`` that a run left.

    Raises:
        ValueError: fewer samples than asked for, no name, an unknown one, or one of the test split; the file cannot be
            read; or the data is trained and judged on the same samples.
    """
    if source.split("train") is source.split("val"):
        raise ValueError(
            f"data.canary={choice}: with data.overfit every sample is trained on, and a canary never is: set one "
            "of the two to null."
        )
    if isinstance(choice, int):
        return Canary(source, _drawn(source.split("val"), choice))
    names = _names_in(Path(choice)) if isinstance(choice, str) else list(choice)
    if not names:
        raise ValueError(f"data.canary={choice}: no sample is named; null has no canary.")
    return Canary(source, [_place(source, name) for name in dict.fromkeys(names)])


def outside_canary(source: DataSource, canary: Canary | None) -> Split:
    """The training split without the canary's samples."""
    split = source.split("train")
    kept = set() if canary is None else set(canary.within("train"))
    return Subset(split, [index for index in range(len(split)) if index not in kept]) if kept else split


def _drawn(split: Split, count: int) -> list[tuple[SplitName, int]]:
    if not 1 <= count <= len(split):
        raise ValueError(f"data.canary={count}: the validation split has {len(split)} samples to choose from.")
    order = sorted(range(len(split)), key=lambda index: hashlib.sha256(split.sample_name(index).encode()).digest())
    return [("val", index) for index in sorted(order[:count])]


def _names_in(path: Path) -> list[str]:
    text = read_text(path.expanduser(), "canary list", "data.canary, which takes a number, names, or a file of names")
    if path.suffix != ".json":
        return [line.strip() for line in text.splitlines() if line.strip()]
    with suppress(ValueError, TypeError, KeyError):
        names = json.loads(text)["names"]
        if isinstance(names, list):
            return [str(name) for name in names]
    raise ValueError(f'data.canary={path}: this is no canary.json, which reads {{"names": ["a", "b"]}}.')


def _place(source: DataSource, wanted: str) -> tuple[SplitName, int]:
    wanted, known = composed(wanted), list[str]()
    for split_name in ("val", "train", "test"):
        if split_name not in source.splits:
            continue
        split = source.split(split_name)
        if not split.fixed:
            continue
        names = [composed(split.sample_name(index)) for index in range(len(split))]
        if wanted in names:
            if split_name == "test":
                raise ValueError(f"data.canary: '{wanted}' is a test sample, which nothing may be chosen by.")
            return split_name, names.index(wanted)
        known += names
    near = difflib.get_close_matches(wanted, known, n=2)
    raise ValueError(
        f"data.canary: there is no sample '{wanted}'; "
        + (f"did you mean {' or '.join(map(repr, near))}?" if near else f"names look like {known[0]!r}.")
    )
