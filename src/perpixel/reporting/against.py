"""What a run's scores are held against, in words: guesses that need no network."""

from __future__ import annotations

from collections.abc import Sequence

from perpixel.reporting.tables import sure, written
from perpixel.tracking.runs import Run

NAMES = {"majority": "majority class", "colour_table": "colour table"}
"""Headings of the baselines; of the table of grey levels, too."""


def final_line(run: Run) -> str:
    """The scores of a finished run, each beside the baselines: ``val mIoU 0.91 (majority class 0.48, …)``."""
    parts = []
    for split in run.scores:
        guesses = guesses_in_words(run, split)
        interval = run.interval(split)
        part = "of {:,} of {:,} pixels".format(*run.parts[split]) if split in run.parts else ""
        beside = "; ".join(text for text in (part, interval.why if interval else "", guesses) if text)
        parts.append(f"{split} mIoU {sure(run.score(split, 'mIoU'), interval)}{f' ({beside})' if beside else ''}")
    return ", ".join(parts)


def guesses_in_words(run: Run, split: str) -> str:
    """The baselines of a split, empty where none were measured."""
    return ", ".join(f"{NAMES.get(name, name)} {score:.4f}" for name, score in run.baselines.get(split, {}).items())


def verdict(run: Run) -> str:
    """Said where a run is not above both guesses, on val or test; empty where it is."""
    found = [
        f"on {split} ({written(run.score(split, 'mIoU'))}) it is not above the {_named(names)}"
        for split in run.scores
        if (names := run.not_above(split))
    ]
    if not found:
        return ""
    return (
        f"this model is of no use yet: {', and '.join(found)}. Train longer (trainer.max_epochs), look at "
        "first_batch.png and overlays/ for what is wrong with data or crop, or let `perpixel init` choose the settings."
    )


def _named(names: Sequence[str]) -> str:
    return " or the ".join(NAMES.get(name, name) for name in names)
