"""Working through the jobs of a start, beside others who may work on the same ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from perpixel.sweeps.ledger import Ledger, Row
from perpixel.tracking.files import is_in_use, owner

POLL_S = 2.0
"""How often jobs that others have are looked at."""

OURS_ENDED = ("finished", "pruned", "failed")


def job_overrides(row: Row) -> list[str]:
    """What a launcher is handed for a job: its overrides, and the directory that the ledger gave it."""
    return [*row.overrides, f"hydra.sweep.subdir='{row.dir}'"]


def work_through(ledger: Ledger, todo: Sequence[Row], launch: Callable[[Sequence[Row]], Sequence[Any]]) -> list[Any]:
    """Run every job, leave those that another process has to it, and take them over if it dies.

    Args:
        ledger: of the sweep.
        todo: what is to be run.
        launch: runs jobs and gives what each returned, in their order; None where another process had it.
    """
    returned: list[Any] = []
    waiting, told = list(todo), False
    while waiting:
        ready = [row for row in waiting if not is_in_use(ledger.directory / row.dir)]
        if ready:
            results = launch(ready)
            returned += [result for result in results if result.return_value is not None]
            left = [row for row, result in zip(ready, results, strict=True) if result.return_value is None]
            waiting = [row for row in waiting if row not in ready or row in left]
        else:
            if not told:
                print(f"waiting for {_named(ledger, waiting)}")
                told = True
            time.sleep(POLL_S)
            waiting = [row for row in waiting if ledger.status(row) not in OURS_ENDED]
    return returned


def _named(ledger: Ledger, rows: Sequence[Row]) -> str:
    return "; ".join(f"{row.dir}, which {owner(ledger.directory / row.dir)} trains" for row in rows)
