"""Runs as cells of an experiment: what was varied, and what each of it does to mIoU, sure over seeds and images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import Any

from perpixel.tracking.runs import Run, Sweep
from perpixel.uncertainty import ALPHA, Contrast, Measured, contrast, holm

NO_FACTORS = ("seed", "name", "output", "resume")
"""Keys that make no configuration another one."""

MOST_INTERACTIONS = 60
"""Of more, the page shows those with the least p."""

Levels = tuple[str, ...]


@dataclass(frozen=True)
class Effect:
    """What a change of one factor, or of two together, adds to mIoU.

    Attributes:
        name: ``decoder: transposed → bilinear``; of an interaction ``… × …``.
        contrast: mIoU of the second less the first, averaged over all else that varies; its p is raised by Holm's rule
            over the effects of its kind.
        cells: how many pairs (of an interaction: fours) of cells it is averaged over.
    """

    name: str
    contrast: Contrast
    cells: int

    @property
    def shown(self) -> bool:
        """Whether there is an effect to speak of."""
        return self.contrast.p is not None and self.contrast.p < ALPHA


@dataclass(frozen=True)
class Row:
    """The runs with the same levels of what is compared.

    Attributes:
        levels: in the order of the factors.
        runs: that have finished.
        val, test: mean mIoU (cells first, where more varies than is compared); None without a score.
        against: val mIoU less that of the first row, p raised by Holm's rule over the rows; None for the first.
    """

    levels: Levels
    runs: tuple[Run, ...]
    val: Contrast | None
    test: Contrast | None
    against: Contrast | None = None

    def mean(self, fact: str) -> float | None:
        """Mean of a number that every run has, such as ``seconds``; None where one lacks it."""
        values = [getattr(run, fact) for run in self.runs]
        known = [float(value) for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None


class Cells:
    """Finished runs sorted into cells: those of one cell differ in nothing but their seed.

    Args:
        runs: with a val score.
        by: keys that are compared; empty for all that vary.

    Raises:
        ValueError: a key varies in no run.

    Attributes:
        factors: what is compared.
        others: what varies besides; effects are averaged over it.
    """

    def __init__(self, runs: Sequence[Run], by: Sequence[str] = ()) -> None:
        self.runs = tuple(runs)
        axes = Sweep(runs[0].directory, self.runs).axes if runs else ()
        varying = [axis for axis in axes if axis not in NO_FACTORS and not axis.startswith(("hydra", "sweep."))]
        if constant := [key for key in by if len({level(run, key, self.runs) for run in runs}) < 2]:
            raise ValueError(
                f"by={','.join(constant)}: all runs have the same there. "
                f"What varies: {', '.join(varying) or 'nothing'}."
            )
        self.factors = tuple(by) or tuple(varying)
        self.others = tuple(axis for axis in varying if axis not in self.factors)
        keys = (*self.factors, *self.others)
        found: dict[Levels, list[Run]] = {}
        for run in runs:
            found.setdefault(tuple(level(run, key, self.runs) for key in keys), []).append(run)
        self.cells = {levels: tuple(members) for levels, members in found.items()}

    @cached_property
    def over_seeds(self) -> bool:
        """Whether any cell has several runs."""
        return any(len(runs) > 1 for runs in self.cells.values())

    def rows(self) -> list[Row]:
        """One for each combination of levels, best val mean first."""
        levels = dict.fromkeys(cell[: len(self.factors)] for cell in self.cells)
        rows = [self._row(one) for one in levels]
        rows.sort(key=lambda row: 1.0 if row.val is None else -row.val.value)
        return [rows[0], *self._against(rows[0], rows[1:])] if rows else []

    def _against(self, first: Row, rows: Sequence[Row]) -> list[Row]:
        """The rows held against the first, on the same images."""
        held = [Effect("", found, 1) if (found := self._difference(row, first)) else None for row in rows]
        raised = iter(_raised([one for one in held if one]))
        return [
            replace(row, against=next(raised).contrast if one else None) for row, one in zip(rows, held, strict=True)
        ]

    def _difference(self, row: Row, first: Row) -> Contrast | None:
        weights = self._weights(first.levels, -1.0)
        for cell, weight in self._weights(row.levels, 1.0).items():
            weights[cell] = weights.get(cell, 0.0) + weight
        return self._contrast("val", weights)

    def _weights(self, levels: Levels, factor: float) -> dict[Levels, float]:
        """Equal ones of the cells with these levels."""
        cells = [cell for cell in self.cells if cell[: len(levels)] == levels]
        return dict.fromkeys(cells, factor / len(cells))

    def effects(self) -> list[Effect]:
        """Every level of every factor against the factor's first one."""
        found = []
        for place, factor in enumerate(self.factors):
            first, *rest = self._levels(place)
            for other in rest:
                pairs = self._matched({place: (first, other)})
                if effect := self._effect(f"{factor}: {first} → {other}", pairs):
                    found.append(effect)
        return _raised(found)

    def interactions(self) -> list[Effect]:
        """For each two factors, how much one's effect differs between levels of the other."""
        found = []
        for a, b in combinations(range(len(self.factors)), 2):
            (first_a, *rest_a), (first_b, *rest_b) = self._levels(a), self._levels(b)
            for other_a, other_b in product(rest_a, rest_b):
                name = f"{self.factors[a]}: {first_a} → {other_a} × {self.factors[b]}: {first_b} → {other_b}"
                fours = self._matched({a: (first_a, other_a), b: (first_b, other_b)})
                if effect := self._effect(name, fours):
                    found.append(effect)
        raised = _raised(found)
        kept = sorted(raised, key=lambda one: 2.0 if one.contrast.p is None else one.contrast.p)[:MOST_INTERACTIONS]
        return [one for one in raised if one in kept]

    def _levels(self, place: int) -> list[str]:
        """Of a factor; the most frequent comes first: effects are changes from it."""
        counts: dict[str, int] = {}
        for cell in self.cells:
            counts[cell[place]] = counts.get(cell[place], 0) + 1
        return sorted(counts, key=lambda one: -counts[one])

    def _matched(self, changed: Mapping[int, tuple[str, str]]) -> list[dict[Levels, int]]:
        """Signs by cell, for each setting of all else in which every combination of the changed levels was run."""
        found = {}
        for cell in self.cells:
            corners = {}
            for choice in product((0, 1), repeat=len(changed)):
                moved = list(cell)
                for (place, levels), side in zip(changed.items(), choice, strict=True):
                    moved[place] = levels[side]
                corners[tuple(moved)] = (-1) ** (len(changed) - sum(choice))
            if all(corner in self.cells for corner in corners):
                found[tuple(sorted(corners))] = corners
        return list(found.values())

    def _effect(self, name: str, matched: Sequence[Mapping[Levels, int]]) -> Effect | None:
        if not matched:
            return None
        weights: dict[Levels, float] = {}
        for corners in matched:
            for cell, sign in corners.items():
                weights[cell] = weights.get(cell, 0.0) + sign / len(matched)
        found = self._contrast("val", weights)
        return None if found is None else Effect(name, found, len(matched))

    def _row(self, levels: Levels) -> Row:
        weights = self._weights(levels, 1.0)
        val, test = (self._contrast(split, weights, is_score=True) for split in ("val", "test"))
        return Row(levels, tuple(run for cell in weights for run in self.cells[cell]), val, test)

    def _contrast(self, split: str, weights: Mapping[Levels, float], is_score: bool = False) -> Contrast | None:
        """A weighted sum of cell means; the spread between seeds is pooled over all cells that have several."""
        runs = [run for cell in weights for run in self.cells[cell]]
        if any(run.score(split, "mIoU") is None for run in runs):
            return None
        each = {
            run.directory: weight / len(self.cells[cell])
            for cell, weight in weights.items()
            for run in self.cells[cell]
        }
        measured = self._measured(split)
        if measured is None:
            value = sum(weight * (run.score(split, "mIoU") or 0.0) for run in runs for weight in [each[run.directory]])
            return Contrast(value, why="no interval: not every run kept the counts of its images")
        return contrast(measured, each, self._cell_of, is_score)  # type: ignore[arg-type]

    @cached_property
    def _cell_of(self) -> dict[Any, Levels]:
        return {run.directory: cell for cell, runs in self.cells.items() for run in runs}

    def _measured(self, split: str) -> Measured | None:
        if split not in self._kept:
            images = {run.directory: run.images.get(split) for run in self.runs}
            known = {directory: found for directory, found in images.items() if found is not None}
            self._kept[split] = Measured(known) if len(known) == len(images) else None  # type: ignore[arg-type]
        return self._kept[split]

    @cached_property
    def _kept(self) -> dict[str, Measured | None]:
        return {}


def level(run: Run, key: str, runs: Iterable[Run]) -> str:
    """What a run has under a key: as typed, where all runs typed it; else from its config, a node by its class."""
    if all(key in other.choices for other in runs):
        return run.choices[key]
    found: Any = run.config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, Mapping):
        found = str(found.get("_target_", "")).rpartition(".")[2] or None
    return "–" if found is None else str(found)


def front(points: Sequence[tuple[float, float]], cheap_is_low: bool = True) -> list[bool]:
    """Which (cost, score) points no other one beats: none costs no more and scores no less, and is better in one."""
    costs = [(cost if cheap_is_low else -cost, score) for cost, score in points]
    return [
        not any(other[0] <= cost and other[1] >= score and (other[0] < cost or other[1] > score) for other in costs)
        for cost, score in costs
    ]


def _raised(found: Sequence[Effect]) -> list[Effect]:
    ps = holm([one.contrast.p for one in found])
    return [replace(one, contrast=replace(one.contrast, p=p)) for one, p in zip(found, ps, strict=True)]
