"""From the shapes of an annotation file to pixels: LabelMe's kinds of shapes, and COCO's run lengths."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from perpixel.data.annotations.geometry import Inside, Painted, Points, checked_points, filled, stroked
from perpixel.data.annotations.rle import decode_rle
from perpixel.data.formats.bounds import check_pixels
from perpixel.windows import Window

Shape = Mapping[str, Any]


class Frame(NamedTuple):
    """What is drawn on.

    Attributes:
        picture: (H, W) of all of it.
        window: the part of the picture.
        line_width: of lines and points, in pixels.
    """

    picture: tuple[int, int]
    window: Window
    line_width: float

    @property
    def canvas(self) -> tuple[int, int]:
        """(H, W)."""
        return self.window.height, self.window.width

    def points(self, shape: Shape) -> Points:
        """A shape's points, (N, 2), from the window's corner."""
        return checked_points(shape["points"]) - (self.window.left, self.window.top)


def _polygon(shape: Shape, frame: Frame) -> Iterable[Painted]:
    return [filled(frame.points(shape), frame.canvas)]


def _rectangle(shape: Shape, frame: Frame) -> Iterable[Painted]:
    """Two opposite corners, or all four."""
    points = frame.points(shape)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return [filled(np.array([(left, top), (right, top), (right, bottom), (left, bottom)]), frame.canvas)]


def _circle(shape: Shape, frame: Frame) -> Iterable[Painted]:
    """Its centre and a point of its edge."""
    centre, edge = frame.points(shape)
    return stroked(centre[None], 2 * float(np.hypot(*(edge - centre))), frame.canvas)


def _line(shape: Shape, frame: Frame) -> Iterable[Painted]:
    return stroked(frame.points(shape), frame.line_width, frame.canvas)


def _points(shape: Shape, frame: Frame) -> Iterable[Painted]:
    for point in frame.points(shape):
        yield from stroked(point[None], frame.line_width, frame.canvas)


def _mask(shape: Shape, frame: Frame) -> Iterable[Painted]:
    """A PNG within the file, whose upper left pixel lies at the first point."""
    left, top = checked_points(shape["points"])[0].astype(int).tolist()
    with Image.open(io.BytesIO(base64.b64decode(shape["mask"])), formats=("PNG",)) as picture:
        check_pixels(picture.height, picture.width, "its mask", "export it anew")
        inside = np.asarray(picture) > 0
    if inside.ndim != 2:
        raise ValueError(f"its mask is a picture of {inside.shape[2]} bands: it must be grey")
    return [_pasted(inside, top, left, frame)]


def _runs(shape: Shape, frame: Frame) -> Iterable[Painted]:
    """Run lengths of the whole picture."""
    if tuple(shape["size"]) != frame.picture:
        height, width = frame.picture
        raise ValueError(
            f"its run lengths are of the size {shape['size']!s:.40}, but the image is [{height}, {width}] (H, W): "
            "export them anew for this image, or mend the image's height and width."
        )
    return [_pasted(decode_rle(shape["size"], shape["counts"]), 0, 0, frame)]


def _pasted(inside: Inside, top: int, left: int, frame: Frame) -> Painted:
    """Pixels of the whole picture, cut to the window."""
    top, left = top - frame.window.top, left - frame.window.left
    height, width = frame.canvas
    rows = slice(max(top, 0), max(min(top + inside.shape[0], height), 0))
    columns = slice(max(left, 0), max(min(left + inside.shape[1], width), 0))
    part = inside[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    return Painted((rows, columns), part)


DRAW: Mapping[str | None, Callable[[Shape, Frame], Iterable[Painted]]] = {
    "polygon": _polygon, None: _polygon, "oriented_rectangle": _polygon, "rectangle": _rectangle, "circle": _circle,
    "line": _line, "linestrip": _line, "point": _points, "points": _points, "mask": _mask, "rle": _runs,
}  # fmt: skip
"""By LabelMe's ``shape_type`` (old files have none: polygons), and ``rle`` for COCO's run lengths."""


_FAULTS = (
    KeyError, TypeError, IndexError, OSError, SyntaxError, OverflowError, MemoryError, Image.DecompressionBombError,
)  # fmt: skip


def draw(shape: Shape, frame: Frame) -> Iterator[Painted]:
    """The pixels of a shape, part by part.

    Raises:
        ValueError: the kind of shape is unknown, or its numbers make no shape.
    """
    kind = shape.get("shape_type")
    if not isinstance(kind, str | None) or kind not in DRAW:
        raise ValueError(f"its shape_type {kind!r} is none of {', '.join(str(known) for known in DRAW if known)}")
    try:
        yield from DRAW[kind](shape, frame)
    except _FAULTS as error:
        raise ValueError(f"it is no {kind or 'polygon'} that can be drawn ({error})") from None
