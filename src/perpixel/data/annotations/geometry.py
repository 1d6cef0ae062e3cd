"""Which pixels a shape covers.

Coordinates are (x, y) in pixels, continuous: pixel (row, column) covers [column, column + 1) × [row, row + 1), as in
COCO and LabelMe, and belongs to a shape that holds its centre. So two polygons that share an edge leave no gap and
overlap nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Inside = npt.NDArray[np.bool_]

LEAST_RADIUS = 0.5 * 2**0.5
"""Half a pixel's diagonal: a thinner stroke could pass between the centres of all pixels."""


FARTHEST = 2.0**31
"""No picture reaches so far, in pixels; rows and columns are counted in 64 bits."""

MOST_CROSSINGS = 1 << 25
"""Of a polygon's edges with rows of pixels: some 2 GB at work, and no outline is so long."""


class Painted(NamedTuple):
    """Pixels of a canvas.

    Attributes:
        area: rows and columns of the canvas.
        inside: which pixels of the area are meant.
    """

    area: tuple[slice, slice]
    inside: Inside


def checked_points(given: Any) -> Points:
    """Points as a file has them, as (N, 2).

    Raises:
        ValueError: they are no pairs of finite numbers, or there are none.
    """
    try:
        points = np.asarray(given)
    except ValueError:  # not all of one length
        points = np.empty(0, object)
    if points.size == 0 and points.dtype != object:
        raise ValueError("it has no points")
    if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in "iuf":
        raise ValueError("its points are no pairs of numbers, as [[x, y], [x, y]]")
    if not (np.abs(points.astype(np.float64)) < FARTHEST).all():
        raise ValueError("some of its points are infinite, or farther out than any picture")
    return points.astype(np.float64)


def filled(points: Points, canvas: tuple[int, int]) -> Painted:
    """The inside of a closed polygon (N, 2), by the even-odd rule.

    Raises:
        ValueError: it winds through more rows than any outline does.
    """
    area = bounds(points, 0.0, canvas)
    (top, bottom), (left, right) = ((part.start, part.stop) for part in area)
    (x0, y0), (x1, y1) = points.T, np.roll(points, -1, axis=0).T
    first, last = (np.ceil(end - 0.5).astype(int).clip(top, bottom) for end in (np.minimum(y0, y1), np.maximum(y0, y1)))
    if (last - first).sum() > MOST_CROSSINGS:
        raise ValueError(f"its {len(points):,} edges cross rows of pixels more than {MOST_CROSSINGS:,} times")
    edge = np.repeat(np.arange(len(points)), last - first)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - (last - first), last - first) + first[edge]
    crossing = x0[edge] + (row + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    column = np.ceil(crossing - 0.5).astype(int).clip(left, right)
    toggles = np.zeros((bottom - top, right - left + 1), np.uint8)
    np.add.at(toggles, (row - top, column - left), 1)
    return Painted(area, (np.cumsum(toggles, axis=1, dtype=np.uint8) & 1).astype(bool)[:, :-1])


def stroked(points: Points, width: float, canvas: tuple[int, int]) -> Iterator[Painted]:
    """A line of ``width`` pixels with round ends through all points (N, 2), segment by segment; one point is a disc."""
    radius = max(width / 2, LEAST_RADIUS)
    starts = points[:-1] if len(points) > 1 else points
    ends = points[1:] if len(points) > 1 else points
    for start, end in zip(starts, ends, strict=True):
        area = bounds(np.stack([start, end]), radius, canvas)
        rows, columns = np.ogrid[area]
        x, y = columns + 0.5 - start[0], rows + 0.5 - start[1]
        along = end - start
        place = np.clip((x * along[0] + y * along[1]) / max(along @ along, 1e-12), 0, 1)
        yield Painted(area, np.hypot(x - place * along[0], y - place * along[1]) <= radius)


def bounds(points: Points, margin: float, canvas: tuple[int, int]) -> tuple[slice, slice]:
    """The part of a canvas, (H, W), that points may reach."""
    low = np.floor(points.min(axis=0) - margin).astype(int)
    high = np.ceil(points.max(axis=0) + margin).astype(int)
    height, width = canvas
    top, bottom = np.clip([low[1], high[1]], 0, height).tolist()
    left, right = np.clip([low[0], high[0]], 0, width).tolist()
    return slice(top, bottom), slice(left, right)
