"""What runs, waits and is done, on a terminal as a table that is kept up to date, elsewhere as plain lines."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from perpixel.sweeps.pool import Outcome, Running, Work
from perpixel.tracking.runs import read_history


@dataclass
class Table:
    """Shows a sweep's jobs.

    Args:
        total: how many jobs there are, None where that is not known.
        slots: how many run at a time.
        monitor: name of the score.
        mode: ``maximize`` or ``minimize``.
    """

    total: int | None
    slots: int
    monitor: str
    mode: str
    done: list[tuple[Work, Outcome]] = field(default_factory=list)
    running: int = 0
    live: Any = None

    def __enter__(self) -> Table:
        if sys.stdout.isatty():
            from rich.live import Live

            self.live = Live(auto_refresh=False)  # no thread beside this one
            self.live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.__exit__(*error)

    def started(self, work: Work) -> None:
        self.running += 1
        if self.live is None:
            print(f"{work.name}: started", flush=True)

    def ended(self, work: Work, outcome: Outcome) -> None:
        self.running -= 1
        self.done.append((work, outcome))
        if self.live is None:
            print(f"{work.name}: {self.told(outcome)}; {self.summary()}", flush=True)

    def refresh(self, running: Sequence[Running]) -> None:
        if self.live is not None:
            self.live.update(self.drawn(running), refresh=True)

    def told(self, outcome: Outcome) -> str:
        """An end in words."""
        took = f"after {timedelta(seconds=round(outcome.seconds))}"
        if outcome.died:
            return f"{outcome.died} {took}"
        if outcome.score is None:
            return "left to another process"
        return f"failed {took}" if math.isnan(outcome.score) else f"{self.monitor} {outcome.score:.4f} {took}"

    def summary(self) -> str:
        """All jobs in a line: running, waiting, done, best, time left."""
        parts = [f"{self.running} running"]
        if self.total is not None:
            parts.append(f"{self.total - self.running - len(self.done)} waiting")
        parts.append(f"{len(self.done)} done")
        scores = [o.score for _, o in self.done if o.score is not None and not math.isnan(o.score)]
        if scores:
            parts.append(f"best {(min if self.mode == 'minimize' else max)(scores):.4f}")
        if (left := self.left()) is not None:
            parts.append(f"{timedelta(seconds=round(left))} left")
        return ", ".join(parts)

    def left(self) -> float | None:
        """Seconds until all are done, if the others take as long as those before; None where none has ended."""
        took = [outcome.seconds for _, outcome in self.done if outcome.score is not None and not outcome.died]
        if not took or self.total is None:
            return None
        return sum(took) / len(took) * (self.total - len(self.done)) / self.slots

    def drawn(self, running: Sequence[Running]) -> Any:
        """The table for a terminal."""
        from rich.table import Table as Drawn

        drawn = Drawn(title=self.summary(), title_justify="left")
        for title in ("job", "state", "epochs", self.monitor, "time"):
            drawn.add_column(title)
        for one in running:
            lines = read_history(one.work.run / "metrics.jsonl")
            value = lines[-1].get(self.monitor) if lines else None
            took = timedelta(seconds=round(time.monotonic() - one.began))
            score = "" if value is None else f"{value:.4f}"
            drawn.add_row(one.work.name, "running", str(len(lines)), score, str(took))
        for work, outcome in self.done[-10:]:
            drawn.add_row(work.name, self.told(outcome), "", "", "")
        return drawn
