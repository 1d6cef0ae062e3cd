"""Drawn annotations (polygons, boxes, scribbles, points) as masks, with the pixels that nobody drew on unlabelled."""

from perpixel.data.annotations.coco import coco_files
from perpixel.data.annotations.masks import ShapeMasks

__all__ = ["ShapeMasks", "coco_files"]
