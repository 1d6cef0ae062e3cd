"""The score that chooses the best weights: which ones a validation gives, and which way each of them is better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from perpixel.config.errors import nearest

KEY = "training.checkpoint.monitor"
SCORES = ("loss", "mIoU", "fwIoU", "mDice", "mPrecision", "mRecall", "pixel_accuracy", "mean_accuracy", "kappa")
PER_CLASS = ("IoU", "Dice", "precision", "recall")


def direction(monitor: str) -> Literal["max", "min"]:
    """Which end of a score is the better one: a loss is best where it is lowest, every other score where it is highest.

    Args:
        monitor: as ``training.checkpoint.monitor``, ``val/loss`` say.
    """
    return "min" if monitor.partition("/")[2] == "loss" else "max"


def monitor_faults(monitor: str, mode: str | None) -> Iterator[str]:
    """What is wrong with a monitored score and its direction, as far as can be told without the data's classes."""
    if mode not in (None, "max", "min"):
        yield f"training.checkpoint.mode={mode}: leave it out, it follows the score."
    split, _, score = monitor.partition("/")
    kind, _, name = score.partition("/")
    if split == "val" and kind in PER_CLASS and not name:
        yield f"{KEY}={monitor}: of which class? Give val/{kind}/<class>, or val/m{kind[0].upper()}{kind[1:]}."
    elif split != "val" or (score not in SCORES and kind not in PER_CLASS):
        named = [f"val/{known}" for known in SCORES]
        yield (
            f"{KEY}={monitor}: choose one of {', '.join(named)}, or val/IoU/<class> and its kin."
            f"{nearest(monitor, named)}"
        )
    elif mode in ("max", "min") and mode != direction(monitor):
        yield (
            f"training.checkpoint.mode={mode} with monitor={monitor} would keep the worst weights: leave mode out, it "
            f"follows the score ({direction(monitor)})."
        )


def refuse_unknown_class(monitor: str, classes: Sequence[str]) -> None:
    """Refuse a monitored score of a class that the data do not have.

    Raises:
        ValueError: names the classes, and the nearest one.
    """
    split, kind, name = (*monitor.split("/", 2), "", "")[:3]
    if kind in PER_CLASS and name not in classes:
        raise ValueError(
            f"{KEY}={monitor}: the data have no class '{name}', only {', '.join(classes)}."
            f"{nearest(monitor, (f'{split}/{kind}/{known}' for known in classes))}"
        )
