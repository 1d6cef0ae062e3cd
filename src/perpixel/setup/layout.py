"""Which files of a folder are images, which are their labels, and by which rule of ``data=folder`` they meet."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from perpixel.data.files.pairs import Pair
from perpixel.data.files.walking import files_below
from perpixel.data.folder.encodings import SUFFIXES, Encoding
from perpixel.data.folder.matching import find, find_coco, paired
from perpixel.data.folder.plan import FOLDER_NAMES
from perpixel.data.formats.decode import read_values
from perpixel.data.formats.suffixes import IMAGE_SUFFIXES, MASK_SUFFIXES, UNREAD_SUFFIXES


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


MASK_WORDS = _words_of(
    "mask masks msk label labels lbl gt groundtruth truth annotation annotations annot annots annotated ann seg segs "
    "segmentation segmentations segmentationclass target targets manual matte mattes"
)
IMAGE_WORDS = _words_of("image images img imgs photo photos picture pictures jpegimages rgb sat input inputs")
PICTURE_WORDS = _words_of("visualization visualisation vis viz overlay overlays preview previews")
"""Words in the names of folders and files that say what is in them: labels, images, pictures of labels."""

SHOWN = 3
LOOKED_AT = 4
MOST_JSON = 256 << 20  # bytes

_TOKENS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_AFFIX = re.compile(
    r"(?:(?P<first>[A-Za-z]+)(?P<behind>[-_ .]))?(?P<core>.+?)(?:(?P<before>[-_ .])(?P<last>[A-Za-z]+))?"
)


class Kind(NamedTuple):
    """Files that lie and are called alike.

    Attributes:
        folders: components of their folder up to the one that says what they are; ``*`` stands for a split's name.
        prefix, suffix: of the file's stem, with its separator.
        ending: ``json`` or ``picture``.
    """

    folders: tuple[str, ...]
    prefix: str
    suffix: str
    ending: str

    @property
    def words(self) -> set[str]:
        """What the names of folders and files say."""
        return {word for text in (*self.folders, self.prefix, self.suffix) for word in _words(text)}


class Key(NamedTuple):
    """What an image and its mask share: names of splits, folders below the kind's, core of the stem."""

    splits: tuple[str, ...]
    below: tuple[str, ...]
    core: str


@dataclass(frozen=True)
class Layout:
    """How a folder is read; the attributes are arguments of ``perpixel.data.Folder``.

    Attributes:
        pairs: by key, as ``Folder`` finds them.
        why: in words.
    """

    images: str
    masks: str
    image_key: str = "(.+)"
    mask_key: str = "(.+)"
    encoding: Encoding = "index"
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    why: str = ""

    @property
    def splits(self) -> dict[str, list[str]]:
        """Keys by split (train, val, test), where all begin with the name of one; else empty."""
        found: dict[str, list[str]] = defaultdict(list)
        for key in self.pairs:
            name = FOLDER_NAMES.get(key.split("/")[0].lower()) if "/" in key else None
            if name is None:
                return {}
            found[name].append(key)
        return dict(found) if "train" in found and len(found) > 1 else {}


def find_layout(root: Path) -> Layout:
    """The layout of a folder.

    Raises:
        ValueError: there is no such folder, nothing in it is an image, images have no labels that can be found, or they
            are stored in a way that loses labels; says what was found and what would do.
    """
    if not root.is_dir():
        raise ValueError(f"'{root}' is no folder: give the folder that holds your images and masks.")
    files = [path.relative_to(root) for path in sorted(files_below(root))]
    pictures = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not pictures:
        raise ValueError(f"'{root}' holds no image that can be read{_unread(files)}.")
    jsons = [path for path in files if path.suffix.lower() == ".json"]
    cocos, shapes = _sorted_by_form(root, jsons)
    if cocos:
        return _of_coco(root, pictures, cocos)
    return _of_kinds(root, pictures, shapes)


def _unread(files: Sequence[Path]) -> str:
    """What lies there instead."""
    endings = sorted({path.suffix.lower() for path in files if path.suffix})
    if known := [ending for ending in endings if ending in UNREAD_SUFFIXES]:
        return f" ({', '.join(known)} files are not: convert them to PNG or TIFF)"
    if archives := [ending for ending in endings if ending in (".zip", ".gz", ".tar", ".7z", ".rar")]:
        return f" (but {', '.join(archives)}: unpack it first)"
    return f": it has {len(files)} files ({', '.join(endings[:8]) or 'without endings'})" if files else ": it is empty"


def _sorted_by_form(root: Path, jsons: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """COCO's files of instances, and LabelMe's of one image."""
    cocos: list[Path] = []
    shapes: list[Path] = []
    for path in jsons:
        if (root / path).stat().st_size > MOST_JSON:
            continue
        try:
            content = json.loads((root / path).read_text(encoding="utf-8", errors="replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
            cocos.append(path)
        elif isinstance(content, dict) and isinstance(content.get("shapes"), list):
            shapes.append(path)
    return cocos, shapes


def _of_coco(root: Path, pictures: Sequence[Path], cocos: Sequence[Path]) -> Layout:
    """Images lie where the first file name leads to, or are told apart by their bare names."""
    names = [entry["file_name"] for path in cocos for entry in json.loads((root / path).read_text("utf-8"))["images"]]
    if not names:
        raise ValueError(f"'{root / cocos[0]}' lists no image: export the annotations again.")
    where = cocos[0].as_posix() if len(cocos) == 1 else f"{_common(cocos)}/*.json".removeprefix("./")
    ends = [path for path in pictures if path.as_posix() == names[0] or path.as_posix().endswith(f"/{names[0]}")]
    ends = ends or [path for path in pictures if path.name == Path(names[0]).name]
    if not ends:
        raise ValueError(
            f"'{root / cocos[0]}' annotates '{names[0]}', which does not lie below '{root}': put the images there."
        )
    folder, within = min(ends, key=lambda path: len(path.parts)).parent.as_posix(), Path(names[0]).parent.as_posix()
    prefix = "" if within == "." else f"{_simple(re.escape(within))}/"
    bare = "(?:.*/)?([^/]+)"
    layouts: tuple[Layout, ...] = (
        Layout(folder, where, "(.+)", f"{prefix}(.+)", "coco"),
        Layout(folder, where, bare, bare, "coco"),
    )
    if len(cocos) > 1:
        layouts = (Layout(_common(pictures), where, bare, bare, "coco"),)
    error = ValueError()
    for layout in layouts:
        try:
            return checked(root, layout, f"COCO annotations in {where}")
        except ValueError as reason:
            error = reason
    raise error


def checked(root: Path, layout: Layout, why: str) -> Layout:
    """The layout with what ``Folder`` finds by it.

    Raises:
        ValueError: images lack labels, or two files have one key; as ``Folder`` says it.
    """
    images = find(root, layout.images, layout.image_key, IMAGE_SUFFIXES, "images")
    if layout.encoding == "coco":
        labels = find_coco(root, layout.masks, layout.mask_key)
    else:
        labels = find(root, layout.masks, layout.mask_key, SUFFIXES[layout.encoding], "masks")
    pairs = paired(images.files, labels.files)
    return Layout(layout.images, layout.masks, layout.image_key, layout.mask_key, layout.encoding, pairs, why)


def _of_kinds(root: Path, pictures: Sequence[Path], shapes: Sequence[Path]) -> Layout:
    kinds: dict[Kind, dict[Key, Path]] = defaultdict(dict)
    for path in (*pictures, *shapes):
        kind, key = _sorted_in(path)
        kinds[kind].setdefault(key, path)
    found = sorted(_candidates(root, kinds), key=lambda one: one.rank, reverse=True)
    if not found:
        kinds = _without_common_ends(kinds)
        found = sorted(_candidates(root, kinds), key=lambda one: one.rank, reverse=True)
    if not found:
        raise ValueError(_no_pairs(root, kinds, pictures))
    best = found[0]
    if best.refused:
        raise ValueError(best.refused)
    return checked(root, _layout(best.image, best.mask, kinds[best.image], kinds[best.mask]), best.why)


def _without_common_ends(kinds: Mapping[Kind, Mapping[Key, Path]]) -> dict[Kind, dict[Key, Path]]:
    """What all stems of a kind end in, behind a separator, is no part of the key (``_L``, ``_leftImg8bit``)."""
    found: dict[Kind, dict[Key, Path]] = {}
    for kind, files in kinds.items():
        end = _common_end([key.core for key in files])
        start = next((place for place, sign in enumerate(end) if sign in "-_. "), None)
        end = end[start:] if start is not None else ""
        shorter = {key._replace(core=key.core.removesuffix(end)): path for key, path in files.items()}
        found[kind._replace(suffix=end + kind.suffix)] = shorter
    return found


def _common_end(texts: Sequence[str]) -> str:
    """What all of several texts end in."""
    if len(texts) < 2:
        return ""
    signs = zip(*(reversed(text) for text in texts), strict=False)
    alike = list(takewhile(lambda some: len(set(some)) == 1, signs))
    return "".join(some[0] for some in reversed(alike))


class _Candidate(NamedTuple):
    """Kinds that meet.

    Attributes:
        rank: the higher the likelier.
        image, mask: the kinds.
        why: in words.
        refused: why these labels cannot be used.
    """

    rank: tuple[float, ...]
    image: Kind
    mask: Kind
    why: str
    refused: str


def _candidates(root: Path, kinds: Mapping[Kind, Mapping[Key, Path]]) -> Iterator[_Candidate]:
    for image, images in kinds.items():
        for mask, masks in kinds.items():
            if image == mask or image.ending == "json":
                continue
            common = [key for key in images if key in masks]
            if not common or len(common) < 0.5 * len(images) or (len(common) < 2 and not mask.words & MASK_WORDS):
                continue
            spoken = bool(mask.words & MASK_WORDS) + (mask.ending == "json") - bool(image.words & MASK_WORDS)
            spoken -= 2 * bool(mask.words & PICTURE_WORDS) + 2 * bool(image.words & PICTURE_WORDS)
            spoken -= "object" in mask.words or "instance" in mask.words
            flat, refused = (1.0, "") if mask.ending == "json" else _like_labels(root, [masks[key] for key in common])
            if spoken < 1 and flat < 0.9:
                continue  # two folders of photographs
            if spoken < 1 and not refused and _like_labels(root, [images[key] for key in common])[0] >= flat:
                continue  # which of them would be the labels is not known
            rank = (not refused, spoken, flat, len(common) / len(images), len(common))
            lies = f"{_told(mask)} beside {_told(image)}" if image.folders != mask.folders else _told(mask)
            yield _Candidate(rank, image, mask, f"{len(common)} images with {lies}", refused)


def _like_labels(root: Path, paths: Sequence[Path]) -> tuple[float, str]:
    """How flat the first files are, 0…1, and why they cannot be labels, if they cannot."""
    shares = []
    refused = ""
    for path in paths[:LOOKED_AT]:
        if path.suffix.lower() not in MASK_SUFFIXES:
            return 0.0, (
                f"the masks look like '{path.as_posix()}', a JPEG, which blurs labels along every edge: save them anew "
                "from their source, as PNG."
            )
        try:
            values = read_values(root / path).astype(np.int64)
        except ValueError as error:
            refused = str(error)
            continue
        except MemoryError:
            continue
        shares.append(float((values[:, 1:] == values[:, :-1]).mean()) if values.shape[1] > 1 else 1.0)
    return (float(np.mean(shares)), "") if shares else (0.0, refused)


def _told(kind: Kind) -> str:
    folder = "/".join(kind.folders) or "the folder itself"
    affix = f"{kind.prefix}…{kind.suffix}" if kind.prefix or kind.suffix else ""
    form = "LabelMe JSON" if kind.ending == "json" else "pictures"
    return f"{form} in {folder}{f' called {affix}' if affix else ''}"


def _sorted_in(path: Path) -> tuple[Kind, Key]:
    """A file's kind and key."""
    folders, splits = [], []
    places = [place for place, name in enumerate(path.parts[:-1]) if _words(name) & (MASK_WORDS | IMAGE_WORDS)]
    depth = places[-1] + 1 if places else None
    # Behind a folder that says what is in it lie further ones that belong to the key (patients, cities).
    own, below = path.parts[:-1][:depth], path.parts[:-1][depth:] if depth is not None else ()
    for name in own:
        star, split = _starred(name)
        folders.append(star)
        splits += [split] if split else []
    if depth is not None and below and below[0].lower() in FOLDER_NAMES:
        splits, below = [*splits, below[0]], below[1:]
        folders.append("*")
    found = _AFFIX.fullmatch(path.stem)
    assert found is not None
    prefix, core, suffix = "", path.stem, ""
    if found["last"] and _words(found["last"]) & (MASK_WORDS | IMAGE_WORDS):
        suffix = f"{found['before']}{found['last']}"
        core = path.stem.removesuffix(suffix)
    elif found["first"] and _words(found["first"]) & (MASK_WORDS | IMAGE_WORDS):
        prefix = f"{found['first']}{found['behind']}"
        core = path.stem.removeprefix(prefix)
    ending = "json" if path.suffix.lower() == ".json" else "picture"
    return Kind(tuple(folders), prefix, suffix, ending), Key(tuple(splits), tuple(below), core)


def _starred(name: str) -> tuple[str, str]:
    """A folder's name with ``*`` for a split's, and the split: ``train_masks`` → ``*_masks``, train."""
    if name.lower() in FOLDER_NAMES:
        return "*", name
    for split in re.findall(r"[A-Za-z]+", name):
        if split.lower() in FOLDER_NAMES and _words(name) & (MASK_WORDS | IMAGE_WORDS):
            return name.replace(split, "*", 1), split
    return name, ""


def _words(text: str) -> set[str]:
    return {token.lower() for token in _TOKENS.findall(text)} | {text.lower()}


def _layout(image: Kind, mask: Kind, images: Mapping[Key, Path], masks: Mapping[Key, Path]) -> Layout:
    """The rule of ``Folder`` by which two kinds meet."""
    nested = any(key.below for key in (*images, *masks))
    folders = [_plain(kind) for kind in (image, mask)]
    same = folders[0] == folders[1] and image.folders == mask.folders and mask.ending == image.ending
    prefixed = bool(image.prefix or mask.prefix)
    keys = []
    names = [
        sorted({key.splits[place] for key in (*images, *masks)}) for place in range(len(next(iter(images)).splits))
    ]
    for kind, folder, other in ((image, folders[0], mask), (mask, folders[1], image)):
        rest = kind.folders[len(folder) :]
        choices = iter(f"({'|'.join(map(re.escape, some))})" for some in names)
        parts = [re.escape(name).replace(r"\*", next(choices)) if "*" in name else re.escape(name) for name in rest]
        way = "".join(f"{part}/" for part in parts)
        if prefixed and nested:
            way += "((?:[^/]+/)*)"
        core = "(.+)" if nested and not prefixed else "([^/]+)"
        without = ""
        if same and kind is image:
            without = f"(?!{re.escape(other.prefix)})" if other.prefix and not kind.prefix else ""
            core += f"(?<!{re.escape(other.suffix)})" if other.suffix and not kind.suffix else ""
        keys.append(f"{way}{without}{re.escape(kind.prefix)}{core}{re.escape(kind.suffix)}")
    encoding: Encoding = "labelme" if mask.ending == "json" else "index"
    where = ["/".join(folder) or "." for folder in folders]
    return Layout(where[0], where[1], _simple(keys[0]), _simple(keys[1]), encoding)


def _plain(kind: Kind) -> tuple[str, ...]:
    """The folder that the search begins in: up to the first split's name."""
    starred = [place for place, name in enumerate(kind.folders) if "*" in name]
    return kind.folders[: starred[0]] if starred else kind.folders


def _simple(pattern: str) -> str:
    """As people would write it: ``re.escape`` guards more than need be."""
    return re.sub(r"\\([-_ ])", r"\1", pattern)


def _common(paths: Iterable[Path]) -> str:
    """The folder that all lie in."""
    parents = [path.parent.parts for path in paths]
    shared = []
    for level in zip(*parents, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "/".join(shared) or "."


def _no_pairs(root: Path, kinds: Mapping[Kind, Mapping[Key, Path]], pictures: Sequence[Path]) -> str:
    seen = [
        f"{len(files)} {_told(kind)} (first: '{next(iter(files.values())).as_posix()}')"
        for kind, files in kinds.items()
    ]
    return (
        f"'{root}' holds {len(pictures)} pictures, but no labels that meet them by name. Found: "
        f"{'; '.join(seen[:SHOWN])}{'; …' if len(seen) > SHOWN else ''}. Give each image a mask of the same name, in a "
        "folder of its own (images/a.jpg, masks/a.png) or beside it with an ending (a.jpg, a_mask.png); LabelMe's JSON "
        "files and COCO annotations are read, too."
    )
