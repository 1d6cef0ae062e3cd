"""Masks as outlines: polygons that meet without gaps (GeoJSON), or run lengths (COCO).

Needs the extra ``geo``: ``rasterio`` finds the outlines of the whole mask, so no polygon ends where a window did;
``shapely`` simplifies them together, so that neighbours keep a common border; ``pycocotools`` packs run lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.unsignedinteger[Any]]

PACKAGES = {"geojson": ("rasterio", "shapely"), "coco": ("pycocotools",)}
"""Formats of outlines, and what writing them needs."""

WGS84 = "EPSG:4326"
"""The reference system of GeoJSON (RFC 7946, section 4)."""


def missing_packages(kind: str) -> list[str]:
    """What has to be installed to write outlines of a format.

    Raises:
        ValueError: the format is unknown.
    """
    if kind not in PACKAGES:
        raise ValueError(f"polygons={kind}: choose one of {', '.join(PACKAGES)}.")
    return [name for name in PACKAGES[kind] if find_spec(name) is None]


def as_geojson(
    mask: Mask, values: Sequence[int], names: Sequence[str], tolerance: float = 0.0, ground: Any = None
) -> dict[str, Any]:
    """A feature for each connected piece of a class (over edges, not corners), with its class and its pixels.

    Args:
        mask: (H, W) stored values; those of no class give no polygon.
        values, names: of the classes.
        tolerance: pixels by which a border may move; 0 follows the pixels. Borders of neighbours move together
            (``shapely.coverage_simplify``, Visvalingam and Whyatt 1993).
        ground: an opened rasterio dataset whose place the coordinates get, in WGS 84; None gives pixels, x to the
            right and y downwards.
    """
    import shapely
    from rasterio import features, warp

    of_class = np.isin(mask, values)
    found = [(shapely.geometry.shape(shape), int(value)) for shape, value in features.shapes(mask, mask=of_class)]
    outlines = [geometry for geometry, _ in found]
    areas = [geometry.area for geometry in outlines]
    if tolerance > 0 and outlines:
        # Its tolerance is the square root of the area that may be lost at a corner.
        # Neighbours must share their corners: a long edge gets those of the short ones beside it.
        outlines = list(shapely.coverage_simplify(shapely.segmentize(np.array(outlines), 1.0), tolerance))
    shapes = [shapely.geometry.mapping(geometry) for geometry in outlines]
    if ground is not None:
        places = [_placed(geometry, ground.transform) for geometry in outlines]
        shapes = [warp.transform_geom(ground.crs, WGS84, place) for place in places] if ground.crs else places
    name_of = dict(zip(values, names, strict=True))
    collected = [
        {
            "type": "Feature",
            "properties": {"class": name_of[value], "value": value, "pixels": round(area)},
            "geometry": shape,
        }
        for shape, area, (_, value) in zip(shapes, areas, found, strict=True)
    ]
    return {"type": "FeatureCollection", "features": collected}


def as_coco(mask: Mask, values: Sequence[int], names: Sequence[str], file: str) -> dict[str, Any]:
    """A COCO data set of one image: for each class that occurs a mask in run lengths, its area and box.

    Args:
        mask: (H, W) stored values.
        values, names: of the classes; a category's id is the class's value plus 1, since 0 is no category in COCO.
        file: name of the image.
    """
    from pycocotools import mask as coco

    annotations: list[dict[str, Any]] = []
    for value in values:
        of_class = np.asfortranarray(mask == value, np.uint8)
        if not of_class.any():
            continue
        packed = coco.encode(of_class)
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": 1,
                "category_id": value + 1,
                "segmentation": {"size": packed["size"], "counts": packed["counts"].decode("ascii")},
                "area": int(coco.area(packed)),
                "bbox": coco.toBbox(packed).tolist(),
                "iscrowd": 1,
            }
        )
    return {
        "images": [{"id": 1, "file_name": file, "height": mask.shape[0], "width": mask.shape[1]}],
        "categories": [{"id": value + 1, "name": name} for value, name in zip(values, names, strict=True)],
        "annotations": annotations,
    }


def _placed(geometry: Any, transform: Any) -> dict[str, Any]:
    """Pixels → the raster's own reference system."""
    from shapely import affinity
    from shapely import geometry as shapes

    to = [transform.a, transform.b, transform.d, transform.e, transform.c, transform.f]
    placed: dict[str, Any] = shapes.mapping(affinity.affine_transform(geometry, to))
    return placed
