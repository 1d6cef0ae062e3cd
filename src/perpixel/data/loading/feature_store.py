"""Tensors that are computed once and read often, in one file on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Key = tuple[str, int]
"""Name of a split, and index of a sample."""


class _Place(NamedTuple):
    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype


class FeatureStore:
    """Tensors of samples, written once, in the order they come, and read in any order through the page cache.

    The file belongs to the process that made it: what it holds is known only there.

    Args:
        path: of the file; one that a killed process left there is overwritten.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._places: dict[Key, dict[str, _Place]] = {}
        self._names: dict[Key, str] = {}
        self._memory: np.memmap | None = None
        self.bytes = 0

    def add(self, key: Key, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Append one sample.

        Raises:
            OSError: the disk is full.
        """
        places = {}
        for part, tensor in tensors.items():
            content = tensor.detach().cpu().contiguous()
            places[part] = _Place(self.bytes, tuple(content.shape), content.dtype)
            self.bytes += self._file.write(content.flatten().view(torch.uint8).numpy().data)
        self._places[key] = places
        self._names[key] = name

    def finish(self) -> None:
        """From here on it is read."""
        self._file.close()
        self._memory = np.memmap(self.path, np.uint8, "r")

    def __contains__(self, split: str) -> bool:
        return any(name == split for name, _ in self._places)

    def read(self, key: Key) -> tuple[str, dict[str, Tensor]]:
        """A sample's name and its tensors, copies."""
        assert self._memory is not None, "the store is still being written"
        found = {}
        for part, place in self._places[key].items():
            size = int(np.prod(place.shape)) * place.dtype.itemsize
            content = np.array(self._memory[place.start : place.start + size])
            found[part] = torch.from_numpy(content).view(place.dtype).reshape(place.shape)
        return self._names[key], found

    def remove(self) -> None:
        """Delete the file."""
        self._file.close()
        self._memory = None
        self.path.unlink(missing_ok=True)
        if not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()
