"""What the overlap of areas does not show, run by run: edges, thin structures, small objects, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpixel.tracking.runs import Run

COLUMNS = {
    "mBoundaryIoU": "boundary IoU",
    "mBoundaryF": "boundary F",
    "mThinRecall": "thin recall",
    "mSmallObjectRecall": "small-object recall",
    "ECE": "ECE",
}
"""Score and its heading."""

LOWEST_IS_BEST = ("ECE",)


@dataclass(frozen=True)
class QualityRow:
    """One run: its scores in the order of the columns, None where undefined, and which of them no other run beats."""

    run: Run
    values: tuple[float | None, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True)
class QualityTable:
    """The runs that have any of the scores on a split."""

    split: str
    headings: tuple[str, ...]
    rows: tuple[QualityRow, ...]


def quality_tables(runs: Sequence[Run]) -> tuple[QualityTable, ...]:
    """A table for each of val and test that holds anything; columns without a value are left out."""
    return tuple(table for split in ("val", "test") if (table := _table(runs, split)).rows)


def _table(runs: Sequence[Run], split: str) -> QualityTable:
    scored = [run for run in runs if any(run.score(split, score) is not None for score in COLUMNS)]
    known = [score for score in COLUMNS if any(run.score(split, score) is not None for run in scored)]
    best = {score: _best(score, [run.score(split, score) for run in scored]) for score in known}
    rows = tuple(
        QualityRow(
            run,
            tuple(run.score(split, score) for score in known),
            tuple(run.score(split, score) == best[score] for score in known),
        )
        for run in scored
    )
    return QualityTable(split, tuple(COLUMNS[score] for score in known), rows)


def _best(score: str, values: Sequence[float | None]) -> float:
    choose = min if score in LOWEST_IS_BEST else max
    return choose(value for value in values if value is not None)
