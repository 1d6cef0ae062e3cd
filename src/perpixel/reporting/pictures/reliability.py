"""The reliability diagram: is a model right as often as it is sure?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

_RIGHT, _GAP, _COUNT = "#2563eb", "#ea580c", "#64748b"

Values = npt.NDArray[np.float64]


def reliability_picture(reliability: Mapping[str, Sequence[float | None]]) -> npt.NDArray[np.uint8]:
    """Draw accuracy per bin of confidence over the histogram of confidence, with the ECE in the title.

    Where a bar ends below the diagonal the model is surer than it is right (hatched up to its mean confidence), where
    it stands above, less sure (Guo et al. 2017, fig. 1).

    Args:
        reliability: as ``perpixel.metrics.Calibration`` tells it: ``share`` of the pixels, ``confidence`` and
            ``accuracy`` of each of the bins, which divide 0…1 equally; None in bins without pixels.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    share, confidence, accuracy = (
        np.array([np.nan if value is None else value for value in reliability[name]], np.float64)
        for name in ("share", "confidence", "accuracy")
    )
    figure = Figure(figsize=(5.4, 6.2), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_accuracy(upper, confidence, accuracy)
    _draw_share(lower, share)
    upper.set_title(_title(share, confidence, accuracy))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _title(share: Values, confidence: Values, accuracy: Values) -> str:
    if not np.isfinite(accuracy).any():
        return "no labelled pixels"
    ece = float(np.nansum(share * np.abs(accuracy - confidence)))
    lean = float(np.nansum(share * (confidence - accuracy)))
    side = "surer than right" if lean > 0 else "less sure than right"
    return f"ECE {ece:.3f}; on average {abs(lean):.3f} {side}"


def _draw_accuracy(axes: Axes, confidence: Values, accuracy: Values) -> None:
    left, width = _bins(accuracy)
    axes.bar(left, accuracy, width, align="edge", color=_RIGHT, edgecolor="white", label="accuracy")
    gap, foot = np.abs(confidence - accuracy), np.fmin(confidence, accuracy)
    style: dict[str, Any] = {"color": "none", "edgecolor": _GAP, "hatch": "////", "linewidth": 1}
    axes.bar(left, gap, width, foot, align="edge", label="gap to the mean confidence", **style)
    axes.plot((0, 1), (0, 1), color="black", linestyle="--", linewidth=1, label="right as often as sure")
    axes.set(ylabel="share of the pixels that is right", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", facecolor="white", edgecolor="none", framealpha=0.85)
    _tidy(axes)


def _draw_share(axes: Axes, share: Values) -> None:
    left, width = _bins(share)
    axes.bar(left, np.nan_to_num(share), width, align="edge", color=_COUNT, edgecolor="white")
    axes.set(xlabel="confidence (largest softmax probability)", ylabel="share of pixels")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _tidy(axes)


def _bins(values: Values) -> tuple[Values, float]:
    """Left edges and width."""
    return np.arange(len(values)) / len(values), 1 / len(values)


def _tidy(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
