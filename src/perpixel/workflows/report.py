"""Compare any runs: find them, read them, write the page."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from perpixel.reporting.cells import Cells
from perpixel.reporting.comparison import write_comparison
from perpixel.tracking.manifest import MANIFEST
from perpixel.tracking.runs import SWEEP_FILE, Run, load_run, load_sweep

log = logging.getLogger(__name__)

DEEPEST = 4
"""Levels of folders below a given one that are searched for runs."""


def compare_runs(directories: Sequence[Path], by: Sequence[str], output: Path, command: Sequence[str]) -> Path:
    """Read all runs in directories and write a page that compares them.

    Args:
        directories: of runs, sweeps, or folders that hold some.
        by: keys to compare; empty for all that vary.
        output: of the page, or a folder that gets ``report.html``.
        command: as typed.

    Raises:
        ValueError: no run has a val score, or what is to be compared does not vary.
    """
    runs = find_runs(directories)
    scored = [run for run in runs if run.status == "finished" and run.score("val", "mIoU") is not None]
    if not scored:
        states = ", ".join(sorted({run.status for run in runs}))
        raise ValueError(
            f"{len(runs)} runs were found{f' ({states})' if states else ''}, and none of them has finished with a val "
            "score. Give run or sweep directories, or folders that hold some: 'runs=runs/*/*'."
        )
    cells = Cells(scored, by)
    page = output / "report.html" if output.is_dir() else output
    page.parent.mkdir(parents=True, exist_ok=True)
    told = write_comparison(page, cells, command, [run for run in runs if run not in scored])
    log.info("%d runs in %d configurations", len(scored), len(cells.cells))
    for line in told:
        log.info("%s", line)
    return page


def find_runs(directories: Sequence[Path]) -> list[Run]:
    """The runs in directories, each once, in the order of their paths."""
    found: dict[Path, Run] = {}
    for directory in directories:
        for run in _within(directory, DEEPEST):
            found.setdefault(run.directory.resolve(), run)
    return list(found.values())


def _within(directory: Path, depth: int) -> Iterator[Run]:
    if (directory / SWEEP_FILE).is_file():
        yield from load_sweep(directory).runs
    elif (directory / MANIFEST).is_file():
        yield load_run(directory)
    elif depth:
        with os.scandir(directory) as entries:
            below = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        for name in below:
            yield from _within(directory / name, depth - 1)
