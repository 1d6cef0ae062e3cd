"""Annotation files, one for each image, read as masks."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.data.annotations.drawing import Frame, draw
from perpixel.data.formats.bounds import check_pixels
from perpixel.data.formats.texts import read_text
from perpixel.data.masks.reader import MaskReader
from perpixel.labels import LabelSpace
from perpixel.windows import Window

ANNOTATION = "annotation"
"""Key of a shape's id in the COCO file that it comes from."""

UNLABELLED = "__ignore__"
"""LabelMe's own name for areas that are to be ignored."""


class ShapeMasks(MaskReader):
    """Draws LabelMe's JSON files (and the files that ``coco_files`` makes of COCO's).

    Shapes are drawn in the order of the file, later ones over earlier ones. What nobody drew on has no label, or is one
    class for all; so boxes, coarse polygons and scribbles train on what they say and on nothing else.

    Args:
        labels: the label space of the result.
        indices: class index (or the ignore value) of each name.
        default_class: value of the pixels outside all shapes.
        line_width: of lines, line strips and points, in pixels.
        rest_ignored: whether names that ``indices`` does not list are ignored rather than refused.
    """

    def __init__(
        self,
        labels: LabelSpace,
        indices: Mapping[str, int],
        default_class: int,
        line_width: float = 3.0,
        rest_ignored: bool = False,
    ) -> None:
        if line_width < 1:
            raise ValueError(f"data.source.line_width={line_width} must be at least 1 pixel.")
        self.labels = labels
        self.indices = {UNLABELLED: labels.fill, **indices}
        self.default_class = default_class
        self.line_width = line_width
        self.rest_ignored = rest_ignored

    def __call__(self, path: Path, window: Window | None = None) -> npt.NDArray[np.uint8]:
        """Class indices of an annotation file or a window of it, (H, W) uint8.

        Raises:
            ValueError: the file is no such annotation, a name is unknown, a shape cannot be drawn, or it all would be
                larger than an image may be.
        """
        content = _content(path)
        where = content.get("origin", path)
        picture = _shape(content, where)
        if window is not None:
            window.check_within(picture, where)
        frame = Frame(picture, window or Window(0, 0, *picture), self.line_width)
        check_pixels(*frame.canvas, f"'{where}'", "set data.source.tile to have it read by window, or mend the size")
        mask = np.full(frame.canvas, self.default_class, np.uint8)
        for number, shape in enumerate(content["shapes"]):
            try:
                index = self._index(_label(shape))
                for area, inside in draw(shape, frame):
                    mask[area][inside] = index
            except (ValueError, RecursionError) as error:
                raise ValueError(f"'{where}', {_called(shape, number)}: {error}") from None
        return mask

    def shape(self, path: Path) -> tuple[int, int]:
        """(H, W), as the file says."""
        content = _content(path)
        return _shape(content, content.get("origin", path))

    def key(self) -> str:
        """What names mean, and how lines are drawn."""
        return repr((sorted(self.indices.items()), self.default_class, self.line_width, self.rest_ignored))

    def _index(self, name: str) -> int:
        if name in self.indices:
            return self.indices[name]
        if self.rest_ignored:
            return self.labels.fill
        near = difflib.get_close_matches(name, self.indices, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are {', '.join(self.indices)}."
        raise ValueError(
            f"the class '{name}' is unknown; {hint} Add it to data.source.classes, or merge, rename or ignore it in a "
            "policy (data.policy)."
        )


def _label(shape: Any) -> str:
    if not isinstance(shape, Mapping) or "label" not in shape:
        raise ValueError("it is no shape, which has a label, a shape_type and points: mend it, or remove it")
    return str(shape["label"])


def _called(shape: Any, number: int) -> str:
    """A shape as its file calls it: COCO's have ids, LabelMe's are counted."""
    known = isinstance(shape, Mapping) and ANNOTATION in shape
    return f"annotation {shape[ANNOTATION]}" if known else f"shape {number}"


def _content(path: Path) -> dict[str, Any]:
    text = read_text(path, "annotation", "data.source.masks")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"'{path}' is no JSON file that can be read ({error}).") from None
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise ValueError(
            f"'{path}' is no LabelMe annotation (it has no list 'shapes'). For one COCO file for all images, set "
            "data.source.encoding=coco."
        )
    return content


def _shape(content: Mapping[str, Any], where: object) -> tuple[int, int]:
    return _side(content, "imageHeight", where), _side(content, "imageWidth", where)


def _side(content: Mapping[str, Any], side: str, where: object) -> int:
    value = content.get(side)
    if isinstance(value, float) and value.is_integer():  # as programs write it that know one kind of number
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"'{where}' does not say {side}: open the image in LabelMe and save it again.")
    return value
