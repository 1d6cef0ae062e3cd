"""Masks as outlines: polygons that meet without gaps (GeoJSON, GeoPackage), or run lengths (COCO).

Needs the extra ``geo``: ``rasterio`` finds the outlines of the whole mask, so no polygon ends where a window did;
``shapely`` simplifies them together, so that neighbours keep a common border; ``pyogrio`` writes GeoPackages and
``pycocotools`` packs run lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.unsignedinteger[Any]]

PACKAGES = {"geojson": ("rasterio", "shapely"), "gpkg": ("rasterio", "shapely", "pyogrio"), "coco": ("pycocotools",)}
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
    from rasterio import warp

    pieces = _pieces(mask, values, tolerance)
    shapes = [shapely.geometry.mapping(outline) for outline in pieces.outlines]
    if ground is not None:
        places = [shapely.geometry.mapping(outline) for outline in _placed(pieces.outlines, ground.transform)]
        shapes = [warp.transform_geom(ground.crs, WGS84, place) for place in places] if ground.crs else places
    name_of = dict(zip(values, names, strict=True))
    collected = [
        {
            "type": "Feature",
            "properties": {"class": name_of[value], "value": value, "pixels": pixels},
            "geometry": shape,
        }
        for shape, value, pixels in zip(shapes, pieces.values, pieces.pixels, strict=True)
    ]
    return {"type": "FeatureCollection", "features": collected}


def as_geopackage(
    mask: Mask, values: Sequence[int], names: Sequence[str], tolerance: float = 0.0, ground: Any = None
) -> bytes:
    """The same features as a GeoPackage (OGC 12-128r19): layer ``classes``, in the raster's own reference system.

    Arguments as for ``as_geojson``; without ``ground`` the coordinates are pixels, x to the right and y downwards.
    """
    import shapely
    from pyogrio import raw

    pieces = _pieces(mask, values, tolerance)
    outlines = pieces.outlines if ground is None else _placed(pieces.outlines, ground.transform)
    name_of = dict(zip(values, names, strict=True))
    columns = {
        "class": np.array([name_of[value] for value in pieces.values], object),
        "value": np.array(pieces.values, np.int64),
        "pixels": np.array(pieces.pixels, np.int64),
    }
    file = BytesIO()
    raw.write(
        file,
        geometry=shapely.to_wkb(np.array(outlines, object)),
        field_data=list(columns.values()),
        fields=np.array(list(columns), object),
        layer="classes",
        driver="GPKG",
        geometry_type="Polygon",
        crs=ground.crs.to_wkt() if ground is not None and ground.crs else None,
    )
    return file.getvalue()


class _Pieces(NamedTuple):
    """Connected pieces of classes: outlines (shapely polygons, in pixels), stored values, sizes in pixels."""

    outlines: list[Any]
    values: list[int]
    pixels: list[int]


def _pieces(mask: Mask, values: Sequence[int], tolerance: float) -> _Pieces:
    """See ``as_geojson``."""
    import shapely
    from rasterio import features

    of_class = np.isin(mask, values)
    found = [(shapely.geometry.shape(shape), int(value)) for shape, value in features.shapes(mask, mask=of_class)]
    outlines = [geometry for geometry, _ in found]
    pixels = [round(geometry.area) for geometry in outlines]
    if tolerance > 0 and outlines:
        # Its tolerance is the square root of the area that may be lost at a corner.
        # Neighbours must share their corners: a long edge gets those of the short ones beside it.
        outlines = list(shapely.coverage_simplify(shapely.segmentize(np.array(outlines), 1.0), tolerance))
    return _Pieces(outlines, [value for _, value in found], pixels)


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


def _placed(outlines: Sequence[Any], transform: Any) -> list[Any]:
    """Pixels → the raster's own reference system."""
    from shapely import affinity

    to = [transform.a, transform.b, transform.d, transform.e, transform.c, transform.f]
    return [affinity.affine_transform(outline, to) for outline in outlines]
