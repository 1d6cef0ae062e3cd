from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.data import DataSource, Sample, Split
from perpixel.data.hashing import digest
from perpixel.labels import LabelSpace


class ArraySplit(Split):
    """Samples in memory; image ``i`` shows the value ``i``, its mask ``i % 3``. Sizes may differ."""

    def __init__(
        self, count: int, size: tuple[int, int] = (16, 20), sizes: list[tuple[int, int]] | None = None
    ) -> None:
        self.sizes = sizes or [size] * count

    def __len__(self) -> int:
        return len(self.sizes)

    def read(self, index: int, rng: np.random.Generator) -> Sample:
        size = self.sizes[index]
        return Sample(np.full((*size, 3), index, np.uint8), np.full(size, index % 3, np.uint8), f"sample{index}")

    def shape(self, index: int) -> tuple[int, int]:
        return self.sizes[index]

    def fingerprint(self) -> str:
        return digest(repr(self.sizes))


class ArraySource(DataSource):
    """A source over array splits."""

    def __init__(self, train: int = 10, val: int = 5, test: int = 3) -> None:
        self.labels = LabelSpace(("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (99, 99, 99)))
        self.channels, self.mean, self.std = 3, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
        self.parts = {"train": ArraySplit(train), "val": ArraySplit(val), "test": ArraySplit(test)}

    def split(self, name: str) -> ArraySplit:
        return self.parts[name]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``images/<key>.png`` and ``masks/<key><suffix>.png`` and gives their root."""

    def write(
        keys: list[str],
        mask: Callable[[np.random.Generator], np.ndarray] = lambda rng: rng.integers(0, 3, (12, 14)).astype(np.uint8),
        suffix: str = "",
    ) -> Path:
        rng = np.random.default_rng(0)
        for key in keys:
            values = mask(rng)
            image = rng.integers(0, 256, (*values.shape[:2], 3), np.uint8)
            save(tmp_path / "images" / f"{key}.png", Image.fromarray(image))
            save(tmp_path / "masks" / f"{key}{suffix}.png", Image.fromarray(values))
        return tmp_path

    return write


def save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
