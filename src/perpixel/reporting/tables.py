"""Scores as a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perpixel.uncertainty import Interval

HEADINGS = {
    "BoundaryIoU": "boundary IoU",
    "BoundaryF": "boundary F",
    "ThinRecall": "thin recall",
    "SmallObjectRecall": "small-object recall",
}
"""Headings that break where the terminal is narrow; other scores go by their own name."""

PIPED_WIDTH = 120
"""Columns where the output is no terminal and has no width of its own."""

Scores = Mapping[str, float | None]
Intervals = Mapping[str, Interval]
NO_INTERVALS: Intervals = {}


def print_scores(title: str, scores: Scores, intervals: Intervals = NO_INTERVALS) -> None:
    """Print the scores of one split: a row per class, the means under them, then the scores that are one number.

    Args:
        title: above the table.
        scores: by name, ``IoU/<class>`` and its like with their means ``mIoU`` …; None where undefined.
        intervals: 95 %, of those scores that have one.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    console.print(class_table(title, scores, intervals))
    if note := interval_note(intervals):
        console.print(f"  {note}", highlight=False, markup=False)
    for name, value in overall(scores).items():
        console.print(f"  {name:<22}{written(value)}", highlight=False)


def class_table(title: str, scores: Scores, intervals: Intervals = NO_INTERVALS) -> Table:
    """A row per class and a column per score, with the mean over the classes that have one in the last row."""
    columns = _columns(scores)
    names = list(dict.fromkeys(name.partition("/")[2] for name in scores if "/" in name))
    table = Table("class", title=Text(title), show_footer=True, caption="–: no pixels to score; left out of the mean")
    table.columns[0].footer = "mean"
    with_interval = {name.partition("/")[0] for name, one in intervals.items() if one.half is not None}
    for score in columns:
        footer = sure(scores.get(_mean(score)), intervals.get(_mean(score)))
        table.add_column(HEADINGS.get(score, score), footer=footer, justify="right", no_wrap=score in with_interval)
    for name in names:
        table.add_row(
            Text(name), *(sure(scores.get(key), intervals.get(key)) for key in (f"{score}/{name}" for score in columns))
        )
    return table


def interval_note(intervals: Intervals) -> str:
    """What the ± behind mIoU is, or why there is none; empty where images were not counted one by one."""
    found = intervals.get("mIoU")
    if found is None:
        return ""
    return found.why or f"±: half of the 95 % interval over {found.units} {found.units_are}"


def sure(value: float | None, interval: Interval | None) -> str:
    """A score in four digits with what stands behind ±, where there is an interval."""
    half = interval.half if interval else None
    return written(value) + (f" ± {half:.4f}" if value is not None and half is not None else "")


def overall(scores: Scores) -> dict[str, float | None]:
    """The scores that are neither one class's nor a mean over classes."""
    means = {_mean(score) for score in _columns(scores)}
    return {name: value for name, value in scores.items() if "/" not in name and name not in means}


def written(value: float | None) -> str:
    """A score in four digits, "–" where it is undefined."""
    return "–" if value is None else f"{value:.4f}"


def _columns(scores: Scores) -> list[str]:
    return list(dict.fromkeys(name.partition("/")[0] for name in scores if "/" in name))


def _mean(score: str) -> str:
    """``IoU`` → ``mIoU``, ``precision`` → ``mPrecision``."""
    return f"m{score[0].upper()}{score[1:]}"
