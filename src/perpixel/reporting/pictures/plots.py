"""Plots by matplotlib's object interface: no pyplot, so no global state that threads or jobs would share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perpixel.tracking.runs import read_history, series

_TRAIN, _VAL, _BEST = "#2563eb", "#ea580c", "#16a34a"
_WRITTEN = 24
"""Up to so many classes a confusion matrix has its figures written in its cells."""

History = Sequence[Mapping[str, float | None]]


def curves_picture(metrics_jsonl: Path, out: Path) -> None:
    """Draw loss (train and val) and val mIoU over epochs into a PNG.

    Args:
        metrics_jsonl: the run's log; missing or empty gives empty axes that say so.
        out: the PNG to write.
    """
    history = read_history(metrics_jsonl)
    figure = Figure(figsize=(10, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    loss, miou = figure.subplots(1, 2)
    _lines(loss, history, {"train/loss": ("train", _TRAIN), "val/loss": ("val", _VAL)}, "loss")
    _lines(miou, history, {"val/mIoU": ("val", _VAL)}, "mIoU")
    _mark_best(miou, history)
    figure.savefig(out, format="png")


def confusion_picture(confusion: npt.ArrayLike, names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Draw a confusion matrix, each row divided by its sum, so that the diagonal is the class's recall.

    Args:
        confusion: (K, K) pixel counts, rows = truth, columns = prediction.
        names: K class names.

    Returns:
        (h, w, 3) uint8 RGB; rows of classes that do not occur are blank.
    """
    counts = np.asarray(confusion, np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    side = 2.4 + 0.55 * min(len(names), 40)
    figure = Figure(figsize=(side + 0.8, side), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the true class")
    _name_classes(axes, names)
    if len(names) <= _WRITTEN:
        _write_shares(axes, shares)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _lines(axes: Axes, history: History, lines: Mapping[str, tuple[str, str]], title: str) -> None:
    drawn = {key: points for key in lines if (points := series(history, key))}
    for key, points in drawn.items():
        label, colour = lines[key]
        axes.plot(*zip(*points, strict=True), label=label, color=colour, marker="o", markersize=3)
    axes.set(title=title, xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if drawn:
        axes.legend(frameon=False)
    else:
        axes.text(0.5, 0.5, "nothing logged yet", ha="center", va="center", transform=axes.transAxes, color="grey")


def _mark_best(axes: Axes, history: History) -> None:
    points = series(history, "val/mIoU")
    if points:
        epoch, value = max(points, key=lambda point: point[1])
        axes.plot(epoch, value, marker="*", markersize=13, color=_BEST, linestyle="", label=f"best {value:.3f}")
        axes.legend(frameon=False, loc="lower right")


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    # a name is text, never mathematics: "$\\x$" must not stop a job
    style: dict[str, Any] = {"fontsize": 9 if len(names) <= _WRITTEN else 6, "parse_math": False}
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", **style)
    axes.set_yticks(range(len(names)), names, **style)
    axes.set(xlabel="predicted", ylabel="true")


def _write_shares(axes: Axes, shares: npt.NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            colour = "white" if share > 0.55 else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)
