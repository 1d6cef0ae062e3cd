"""COCO's annotations, one JSON for a whole set, as one small file for each image.

A worker then reads what it needs, and neither parses half a gigabyte nor keeps it; and an image's content hash follows
from its own annotations.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from perpixel.data.annotations.masks import ANNOTATION
from perpixel.data.files.file_cache import cache_folder, stamp
from perpixel.data.formats.texts import read_text

_INDEX = "index.json"
_VERSION = "4"
_SHOWN = 8  # categories


def coco_files(annotations: Path) -> dict[str, Path]:
    """Annotation files by the ``file_name`` of their image, in the form that ``ShapeMasks`` reads.

    They are written into the user's cache folder, once for an unchanged file. Larger objects are drawn first, so that
    smaller ones lie on top; an annotation without segmentation is its box.

    Raises:
        ValueError: it is no COCO file of instances, or the cache folder cannot be written to.
    """
    folder = cache_folder() / "coco" / f"{stamp([annotations])}-{_VERSION}" / annotations.stem
    if not (folder / _INDEX).is_file():
        try:
            _unpack(annotations, folder)
        except OSError as error:
            raise ValueError(
                f"'{annotations}' is unpacked into '{folder.parent}', which failed ({error}): set XDG_CACHE_HOME to a "
                "folder that can be written to."
            ) from None
    index: dict[str, str] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    return {name: folder / file for name, file in index.items()}


def _unpack(annotations: Path, folder: Path) -> None:
    """Several processes may do it at once: the folder appears whole, by renaming."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as draft:
        whole = Path(draft) / "whole"
        whole.mkdir()
        index = {}
        for number, content in enumerate(_images(annotations)):
            name = content.pop("file_name")
            file = f"{number}_{re.sub(r'[^A-Za-z0-9-]', '_', PurePosixPath(name).stem)[:60]}.json"
            (whole / file).write_text(json.dumps(content), encoding="utf-8")
            index[name] = file
        (whole / _INDEX).write_text(json.dumps(index), encoding="utf-8")
        with suppress(OSError):  # another process was first
            whole.rename(folder)


def _images(annotations: Path) -> Iterator[dict[str, Any]]:
    text = read_text(annotations, "annotation file", "data.source.masks")
    try:
        content = json.loads(text)
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        objects: Mapping[Any, list[dict[str, Any]]] = defaultdict(list)
        for one in content["annotations"]:
            objects[one["image_id"]].append(one)
        for image, ids in _by_name(content["images"]):
            drawn = sorted((one for number in ids for one in objects[number]), key=_area, reverse=True)
            yield {
                "file_name": str(image["file_name"]),
                "origin": f"{annotations.name}: {image['file_name']}",  # hashed: where the set lies does not count
                "imageHeight": image["height"],
                "imageWidth": image["width"],
                "shapes": [_known(one) | shape for one in drawn for shape in _shapes(one, _name(one, names))],
            }
    except _Faulty as error:
        raise ValueError(f"'{annotations}': {error}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"'{annotations}' is no COCO file of instances ({type(error).__name__}: {error}): it needs images, "
            "categories and annotations, each with their ids."
        ) from None


class _Faulty(ValueError):
    """An annotation that makes no shape; names it."""


def _name(one: Mapping[str, Any], names: Mapping[Any, str]) -> str:
    if (category := one["category_id"]) in names:
        return names[category]
    listed = ", ".join(f"{number} ({name})" for number, name in list(names.items())[:_SHOWN])
    raise _Faulty(
        f"{_told(one)} has the category {category!r}, which 'categories' does not list; it has "
        f"{listed}{', …' if len(names) > _SHOWN else ''}. Add it there, or remove the annotation."
    )


def _by_name(images: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[Any]]]:
    """Each file's entry and ids: exports that were put together list a file several times, with some objects each."""
    found: dict[str, tuple[Mapping[str, Any], list[Any]]] = {}
    for image in images:
        first, ids = found.setdefault(str(image["file_name"]), (image, []))
        if (first["height"], first["width"]) != (image["height"], image["width"]):
            raise ValueError(f"'{image['file_name']}' is listed twice, with different sizes")
        if image["id"] not in ids:
            ids.append(image["id"])
    return list(found.values())


def _area(one: Mapping[str, Any]) -> float:
    if one.get("area") is not None:
        return float(one["area"])
    *_, width, height = one.get("bbox") or (0, 0)
    return float(width * height)


def _shapes(one: Mapping[str, Any], label: str) -> list[dict[str, Any]]:
    """An object: polygons (their union), run lengths, or its box. Numbers are looked at where they are drawn."""
    segmentation = one.get("segmentation")
    try:
        if isinstance(segmentation, Mapping):
            return [
                {"label": label, "shape_type": "rle", "size": segmentation["size"], "counts": segmentation["counts"]}
            ]
        if segmentation:
            return [{"label": label, "shape_type": "polygon", "points": _pairs(part)} for part in segmentation]
        left, top, width, height = one["bbox"]
        return [{"label": label, "shape_type": "rectangle", "points": [[left, top], [left + width, top + height]]}]
    except (ValueError, KeyError, TypeError) as error:
        raise _Faulty(
            f"{_told(one)} is none that can be drawn ({type(error).__name__}: {error}): it needs a segmentation (lists "
            "of x, y, x, y, …, or size and counts), or a bbox [x, y, width, height]."
        ) from None


def _pairs(flat: Sequence[float]) -> list[Sequence[float]]:
    """(x, y) by (x, y); an odd one stays alone, and is refused with its file when it is drawn."""
    return [flat[start : start + 2] for start in range(0, len(flat), 2)]


def _known(one: Mapping[str, Any]) -> dict[str, Any]:
    return {ANNOTATION: one["id"]} if "id" in one else {}


def _told(one: Mapping[str, Any]) -> str:
    return f"annotation {one.get('id')} of image {one['image_id']}"
