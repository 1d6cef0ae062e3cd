"""Curves of many runs as the geometry of an SVG: the template only prints it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 34
"""Size of a chart and the margins around its axes, in SVG units."""

MOST_POINTS = 150
"""A longer curve is thinned: no screen shows more, and the page stays small."""

Point = tuple[int, float]


@dataclass(frozen=True)
class Tick:
    """A grid line: its place in SVG units and what is written beside it."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """One run's curve.

    Attributes:
        run: index of the run, which sets its colour.
        label: its name for the reader.
        path: the ``d`` of an SVG path.
        points: (epoch, value, x, y) of each point drawn, x and y in SVG units.
        best: the point worth a mark.
    """

    run: int
    label: str
    path: str
    points: tuple[tuple[int, float, float, float], ...]
    best: tuple[int, float, float, float]


@dataclass(frozen=True)
class Chart:
    """One quantity over epochs, one line per run that logged it."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def chart(title: str, curves: Sequence[tuple[int, str, Sequence[Point]]], *, highest_is_best: bool) -> Chart | None:
    """Lay out a chart.

    Args:
        title: what is drawn.
        curves: (index of the run, its label, its points in epoch order); empty ones are left out.
        highest_is_best: whether the mark goes to the highest or the lowest point of each curve.

    Returns:
        None where no run has logged the quantity.
    """
    curves = [curve for curve in curves if curve[2]]
    if not curves:
        return None
    x_axis = Axis([x for _, _, points in curves for x, _ in points], LEFT, WIDTH - RIGHT, integer=True)
    y_axis = Axis([y for _, _, points in curves for _, y in points], HEIGHT - BOTTOM, TOP, integer=False)
    choose = max if highest_is_best else min
    lines = tuple(
        _line(run, label, choose(points, key=lambda point: point[1]), points, (x_axis, y_axis))
        for run, label, points in curves
    )
    return Chart(title, lines, x_axis.ticks, y_axis.ticks)


class Axis:
    """A linear scale from values to SVG units with round ticks; ``first`` and ``last`` are the units at its ends."""

    def __init__(self, values: Sequence[float], first: float, last: float, *, integer: bool) -> None:
        low, high = min(values), max(values)
        padding = 0 if integer else 0.04 * (high - low) or 0.05
        self.low, self.high = low - padding, high + padding or 1
        self.first, self.last = first, last
        steps = MaxNLocator(nbins=5, integer=integer).tick_values(self.low, self.high)
        inside = [float(step) for step in steps if self.low <= step <= self.high]
        self.ticks = tuple(Tick(self(step), f"{step:.4g}") for step in inside)

    def __call__(self, value: float) -> float:
        span = (self.high - self.low) or 1
        return round(self.first + (value - self.low) / span * (self.last - self.first), 1)


def _line(run: int, label: str, best: Point, points: Sequence[Point], axes: tuple[Axis, Axis]) -> Line:
    drawn = tuple(_placed(point, axes) for point in _thinned(points, best))
    path = "M" + "L".join(f"{x:g} {y:g}" for _, _, x, y in drawn)
    return Line(run, label, path, drawn, _placed(best, axes))


def _placed(point: Point, axes: tuple[Axis, Axis]) -> tuple[int, float, float, float]:
    epoch, value = point
    return epoch, value, axes[0](epoch), axes[1](value)


def _thinned(points: Sequence[Point], best: Point) -> list[Point]:
    """Every k-th point, and always the best and the last."""
    stride = -(-len(points) // MOST_POINTS)
    return sorted({*points[::stride], best, points[-1]})
