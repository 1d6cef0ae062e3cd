"""Counts per image survive the way to disk, and damaged files read as none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perpixel.uncertainty import Conditions, PerImage, read_counts, write_counts

COUNTED = {"names": ("a", "b", "c"), "counts": np.arange(18).reshape(3, 3, 2), "sizes": np.full((3, 2), 8)}
KNOWN = Conditions({"a": {"group": "x"}, "c": {"group": "x", "camera": "bus"}}, "sites")


def stored(tmp_path: Path) -> Path:
    path = tmp_path / "metrics_images.npz"
    with path.open("wb") as file:
        write_counts(file, {"val": PerImage.of(COUNTED, ("one", "two"), KNOWN)})
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = read_counts(stored(tmp_path))["val"]
    assert (found.names, found.classes, found.groups_are) == (("a", "b", "c"), ("one", "two"), "sites")
    assert found.counts.dtype == np.int64
    np.testing.assert_array_equal(found.counts, COUNTED["counts"])
    assert found.conditions == {"group": ("x", "", "x"), "camera": ("", "", "bus")}


def test_large_counts_stay_exact(tmp_path: Path) -> None:
    counts = np.full((1, 3, 1), 2**40 + 1)
    path = tmp_path / "large.npz"
    with path.open("wb") as file:
        write_counts(file, {"test": PerImage(("a",), counts, ("one",), np.ones((1, 2), np.int64))})
    assert read_counts(path)["test"].counts.max() == 2**40 + 1


@pytest.mark.parametrize("kept", [0, 100, 600])
def test_a_file_that_is_cut_off_reads_as_none(kept: int, tmp_path: Path) -> None:
    path = stored(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert read_counts(path) == {}
    assert read_counts(tmp_path / "missing.npz") == {}


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, **{"val/names": np.array([{"an": "object"}], dtype=object)})
    assert read_counts(path) == {}


def test_groups_are_the_units_and_an_image_without_one_stands_for_itself() -> None:
    units = PerImage.of(COUNTED, ("one", "two"), KNOWN).units
    assert units.are == "sites"
    assert len(units.names) == 2
    assert units.of[0] == units.of[2] != units.of[1]
    plain = PerImage.of(COUNTED, ("one", "two"), Conditions()).units
    assert (plain.are, plain.names) == ("images", ("a", "b", "c"))
