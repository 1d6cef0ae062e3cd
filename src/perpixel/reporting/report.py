"""The page that shows a sweep, or a single run: one HTML file that needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from perpixel.reporting import curves
from perpixel.reporting.against import NAMES, guesses_in_words, verdict
from perpixel.reporting.classes import class_rows, worst_confusions
from perpixel.reporting.differences import compare, flatten
from perpixel.reporting.environment import environment
from perpixel.reporting.gallery import embedded, gallery
from perpixel.reporting.quality import COLUMNS, quality_tables
from perpixel.tracking.certainty import CACHE_FILE, Cache
from perpixel.tracking.files import locked, write_atomically
from perpixel.tracking.leaderboard import (
    PARTS_NOTE,
    SEEDS_NOTE,
    Standing,
    interval_notes,
    order_note,
    runs_against_first,
    seeds_interval_note,
    standings,
    sure_seed_groups,
)
from perpixel.tracking.runs import SWEEP_FILE, Run, Status, Sweep, load_sweep

REPORT_FILE = "report.html"

MOST_CURVES, MOST_COLUMNS = 30, 12
"""A chart holds the curves, and a table the columns, of so many runs: the best, then those still under way."""

_FIRST_BATCH_SIDE, _RELIABILITY_SIDE = 1400, 744
_CHARTS = (("val mIoU", "val/mIoU", True), ("train loss", "train/loss", False), ("val loss", "val/loss", False))
_METRICS = ("mIoU", "fwIoU", "mDice", "mPrecision", "mRecall", "pixel_accuracy", "mean_accuracy", "kappa", *COLUMNS)
_PROVENANCE = ("git", "seed", "versions", "hardware", "data", "looks")


def write_report(directory: Path) -> Path:
    """Write ``report.html`` into a sweep directory, or into the directory of a single run.

    The page shows whatever its runs have written so far, so it can be rewritten after every job; safe to call from
    several processes at once. All text is escaped, images are embedded, and a content security policy in the page
    forbids anything from outside.

    Returns:
        The path of the page.
    """
    page = directory / REPORT_FILE
    with locked(directory):
        sweep, single = load_sweep(directory), not (directory / SWEEP_FILE).exists()
        write_atomically(page, render(sweep, single=single, cache=Cache(directory / CACHE_FILE)))
    return page


def render(sweep: Sweep, *, single: bool, cache: Cache) -> str:
    """The page as text; ``single`` for a run on its own, where there is nothing to compare."""
    against = {} if single else runs_against_first(sweep, cache)
    groups = sure_seed_groups(sweep, cache)
    places = standings(sweep)
    runs = [place.run for place in places]
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            {
                "sweep": sweep,
                "single": single,
                "places": places,
                "label": sweep.label,
                "colour": {run.directory: place for place, run in enumerate(sweep.runs)},
                "metrics": [
                    name for name in _METRICS if any(name in scored for run in runs for scored in run.scores.values())
                ],
                "guesses": NAMES,
                "against": guesses_in_words,
                "verdict": verdict,
                "quality": () if single else quality_tables(runs),
                **_headline(places),
                **_comparisons(runs),
                "seed_groups": groups,
                "first": against,
                "order_note": order_note(sweep),
                "interval_notes": interval_notes(runs, against),
                "seeds_note": f"{SEEDS_NOTE} {seeds_interval_note(groups)}".strip(),
                "parts_note": PARTS_NOTE,
                "charts": _charts(sweep, runs[:MOST_CURVES]),
                "frame": curves,
                "tables": _class_tables(runs, single=single),
                "gallery": gallery(runs),
                "first_batch": embedded(runs[0].directory / "first_batch.png", _FIRST_BATCH_SIDE) if single else None,
                "reliability": _reliability(runs[0]) if single else {},
            }
        )
    )


def _headline(places: Sequence[Standing]) -> dict[str, Any]:
    runs = [place.run for place in places]
    counts = {status: sum(run.status == status for run in runs) for status in get_args(Status)}
    best = places[0].run if places and places[0].rank == 1 else None
    return {
        "best": best,
        "second": places[1].run if best and len(places) > 1 and places[1].rank == 2 else None,
        "counts": {status: count for status, count in counts.items() if count},
        "total_seconds": sum(run.seconds or 0 for run in runs),
        "confusions": worst_confusions(best, "val") if best else (),
    }


def _comparisons(runs: Sequence[Run]) -> dict[str, Any]:
    """Configs and provenance side by side; a column per run that has got as far as writing them."""
    begun = [run for run in runs if run.manifest or run.config]
    return {
        "begun": begun,
        "most_columns": MOST_COLUMNS,
        "configs": compare([_config(run) for run in begun]),
        "provenance": compare([_provenance(run) for run in begun]),
    }


def _reliability(run: Run) -> dict[str, str]:
    """The reliability diagrams that a run has drawn, by split."""
    drawn = {split: embedded(run.directory / f"reliability_{split}.png", _RELIABILITY_SIDE) for split in run.scores}
    return {split: picture for split, picture in drawn.items() if picture}


def _config(run: Run) -> dict[str, str]:
    """The config, without values that only repeat where the run lives."""
    return {key: value for key, value in flatten(run.config).items() if run.directory.name not in value}


def _provenance(run: Run) -> dict[str, str]:
    return flatten({key: run.manifest[key] for key in _PROVENANCE if key in run.manifest})


def _charts(sweep: Sweep, runs: Sequence[Run]) -> list[curves.Chart]:
    order = {run.directory: place for place, run in enumerate(sweep.runs)}
    drawn = (
        curves.chart(
            title,
            [(order[run.directory], sweep.label(run), run.series(key)) for run in runs],
            highest_is_best=highest,
        )
        for title, key, highest in _CHARTS
    )
    return [chart for chart in drawn if chart]


def _class_tables(runs: Sequence[Run], *, single: bool) -> list[dict[str, Any]]:
    """One table per split over the runs; for a single run one table over the splits."""
    scored = [run for run in runs if run.scores][:MOST_COLUMNS]
    if not scored:
        return []
    if single:
        columns = [(scored[0], split) for split in scored[0].scores]
        return [{"split": "by split", "columns": columns, "rows": class_rows(columns)}]
    splits = [split for split in ("val", "test") if any(split in run.scores for run in scored)]
    tables = (([(run, split) for run in scored], split) for split in splits)
    return [{"split": split, "columns": columns, "rows": class_rows(columns)} for columns, split in tables]
