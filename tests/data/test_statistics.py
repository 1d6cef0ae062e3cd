from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perpixel.data import Folder
from perpixel.data.files.statistics import channel_statistics


def test_small_deviations_are_not_rounded_away() -> None:
    values = np.random.default_rng(0).normal(0.002, 0.0003, (100, 100, 1)).astype(np.float32)
    mean, std = channel_statistics([values])
    np.testing.assert_allclose(mean, values.mean(dtype=float), rtol=1e-5)
    np.testing.assert_allclose(std, values.std(dtype=float), rtol=1e-4)


@pytest.mark.parametrize("value", [0, 0.3, 1e4])
def test_a_constant_channel_divides_by_one(value: float) -> None:
    assert channel_statistics([np.full((50, 50, 2), value, np.float32)])[1] == (1.0, 1.0)


def test_they_are_measured_once(make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(make_folder([f"{i}" for i in range(9)]))
    first = Folder(root, ["a", "b", "c"])
    monkeypatch.setattr("perpixel.data.files.source.channel_statistics", lambda images: pytest.fail("measured again"))
    second = Folder(root, ["a", "b", "c"])
    assert (first.mean, first.std) == (second.mean, second.std)


def test_statistics_without_all_images_are_not_kept(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(make_folder([f"{i}" for i in range(9)]))
    from perpixel.data.formats.decode import read_image

    calls: list[int] = []

    def once_refused(*args: object) -> np.ndarray:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("Permission denied")
        return read_image(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as moment:
        moment.setattr("perpixel.data.files.source.read_image", once_refused)
        partial = Folder(root, ["a", "b", "c"])
    assert Folder(root, ["a", "b", "c"]).mean != partial.mean
