"""Files of a folder by key: what an image and all that belongs to it share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from perpixel.data.decode import IMAGE_SUFFIXES
from perpixel.data.extras import Extra
from perpixel.data.inspection import SHOWN
from perpixel.data.pairs import Pair, unique_names
from perpixel.data.shapes import coco_files
from perpixel.data.walking import files_below, matching


def find(root: Path, where: str, pattern: str, suffixes: Sequence[str], what: str) -> dict[str, Path]:
    """Files of a folder (at any depth, linked folders included) or glob by key.

    Args:
        root: folder that ``where`` is relative to.
        where: folder, glob or single file.
        pattern: over the path without suffix; its groups make the key.
        suffixes: of the files that count.
        what: key of ``data.source`` that ``where`` came from, for errors.

    Raises:
        ValueError: nothing is found, nothing matches, or two files have one key.
    """
    base, files = _listed(root, where, suffixes, what)
    return _by_key({str(path.relative_to(base).as_posix()): path for path in files}, pattern, what)


def find_coco(root: Path, where: str, pattern: str) -> dict[str, Path]:
    """Annotations of single images, from one or several COCO files, by key.

    The path that ``pattern`` sees is the image's ``file_name``, after the COCO file's own folder within ``where``: so
    annotations beside the images of each split are told apart.

    Raises:
        ValueError: two files annotate one image; see ``find`` and ``coco_files``.
    """
    base, files = _listed(root, where, (".json",), "masks")
    found: dict[str, Path] = {}
    origins: dict[str, Path] = {}
    for path in files:
        folder = PurePosixPath(path.parent.relative_to(base).as_posix())
        for name, file in coco_files(path).items():
            if (other := origins.setdefault(str(folder / name), path)) != path:
                raise ValueError(
                    f"'{other}' and '{path}' both annotate '{name}', and one would be lost: merge the files, or name "
                    "one with data.source.masks."
                )
            found[str(folder / name)] = file
    return _by_key(found, pattern, "masks")


def paired(images: Mapping[str, Path], masks: Mapping[str, Path]) -> dict[str, Pair]:
    """Images with their masks, by key.

    Raises:
        ValueError: images lack masks; says which, and what the masks' keys look like.
    """
    lonely = [key for key in images if key not in masks]
    if lonely:
        raise ValueError(
            f"{len(lonely)} of {len(images)} images have no mask, first: {', '.join(map(repr, lonely[:SHOWN]))}. "
            f"The masks' keys look like {', '.join(map(repr, list(masks)[:2]))}: make the keys meet with "
            "data.source.image_key and data.source.mask_key, or take the images without mask away."
        )
    names = unique_names(list(images))
    return {key: Pair(name, path, masks[key]) for name, (key, path) in zip(names, images.items(), strict=True)}


def with_extra(root: Path, pairs: Mapping[str, Pair], extra: Extra) -> dict[str, Pair]:
    """Pairs with one more file each.

    Raises:
        ValueError: samples lack the file; says which, and what the files' keys look like.
    """
    files = find(root, extra.files, extra.key, IMAGE_SUFFIXES, f"extras.{extra.name}.files")
    lonely = [key for key in pairs if key not in files]
    if lonely:
        raise ValueError(
            f"{len(lonely)} of {len(pairs)} images have no '{extra.name}' in '{root / extra.files}', first: "
            f"{', '.join(map(repr, lonely[:SHOWN]))}. Its keys look like {', '.join(map(repr, list(files)[:2]))}: make "
            f"the keys meet with data.source.extras.{extra.name}.key, or add the files."
        )
    return {key: pair._replace(extras=(*pair.extras, files[key])) for key, pair in pairs.items()}


def _listed(root: Path, where: str, suffixes: Sequence[str], what: str) -> tuple[Path, list[Path]]:
    """What keys are relative to, and the files."""
    is_glob, single = "*" in where, (root / where).is_file()
    base = root if is_glob else (root / where).parent if single else root / where
    paths = [root / where] if single else sorted(matching(root, where) if is_glob else files_below(base))
    files = [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    if not files:
        raise ValueError(
            f"no {what} found: looked for {', '.join(suffixes)} {'as' if is_glob else 'under'} '{root / where}'. "
            f"Set data.source.root and data.source.{what} to where they are."
        )
    return base, files


def _by_key(files: Mapping[str, Path], pattern: str, what: str) -> dict[str, Path]:
    config_key = f"{what.removesuffix('files')}key" if what.endswith(".files") else f"{what.removesuffix('s')}_key"
    rule = f"data.source.{config_key}={pattern!r}"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{rule} is no regular expression: {error}.") from None
    keyed: dict[str, Path] = {}
    named = [(PurePosixPath(name).with_suffix("").as_posix(), path) for name, path in files.items()]
    for stem, path in named:
        match = compiled.fullmatch(stem)
        if match is None:
            continue
        key = _key(match, rule)
        if key in keyed:
            raise ValueError(
                f"'{keyed[key]}' and '{path}' both have the key '{key}': rename one, or make "
                f"data.source.{config_key} tell them apart."
            )
        keyed[key] = path
    if not keyed:
        raise ValueError(f"none of the {len(files)} {what} matches {rule} (first: '{named[0][0]}').")
    return keyed


def _key(match: re.Match[str], rule: str) -> str:
    groups = match.groups() or (match.group(),)
    if None in groups:
        raise ValueError(
            f"{rule}: group {groups.index(None) + 1} has no part in '{match.string}': make it match always, if only "
            "nothing, as (x?) for (x)?; what does not belong to the key is written (?:x)?."
        )
    return "/".join(groups)
