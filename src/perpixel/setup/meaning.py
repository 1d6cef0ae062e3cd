"""What stored labels mean: how they are coded, which classes there are, how often each occurs."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml  # type: ignore[import-untyped,unused-ignore]
from PIL import Image

from perpixel.data.files.statistics import evenly
from perpixel.data.formats.decode import read_values
from perpixel.setup.layout import Layout

Ask = Callable[[str], str]
RGB = tuple[int, int, int]

LOOKED_AT = 400
"""Masks that are decoded at most, evenly spaced."""

MOST_CLASSES = 64
"""Values, or colours, beyond which they are no classes unless they run from 0 without a gap."""

IGNORED = 255
RARE_IGNORED = 0.2
_SINGLE, _FLAT = 0.8, 0.7
_LIST_FILES = (
    "class_names.txt",
    "classes.txt",
    "labels.txt",
    "codes.txt",
    "obj.names",
    "labelmap.txt",
    "label_names.txt",
)
_NOT_CLASSES = ("__ignore__",)
_BACKGROUND = ("_background_", "background", "bg")


@dataclass(frozen=True)
class Meaning:
    """What the labels of a folder mean.

    Attributes:
        settings: of ``data.source``, each with its reason.
        classes: names by class index.
        shares: of the labelled pixels, by class index.
        unlabelled: share of the pixels without a label.
        policy: content of a label policy file, where stored values are no class indices; else None.
        objects: typical side of a connected object of the classes but the most frequent one, in pixels.
        named: where the names come from.
        instances: whether objects were told apart.
    """

    settings: Mapping[str, tuple[Any, str]]
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    unlabelled: float
    named: str
    policy: Mapping[str, Any] | None = None
    objects: float = 0.0
    instances: bool = False


@dataclass
class _Seen:
    """What decoded masks hold."""

    pixels: Counter[Any] = field(default_factory=Counter)
    masks: Counter[Any] = field(default_factory=Counter)
    singles: list[float] = field(default_factory=list)  # per mask: share of values that are one connected area
    prefixes: int = 0  # masks whose values other than 0 run 1, 2, …, n
    highest: list[int] = field(default_factory=list)
    flat: list[float] = field(default_factory=list)  # per mask: share of pixels like their left neighbour
    colours: int = 0
    looked_at: int = 0


def find_meaning(root: Path, layout: Layout, ask: Ask | None = None) -> Meaning:
    """Look at the labels of a layout.

    Args:
        root: the folder.
        layout: of it.
        ask: puts one question to the user and gives the answer, where somebody is there to answer it.

    Raises:
        ValueError: no mask can be read, or what they hold are no labels; says what was found and what would do.
    """
    if layout.encoding in ("labelme", "coco"):
        return _of_shapes(layout)
    paths = [pair.mask for pair in layout.pairs.values()]
    seen = _look(evenly(paths, LOOKED_AT))
    if seen.colours:
        return _of_colours(root, seen, paths, ask)
    return _of_values(root, seen, paths, ask)


def _look(paths: Sequence[Path]) -> _Seen:
    seen = _Seen()
    last: ValueError | None = None
    for path in paths:
        try:
            values = read_values(path)
        except ValueError as error:  # all faulty files are named when the data are checked
            last = error
            continue
        seen.looked_at += 1
        if values.ndim == 3:
            seen.colours += 1
            wide = values.astype(np.int64)
            values = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        elif seen.colours:
            values = values.astype(np.int64) * 0x010101  # grey among colours
        _count(seen, values)
    if not seen.looked_at:
        raise ValueError(f"none of the {len(paths)} masks that were looked at can be read: {last}")
    return seen


def _count(seen: _Seen, values: npt.NDArray[Any]) -> None:
    found, counts = np.unique(values, return_counts=True)
    seen.flat.append(float((values[:, 1:] == values[:, :-1]).mean()) if values.shape[1] > 1 else 1.0)
    seen.pixels.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    seen.masks.update(found.tolist())
    objects = [int(value) for value in found if value != 0]
    if objects:
        seen.prefixes += objects == list(range(1, len(objects) + 1))
        seen.highest.append(len(objects))
        singles = [_is_one(values == value) for value in objects[:24]]
        seen.singles.append(float(np.mean(singles)))


def _is_one(inside: npt.NDArray[np.bool_]) -> bool:
    return cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)[0] == 2


def _are_instances(seen: _Seen) -> bool:
    """Whether values count objects: many values, each one connected area; or in each mask 1, 2, …, n of varying n."""
    if not seen.singles or float(np.mean(seen.singles)) < _SINGLE or min(seen.pixels) < 0:
        return False
    own = [count for value, count in seen.masks.items() if value != 0]
    few_masks_each = float(np.median(own)) <= max(1.0, 0.25 * seen.looked_at)
    if len(own) > 20 and few_masks_each:
        return True
    labelled = len(seen.highest)
    counted = seen.prefixes == labelled and max(seen.highest) >= 4 and len(set(seen.highest)) > 1
    return counted and not seen.colours


def _of_values(root: Path, seen: _Seen, paths: Sequence[Path], ask: Ask | None) -> Meaning:
    values = sorted(seen.pixels)
    why = f"the masks hold {_in_words(values)}"
    if len(values) == 1:
        raise ValueError(
            f"all {seen.looked_at} masks that were looked at (first '{paths[0]}') hold one value, {values[0]}, and "
            "nothing else: there is nothing to learn. Are these the right files?"
        )
    if _are_instances(seen):
        names, named = _names(root, [0, 1], ask, seen, ("background", "object"))
        settings: dict[str, tuple[Any, str]] = {
            "binary": ("nonzero", f"{why}: each object has a number of its own, 0 is background")
        }
        shares = _shares([seen.pixels[0], sum(seen.pixels.values()) - seen.pixels[0]])
        return _finished(settings, names, shares, 0.0, named, paths, instances=True)
    ragged = float(np.mean(seen.flat)) < _FLAT
    if len(values) > MOST_CLASSES and (ragged or values[-1] >= 2 * len(values)):
        raise ValueError(_no_labels(seen, paths, f"{len(values)} different values up to {values[-1]}"))
    if set(values) == {0, 255} or (set(values) == {0, 1, 255} and seen.pixels[255] > seen.pixels[1]):
        names, named = _names(root, [0, 255], ask, seen, ("background", "object"))
        settings = {"binary": (True, f"{why}: 255 is class 1")}
        return _finished(settings, names, _shares([seen.pixels[0], _others(seen, 0)]), 0.0, named, paths)
    ignored = _ignored(seen, values)
    own = [value for value in values if value not in ignored]
    unlabelled = sum(seen.pixels[value] for value in ignored) / sum(seen.pixels.values())
    # Values that few masks hold may not have been looked at, so indices run to the last one.
    if own[0] >= 0 and own[-1] < 255 and own[-1] + 1 - len(own) <= max(1, len(own) // 4) and own[0] == 0:
        names, named = _names(root, list(range(own[-1] + 1)), ask, seen)
        settings = {"encoding": ("index", f"{why}: class indices")}
        if IGNORED in ignored:
            settings["ignore_index"] = (IGNORED, f"255 has no label ({unlabelled:.1%} of the pixels)")
        return _finished(
            settings, names, _shares([seen.pixels[v] for v in range(own[-1] + 1)]), unlabelled, named, paths
        )
    names, named = _names(root, own, ask, seen)
    policy = {
        "ignore": list(ignored),
        "classes": [{"name": name, "from": value} for name, value in zip(names, own, strict=True)],
    }
    settings = {"classes": (None, f"{why}, which are no indices from 0: the policy file says what each means")}
    return _finished(settings, names, _shares([seen.pixels[v] for v in own]), unlabelled, named, paths, policy=policy)


def _ignored(seen: _Seen, values: Sequence[int]) -> tuple[int, ...]:
    """255 beside indices, where it is no class: behind a gap, and no large part of the pixels."""
    share = seen.pixels[IGNORED] / sum(seen.pixels.values())
    others = [value for value in values if value != IGNORED]
    runs = bool(others) and others[-1] < 2 * len(others) + 8
    return (IGNORED,) if IGNORED in seen.pixels and runs and share < RARE_IGNORED else ()


def _of_colours(root: Path, seen: _Seen, paths: Sequence[Path], ask: Ask | None) -> Meaning:
    settings: dict[str, tuple[Any, str]]
    codes = [code for code, _ in seen.pixels.most_common()]
    known = _colour_list(root)
    if len(codes) > MOST_CLASSES and not known:
        if _are_instances(seen):
            names, named = _names(root, [0, 1], ask, seen, ("background", "object"))
            settings = {"binary": ("nonzero", f"{len(codes)} colours, each of one object; black is background")}
            return _finished(
                settings, names, _shares([seen.pixels[0], _others(seen, 0)]), 0.0, named, paths, instances=True
            )
        raise ValueError(_no_labels(seen, paths, f"{len(codes)} different colours"))
    if known:
        palette = known
        unknown = [code for code in codes if _rgb(code) not in palette.values()]
        names, named = tuple(palette), "the list of colours in the folder"
        colours = list(palette.values())
        ignored = [_rgb(code) for code in unknown]
    else:
        codes.sort(key=lambda code: (code != 0, -seen.pixels[code]))
        names, named = _names(root, [_rgb(code) for code in codes], ask, seen)
        colours, ignored = [_rgb(code) for code in codes], []
    settings = {
        "encoding": ("colour", f"the masks show {len(codes)} colours"),
        "palette": ([list(colour) for colour in colours], "one a class, in the order of the classes"),
    }
    if ignored:
        settings["ignore_colours"] = ([list(colour) for colour in ignored], "of no class in that list")
    counts = [seen.pixels[_code(colour)] for colour in colours]
    unlabelled = 1 - sum(counts) / sum(seen.pixels.values())
    return _finished(settings, names, _shares(counts), unlabelled, named, paths)


def _of_shapes(layout: Layout) -> Meaning:
    """Names stand in the files; pixels that nobody drew on are background where the shapes cover objects only."""
    drawn: Counter[str] = Counter()
    areas: dict[str, float] = defaultdict(float)
    sides = []
    total = 0.0
    paths = [pair.mask for pair in layout.pairs.values()]
    for path in evenly(paths, LOOKED_AT):
        content = json.loads(path.read_text(encoding="utf-8"))
        total += float(content.get("imageHeight") or 0) * float(content.get("imageWidth") or 0)
        for shape in content["shapes"]:
            points = np.asarray(shape.get("points") or [[0, 0]], np.float32).reshape(-1, 2)
            drawn[str(shape["label"])] += 1
            area = float(cv2.contourArea(points)) if len(points) > 2 else float(np.prod(np.ptp(points, axis=0)))
            areas[str(shape["label"])] += area
            sides.append(area**0.5)
    names = [name for name in sorted(drawn) if name not in _NOT_CLASSES and name.lower() not in _BACKGROUND]
    if not names:
        raise ValueError(f"the annotations (first '{paths[0]}') hold no shape with a class: there is nothing to learn.")
    background = next((name for name in drawn if name.lower() in _BACKGROUND), "background")
    counts = [max(total - sum(areas[name] for name in names), 0.0), *(areas[name] for name in names)]
    settings: dict[str, tuple[Any, str]] = {
        "encoding": (layout.encoding, f"{sum(drawn.values())} shapes with {len(names)} names"),
        "elsewhere": (background, "what nobody drew on; null leaves it without a label, for scribbles and boxes"),
    }
    return Meaning(
        settings, (background, *names), _shares(counts), 0.0, "the annotations", objects=float(np.median(sides or [0]))
    )


def _finished(
    settings: dict[str, tuple[Any, str]],
    names: tuple[str, ...],
    shares: tuple[float, ...],
    unlabelled: float,
    named: str,
    paths: Sequence[Path],
    policy: Mapping[str, Any] | None = None,
    instances: bool = False,
) -> Meaning:
    return Meaning(settings, names, shares, unlabelled, named, policy, _object_side(paths), instances)


def _object_side(paths: Sequence[Path]) -> float:
    """Median square root of the area of connected objects, but for those of each mask's most frequent value."""
    sides: list[float] = []
    for path in evenly(paths, 24):
        try:
            values = read_values(path)
        except ValueError:
            continue
        flat = values if values.ndim == 2 else values.astype(np.int64) @ np.array([65536, 256, 1])
        found, counts = np.unique(flat, return_counts=True)
        for value in found[np.argsort(-counts)][1:12]:
            _, _, stats, _ = cv2.connectedComponentsWithStats((flat == value).astype(np.uint8), connectivity=8)
            sides += [float(area) ** 0.5 for area in stats[1:, cv2.CC_STAT_AREA] if area >= 9]
    return float(np.median(sides)) if sides else 0.0


def _others(seen: _Seen, value: int) -> int:
    return sum(seen.pixels.values()) - seen.pixels[value]


def _shares(counts: Sequence[float]) -> tuple[float, ...]:
    total = max(sum(counts), 1)
    return tuple(count / total for count in counts)


def _names(
    root: Path, values: Sequence[Any], ask: Ask | None, seen: _Seen, otherwise: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], str]:
    """Names of so many classes and where they come from: a list in the folder, an answer, or numbers."""
    for listed, file in _name_lists(root):
        if len(listed) == len(values):
            return tuple(listed), f"{file} in the folder"
        if all(isinstance(value, int) and 0 <= value < len(listed) for value in values) and values != [0, 255]:
            return tuple(listed[value] for value in values), f"{file} in the folder, by value"
    default = otherwise or tuple(f"class_{place}" for place in range(len(values)))
    if ask is not None:
        total = sum(seen.pixels.values())
        shown = ", ".join(f"{value}{_share(seen, value, total)}" for value in values[:12])
        answer = ask(
            f"What are the {len(values)} classes called, in the order of {shown}{', …' if len(values) > 12 else ''}? "
            f"[{','.join(default[:12])}] "
        )
        given = tuple(name.strip() for name in answer.split(",") if name.strip())
        if len(given) == len(values) and len(set(given)) == len(given):
            return given, "your answer"
    return default, "made up, rename them as you like"


def _share(seen: _Seen, value: Any, total: int) -> str:
    key = _code(value) if isinstance(value, tuple) else value
    return f" ({seen.pixels[key] / total:.0%})" if key in seen.pixels else ""


def _name_lists(root: Path) -> Iterator[tuple[list[str], str]]:
    """Class names from files that are made for them, and the file's name."""
    for path in sorted(root.glob("*")):
        if path.name.lower() in _LIST_FILES and path.stat().st_size < 1 << 16:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            names = [re.split(r"[:\t]", line)[0].strip() for line in lines if line.strip() and line[0] != "#"]
        elif path.name.lower() in ("data.yaml", "dataset.yaml", "classes.json", "dataset.json"):
            names = _named_in(path)
        else:
            continue
        kept = [name for name in names if name not in _NOT_CLASSES]
        if kept and len(set(kept)) == len(kept):
            yield kept, path.name


def _named_in(path: Path) -> list[str]:
    """``names:`` or ``classes:`` of a YAML or JSON file; nnU-Net's ``labels:`` go by their numbers."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError, OSError):
        return []
    if isinstance(content, list):
        return [str(name) for name in content]
    if not isinstance(content, Mapping):
        return []
    found = content.get("names") or content.get("classes") or content.get("labels") or []
    if isinstance(found, Mapping):
        numbers = all(isinstance(value, int) for value in found.values())
        return (
            [str(name) for name, _ in sorted(found.items(), key=lambda item: item[1])]
            if numbers
            else [str(name) for name in found.values()]
        )
    return [str(name) for name in found] if isinstance(found, list) else []


def _colour_list(root: Path) -> dict[str, RGB]:
    """CVAT's ``labelmap.txt`` (name:r,g,b::) and CamVid's ``label_colors.txt`` (r g b name)."""
    found: dict[str, RGB] = {}
    for path in sorted(root.glob("*.txt")):
        if path.name.lower() not in ("labelmap.txt", "label_colors.txt"):
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            named = re.match(r"\s*([^#:]+):(\d+),(\d+),(\d+):", line)
            listed = re.match(r"\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S.*)", line)
            if named:
                found[named[1].strip()] = (int(named[2]), int(named[3]), int(named[4]))
            elif listed:
                found[listed[4].strip()] = (int(listed[1]), int(listed[2]), int(listed[3]))
    return found


def _rgb(code: int) -> RGB:
    return code >> 16, code >> 8 & 255, code & 255


def _code(colour: Sequence[int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _in_words(values: Sequence[int]) -> str:
    if len(values) <= 12:
        return "the values " + ", ".join(map(str, values))
    return f"{len(values)} values, {values[0]}…{values[-1]}"


def _no_labels(seen: _Seen, paths: Sequence[Path], what: str) -> str:
    palette = _is_palette(paths[0])
    return (
        f"the masks (first '{paths[0]}') hold {what}, too many for classes. Labels look like that after they were "
        "resized or compressed with blending, or where these files are pictures and no labels"
        f"{' (this one has a palette)' if palette else ''}: take the masks as they were exported, a value or "
        "colour for each class."
    )


def _is_palette(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode == "P"
    except OSError:
        return False
