"""How sure the order of a sweep is: its runs and configurations against the first of them, on the same val images."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from perpixel.tracking.files import write_atomically
from perpixel.tracking.runs import Run
from perpixel.uncertainty import ALPHA, Contrast, Interval, Measured, PerImage, compare, contrast, holm, mean_weights

CACHE_FILE = "comparisons.json"
RESAMPLES = 2000
"""Exchanges of a test at most: enough for a p of 0.001, and little for a table that is rewritten after every job."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Against:
    """A run or configuration held against the first of its table.

    Attributes:
        difference: of val mIoU, this one minus the first; None where they were not scored on the same images.
        low, high: its 95 % interval; None where there is none.
        p: raised by Holm's rule over all that are held against the first; None without a test.
        why: why there is no test; empty where there is one.
    """

    difference: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    why: str = ""

    @property
    def shown(self) -> bool:
        """Whether a difference is shown."""
        return self.p is not None and self.p < ALPHA

    @property
    def words(self) -> str:
        """For a table's cell."""
        if self.p is None:
            return self.why
        told = f"p {self.p:.3f}" if self.p >= 0.0015 else "p ≤ 0.001"
        return f"{'lower' if (self.difference or 0) < 0 else 'higher'}, {told}" if self.shown else "no difference shown"


class Cache:
    """Results by what they were computed from, in a file of a sweep; what is not asked for again is dropped.

    Args:
        path: of the JSON.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: Mapping[str, Any] = {}
        self._asked: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            found = json.loads(path.read_text(encoding="utf-8"))
            self._before = found if isinstance(found, dict) else {}

    def get(self, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known under a key, computed where nothing is."""
        if key not in self._asked:
            known = self._before.get(key)
            self._asked[key] = known if isinstance(known, dict) else compute()
        found: dict[str, Any] = self._asked[key]
        return found

    def save(self) -> None:
        """Write the file where anything is new."""
        if self._asked and self._asked.keys() != self._before.keys():
            write_atomically(self._path, json.dumps(self._asked, indent=1, sort_keys=True) + "\n")


def against_first(runs: Sequence[Run], cache: Cache) -> dict[Path, Against]:
    """Paired tests of ranked runs, the best first, against the best, by directory; runs without image counts have none.

    The first was chosen for its score on these images, which favours it: a difference that is not shown is safer to
    read than one that is.
    """
    counted = [run for run in runs if stamp(run)]
    if not counted or counted[0] is not runs[0]:
        return {}
    first = counted[0]
    found = {run.directory: _against(run, first, cache) for run in counted[1:]}
    return _raised(found)


def group_intervals(groups: Sequence[Sequence[Run]], split: str, cache: Cache) -> list[Contrast | None]:
    """The mean mIoU of each configuration, sure over its seeds and the images; None without counts of every run."""
    return [_mean(runs, split, cache) if runs and all(map(stamp, runs)) else None for runs in groups]


def groups_against_first(groups: Sequence[Sequence[Run]], cache: Cache) -> list[Against | None]:
    """Each configuration's mean val mIoU against the first's, over seeds and images; None for the first itself."""
    if not groups or not groups[0] or not all(map(stamp, groups[0])):
        return [None] * len(groups)
    found = {
        place: _group_against(runs, groups[0], cache)
        for place, runs in enumerate(groups)
        if place and runs and all(map(stamp, runs))
    }
    raised = _raised(found)
    return [raised.get(place) for place in range(len(groups))]


def stamp(run: Run) -> str:
    """What changes when a run's counts do; empty where it has none."""
    try:
        facts = run.images_file.stat()
    except OSError:
        return ""
    return f"{run.directory.name} {facts.st_size} {facts.st_mtime_ns}"


def interval_notes(runs: Sequence[Run]) -> list[str]:
    """What the ± of mIoU is, and why there is none where there is none; empty where no run counted its images."""
    over, reasons = [], []
    for split in ("val", "test"):
        known = [found for run in runs if (found := run.interval(split, "mIoU"))]
        facts = dict.fromkeys(f"{one.units} {one.units_are}" for one in known if not one.why)
        over += [f"{split} ({' or '.join(facts)})"] if facts else []
        whys = dict.fromkeys(one.why for one in known if one.why)
        reasons += [f"On {split}: {'; '.join(whys)}."] if whys else []
    return [*([f"±: half of the 95 % interval over {' and '.join(over)}."] if over else []), *reasons]


def _against(run: Run, first: Run, cache: Cache) -> Against:
    def compute() -> dict[str, Any]:
        ours, theirs = run.images.get("val"), first.images.get("val")
        if ours is None or theirs is None:
            return vars(Against(None, why="no counts of val images"))
        found = compare(ours, theirs, RESAMPLES)
        difference = found.difference if found.difference == found.difference else None
        return vars(Against(difference, found.low, found.high, found.p, found.why))

    return Against(**cache.get(f"runs: {stamp(run)} | {stamp(first)}", compute))


def _group_against(runs: Sequence[Run], first: Sequence[Run], cache: Cache) -> Against:
    def compute() -> dict[str, Any]:
        weights = {**_scaled(runs, 1.0), **_scaled(first, -1.0)}
        cells: dict[Hashable, Hashable] = {run.directory: 0 for run in runs}
        cells |= {run.directory: 1 for run in first}
        found = _contrast([*runs, *first], "val", weights, cells)
        if found is None:
            return vars(Against(None, why="no counts of val images"))
        p = found.p if found.over_seeds else None  # images alone say nothing of another training
        why = found.why or ("" if found.over_seeds else "one seed each")
        return vars(Against(found.value, found.low, found.high, p, why))

    key = " | ".join(map(stamp, runs)) + " || " + " | ".join(map(stamp, first))
    return Against(**cache.get(f"configurations: {key}", compute))


def _mean(runs: Sequence[Run], split: str, cache: Cache) -> Contrast | None:
    def compute() -> dict[str, Any]:
        cells: dict[Hashable, Hashable] = dict.fromkeys((run.directory for run in runs), 0)
        found = _contrast(runs, split, _scaled(runs, 1.0), cells, is_score=True)
        return {} if found is None else vars(found)

    found = cache.get(f"{split}: " + " | ".join(map(stamp, runs)), compute)
    return Contrast(**found) if found else None


def _contrast(
    runs: Sequence[Run],
    split: str,
    weights: Mapping[Hashable, float],
    cells: Mapping[Hashable, Hashable],
    is_score: bool = False,
) -> Contrast | None:
    images: dict[Hashable, PerImage] = {run.directory: run.images[split] for run in runs if split in run.images}
    return contrast(Measured(images), weights, cells, is_score) if len(images) == len(runs) else None


def _scaled(runs: Sequence[Run], factor: float) -> dict[Hashable, float]:
    return {key: factor * weight for key, weight in mean_weights([run.directory for run in runs]).items()}


def _raised(found: Mapping[K, Against]) -> dict[K, Against]:
    ps = holm([one.p for one in found.values()])
    return {key: replace(one, p=p) for (key, one), p in zip(found.items(), ps, strict=True)}


def plus_minus(score: float | None, interval: Interval | None, digits: int = 3) -> str:
    """``0.545 ± 0.021``; the score alone where there is no interval, nothing where there is no score."""
    if score is None:
        return ""
    half = interval.half if interval else None
    return f"{score:.{digits}f}" + (f" ± {half:.{digits}f}" if half is not None else "")
