"""Scores class by class: a table to see where runs differ, and what a run mistakes for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpixel.tracking.runs import Run
from perpixel.uncertainty import Interval


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        name: its name.
        colour: (R, G, B) in pictures, None where a run recorded no palette.
        share: its share of the labelled pixels, 0…1, None where no run has a confusion matrix.
        values: IoU per column, None where the class is absent.
        intervals: 95 %, of each value, None where images were not counted one by one.
        best: the highest of them.
    """

    name: str
    colour: tuple[int, int, int] | None
    share: float | None
    values: tuple[float | None, ...]
    intervals: tuple[Interval | None, ...]

    @property
    def best(self) -> float | None:
        """The highest IoU of the row."""
        return max((value for value in self.values if value is not None), default=None)


@dataclass(frozen=True)
class Confusion:
    """``share`` (0…1) of the pixels that are ``truth`` were called ``prediction``: ``of_errors`` of all wrong ones."""

    truth: str
    prediction: str
    share: float
    of_errors: float


def class_rows(columns: Sequence[tuple[Run, str]]) -> tuple[ClassRow, ...]:
    """IoU of every class.

    Args:
        columns: (run, split) of each column; classes come from all of these runs, in the order they are first met.
    """
    colours = {name: rgb for run, _ in reversed(columns) for name, rgb in zip(run.classes, run.palette, strict=False)}
    names = dict.fromkeys(name for run, _ in columns for name in run.classes)
    return tuple(
        ClassRow(
            name,
            colours.get(name),
            next((share for run, split in columns if (share := _share(run, split, name)) is not None), None),
            tuple(run.score(split, f"IoU/{name}") for run, split in columns),
            tuple(run.interval(split, f"IoU/{name}") for run, split in columns),
        )
        for name in names
    )


def worst_confusions(run: Run, split: str, most: int = 8) -> tuple[Confusion, ...]:
    """The pairs that make most of all wrong pixels, largest share first; those under 1 % of them are left out."""
    rows = run.confusions.get(split, ())
    wrong = sum(count for truth, row in enumerate(rows) for called, count in enumerate(row) if truth != called)
    found = [
        Confusion(run.classes[truth], run.classes[called], count / sum(row), count / wrong)
        for truth, row in enumerate(rows)
        for called, count in enumerate(row)
        if truth != called and count > 0.01 * wrong
    ]
    return tuple(sorted(found, key=lambda confusion: -confusion.of_errors)[:most])


def _share(run: Run, split: str, name: str) -> float | None:
    rows = run.confusions.get(split, ())
    total = sum(map(sum, rows))
    return sum(rows[run.classes.index(name)]) / total if total and name in run.classes else None
