"""The history of a run as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from perpixel.tracking.files import write_atomically
from perpixel.tracking.runs import read_history


class TableLogger(Logger):
    """Writes the table anew after every epoch, from the lines that the run has kept.

    Lightning's own CSV logger deletes the file of a run that is resumed.

    Args:
        history: ``metrics.jsonl``.
        table: the CSV file; its directory is made.
    """

    def __init__(self, history: Path, table: Path) -> None:
        super().__init__()
        self.history = history
        self.table = table

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run directory has its config."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """The history has been written by the time anything is logged."""
        lines = read_history(self.history)
        if lines:
            columns = list(dict.fromkeys(name for line in lines for name in line))
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
            self.table.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.table, text.getvalue())
